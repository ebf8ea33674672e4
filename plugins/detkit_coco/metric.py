"""The metric: images in, COCO's numbers and what explains them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from detkit import MetricResult
from detkit.data.evaluated import EvaluatedImages
from detkit.data.types import ImageInfo, Prediction
from detkit_coco import CocoOptions, Engine
from detkit_coco.columns import Region, columns_of
from detkit_coco.confusion import confusion_matrix
from detkit_coco.errors import Errors, available
from detkit_coco.region import RegionResult
from detkit_coco.settings import Settings

Named = TypeVar("Named")


class CocoMetric:
    """A `detkit.Metric` with COCO's numbers.

    Args:
        class_names: the K foreground classes in order.
        options: as in the spec. engine: what computes; the numbers are the same.
    """

    def __init__(self, class_names: Sequence[str], options: CocoOptions, engine: Engine) -> None:
        self._class_names = tuple(class_names)
        self._options = options
        self._engine: Engine = engine
        self._settings = Settings.of(options)
        self._images = EvaluatedImages(class_names)
        self._chosen: Mapping[str, float] | None = None

    def reset(self) -> None:
        """Forget all images, and the thresholds."""
        self._images.clear()
        self._chosen = None

    def use_thresholds(self, chosen: Mapping[str, float]) -> None:
        """Give F1 at these thresholds in place of the best one, which would be chosen on the images at hand.

        Args:
            chosen: class name to score, "" for classes without their own.
        """
        self._chosen = chosen

    def update(self, predictions: Sequence[Prediction], truths: Sequence[ImageInfo]) -> None:
        """Add images, each once, in any order.

        Raises:
            ValueError: a prediction or the ground truth cannot be evaluated: names the image and what is wrong.
        """
        self._images.add(predictions, truths)

    def compute(self) -> MetricResult:
        """What docs/reference/metrics.md lists for boxes; for masks the same numbers, tables and curves as `mask_...`.

        Raises:
            ValueError: some objects or detections have masks and some do not; or the engines differ (`cross_check`).
        """
        boxes = self._region("bbox")
        result = self._with_errors(boxes, boxes.result())
        if self._options.masks == "auto" and self._images.have_masks():
            result = _joined(result, self._region("segm").result())
        return result

    def _region(self, region: Region) -> RegionResult:
        columns = columns_of(self._images.ordered(), len(self._class_names), region)
        return RegionResult(columns, self._class_names, self._options, self._settings, self._engine, self._chosen)

    def _with_errors(self, boxes: RegionResult, result: MetricResult) -> MetricResult:
        """The confusion matrix, the kinds of errors and suspicious labels: of boxes, which masks would only repeat."""
        if not self._options.errors:
            return result
        iou, confidence = self._options.match_iou, self._options.confidence
        confusion = confusion_matrix(boxes.sure, self._class_names, iou=iou)
        tables = dict(result.tables)
        if available():
            errors = Errors(
                boxes.columns,
                self._class_names,
                iou=iou,
                confidence=confidence,
                max_detections=self._settings.max_detections[-1],
            )
            tables |= {"error_kinds": errors.kinds(), "label_errors": errors.suspects()}
        return replace(result, tables=tables, matrices={"confusion": confusion})


def _joined(boxes: MetricResult, masks: MetricResult) -> MetricResult:
    """Both, with the names of masks marked. The thresholds are those of boxes."""

    def resampled(weights: Mapping[int, float]) -> Mapping[str, float | None]:
        assert boxes.resampler is not None
        assert masks.resampler is not None
        return {**boxes.resampler(weights), **_marked(masks.resampler(weights))}

    scalars = {name: replace(scalar, primary=False) for name, scalar in masks.scalars.items()}
    return replace(
        boxes,
        scalars={**boxes.scalars, **_marked(scalars)},
        tables={**boxes.tables, **_marked(masks.tables)},
        curves={**boxes.curves, **_marked(masks.curves)},
        resampler=resampled,
    )


def _marked(named: Mapping[str, Named]) -> dict[str, Named]:
    return {f"mask_{name}": value for name, value in named.items()}
