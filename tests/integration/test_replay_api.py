"""`detkit.replay` makes the calls that the live run made, whichever way the run ended."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import detkit
from detkit import RecordError, RunRecord
from detkit.errors import Interrupted
from detkit.plugins import load_file
from detkit.record.files import read_json, write_json
from detkit.record.lock import exclusive
from detkit.record.reader import ExperimentRecord
from integration.experiments import EVERY_HOOK, RecordingDisplay, squares_spec, write_spec

HERE = Path(__file__).parent
recording: Any = load_file(HERE / "recording.py")

Call = tuple[str, dict[str, Any]]
FIGURES = ("log_table", "log_curve", "log_confusion_matrix")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> ExperimentRecord:
    """A run that finishes, one that fails in its third step, one that is interrupted in its second epoch."""
    folder = tmp_path_factory.mktemp("replay")
    spec = squares_spec(
        folder / "runs",
        plugins=[str(EVERY_HOOK), str(HERE / "recording.py"), str(HERE / "failing.py")],
        experiment={"log_every_steps": 2, "resamples": 0},
        models={"broken": {"way": "raises"}, "stopped": {"use": "centre_point"}},
        metrics={"coco": {}},
        loggers={"recording": {}},
        callbacks={"interrupt": {"step": 10, "model": "stopped"}},
    )
    display = RecordingDisplay()
    with pytest.raises(Interrupted):
        detkit.run(write_spec(folder / "spec.toml", spec), display=display)
    record = detkit.open_record(folder / "runs" / "small")
    assert [run.state for run in record.runs] == ["finished", "failed", "interrupted"], display.warnings
    return record


def calls(file: Path) -> list[Call]:
    return [(method, given) for method, given in map(json.loads, file.read_text().splitlines())]


def replayed(run: RunRecord, folder: Path) -> list[Call]:
    file = folder / "replayed.jsonl"
    detkit.replay(run, recording.Recording(file))
    return calls(file)


def figures_sorted(made: list[Call]) -> list[Call]:
    """An epoch's figures in the order of their names: the record does not keep in which order a metric gave them."""
    ordered: list[Call] = []
    figures: list[Call] = []
    for call in made:
        if call[0] in FIGURES:
            figures.append(call)
            continue
        ordered += sorted(figures, key=lambda figure: (figure[0], figure[1]["name"]))
        figures = []
        ordered.append(call)
    return ordered


@pytest.mark.parametrize(("model", "steps"), [("centre_point", 12), ("broken", 2), ("stopped", 10)])
def test_a_replay_makes_the_calls_of_the_live_run(
    model: str, steps: int, record: ExperimentRecord, tmp_path: Path
) -> None:
    run = record.run(model)
    live = calls(run.files.folder / "calls.jsonl")
    again = replayed(run, tmp_path)

    if run.state == "interrupted":
        assert live[-1][1]["state"] == "interrupted"
        live[-1][1]["reason"] = ""  # who asked for the end is not in the record
        # Whoever stopped it did not wait for its files; a replay may be the last that is heard of it.
        files = [call for call in again if call[0] == "log_file" and call[1]["name"] != "model.txt"]
        assert {"spec.toml", "messages.jsonl", "last.pt"} <= {given["name"] for _, given in files}
        again = [call for call in again if call not in files]
    assert figures_sorted(again) == figures_sorted(live)
    # It is a real run that was compared: its steps, and for those that came so far every kind of call.
    logged = {given["step"] for method, given in live if method == "log_metrics"}
    assert logged == {1, *range(2, steps + 1, 2)}
    kinds = {"start", "log_parameters", "log_file", "log_metrics", "close"}
    assert {method for method, _ in live} == kinds | (set() if model == "broken" else {"log_predictions", *FIGURES})


def test_a_finished_run_hands_over_its_files_last(record: ExperimentRecord, tmp_path: Path) -> None:
    made = replayed(record.run("centre_point"), tmp_path)
    names = [given["name"] for method, given in made if method == "log_file"]
    assert names == [
        "model.txt",
        "spec.toml",
        "system.jsonl",
        "messages.jsonl",
        "console.log",
        "last.pt",
        "best.pt",
        "summary.json",
    ]
    assert [method for method, _ in made[-8:]] == ["log_file"] * 7 + ["close"]
    assert all(Path(given["file"]).is_file() for method, given in made if method == "log_file")


def test_the_step_and_table_helpers_of_a_record_agree_with_the_calls(record: ExperimentRecord) -> None:
    run = record.run("centre_point")
    live = [given for method, given in calls(run.files.folder / "calls.jsonl") if method == "log_table"]
    name = live[0]["name"]
    sent = [(given["epoch"], given["step"]) for given in live if given["name"] == name]
    tables = run.tables(name)
    assert [(epoch, step) for epoch, step, _ in tables] == sent == [(1, 6), (2, 12)]
    first = next(given["table"] for given in live if given["name"] == name)
    assert [list(row) for row in tables[0][2].rows] == first["rows"]
    assert run.tables("coco/none_of_that_name") == run.tables("nothing") == []


def test_what_goes_on_and_what_never_began_is_refused(record: ExperimentRecord, tmp_path: Path) -> None:
    shutil.copytree(record.folder, tmp_path / "small")
    copy = detkit.open_record(tmp_path / "small")
    sent: list[str] = []

    class Telling(detkit.Logger):
        def start(self, run: detkit.RunInfo) -> None:
            sent.append(run.run_id)

    stopped = copy.run("stopped")
    with (
        exclusive(stopped.files.lock, "the run"),
        pytest.raises(RecordError, match=r"stopped-seed1 \(running\): only a run that has ended can be sent"),
    ):
        detkit.replay(stopped, Telling())

    broken = copy.run("broken")
    facts = {key: value for key, value in read_json(broken.files.run).items() if key not in ("compute", "class_names")}
    write_json(broken.files.run, facts)
    with pytest.raises(RecordError, match=r"broken-seed1 \(failed\) ended before it began to train"):
        detkit.replay(broken, Telling())

    copy.run("centre_point").files.metrics.write_text("{cut\n")
    with pytest.raises(RecordError, match=r"metrics\.jsonl:1 is damaged"):
        detkit.replay(copy.run("centre_point"), Telling())
    assert sent == []
