"""Takes the searcher `comet_optimizer` through a search, in a process of its own: the client keeps global state.

    python comet_search_driver.py '{"options": {"algorithm": "grid"}, "space": {"train.lr": [0.1, 0.2]}}'

Writes what happened to `result.json` in the working directory; prints nothing, so that whatever is printed is noise.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from detkit import (
    BuildContext,
    Choices,
    DetkitError,
    Objective,
    Progress,
    Proposal,
    Range,
    SearchSpace,
)
from detkit_comet import COMET_OPTIMIZER


class Notes:
    """Messages, kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        self.lines.append(text)

    warning = info

    def progress(self, description: str, total: int | None, unit: str = "") -> AbstractContextManager[Progress]:
        raise AssertionError("the searcher shows no progress")


def drive(wanted: dict[str, Any], result: dict[str, Any], notes: Notes) -> None:
    if wanted.get("absent"):
        sys.modules["comet_ml"] = None  # type: ignore[assignment] # how an import is made to fail
    options = COMET_OPTIMIZER.options.model_validate_json(json.dumps(wanted.get("options", {})))
    context = BuildContext(messages=notes, seed=2**32 + 17, offline=wanted.get("offline", False))
    assert COMET_OPTIMIZER.check is not None
    COMET_OPTIMIZER.check(options, context)
    if wanted.get("only_check"):
        return
    searcher: Any = COMET_OPTIMIZER.build(options, context)
    if "state" in wanted:
        searcher.load_state_dict(wanted["state"])
    space = SearchSpace(
        {
            key: Range(**declared) if isinstance(declared, dict) else Choices(tuple(declared))
            for key, declared in wanted["space"].items()
        }
    )
    searcher.begin(
        space, Objective("coco/ap", wanted.get("direction", "maximize")), max_trials=wanted.get("max_trials")
    )
    result["proposals"] = []
    for proposal in iter(searcher.propose, None):
        result["proposals"].append([proposal.number, dict(proposal.values), dict(proposal.about)])
        result["state"] = json.loads(json.dumps(searcher.state_dict()))
        if proposal.number == wanted.get("stop_after"):
            return
        if proposal.number == wanted.get("wait_at"):
            Path("waiting").touch()
            sys.stdin.readline()
        value = wanted["values"][proposal.number - 1] if "values" in wanted else float(proposal.number)
        if wanted.get("experiments"):
            run_trial(proposal, value)
        searcher.tell(proposal, float("nan") if value == "nan" else value)
    searcher.close()


def run_trial(proposal: Proposal, value: float) -> None:
    """What the trial's own process does with its experiment."""
    from detkit_comet.client import load_client
    from detkit_comet.search import log_trial

    comet_ml = load_client()
    config = comet_ml.ExperimentConfig(
        log_code=False, log_graph=False, parse_args=False, log_git_metadata=False, log_git_patch=False,
        display_summary_level=0, auto_output_logging=False, log_env_details=False,
    )  # fmt: skip
    experiment = comet_ml.start(experiment_config=config)
    assert experiment.alive
    log_trial(experiment, proposal.about, proposal.values, value)
    experiment.end()


def main() -> None:
    result: dict[str, Any] = {}
    notes = Notes()
    began = time.monotonic()
    try:
        drive(json.loads(sys.argv[1]), result, notes)
    except DetkitError as error:
        result["error"] = [type(error).__name__, error.exit_code, str(error)]
    result["seconds"] = time.monotonic() - began
    result["messages"] = notes.lines
    Path("result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
