"""What `detkit predict` writes fits together, wherever it is stopped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from detkit.predict.detections import Detections
from detkit.predict.results import ResultsWriter

FOUND = Detections(
    boxes=np.array([[1, 2, 3, 5], [0, 0, 4, 4]], np.float32),
    labels=np.array([1, 2], np.int64),
    scores=np.array([0.75, 0.5], np.float32),
    names=("car", "dog"),
    width=8,
    height=6,
)


def test_results_in_cocos_form(tmp_path: Path) -> None:
    writer = ResultsWriter(tmp_path, ("car", "dog"))
    writer.add(Path("a.png"), FOUND, tmp_path / "pictures" / "a.jpg")
    writer.close()
    assert json.loads((tmp_path / "predictions.json").read_text()) == [
        {"image_id": 1, "category_id": 1, "bbox": [1, 2, 2, 3], "score": 0.75},
        {"image_id": 1, "category_id": 2, "bbox": [0, 0, 4, 4], "score": 0.5},
    ]
    content = json.loads((tmp_path / "images.json").read_text())
    assert content["images"] == [{"id": 1, "file_name": "a.png", "width": 8, "height": 6, "picture": "pictures/a.jpg"}]
    assert content["categories"] == [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}]


def test_an_image_that_was_cut_short_is_in_none_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ResultsWriter(tmp_path, ("car", "dog"))
    writer.add(Path("a.png"), FOUND, None)
    dumps, calls = json.dumps, iter([True, False])

    def interrupted(row: object, **options: object) -> str:
        if not next(calls, True):
            raise KeyboardInterrupt
        return dumps(row, **options)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(json, "dumps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writer.add(Path("b.png"), FOUND, None)
    writer.close()
    assert [row["image_id"] for row in json.loads((tmp_path / "predictions.json").read_text())] == [1, 1]
    assert [row["file_name"] for row in json.loads((tmp_path / "images.json").read_text())["images"]] == ["a.png"]


def test_a_name_that_is_no_unicode_can_be_written_and_read(tmp_path: Path) -> None:
    name = b"\xff.png".decode("utf-8", "surrogateescape")  # as Python shows such a file's name
    writer = ResultsWriter(tmp_path, ("car", "dog"))
    writer.add(Path(name), FOUND, None)
    writer.close()
    assert json.loads((tmp_path / "images.json").read_text(encoding="utf-8"))["images"][0]["file_name"] == name
