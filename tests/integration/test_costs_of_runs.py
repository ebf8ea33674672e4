"""What models cost, measured in real runs: one protocol for all, whatever a foreign model makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import detkit
from detkit.record.reader import ExperimentRecord
from integration.experiments import EVERY_HOOK, RecordingDisplay, squares_spec, write_spec

PLUGIN = Path(__file__).with_name("failing.py")


@pytest.fixture(scope="module")
def told() -> RecordingDisplay:
    return RecordingDisplay()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, told: RecordingDisplay) -> ExperimentRecord:
    """Two models; torch's counter does not get through one of them."""
    folder = tmp_path_factory.mktemp("costs")
    spec = squares_spec(
        folder / "runs",
        plugins=[str(EVERY_HOOK), str(PLUGIN)],
        dataset={"split": {"validation": 5}},
        models={"centre_point": {}, "broken": {"way": "uncountable"}},
        train={"epochs": 1},
    )
    return detkit.run(write_spec(folder / "spec.toml", spec), display=told)


def costs(record: ExperimentRecord, name: str) -> dict[str, Any]:
    summary = record.run(name).summary
    assert summary is not None
    return dict(summary["costs"])


def test_sizes_and_flops(two: ExperimentRecord) -> None:
    found = costs(two, "centre_point")
    parameters = 16 * 3 * 25 + 16 + 2 * (16 * 16 * 9 + 16) + 16 * 5 + 5
    assert found["parameters"] == found["trained_parameters"] == parameters
    assert found["weights_bytes"] > 4 * parameters
    assert found["image"]["width"] == found["image"]["height"] == 64
    # 64 pixels at stride 4 and 8: 16 x 16 places, then 8 x 8.
    products = 16 * 16 * 16 * 3 * 25 + 2 * (8 * 8 * 16 * 16 * 9) + 8 * 8 * 16 * 5
    assert found["flops"] == 2 * products
    assert found["troubles"] == {}
    assert (found["precision"], found["threads"], found["device"]) == ("fp32", 1, "cpu")
    assert found["device_name"]


def test_latency_is_of_every_image_in_every_round(two: ExperimentRecord) -> None:
    measured = costs(two, "centre_point")["measured"]
    assert 0 < measured["latency_ms_median"] <= measured["latency_ms_p95"]
    assert (measured["latency_images"], measured["latency_measurements"]) == (5, 15)
    assert measured["train_ms_per_image"] > 0
    # The weights, and at least the image as it is normalised or the first features.
    assert measured["inference_memory_bytes"] > 4 * costs(two, "centre_point")["parameters"] + 4 * 16 * 16 * 16


def test_all_models_are_measured_on_the_same_images(two: ExperimentRecord) -> None:
    protocols = [costs(two, name)["protocol"] for name in ("centre_point", "broken")]
    assert protocols[0] == protocols[1]
    ids = protocols[0]["image_ids"]
    assert len(ids) == 5
    assert ids == sorted(ids)


def test_a_model_that_cannot_be_counted_has_no_flops_and_a_reason(
    two: ExperimentRecord, told: RecordingDisplay
) -> None:
    found = costs(two, "broken")
    assert two.run("broken").state == "finished"
    assert found["flops"] is None
    assert found["troubles"] == {"FLOPs": "RuntimeError: no counting here"}
    assert found["measured"]["latency_ms_median"] > 0
    (warning,) = [text for text in told.warnings if "FLOPs" in text]
    assert "no counting here" in warning
    assert "plugin 'failing'" in warning


def test_the_same_run_again_costs_the_same_but_for_what_is_measured(two: ExperimentRecord, tmp_path: Path) -> None:
    spec = squares_spec(tmp_path / "runs", dataset={"split": {"validation": 5}}, train={"epochs": 1})
    again = detkit.run(write_spec(tmp_path / "spec.toml", spec), display=RecordingDisplay()).runs[0]
    first, second = dict(two.run("centre_point").summary or {}), dict(again.summary or {})
    for summary in (first, second):
        del summary["measured"], summary["costs"]["measured"]
    assert first == second
