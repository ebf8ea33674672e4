"""Does the logger keep detkit's contract, and write what happens?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from detkit import BuildContext, LoggerComponent, LoggerRefused, Outcome, RunInfo
from detkit.testing import LoggerConformance

from my_plugin import COMPONENT, LinesOptions


class TestContract(LoggerConformance):
    """All that detkit asks of a logger."""

    @pytest.fixture
    def component(self) -> LoggerComponent[Any]:
        return COMPONENT

    @pytest.fixture
    def options(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"folder": str(tmp_path)}


def run_in(folder: Path, start_step: int = 0) -> RunInfo:
    return RunInfo(
        run_id="fcos-seed1",
        experiment="street",
        model="fcos",
        seed=1,
        folder=folder,
        class_names=("person",),
        device="cpu",
        precision="fp32",
        epochs=2,
        steps_per_epoch=5,
        start_step=start_step,
    )


def told(folder: Path, **options: Any) -> list[dict[str, Any]]:
    """What the logger writes of a run of two steps and an epoch."""
    logger = COMPONENT.build(LinesOptions(folder=folder, **options), BuildContext(run_id="fcos-seed1"))
    logger.start(run_in(folder))
    logger.log_metrics({"train/loss": 2.5}, step=1, epoch=1)
    logger.log_metrics({"train/loss": 2.0}, step=2, epoch=1)
    logger.log_metrics({"coco/ap": 0.25}, step=2, epoch=1)
    logger.close(Outcome("finished"))
    lines = (folder / "fcos-seed1.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_it_writes_a_line_for_each_event(tmp_path: Path) -> None:
    first, epoch, last = told(tmp_path)
    assert (first["event"], first["model"]) == ("start", "fcos")
    assert epoch == {"event": "metrics", "step": 2, "epoch": 1, "values": {"coco/ap": 0.25}}
    assert (last["event"], last["state"]) == ("end", "finished")


def test_steps_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    assert [entry.get("step") for entry in told(tmp_path, steps=True)] == [0, 1, 2, 2, None]


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.touch()
    logger = COMPONENT.build(LinesOptions(folder=file), BuildContext())
    with pytest.raises(LoggerRefused, match="cannot be written"):
        logger.start(run_in(tmp_path))
