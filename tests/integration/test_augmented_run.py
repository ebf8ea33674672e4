"""A run with `[augment]`: which images it changes, what the record says, and what a changed spec is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import detkit
from detkit.engine.display import SilentDisplay
from detkit.errors import RecordError
from integration.experiments import EVERY_HOOK, squares_spec, write_spec

WITNESS = """
from typing import Any

from pydantic import Field

from detkit import OptionPath, Options, TransformComponent, hookimpl


class WitnessOptions(Options):
    file: OptionPath = Field(description="gets a line for each image that is seen or fetched")


class Witness:
    def __init__(self, options: WitnessOptions) -> None:
        self._file = options.file

    def __call__(self, image: Any, target: Any, draw: Any) -> Any:
        _, other = draw.another()
        with self._file.open("a") as stream:
            stream.write(f"{target['image_id']} {other['image_id']} {len(draw.pool)}\\n")
        return image, target


@hookimpl
def detkit_transforms() -> list[Any]:
    return [TransformComponent("witness", WitnessOptions, lambda options, context: Witness(options))]
"""


def spec_file(folder: Path, **augment: Any) -> Path:
    (folder / "witness.py").write_text(WITNESS)
    spec = squares_spec(
        folder / "runs",
        train={"group_by_aspect": True},
        augment={"flip": {}, "witness": {"file": "seen"}, **augment},
    )
    return write_spec(folder / "spec.toml", {**spec, "plugins": [str(EVERY_HOOK), "witness.py"]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("augmented")
    record = detkit.run(spec_file(folder), display=SilentDisplay())
    assert record.runs[0].state == "finished"
    return folder


def test_training_images_are_changed_and_no_others(folder: Path) -> None:
    """Neither validation, nor the sanity check before training, nor the measurement of costs."""
    record = detkit.open_record(folder / "runs" / "small")
    splits = json.loads(record.files.splits.read_text())
    training = {row["image_id"] for row in splits["train"]}
    rows = [[int(number) for number in line.split()] for line in (folder / "seen").read_text().splitlines()]
    assert len(rows) == 2 * len(training)  # two epochs
    assert {seen for seen, _, _ in rows} == training
    assert {fetched for _, fetched, _ in rows} <= training
    assert {size for _, _, size in rows} == {len(training)}


def test_the_record_has_the_chain_and_its_order(folder: Path) -> None:
    spec = detkit.open_record(folder / "runs" / "small").runs[0].facts["spec"]
    assert spec["augment_in_order"] == ["flip", "witness"]
    assert spec["augment"]["flip"] == {"use": "flip", "enabled": True, "horizontal": 0.5, "vertical": 0.0}
    assert spec["augment"]["witness"]["file"] == str(folder / "seen")


def test_a_changed_chain_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(folder / "runs")
    same = {"file": str(folder / "seen")}
    for augment, named in (
        ({"flip": {"vertical": 0.5}, "witness": same}, "augment.flip.vertical: 0.0 before, 0.5 now"),
        ({"witness": same, "blur": {}}, "augment.blur: None before"),
    ):
        with pytest.raises(RecordError, match=named):
            detkit.run(spec_file(tmp_path, **augment), display=SilentDisplay())
    off = {"witness": same, "blur": {"enabled": False}}
    detkit.run(spec_file(tmp_path, **off), display=SilentDisplay())  # nothing is left to do
