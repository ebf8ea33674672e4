"""The metric: what COCO's arrays say, as scalars, tables and curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from detkit import Curve, MetricResult, Scalar, Table
from detkit.data.evaluated import EvaluatedImages, Floats
from detkit.data.types import ImageInfo, Prediction
from detkit_coco.evaluators import AREAS, Accumulated, evaluate

#: Of how many classes precision-recall curves are kept: those with the most objects.
CURVE_LIMIT = 20


class CocoMetric:
    """A `detkit.Metric` with COCO's numbers.

    Args:
        class_names: the K foreground classes in order.
        engine: what computes; the numbers are the same.
        masks: evaluate masks too where predictions and ground truth have them.
        max_detections: rising; how many detections of a class in an image count for each ar number.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        engine: Literal["hotcoco", "pycocotools"] = "hotcoco",
        masks: bool = True,
        max_detections: Sequence[int] = (1, 10, 100),
    ) -> None:
        self._class_names = tuple(class_names)
        self._engine: Literal["hotcoco", "pycocotools"] = engine
        self._masks = masks
        self._max_detections = tuple(max_detections)
        self._images = EvaluatedImages(class_names)

    def reset(self) -> None:
        """Forget all images."""
        self._images.clear()

    def update(self, predictions: Sequence[Prediction], truths: Sequence[ImageInfo]) -> None:
        """Add images, each once, in any order.

        Raises:
            ValueError: a prediction or the ground truth cannot be evaluated: names the image and what is wrong.
        """
        self._images.add(predictions, truths)

    def compute(self) -> MetricResult:
        """Scalars `ap` (primary) to `ar_large`, table `per_class`, curves `pr50`; with masks the same as `mask_...`.

        Raises:
            ValueError: some objects or detections have masks and some do not.
        """
        boxes = self._evaluated("bbox")
        scalars = self._scalars(boxes, "")
        tables = {"per_class": self._per_class(boxes)}
        curves = self._curves(boxes, "")
        if self._masks and self._images.have_masks():
            masks = self._evaluated("segm")
            scalars |= self._scalars(masks, "mask_")
            tables["mask_per_class"] = self._per_class(masks)
            curves |= self._curves(masks, "mask_")
        return MetricResult(scalars=scalars, tables=tables, curves=curves)

    def _evaluated(self, region: Literal["bbox", "segm"]) -> Accumulated:
        return evaluate(
            self._engine, self._images.ordered(), len(self._class_names), region, max_detections=self._max_detections
        )

    def _scalars(self, result: Accumulated, prefix: str) -> dict[str, Scalar]:
        # The order and the slices of pycocotools' COCOeval.summarize.
        precision, recall = result.precision[..., -1], result.recall
        values = {
            "ap": mean_of_known(precision[:, :, :, 0]),
            "ap50": mean_of_known(precision[at_iou(result, 0.5), :, :, 0]),
            "ap75": mean_of_known(precision[at_iou(result, 0.75), :, :, 0]),
        }
        values |= {f"ap_{area}": mean_of_known(precision[..., a]) for a, area in enumerate(AREAS) if a}
        values |= {f"ar{n}": mean_of_known(recall[:, :, 0, m]) for m, n in enumerate(self._max_detections)}
        values |= {f"ar_{area}": mean_of_known(recall[:, :, a, -1]) for a, area in enumerate(AREAS) if a}
        return {f"{prefix}{key}": Scalar(value, primary=prefix + key == "ap") for key, value in values.items()}

    def _per_class(self, result: Accumulated) -> Table:
        precision, recall = result.precision[..., 0, -1], result.recall[..., 0, -1]
        middle = at_iou(result, 0.5)
        rows = tuple(
            (
                name,
                mean_of_known(precision[:, :, k]),
                mean_of_known(precision[middle, :, k]),
                mean_of_known(recall[:, k]),
                objects,
            )
            for k, (name, objects) in enumerate(zip(self._class_names, self._images.object_counts(), strict=True))
        )
        return Table(("class", "ap", "ap50", f"ar{self._max_detections[-1]}", "objects"), rows)

    def _curves(self, result: Accumulated, prefix: str) -> dict[str, Curve]:
        counts = self._images.object_counts()
        most = sorted(range(len(counts)), key=lambda k: -counts[k])[:CURVE_LIMIT]
        x = tuple(result.recalls.tolist())
        curves = {}
        for k in sorted(most):
            y = result.precision[at_iou(result, 0.5), :, k, 0, -1]
            if (y > -1).all():
                name = f"{prefix}pr50" if len(counts) == 1 else f"{prefix}pr50/{self._class_names[k]}"
                curves[name] = Curve(x, tuple(y.tolist()), "recall", "precision")
        return curves


def mean_of_known(values: Floats) -> float | None:
    """The mean of the values that are not COCO's -1; None where there are none."""
    known = values[values > -1]
    return float(np.mean(known)) if known.size else None


def at_iou(result: Accumulated, threshold: float) -> int:
    """The index of an IoU threshold."""
    return int(np.abs(result.ious - threshold).argmin())
