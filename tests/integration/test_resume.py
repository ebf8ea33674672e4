"""Killed anywhere and resumed equals never killed: every bit of everything that is not measured.

The model is Faster R-CNN, whose training draws random samples of proposals; the images carry noise that changes from
epoch to epoch.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import detkit
from detkit.engine.display import SilentDisplay
from detkit.errors import RecordError, WeightsError
from detkit.record.reader import RunRecord
from integration.experiments import EVERY_HOOK, write_spec

SABOTEUR = Path(__file__).with_name("saboteur.py")


#: Transforms of one image, and some that fetch others.
AUGMENT = {"preset": "standard", "mosaic": {}, "mix_up": {}}


def spec_file(
    folder: Path,
    point: str,
    *,
    workers: int = 0,
    pause_s: float = 0.0,
    augment: Mapping[str, Any] | None = None,
) -> Path:
    return write_spec(
        folder / "spec.toml",
        {
            "plugins": [str(EVERY_HOOK), str(SABOTEUR)],
            "experiment": {"name": "killed", "output": str(folder / "runs")},
            "dataset": {"use": "noisy_squares", "images": 14, "split": {"validation": 4}},
            "input": {"min_size": 64, "max_size": 64},
            "compute": {"device": "cpu", "precision": "auto", "workers": workers, "threads": 1},
            "train": {"epochs": 3, "batch_size": 2, "checkpoint_every_steps": 3, "warmup_steps": 2},
            # No threshold: an untrained detector must predict something, or the comparison of predictions says nothing.
            "models": {"faster_rcnn": {"backbone": "tiny_fpn", "weights": "none", "score_threshold": 0.0}},
            "augment": dict(augment or {}),
            "metrics": {"coco": {}},
            "loggers": {"csv": {}},
            "callbacks": {
                "stop_after": {},
                "saboteur": {"point": point, "marker": str(folder / "struck"), "pause_s": pause_s},
            },
        },
    )


def deterministic_part(run: RunRecord) -> dict[str, Any]:
    """Everything of a finished run that must not depend on the moment, as comparable plain values."""
    last = torch.load(run.files.last, weights_only=True)
    del last["state"]["measured"], last["streams"]
    best = torch.load(run.files.best, weights_only=True)
    summary = dict(run.summary or {})
    del summary["measured"], summary["costs"]["measured"]
    predictions = {file.name: file.read_bytes() for file in (run.files.folder / "predictions").iterdir()}
    return {
        "last": list(flat(last)),
        "best": list(flat(best)),
        "steps": [without_measured(row) for row in run.steps()],
        "epochs": [without_measured(row) for row in run.epochs()],
        "summary": summary,
        "predictions": predictions,
    }


def without_measured(row: Mapping[str, Any]) -> dict[str, Any]:
    assert "measured" in row
    return {key: value for key, value in row.items() if key != "measured"}


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves with their paths; tensors as their dtype, shape and bytes, so that equality is of bits."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from flat(child, f"{prefix}/{key}")
    elif isinstance(value, (list, tuple)):
        for number, child in enumerate(value):
            yield from flat(child, f"{prefix}/{number}")
    elif isinstance(value, torch.Tensor):
        yield (
            prefix,
            (str(value.dtype), tuple(value.shape), value.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()),
        )
    else:
        yield prefix, value


def only_run(folder: Path) -> RunRecord:
    return detkit.open_record(folder / "runs" / "killed").runs[0]


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("never")
    (folder / "struck").touch()
    record = detkit.run(spec_file(folder, "nowhere"), display=SilentDisplay())
    assert record.runs[0].state == "finished"
    return deterministic_part(record.runs[0])


def test_the_comparison_sees_a_difference(never_killed: dict[str, Any], tmp_path: Path) -> None:
    """Another seed gives other bits; else the equalities below would say nothing."""
    (tmp_path / "struck").touch()
    file = spec_file(tmp_path, "nowhere")
    record = detkit.run(file, set={"experiment.seeds": [2], "train.epochs": 1}, display=SilentDisplay())
    other = deterministic_part(record.runs[0])
    assert other["steps"][0]["losses"] != never_killed["steps"][0]["losses"]
    assert other["predictions"]["epoch-001.json.gz"] != never_killed["predictions"]["epoch-001.json.gz"]


POINTS = ("step", "checkpoint", "before_checkpoint", "after_best", "evaluation")


@pytest.mark.parametrize(
    ("point", "workers"),
    [
        *((point, 0) for point in POINTS),
        ("step", 2),
        *(pytest.param(point, 2, marks=pytest.mark.slow) for point in POINTS[1:]),
    ],
)
def test_killed_and_resumed_equals_never_killed(
    point: str, workers: int, never_killed: dict[str, Any], tmp_path: Path
) -> None:
    file = spec_file(tmp_path, point, workers=workers)
    record = detkit.run(file, display=SilentDisplay())
    run = record.runs[0]
    assert run.state == "failed"
    assert (tmp_path / "struck").exists()
    assert "killed by the operating system (SIGKILL)" in (run.failure or {})["message"]
    with pytest.raises(RecordError, match=r"faster_rcnn-seed1 \(failed\); go on with --resume"):
        detkit.run(file, display=SilentDisplay())

    detkit.run(file, resume=True, display=SilentDisplay())
    assert only_run(tmp_path).state == "finished"
    resumed = deterministic_part(run)
    for part, value in never_killed.items():
        assert resumed[part] == value, part
    # The CSV logger drops the rows that a resume trains again, so each step stands there once.
    rows = (run.files.folder / "csv" / "steps.csv").read_text().splitlines()[1:]
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("workers", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_an_augmented_run_goes_on_exactly(workers: int, never_killed: dict[str, Any], tmp_path: Path) -> None:
    """From the middle of an epoch, and whatever the number of workers, of which the whole run has one."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    (whole / "struck").touch()
    run = detkit.run(spec_file(whole, "nowhere", workers=1, augment=AUGMENT), display=SilentDisplay()).runs[0]
    assert run.state == "finished"
    wanted = deterministic_part(run)
    assert wanted["steps"] != never_killed["steps"]  # it is augmented

    cut.mkdir()
    file = spec_file(cut, "step", workers=workers, augment=AUGMENT)
    assert detkit.run(file, display=SilentDisplay()).runs[0].state == "failed"
    detkit.run(file, resume=True, display=SilentDisplay())
    resumed = deterministic_part(only_run(cut))
    for part, value in wanted.items():
        assert resumed[part] == value, part


@pytest.mark.parametrize("ask", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_saves_and_goes_on_exactly(
    ask: signal.Signals, never_killed: dict[str, Any], tmp_path: Path
) -> None:
    """Ctrl-C and SIGTERM to `detkit run`: exit code 130, a line that says how to go on, and the same bits after it."""
    (tmp_path / "struck").touch()
    file = spec_file(tmp_path, "nowhere", pause_s=0.5)
    command = [sys.executable, "-m", "detkit", "run", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    steps = tmp_path / "runs" / "killed" / "faster_rcnn-seed1" / "steps.jsonl"
    deadline = time.monotonic() + 120
    while not (steps.exists() and steps.read_text().count("\n") >= 2):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(ask)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    spec = tmp_path / "runs" / "killed" / "spec.toml"
    assert f"go on with: detkit run {spec} --resume" in said
    assert "Traceback" not in said
    run = only_run(tmp_path)
    assert run.state == "interrupted"
    assert len(list(run.steps())) < 15

    detkit.run(file, resume=True, display=SilentDisplay())
    resumed = deterministic_part(run)
    for part, value in never_killed.items():
        assert resumed[part] == value, part


def test_a_run_whose_parent_dies_stops_and_can_be_resumed(never_killed: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "struck").touch()
    file = spec_file(tmp_path, "nowhere", pause_s=0.5)
    process = subprocess.Popen([sys.executable, "-m", "detkit", "run", str(file)], stderr=subprocess.DEVNULL)
    folder = tmp_path / "runs" / "killed" / "faster_rcnn-seed1"
    deadline = time.monotonic() + 120
    while not ((folder / "steps.jsonl").exists() and (folder / "steps.jsonl").read_text().count("\n") >= 1):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    run = only_run(tmp_path)
    while run.state == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert run.state == "interrupted"
    detkit.run(file, resume=True, display=SilentDisplay())
    assert deterministic_part(run)["last"] == never_killed["last"]


def test_a_cut_checkpoint_is_refused_with_its_name(tmp_path: Path) -> None:
    file = spec_file(tmp_path, "evaluation")
    run = detkit.run(file, display=SilentDisplay()).runs[0]
    whole = run.files.last.read_bytes()
    run.files.last.write_bytes(whole[: len(whole) // 2])
    detkit.run(file, resume=True, display=SilentDisplay())
    failure = run.failure or {}
    assert failure["kind"] == WeightsError.__name__
    assert f"{run.files.last} is cut or no checkpoint of detkit" in failure["message"]
    assert failure["exit_code"] == 2
    assert json.loads(run.files.run.read_text())["run_id"] == run.run_id
    assert os.path.getsize(run.files.last) == len(whole) // 2  # nothing on disk was lost or replaced
