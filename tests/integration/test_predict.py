"""A trained detector, loaded from its record and called on images."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import detkit
from detkit.data.coco_form import predictions_json
from detkit.record.files import read_json, read_json_gz
from detkit.record.reader import ExperimentRecord
from detkit.spec.loader import load_spec

RUN = "centre_point-seed1"


@pytest.fixture
def copied(small: ExperimentRecord, tmp_path: Path) -> ExperimentRecord:
    """The experiment, to be damaged."""
    return detkit.open_record(shutil.copytree(small.folder, tmp_path / "small"))


def squares(small: ExperimentRecord, split: str) -> dict[int, torch.Tensor]:
    """Image id to pixels of a split's images."""
    spec = load_spec(small.files.spec)
    dataset = spec.dataset.offered.component.build(spec.dataset.options, detkit.BuildContext())
    return {row["image_id"]: dataset[row["index"]][0] for row in read_json(small.files.splits)[split]}


def test_a_loaded_detector_predicts_what_the_record_says(small: ExperimentRecord, tmp_path: Path) -> None:
    detector = detkit.load_detector(small.run(RUN), score_threshold=0.0)
    rows = []
    for image_id, pixels in sorted(squares(small, "validation").items()):
        file = tmp_path / f"{image_id}.png"
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file)
        rows += predictions_json([detector(file).prediction(image_id)])
    recorded = read_json_gz(small.run(RUN).files.predictions("validation"))
    assert len(rows) == len(recorded) == 20
    assert rows == recorded
