"""The trap of comparing models at one learning rate: FCOS explodes at a rate that Faster R-CNN bears."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import detkit
from detkit.record.reader import RunRecord
from integration.experiments import RecordingDisplay, squares_spec, write_spec

#: SGD at a rate that is high for these images, one at a time, with nothing that holds it: no warm-up, no clipping.
STEEP = {
    "optimizer": "sgd",
    "lr": 0.05,
    "batch_size": 1,
    "schedule": "constant",
    "warmup_steps": 0,
    "clip_norm": float("inf"),
    "validation_loss": False,
}


def train(folder: Path, model: str, **recipe: Any) -> RunRecord:
    spec = squares_spec(folder / "runs", input={"min_size": 64, "max_size": 64}, train={**STEEP, **recipe})
    spec["models"] = {model: {"backbone": "tiny_fpn", "weights": "none"}}
    return detkit.run(write_spec(folder / "spec.toml", spec), display=RecordingDisplay()).runs[0]


@pytest.mark.slow
def test_faster_rcnn_bears_the_rate(tmp_path: Path) -> None:
    run = train(tmp_path, "faster_rcnn", epochs=1)
    losses = [row["loss"] for row in run.steps()]
    assert run.state == "finished"
    assert max(losses) < 3 * losses[0]


def test_fcos_explodes_and_is_named(tmp_path: Path) -> None:
    run = train(tmp_path, "fcos", explosion=8.0)
    assert run.state == "failed"
    named = re.search(
        r"the loss is \S+, \d+ times the median of the steps before it \(\S+\); classification is \S+ in step (\d+),"
        r" epoch \d; the images are image \d+; lower \[models\.fcos\.train\] lr \(now 0\.05\)",
        (run.failure or {})["message"],
    )
    assert named is not None, run.failure
    assert int(named.group(1)) <= 24
    assert run.files.incident(int(named.group(1))).is_file()


def test_fcos_goes_back_and_finishes_at_half_the_rate(tmp_path: Path) -> None:
    run = train(tmp_path, "fcos", explosion=8.0, on_nonfinite="rollback")
    assert run.state == "finished"
    assert (run.summary or {})["guard"]["rollbacks"] >= 1
    losses = [row["loss"] for row in run.steps()]
    assert len(losses) == 24
    assert max(losses) < 20, losses  # the one that was refused is above 30
    weights = torch.load(run.files.last, weights_only=True)["model"]
    assert all(bool(torch.isfinite(value).all()) for value in weights.values() if value.is_floating_point())
