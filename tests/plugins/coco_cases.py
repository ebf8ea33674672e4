"""Generated cases for the evaluators, and pycocotools, used as its own examples use it, as the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detkit import BuildContext, Metric, MetricResult
from detkit.data.targets import encode_masks
from detkit.data.types import RLE, Annotation, ImageInfo, Prediction

KEYS = ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"]
KEYS += ["ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"]
#: torchmetrics' names of the same numbers.
TORCHMETRICS_KEYS = ["map", "map_50", "map_75", "map_small", "map_medium", "map_large"]
TORCHMETRICS_KEYS += ["mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large"]
HEIGHT, WIDTH = 150, 190


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
