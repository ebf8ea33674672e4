"""The numbers themselves: pycocotools, used as its own examples use it, is the oracle; torchmetrics the second one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detkit import BuildContext, Metric, MetricResult
from detkit.data.targets import encode_masks
from detkit.data.types import RLE, Annotation, ImageInfo, Prediction
from detkit_coco import CocoOptions, build_coco
from detkit_torchmetrics import TorchmetricsOptions, build_torchmetrics

KEYS = ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"]
KEYS += ["ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"]
TORCHMETRICS_KEYS = ["map", "map_50", "map_75", "map_small", "map_medium", "map_large"]
TORCHMETRICS_KEYS += ["mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large"]
HEIGHT, WIDTH = 150, 190

Engine = Literal["hotcoco", "pycocotools"]


@dataclass(frozen=True)
class Case:
    class_names: tuple[str, ...]
    predictions: list[Prediction]
    truths: list[ImageInfo]

    @property
    def context(self) -> BuildContext:
        return BuildContext(class_names=self.class_names)

    def evaluated_by(self, metric: Metric) -> MetricResult:
        metric.update(self.predictions, self.truths)
        return metric.compute()


def generated_case(seed: int) -> Case:
    """Images of all kinds: empty, crowded, without detections, with ties in score and in IoU, absent classes."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(1, 5))
    grid = float(rng.choice([0.0, 4.0, 10.0]))
    predictions, truths = [], []
    for image_id in rng.permutation(1000)[: int(rng.integers(1, 9))].tolist():
        objects = some_boxes(rng, int(rng.choice([0, 1, 3, 6])), grid)
        labels = rng.integers(1, max(classes, 2), len(objects))
        masks = some_masks(rng, objects)
        annotations = tuple(
            Annotation(int(label), (box[0], box[1], box[2], box[3]), area, bool(rng.random() < 0.15), mask)
            for label, box, area, mask in zip(
                labels, objects.tolist(), rng.uniform(1, 15000, len(objects)).tolist(), masks, strict=True
            )
        )
        copies = rng.integers(0, len(objects), int(rng.choice([0, 2, 12]))) if len(objects) else np.zeros(0, int)
        shifted = np.round(objects[copies] + rng.normal(0, 2, (len(copies), 4)) * (grid == 0)) + grid / 4
        found = np.concatenate([np.sort(shifted.reshape(-1, 2, 2), axis=1).reshape(-1, 4), some_boxes(rng, 3, grid)])
        found = found.clip(0, [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype(np.float32)
        if rng.random() < 0.1:
            found = found[:0]
        kinds = np.concatenate([labels[copies], rng.integers(1, classes + 1, 3)])[: len(found)].astype(np.int64)
        scores = np.round(rng.random(len(found)), int(rng.choice([1, 6]))).astype(np.float32)
        truths.append(ImageInfo(image_id, None, WIDTH, HEIGHT, annotations))
        predictions.append(Prediction(image_id, found, kinds, scores, some_masks(rng, found)))
    return Case(tuple(f"class {k}" for k in range(1, classes + 1)), predictions, truths)


def some_boxes(rng: np.random.Generator, count: int, grid: float) -> NDArray[np.float64]:
    corners = rng.uniform(0, [WIDTH - 1, HEIGHT - 1], (count, 2))
    sizes = rng.choice([12.0, 40.0, 130.0], (count, 1)) * rng.uniform(0.8, 1.2, (count, 2))
    boxes = np.concatenate([corners, np.minimum(corners + sizes, [WIDTH, HEIGHT])], axis=1)
    return np.round(boxes / grid) * grid if grid else boxes


def some_masks(rng: np.random.Generator, boxes: NDArray[Any]) -> list[RLE]:
    masks = np.zeros((len(boxes), HEIGHT, WIDTH), dtype=np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
        mask[y0:y1, x0:x1] = 1
        mask[y0 : y0 + int(rng.integers(0, 4)), x0:x1] = 0
    return encode_masks(masks)


def by_pycocotools(case: Case, region: Literal["bbox", "segm"], max_detections: Sequence[int] = (1, 10, 100)) -> Any:
    """A COCOeval that was run on the case as pycocotools' own demonstration does it."""
    objects = [(truth.image_id, annotation) for truth in case.truths for annotation in truth.annotations]
    with redirect_stdout(StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = {
            "info": {},
            "images": [{"id": t.image_id, "width": t.width, "height": t.height} for t in case.truths],
            "categories": [{"id": k, "name": name} for k, name in enumerate(case.class_names, start=1)],
            "annotations": [
                {
                    "id": number,
                    "image_id": image_id,
                    "category_id": a.label,
                    "bbox": [a.box[0], a.box[1], a.box[2] - a.box[0], a.box[3] - a.box[1]],
                    "area": a.area,
                    "iscrowd": int(a.iscrowd),
                    "segmentation": a.mask,
                }
                for number, (image_id, a) in enumerate(objects, start=1)
            ],
        }
        ground_truth.createIndex()
        results: list[dict[str, Any]] = []
        for prediction in case.predictions:
            for n, (x0, y0, x1, y1) in enumerate(prediction.boxes.astype(np.float64).tolist()):
                place: dict[str, Any] = {"bbox": [x0, y0, x1 - x0, y1 - y0]}
                if region == "segm":
                    assert prediction.masks is not None
                    place = {"segmentation": dict(prediction.masks[n])}
                score, label = float(prediction.scores[n]), int(prediction.labels[n])
                results.append({"image_id": prediction.image_id, "category_id": label, "score": score, **place})
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(results), region)
        evaluation.params.maxDets = list(max_detections)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def or_none(value: float) -> float | None:
    return None if value == -1 else float(value)


def scalars(result: MetricResult) -> dict[str, float | int | None]:
    return {key: scalar.value for key, scalar in result.scalars.items()}


CASES = [seed for seed in range(48) if any(len(p) for p in generated_case(seed).predictions)]


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
@pytest.mark.parametrize("seed", CASES)
def test_the_numbers_are_pycocotools_to_the_bit(engine: Engine, seed: int) -> None:
    case = generated_case(seed)
    result = case.evaluated_by(build_coco(CocoOptions(engine=engine), case.context))
    boxes, masks = by_pycocotools(case, "bbox"), by_pycocotools(case, "segm")
    expected = dict(zip(KEYS, map(or_none, boxes.stats), strict=True))
    expected |= {f"mask_{key}": or_none(value) for key, value in zip(KEYS, masks.stats, strict=True)}
    assert scalars(result) == expected
    assert [key for key, scalar in result.scalars.items() if scalar.primary] == ["ap"]


def test_the_cases_reach_every_number() -> None:
    reached: set[str] = set()
    for seed in CASES:
        case = generated_case(seed)
        result = case.evaluated_by(build_coco(CocoOptions(), case.context))
        reached |= {key for key, value in scalars(result).items() if value}
    assert reached == {*KEYS, *(f"mask_{key}" for key in KEYS)}
    annotations = [a for seed in CASES for truth in generated_case(seed).truths for a in truth.annotations]
    assert any(a.iscrowd for a in annotations)
    assert any(not t.annotations for seed in CASES for t in generated_case(seed).truths)
    assert any(not len(p) for seed in CASES for p in generated_case(seed).predictions)


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
@pytest.mark.parametrize("seed", CASES[:12])
def test_tables_and_curves_are_slices_of_pycocotools_arrays(engine: Engine, seed: int) -> None:
    case = generated_case(seed)
    result = case.evaluated_by(build_coco(CocoOptions(engine=engine), case.context))
    for region, prefix in (("bbox", ""), ("segm", "mask_")):
        evaluation = by_pycocotools(case, "bbox" if region == "bbox" else "segm")
        precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
        table = result.tables[f"{prefix}per_class"]
        assert table.columns == ("class", "ap", "ap50", "ar100", "objects")
        curves = {key: curve for key, curve in result.curves.items() if key.startswith(f"{prefix}pr50")}
        for k, (name, row) in enumerate(zip(case.class_names, table.rows, strict=True)):
            objects = sum(a.label == k + 1 and not a.iscrowd for t in case.truths for a in t.annotations)
            known = objects > 0
            expected = (
                precision[:, :, k, 0, 2].mean() if known else None,
                precision[0, :, k, 0, 2].mean() if known else None,
                recall[:, k, 0, 2].mean() if known else None,
            )
            assert row == (name, *expected, objects)
            curve = curves.pop(f"{prefix}pr50" if len(case.class_names) == 1 else f"{prefix}pr50/{name}", None)
            if known:
                assert curve is not None
                assert curve.x == tuple(evaluation.params.recThrs.tolist())
                assert curve.y == tuple(precision[0, :, k, 0, 2].tolist())
                assert (curve.x_name, curve.y_name) == ("recall", "precision")
            else:
                assert curve is None
        assert not curves


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
def test_max_detections_name_and_cap_the_numbers(engine: Engine) -> None:
    case = generated_case(3)
    options = CocoOptions(engine=engine, max_detections=(1, 2, 4))
    result = scalars(case.evaluated_by(build_coco(options, case.context)))
    evaluation = by_pycocotools(case, "bbox", (1, 2, 4))
    assert [result["ar1"], result["ar2"], result["ar4"]] == [or_none(value) for value in evaluation.stats[6:9]]
    assert result["ap50"] == or_none(evaluation.stats[1])
    assert (
        result["ap"]
        == evaluation.eval["precision"][:, :, :, 0, 2][evaluation.eval["precision"][:, :, :, 0, 2] > -1].mean()
    )
    assert not {"ar10", "ar100"} & set(result)


@pytest.mark.parametrize("name", ["hotcoco", "pycocotools", "torchmetrics"])
@pytest.mark.parametrize("seed", CASES[:12])
def test_the_order_and_number_of_updates_change_nothing(name: str, seed: int) -> None:
    case = generated_case(seed)
    metric = built(name, case)
    expected = case.evaluated_by(metric)
    assert metric.compute() == expected, "computing twice changes the result"
    metric.reset()
    pairs = list(zip(case.predictions, case.truths, strict=True))
    random.Random(seed).shuffle(pairs)
    for prediction, truth in pairs:
        metric.update([prediction], [truth])
    assert metric.compute() == expected


def built(name: str, case: Case) -> Metric:
    if name == "torchmetrics":
        return build_torchmetrics(TorchmetricsOptions(), case.context)
    return build_coco(CocoOptions(engine="hotcoco" if name == "hotcoco" else "pycocotools"), case.context)


@pytest.mark.parametrize("seed", CASES)
def test_torchmetrics_agrees(seed: int) -> None:
    case = generated_case(seed)
    ours = case.evaluated_by(build_coco(CocoOptions(), case.context))
    theirs = case.evaluated_by(build_torchmetrics(TorchmetricsOptions(), case.context))
    for prefix in ("", "mask_"):
        for key, other in zip(KEYS, TORCHMETRICS_KEYS, strict=True):
            assert scalars(theirs)[prefix + other] == pytest.approx(scalars(ours)[prefix + key], abs=1e-6), other
        for row, other_row in zip(
            ours.tables[f"{prefix}per_class"].rows, theirs.tables[f"{prefix}per_class"].rows, strict=True
        ):
            assert other_row[0] == row[0]
            assert other_row[1:] == pytest.approx((row[1], row[3]), abs=1e-6)
    assert set(scalars(theirs)) == {*TORCHMETRICS_KEYS, *(f"mask_{key}" for key in TORCHMETRICS_KEYS)}
    assert [key for key, scalar in theirs.scalars.items() if scalar.primary] == ["map"]


@pytest.mark.parametrize("seed", CASES[:12])
def test_torchmetrics_agrees_at_other_thresholds(seed: int) -> None:
    case = generated_case(seed)
    ours = case.evaluated_by(build_coco(CocoOptions(max_detections=(1, 2, 4)), case.context))
    options = TorchmetricsOptions(max_detection_thresholds=(1, 2, 4))
    theirs = case.evaluated_by(build_torchmetrics(options, case.context))
    for key, other in (("ap", "map"), ("mask_ap", "mask_map"), ("ar4", "mar_4"), ("ap75", "map_75")):
        assert scalars(theirs)[other] == pytest.approx(scalars(ours)[key], abs=1e-6), other
