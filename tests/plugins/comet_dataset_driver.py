"""Logs the dataset of a record to Comet, once for each given run, in a process of its own.

    python comet_dataset_driver.py '{"record": "/records/files", "runs": [{"run": "a-seed1", "online": true}]}'

Prints one JSON object: what was told, by run, and what the client logged as errors.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from detkit import RunInfo
from detkit.components import Silent
from detkit_comet import CometOptions
from detkit_comet.client import ErrorLog, load_client, set_limits


class Notes(Silent):
    """Messages, kept."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def info(self, text: str) -> None:
        self.lines.append(("info", text))

    def warning(self, text: str) -> None:
        self.lines.append(("warning", text))


def log_one(record: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    from comet_ml import ExperimentConfig, start
    from comet_ml.exceptions import ExperimentCleaningException

    from detkit_comet.dataset import DatasetVersion

    options = CometOptions(**{"close_timeout_s": 8.0, "timeout_s": 2, **wanted.get("options", {})})
    set_limits(options)
    notes, errors = Notes(), ErrorLog()
    run = RunInfo(
        run_id=wanted["run"],
        experiment=record.name,
        model="a",
        seed=1,
        folder=record / wanted["run"],
        class_names=("cat", "dog"),
        device="cpu",
        precision="fp32",
        epochs=1,
        steps_per_epoch=1,
        parameters={"spec": {"dataset": {"use": wanted.get("dataset", "my pets: 2/3")}}},
    )
    experiment = start(
        workspace="lab",
        project_name="pets",
        experiment_key=uuid4().hex,
        online=wanted["online"],
        experiment_config=ExperimentConfig(
            log_code=False,
            log_graph=False,
            parse_args=False,
            display_summary_level=0,
            log_git_metadata=False,
            log_git_patch=False,
            log_env_details=False,
            log_env_host=False,
            auto_output_logging="",
            auto_log_co2=False,
            offline_directory=str(record / wanted["run"] / "comet"),
        ),
    )
    errors.attach()
    began = time.monotonic()
    DatasetVersion(options, run, notes).log(experiment, wanted["online"])
    logged = time.monotonic() - began
    raised = ""
    try:
        experiment.end()
    except ExperimentCleaningException as error:
        raised = str(error)
    errors.detach()
    return {
        "key": experiment.get_key(),
        "messages": notes.lines,
        "errors": [error.text for error in errors.take()],
        "raised": raised,
        "log_s": logged,
        "end_s": time.monotonic() - began - logged,
    }


def main() -> None:
    load_client()
    wanted = json.loads(sys.argv[1])
    print(json.dumps([log_one(Path(wanted["record"]), run) for run in wanted["runs"]]))


if __name__ == "__main__":
    main()
