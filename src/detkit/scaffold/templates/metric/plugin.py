"""A metric for detkit: how well the boxes that a model is sure of lie on the true ones.

Each true object is given the surest detection of its class that overlaps it. `iou` is the mean overlap (intersection
over union) of all true objects with theirs, 0 for those that have none; `found` is the share of those that have one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from detkit import BuildContext, MetricComponent, MetricResult, Options, Scalar, hookimpl
from numpy.typing import NDArray
from pydantic import Field

if TYPE_CHECKING:
    from detkit.data.types import ImageInfo, Prediction

requires_detkit = ">=0.1"  # another detkit says that the plugin does not fit, before it imports it
detkit_api = 1  # and so does one whose hooks are no longer those that it was written for


class IouOptions(Options):
    """What a spec may say in [metrics.KEY]. `detkit plugins show` prints the descriptions."""

    confidence: float = Field(0.5, ge=0, le=1, description="detections with a lower score are not looked at")
    overlap: float = Field(0.1, gt=0, le=1, description="the least overlap with which an object counts as found")


class MatchedIou:
    """Gets images in any order and in any number of updates, and gives the same numbers."""

    def __init__(self, confidence: float, overlap: float) -> None:
        self._confidence = confidence
        self._overlap = overlap
        self._overlaps: dict[int, NDArray[np.float64]] = {}  # image id to the overlap of each true object

    def reset(self) -> None:
        """Forget all images."""
        self._overlaps = {}

    def update(self, predictions: Sequence[Prediction], truths: Sequence[ImageInfo]) -> None:
        """Add images; the two sequences are aligned. Boxes are (x0, y0, x1, y1) in pixels."""
        for prediction, truth in zip(predictions, truths, strict=True):
            self._overlaps[truth.image_id] = self._matched(prediction, truth)

    # YOUR MEASURE HERE: what is kept of an image, and what is made of it below.
    def _matched(self, prediction: Prediction, truth: ImageInfo) -> NDArray[np.float64]:
        objects = [item for item in truth.annotations if not item.iscrowd]
        overlaps = iou(prediction.boxes, np.array([item.box for item in objects], np.float64).reshape(-1, 4))
        found = np.zeros(len(objects))
        for row in np.argsort(-prediction.scores, kind="stable"):  # the surest first
            if prediction.scores[row] < self._confidence:
                break
            free = [
                overlaps[row, column] if item.label == prediction.labels[row] and not found[column] else 0.0
                for column, item in enumerate(objects)
            ]
            if free and max(free) >= self._overlap:
                found[int(np.argmax(free))] = max(free)
        return found

    def compute(self) -> MetricResult:
        """The numbers over all images since `reset`; None where there is nothing to measure."""
        values = self._weighted(dict.fromkeys(self._overlaps, 1.0))
        return MetricResult(
            {"iou": Scalar(values["iou"], primary=True), "found": Scalar(values["found"])},
            resampler=self._weighted,
        )

    def _weighted(self, weights: Mapping[int, float]) -> dict[str, float | None]:
        """The numbers with images weighted: detkit asks many times, and so finds the interval of each number."""
        images = sorted(self._overlaps)  # sums of one order are the same to the last bit
        objects = sum(weights[image] * len(self._overlaps[image]) for image in images)
        if not objects:
            return {"iou": None, "found": None}
        iou = sum(weights[image] * float(self._overlaps[image].sum()) for image in images)
        found = sum(weights[image] * int((self._overlaps[image] > 0).sum()) for image in images)
        return {"iou": iou / objects, "found": found / objects}


def iou(first: NDArray[np.floating[Any]], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [N, M]: intersection over union of each of N boxes [N, 4] with each of M [M, 4]."""
    a, b = first.astype(np.float64)[:, None], second[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = sides.clip(min=0).prod(axis=-1)
    union = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1) - common
    result: NDArray[np.float64] = common / np.maximum(union, 1e-12)
    return result


def build(options: IouOptions, context: BuildContext) -> MatchedIou:
    """What a run calls."""
    return MatchedIou(options.confidence, options.overlap)


COMPONENT = MetricComponent(
    name="my_plugin",  # what a spec writes in `use`, or as the key in [metrics.KEY]
    options=IouOptions,
    build=build,
    summary="the overlap of true objects with what was found",
)


@hookimpl
def detkit_metrics() -> list[MetricComponent[Any]]:
    return [COMPONENT]
