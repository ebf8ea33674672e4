"""The five families in one experiment: trained, evaluated, what each costs recorded, and used on a new image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import detkit
from detkit.engine.display import SilentDisplay
from detkit.record.reader import ExperimentRecord
from integration.experiments import EVERY_HOOK, write_spec

FAMILIES = ("fast_rcnn", "faster_rcnn", "mask_rcnn", "retinanet", "fcos")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> ExperimentRecord:
    folder = tmp_path_factory.mktemp("five")
    spec: dict[str, Any] = {
        "plugins": [str(EVERY_HOOK)],
        "experiment": {"name": "five", "output": str(folder / "runs")},
        "dataset": {"use": "synthetic", "images": 8, "width": 96, "height": 64, "split": {"validation": 2}},
        "input": {"min_size": 64, "max_size": 96},
        "compute": {"device": "cpu", "precision": "fp32", "threads": 1, "offline": True},
        "train": {"epochs": 1, "batch_size": 2},
        "models": {family: {"backbone": "tiny_fpn", "score_threshold": 0.0} for family in FAMILIES},
        "metrics": {"coco": {}},
    }
    return detkit.run(write_spec(folder / "five.toml", spec), display=SilentDisplay())


@pytest.mark.parametrize("family", FAMILIES)
def test_it_trains_evaluates_and_says_what_it_costs(record: ExperimentRecord, family: str) -> None:
    run = record.run(f"{family}-seed1")
    assert run.state == "finished", run.failure
    summary = run.summary
    assert summary is not None
    (epoch,) = run.epochs()
    assert all(math.isfinite(row["loss"]) for row in run.steps())
    assert math.isfinite(epoch["values"]["validation/loss"])
    assert "coco/ap" in epoch["values"]
    costs = summary["costs"]
    assert costs["parameters"] > 100_000
    assert costs["flops"] > 0
    assert 0 < costs["measured"]["latency_ms_median"] <= costs["measured"]["latency_ms_p95"]


@pytest.mark.parametrize("family", FAMILIES)
def test_it_finds_something_in_a_new_image(record: ExperimentRecord, family: str) -> None:
    detector = detkit.load_detector(record.run(f"{family}-seed1"), score_threshold=0.0)
    image = torch.rand(3, 70, 110, generator=torch.Generator().manual_seed(0))
    found = detector(image)
    assert len(found) > 0
    assert set(found.names) <= set(record.run(f"{family}-seed1").facts["class_names"])
    assert np.all(found.boxes >= 0)
    assert np.all(found.boxes[:, [0, 2]] <= 110 + 1e-3)
    assert (found.masks is not None) == (family == "mask_rcnn")
    again = detkit.load_detector(record.run(f"{family}-seed1"), score_threshold=0.0)(image)
    assert np.array_equal(found.boxes, again.boxes)
