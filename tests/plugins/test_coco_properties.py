"""On generated data the arrays equal pycocotools' to the bit, for boxes and for masks; and so does what follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detkit.data.evaluated import EvaluatedImages
from detkit.data.targets import encode_masks
from detkit.data.types import RLE, Annotation, ImageInfo, Prediction
from detkit_coco import CocoOptions, Engine, matching
from detkit_coco.columns import Columns, Region, columns_of
from detkit_coco.counts import count_by_image
from detkit_coco.evaluators import Accumulated, evaluate
from detkit_coco.matching import match, near
from detkit_coco.per_image import numbers_by_image
from detkit_coco.resampling import Weighted
from detkit_coco.settings import Settings
from detkit_coco.summary import summarise
from plugins.coco_cases import Case, by_pycocotools

SETTINGS = Settings.of(CocoOptions())
HEIGHT, WIDTH = 110, 130
SLOW_IS_FINE = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass(frozen=True)
class Shape:
    """What a case is like; the numbers themselves come from the seed."""

    seed: int
    images: int
    classes: int
    objects: int
    detections: int
    grid: float
    decimals: int
    crowd: float
    flat: float


SHAPES = st.builds(
    Shape,
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(0, 30),
    classes=st.integers(1, 5),
    objects=st.integers(0, 8),
    detections=st.integers(0, 14),
    grid=st.sampled_from([0.0, 0.1, 1.0, 7.0]),
    decimals=st.sampled_from([0, 1, 2, 8]),
    crowd=st.sampled_from([0.0, 0.2, 1.0]),
    flat=st.sampled_from([0.0, 0.2]),
)


def case_of(shape: Shape) -> Case:
    """Images of all kinds: empty ones, crowds, ties, boxes without area, objects of all sizes, repeated detections."""
    rng = np.random.default_rng(shape.seed)
    truths, predictions = [], []
    for image_id in rng.permutation(10_000)[: shape.images].tolist():
        objects = boxes_of(rng, int(rng.integers(0, shape.objects + 1)), shape)
        labels = rng.integers(1, shape.classes + 1, len(objects))
        masks = masks_of(rng, objects)
        areas = rng.choice([0.0, 100.0, 1024.0, 2000.0, 9216.0, 12000.0], len(objects)).tolist()
        annotations = tuple(
            Annotation(int(label), tuple(box), area, bool(rng.random() < shape.crowd), mask)
            for label, box, area, mask in zip(labels, objects.tolist(), areas, masks, strict=True)
        )
        count = int(rng.integers(0, shape.detections + 1))
        found = boxes_of(rng, count, shape)
        kinds = rng.integers(1, shape.classes + 1, count)
        near = rng.random(count) < (0.7 if len(objects) else 0.0)
        copied = rng.integers(0, max(len(objects), 1), count)
        found[near] = nudged(rng, objects[copied[near]], shape)
        kinds[near] = labels[copied[near]]
        scores = np.round(rng.random(count), shape.decimals)
        truths.append(ImageInfo(image_id, None, WIDTH, HEIGHT, annotations))
        predictions.append(Prediction(image_id, found, kinds.astype(np.int64), scores, masks_of(rng, found)))
    return Case(tuple(f"class {k}" for k in range(1, shape.classes + 1)), predictions, truths)


def boxes_of(rng: np.random.Generator, count: int, shape: Shape) -> Any:
    corners = rng.uniform(0, [WIDTH - 1, HEIGHT - 1], (count, 2))
    sizes = rng.choice([5.0, 30.0, 90.0], (count, 1)) * rng.uniform(0.6, 1.4, (count, 2))
    sizes[rng.random(count) < shape.flat, 0] = 0.0
    return gridded(np.concatenate([corners, np.minimum(corners + sizes, [WIDTH, HEIGHT])], axis=1), shape)


def nudged(rng: np.random.Generator, boxes: Any, shape: Shape) -> Any:
    moved = boxes + rng.normal(0, rng.choice([0.0, 2.0, 8.0]), boxes.shape)
    moved = np.concatenate([np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])], axis=1)
    return gridded(moved.clip(0, [WIDTH, HEIGHT, WIDTH, HEIGHT]), shape)


def gridded(boxes: Any, shape: Shape) -> Any:
    return np.round(boxes / shape.grid) * shape.grid if shape.grid else boxes


def masks_of(rng: np.random.Generator, boxes: Any) -> list[RLE]:
    masks = np.zeros((len(boxes), HEIGHT, WIDTH), dtype=np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
        mask[y0:y1, x0:x1] = 1
        mask[y0 : y0 + int(rng.integers(0, 5)), x0:x1] = 0
    return encode_masks(masks)


def columns(case: Case, region: Region) -> Columns:
    images = EvaluatedImages(case.class_names)
    images.add(case.predictions, case.truths)
    return columns_of(images.ordered(), len(case.class_names), region)


def oracle(case: Case, region: Region) -> Any:
    """pycocotools' arrays, by its own loader; it refuses an empty list of results, so that those cases have none."""
    return by_pycocotools(case, region).eval if any(len(p) for p in case.predictions) else None


@pytest.mark.parametrize("region", ["bbox", "segm"])
@SLOW_IS_FINE
@given(shape=SHAPES)
def test_every_array_equals_pycocotools(region: Region, shape: Shape) -> None:
    case = case_of(shape)
    expected, data = oracle(case, region), columns(case, region)
    by_engine: dict[Engine, Accumulated] = {
        engine: evaluate(engine, data, SETTINGS) for engine in ("hotcoco", "pycocotools", "faster_coco_eval")
    }
    for name in ("precision", "scores", "recall"):
        ours = {engine: getattr(result, name) for engine, result in by_engine.items()}
        np.testing.assert_array_equal(ours["hotcoco"], ours["pycocotools"], err_msg=name)
        # It divides by right and wrong alone; pycocotools adds 2.2e-16 to them first.
        np.testing.assert_allclose(ours["faster_coco_eval"], ours["pycocotools"], rtol=0, atol=3e-16, err_msg=name)
        if expected is not None:
            np.testing.assert_array_equal(ours["pycocotools"], expected[name], err_msg=name)


@pytest.mark.parametrize("region", ["bbox", "segm"])
@SLOW_IS_FINE
@given(shape=SHAPES)
def test_our_matches_accumulate_to_the_same_arrays(region: Region, shape: Shape) -> None:
    data = columns(case_of(shape), region)
    expected = evaluate("pycocotools", data, SETTINGS)
    matches = match(near(data, 0.5, 100), SETTINGS.ious, SETTINGS.bounds)
    weighted = Weighted(data, matches, {"": count_by_image(data, matches, 0.5)}, SETTINGS)
    precision, recall = weighted.curves.at(np.ones(len(data.images)), SETTINGS.recalls)
    np.testing.assert_array_equal(precision, expected.precision[..., 0, -1])
    np.testing.assert_array_equal(recall, expected.recall[..., 0, -1])


@pytest.mark.parametrize("wide", [0, 1, 2])
@settings(SLOW_IS_FINE, max_examples=40)
@given(shape=SHAPES)
def test_detections_with_many_options_choose_as_all_others_do(wide: int, shape: Shape) -> None:
    data = columns(case_of(shape), "bbox")
    pairs = near(data, 0.1, 100)
    together = match(pairs, SETTINGS.ious, SETTINGS.bounds)
    with patch.object(matching, "WIDE", wide):
        apart = match(pairs, SETTINGS.ious, SETTINGS.bounds)
    np.testing.assert_array_equal(apart.partner, together.partner)
    np.testing.assert_array_equal(apart.iou, together.iou)


@pytest.mark.parametrize("region", ["bbox", "segm"])
@settings(SLOW_IS_FINE, max_examples=25)
@given(shape=SHAPES)
def test_each_image_has_the_numbers_of_an_evaluation_of_its_own(region: Region, shape: Shape) -> None:
    data = columns(case_of(shape), region)
    numbers = numbers_by_image(data, match(near(data, 0.5, 100), SETTINGS.ious, SETTINGS.bounds), SETTINGS)
    for place, image in enumerate(data.images):
        alone = columns_of([image], data.classes, region)
        expected = summarise(evaluate("pycocotools", alone, SETTINGS), SETTINGS)
        assert list(numbers) == list(expected)
        for name, value in expected.items():
            # Summed by steps of the curve, not over 101 recalls: the last bits may differ.
            assert numbers[name][place] == pytest.approx(-1 if value is None else value, abs=1e-14), name


@settings(SLOW_IS_FINE, max_examples=50)
@given(shape=SHAPES, draw=st.integers(0, 2**32 - 1))
def test_a_resample_has_the_numbers_of_an_evaluation_of_repeated_images(shape: Shape, draw: int) -> None:
    case = case_of(shape)
    # Without ties: among equal scores of one image, copies side by side and copies of the image are in another order.
    rng = np.random.default_rng(draw)
    distinct = [Prediction(p.image_id, p.boxes, p.labels, rng.random(len(p)), p.masks) for p in case.predictions]
    data = columns(Case(case.class_names, distinct, case.truths), "bbox")
    count = len(data.images)
    weights = np.bincount(rng.integers(0, max(count, 1), count), minlength=count)
    repeated = [image for image, times in zip(data.images, weights, strict=True) for _ in range(times)]
    expected = summarise(evaluate("hotcoco", columns_of(repeated, data.classes, "bbox"), SETTINGS), SETTINGS)
    matches = match(near(data, 0.5, 100), SETTINGS.ious, SETTINGS.bounds)
    weighted = Weighted(data, matches, {"": count_by_image(data, matches, 0.5)}, SETTINGS)
    found = weighted({i.truth.image_id: float(times) for i, times in zip(data.images, weights, strict=True)})
    for name in ("ap", "ap50", "ap75", "ar100"):
        assert found[name] == expected[name], name


def test_the_cases_reach_what_they_are_for() -> None:
    shapes = [Shape(seed, 20, 3, 8, 14, 7.0, 1, 0.2, 0.2) for seed in range(3)]
    cases = [case_of(shape) for shape in shapes]
    boxes = np.concatenate([p.boxes for case in cases for p in case.predictions])
    assert (boxes[:, 0] == boxes[:, 2]).any(), "boxes without area"
    assert any(not t.annotations for case in cases for t in case.truths), "empty images"
    assert any(a.iscrowd for case in cases for t in case.truths for a in t.annotations), "crowds"
    for case in cases:
        values = summarise(evaluate("hotcoco", columns(case, "segm"), SETTINGS), SETTINGS)
        assert all(values.values()), "objects of all sizes are found"
        scores = np.concatenate([p.scores for p in case.predictions])
        assert len(np.unique(scores)) < len(scores), "ties"
