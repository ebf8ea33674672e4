"""Objects and detections as Comet's layers: values by hand, and everything through the client's own validator."""

from __future__ import annotations

import copy
import json
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.data.types import Annotation, ImageInfo
from detkit_comet.annotations import box_ious, drawn_truth, layers, surest
from detkit_comet.client import load_client
from plugins.drawn_record import CLASSES, rectangle, row, thing


@pytest.fixture(autouse=True)
def quiet_client() -> None:
    """The client must be imported without patching torch, here as anywhere."""
    if find_spec("comet_ml"):
        load_client()


def truth(*objects: Annotation, width: int = 100, height: int = 80) -> ImageInfo:
    return ImageInfo(7, None, width, height, objects)


def sent(info: ImageInfo, *rows: dict[str, Any], **more: Any) -> dict[str, list[dict[str, Any]]]:
    """Layers by name, after the client's validator has taken them."""
    annotations = layers(drawn_truth(info, CLASSES, **more), rows).annotations
    assert_valid(annotations)
    return {layer["name"]: layer["data"] for layer in annotations}


def assert_valid(annotations: list[Any]) -> None:
    pytest.importorskip("comet_ml")
    from comet_ml.validation.image.annotation_validator import ImageAnnotationValidator
    from comet_ml.validation.image.annotation_validator_helpers import validate_points

    result = ImageAnnotationValidator(annotations).validate()
    assert result, result.failure_reasons
    for annotation in (item for layer in annotations for item in layer["data"]):
        if "points" in annotation:  # beside boxes the client itself does not look at them
            assert validate_points(annotation["points"])  # true where nothing failed
    assert_plain(annotations)


def assert_plain(value: Any) -> None:
    """Nothing but JSON's own types: a numpy number passes some of the client's checks and fails others."""
    assert type(value) in (dict, str, float, int, bool) or isinstance(value, list), repr(value)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_plain(inner)


def test_a_hit_a_miss_and_a_wrong_class() -> None:
    found = sent(
        truth(thing(1, (10, 10, 20, 20)), thing(2, (50, 10, 10, 10))),
        row(7, 1, (10, 10, 20, 10), 0.98765),
        row(7, 1, (50, 10, 10, 10), 0.5),
    )
    assert found == {
        "Ground truth": [
            {"label": "cat", "score": 100.0, "boxes": [[10.0, 10.0, 20.0, 20.0]], "metadata": {"iou": 0.5}},
            {"label": "dog", "score": 100.0, "boxes": [[50.0, 10.0, 10.0, 10.0]], "metadata": {"iou": 0.0}},
        ],
        "Predictions": [
            {"label": "cat", "score": 98.77, "boxes": [[10.0, 10.0, 20.0, 10.0]], "metadata": {"iou": 0.5}},
            {"label": "cat", "score": 50.0, "boxes": [[50.0, 10.0, 10.0, 10.0]], "metadata": {"iou": 0.0}},
        ],
    }


def test_layers_that_would_be_empty_are_left_out() -> None:
    assert sent(truth()) == {}
    assert list(sent(truth(thing(1, (1, 1, 2, 2))))) == ["Ground truth"]
    assert list(sent(truth(), row(7, 1, (1, 1, 2, 2), 0.5))) == ["Predictions"]


def test_facts() -> None:
    info = truth(thing(1, (10, 10, 20, 20)), thing(2, (50, 10, 10, 10)), thing(1, (0, 40, 90, 40), crowd=True))
    rows = [row(7, 1, (10, 10, 20, 10), 0.9), row(7, 1, (50, 10, 10, 10), 0.5), row(7, 1, (5, 45, 10, 10), 0.4)]
    assert layers(drawn_truth(info, CLASSES), rows).facts == {
        "objects": 2,
        "missed": 1,
        "detections": 3,
        "unmatched": 1,
        "iou_of": "boxes",
    }
    assert layers(drawn_truth(truth(), CLASSES), []).facts["detections"] == 0


def test_crowds() -> None:
    info = truth(thing(1, (0, 40, 90, 40), crowd=True))
    inside, half_out, other = (5, 45, 10, 10), (5, 31, 10, 10), (5, 45, 10, 10)
    found = sent(info, row(7, 1, inside, 0.9), row(7, 1, half_out, 0.8), row(7, 2, other, 0.7))
    assert [item["metadata"] for item in found["Predictions"]] == [
        {"iou": 0.0, "in_crowd": True},
        {"iou": 0.0},
        {"iou": 0.0},
    ]
    assert found["Ground truth"][0]["metadata"] == {"iou": 1.0, "crowd": True}


def test_masks_give_the_iou_and_stand_beside_the_boxes() -> None:
    one, other = rectangle(80, 100, (10, 10, 20, 20)), rectangle(80, 100, (10, 10, 20, 5))
    info = truth(thing(1, (10, 10, 20, 20), mask=one))
    found = sent(info, row(7, 1, (10, 10, 20, 20), 0.9, other))
    (detection,), (object_,) = found["Predictions"], found["Ground truth"]
    assert detection["metadata"] == object_["metadata"] == {"iou": 0.25}
    assert detection["boxes"] == [[10.0, 10.0, 20.0, 20.0]]
    assert detection["points"] == [[10.0, 10.0, 10.0, 15.0, 30.0, 15.0, 30.0, 10.0]]
    assert layers(drawn_truth(info, CLASSES), [row(7, 1, (10, 10, 20, 20), 0.9, other)]).facts["iou_of"] == "masks"


def test_where_only_some_have_masks_the_boxes_are_compared() -> None:
    mask = rectangle(80, 100, (10, 10, 20, 5))
    info = truth(thing(1, (10, 10, 20, 20)))
    found = sent(info, row(7, 1, (10, 10, 20, 20), 0.9, mask))
    assert found["Predictions"][0]["metadata"] == {"iou": 1.0}
    assert "points" in found["Predictions"][0]
    assert "points" not in found["Ground truth"][0]


def test_an_empty_mask_has_no_points() -> None:
    empty = rectangle(80, 100, (0, 0, 0, 0))
    found = sent(
        truth(), row(7, 1, (1, 1, 2, 2), 0.5, empty), row(7, 1, (1, 1, 1, 1), 0.4, rectangle(80, 100, (1, 1, 1, 1)))
    )
    assert "points" not in found["Predictions"][0]
    assert found["Predictions"][1]["points"] == [[1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 1.0]]


def test_the_pictures_pixels() -> None:
    mask = rectangle(80, 100, (10, 10, 20, 20))
    found = sent(
        truth(thing(1, (10, 10, 20, 20), mask=mask)), row(7, 1, (10, 10, 20, 20), 0.5, mask), scale=(0.5, 0.25)
    )
    for item in (found["Predictions"][0], found["Ground truth"][0]):
        assert item["boxes"] == [[5.0, 2.5, 10.0, 5.0]]
        assert item["points"] == [[5.0, 2.5, 5.0, 7.5, 15.0, 7.5, 15.0, 2.5]]
    assert found["Predictions"][0]["metadata"] == {"iou": 1.0}


def test_the_tolerance_is_of_the_pictures_pixels() -> None:
    from detkit.data.targets import encode_masks

    y, x = np.mgrid[:80, :100]
    mask = encode_masks((np.hypot(y - 40, x - 50) < 30).astype(np.uint8)[None])[0]
    points = [
        len(
            sent(truth(), row(7, 1, (1, 1, 2, 2), 0.5, mask), scale=(scale, scale), tolerance=1.0)["Predictions"][0][
                "points"
            ][0]
        )
        for scale in (4.0, 1.0, 0.25)
    ]
    assert points[0] > points[1] > points[2]


def test_the_surest_detections() -> None:
    rows = [row(7, 1, (0, 0, 1, 1), score) for score in (0.04, 0.05, 0.9, 0.3)]
    assert [item["score"] for item in surest(rows, 100)] == [0.9, 0.3, 0.05, 0.04]
    assert [item["score"] for item in surest(rows, 2)] == [0.9, 0.3]


def test_the_clients_copy_is_the_list_itself() -> None:
    annotations = layers(drawn_truth(truth(thing(1, (1, 1, 2, 2))), CLASSES), []).annotations
    assert copy.deepcopy({"annotations": annotations})["annotations"] is annotations
    assert json.loads(json.dumps(annotations)) == annotations


SIDES = st.floats(0, 30).map(lambda value: round(value, 3))
BOXES = st.tuples(st.floats(0, 60), st.floats(0, 40), SIDES, SIDES)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(BOXES, st.booleans()), max_size=5), st.lists(BOXES, max_size=6))
def test_overlaps_are_cocos(objects: list[tuple[tuple[float, ...], bool]], found: list[tuple[float, ...]]) -> None:
    from pycocotools import mask as coco_mask

    boxes = np.array(found).reshape(-1, 4)
    others = np.array([box for box, _ in objects]).reshape(-1, 4)
    crowd = np.array([flag for _, flag in objects], dtype=np.bool_)
    ours = box_ious(boxes, others, crowd)
    assert ours.shape == (len(found), len(objects))
    if ours.size:
        theirs = np.nan_to_num(coco_mask.iou(boxes, others, crowd.astype(np.uint8).tolist()))
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


LABELS = st.integers(1, len(CLASSES))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(LABELS, BOXES, st.booleans()), max_size=4),
    st.lists(st.tuples(LABELS, BOXES, st.floats(0, 1)), max_size=5),
    st.booleans(),
)
def test_whatever_is_there_the_client_takes_it(objects: Any, found: Any, masks: bool) -> None:
    def mask(box: tuple[float, ...]) -> Any:
        return rectangle(80, 100, [int(value) for value in box]) if masks else None

    info = truth(*(thing(label, box, mask=mask(box), crowd=crowd) for label, box, crowd in objects))
    rows = [row(7, label, box, score, mask(box)) for label, box, score in found]
    layered = sent(info, *rows, scale=(0.3, 0.31), tolerance=1.0)
    assert len(layered.get("Ground truth", [])) == len(objects)
    assert len(layered.get("Predictions", [])) == len(found)
    for item in (item for layer in layered.values() for item in layer):
        assert 0 <= item["metadata"]["iou"] <= 1
        assert 0 <= item["score"] <= 100


def test_more_masks_than_a_byte_counts() -> None:
    masks = [rectangle(80, 100, (index % 90, 5, 8, 8)) for index in range(300)]
    info = truth(*(thing(1, (0, 5, 8, 8), mask=mask) for mask in masks))
    rows = [row(7, 1, (0, 5, 8, 8), 0.5, mask) for mask in masks]
    found = sent(info, *rows)
    assert [item["metadata"]["iou"] for item in found["Predictions"]] == [1.0] * 300
