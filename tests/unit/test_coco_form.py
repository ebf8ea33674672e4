"""What the record holds in COCO's form is read back as it was written, to the last bit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detkit.data.coco_form import (
    coco_boxes,
    ground_truth_json,
    predictions_json,
    read_ground_truth,
    read_predictions,
)
from detkit.data.targets import encode_masks
from detkit.data.types import RLE, Annotation, ImageInfo, Prediction


def through_json(content: Any) -> Any:
    return json.loads(json.dumps(content, allow_nan=False))


def prediction(image_id: int, corners: list[tuple[float, float, float, float]], **more: Any) -> Prediction:
    count = len(corners)
    return Prediction(
        image_id=image_id,
        boxes=np.array(corners, dtype=np.float32).reshape(-1, 4),
        labels=np.arange(1, count + 1),
        scores=np.linspace(0.1, 0.9, count, dtype=np.float32),
        **more,
    )


def assert_same(found: Prediction, wanted: Prediction) -> None:
    assert found.image_id == wanted.image_id
    for name in ("boxes", "labels", "scores"):
        one, other = getattr(found, name), getattr(wanted, name)
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    assert coco_boxes(found).tobytes() == coco_boxes(wanted).tobytes()
    assert found.masks == wanted.masks


side = st.floats(0, 5000, width=32)
point = st.floats(-100, 5000, width=32)


@given(st.lists(st.tuples(point, point, side, side), max_size=5))
def test_predictions_come_back_to_the_bit(found: list[tuple[float, float, float, float]]) -> None:
    corners = [(x, y, float(np.float32(x + w)), float(np.float32(y + h))) for x, y, w, h in found]
    given = [prediction(4, corners), prediction(2, []), prediction(9, corners[:1])]
    back = read_predictions(through_json(predictions_json(given)), [4, 2, 9])
    for one, other in zip(back, given, strict=True):
        assert_same(one, other)


def test_a_model_that_gives_masks_gives_none_for_an_image_without_detections() -> None:
    pixels = np.zeros((2, 6, 8), dtype=np.uint8)
    pixels[0, 1:3, 2:5] = pixels[1, 4:, :] = 1
    masked = prediction(1, [(2, 1, 5, 3), (0, 4, 8, 6)], masks=encode_masks(pixels))
    empty = prediction(2, [], masks=[])
    back = read_predictions(through_json(predictions_json([masked, empty])), [1, 2])
    assert_same(back[0], masked)
    assert back[1].masks == []


def test_a_prediction_of_another_image_is_no_part_of_it() -> None:
    rows = predictions_json([prediction(3, [(0, 0, 1, 1)])])
    with pytest.raises(KeyError):
        read_predictions(rows, [1, 2])


@given(st.lists(st.tuples(*[st.floats(0, 5000)] * 4, st.floats(0, 1e7), st.booleans()), max_size=4))
def test_ground_truth_comes_back_to_the_bit(objects: list[tuple[float, float, float, float, float, bool]]) -> None:
    """Also where x + (x1 - x) is not x1."""
    mask = RLE(size=[60, 80], counts="abc")
    annotations = tuple(
        Annotation(2 - n % 2, (x, y, x + w, y + h), area, crowd, mask if n else None)
        for n, (x, y, w, h, area, crowd) in enumerate(objects)
    )
    given = [ImageInfo(7, None, 80, 60, annotations, "b.png"), ImageInfo(3, None, 8, 6, (), "a.png")]
    infos, class_names = read_ground_truth(through_json(ground_truth_json(given, ("dog", "ant"))))
    assert class_names == ("dog", "ant")
    assert [replace(info, annotations=()) for info in infos] == [replace(info, annotations=()) for info in given]
    for one, other in zip(infos[0].annotations, annotations, strict=True):
        assert replace(one, bbox=None) == other
        assert one.coco_box == other.coco_box


def test_corners_that_width_and_height_lose_are_written_beside_them() -> None:
    x0, x1 = 0.2, 0.9
    assert x0 + (x1 - x0) != x1
    info = ImageInfo(1, None, 8, 6, (Annotation(1, (x0, 0.0, x1, 1.0), 1.0), Annotation(1, (0.0, 0.0, 2.0, 1.0), 2.0)))
    content = ground_truth_json([info], ("a",))
    assert [row.get("corners") for row in content["annotations"]] == [[x0, 0.0, x1, 1.0], None]
    stated = replace(info, annotations=(Annotation(1, (0.2, 0.0, 0.2 + 0.7, 1.0), 1.0, bbox=(0.2, 0.0, 0.7, 1.0)),))
    assert "corners" not in ground_truth_json([stated], ("a",))["annotations"][0]
