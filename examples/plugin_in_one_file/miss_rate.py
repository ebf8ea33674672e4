"""A metric in one file: the log-average miss rate, by which detectors of pedestrians are compared.

How many objects are missed where so many false alarms an image are allowed: the geometric mean of the miss rate at nine
numbers of false positives an image from 0.01 to 1 (Dollár et al. 2012, Pedestrian Detection, section 3.2). Lower is
better.

    plugins = ["miss_rate.py"]
    [metrics.miss_rate]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from detkit import BuildContext, Curve, MetricComponent, MetricResult, Options, Scalar, Table, hookimpl
from detkit.data.types import ImageInfo, Prediction

Floats = NDArray[np.float64]
#: False positives an image at which the miss rate is read.
POINTS: Floats = np.logspace(-2, 0, 9)
#: The logarithm of 0 is none: a detector that misses nothing has this rate, which is shown as 0.
NOTHING = 1e-10


class MissRateOptions(Options):
    iou: float = Field(0.5, gt=0, le=1, description="overlap from which on a detection has found an object")


@dataclass(frozen=True)
class Seen:
    """One image and one class: how many objects, the detections' scores, and which of them found one.

    All that is needed later: nothing is matched again for a curve or for an interval.
    """

    objects: int
    scores: Floats
    right: NDArray[np.bool_]


class MissRate:
    """Keeps what it saw of each image, so that images may come in any order and be weighted afterwards."""

    def __init__(self, iou: float, class_names: Sequence[str]) -> None:
        self._iou = iou
        self._class_names = tuple(class_names)
        self._seen: dict[int, list[Seen]] = {}

    def reset(self) -> None:
        self._seen = {}

    def update(self, predictions: Sequence[Prediction], truths: Sequence[ImageInfo]) -> None:
        for prediction, truth in zip(predictions, truths, strict=True):
            labels = range(1, len(self._class_names) + 1)
            self._seen[truth.image_id] = [look(prediction, truth, label, self._iou) for label in labels]

    def compute(self) -> MetricResult:
        ones = dict.fromkeys(self._seen, 1.0)
        rates = [self._rate(label, ones) for label in range(len(self._class_names))]
        scalars = {"mean": Scalar(mean_of(rates), higher_is_better=False, primary=True)}
        rows = tuple(zip(self._class_names, rates, strict=True))
        curves = {}
        for label, name in enumerate(self._class_names):
            alarms, misses = self._curve(label, ones)
            if misses is not None:
                curves[name] = Curve(tuple(alarms), tuple(misses), "false positives an image", "miss rate")
        table = Table(("class", "miss rate"), rows, "Log-average miss rate", printed=True)
        return MetricResult(scalars, tables={"by_class": table}, curves=curves, resampler=self._resampled)

    def _resampled(self, weights: Mapping[int, float]) -> dict[str, float | None]:
        """The same where images count more or less: detkit draws them again and again to find the interval."""
        return {"mean": mean_of([self._rate(label, weights) for label in range(len(self._class_names))])}

    def _rate(self, label: int, weights: Mapping[int, float]) -> float | None:
        alarms, misses = self._curve(label, weights)
        if misses is None:
            return None
        # At each point the last rate before it; with no detection at all, all is missed.
        places = np.searchsorted(alarms, POINTS, side="right") - 1
        read = np.where(places >= 0, misses[np.maximum(places, 0)], 1.0)
        mean = float(np.exp(np.log(np.maximum(read, NOTHING)).mean()))
        return 0.0 if mean <= NOTHING * (1 + 1e-6) else mean

    def _curve(self, label: int, weights: Mapping[int, float]) -> tuple[Floats, Floats | None]:
        """False positives an image and miss rate, from the surest detection on; no rates where there is no object."""
        # In the order of ids: sums of floats depend on it, and updates may come in any.
        images = [(weights[image_id], self._seen[image_id][label]) for image_id in sorted(self._seen)]
        total, objects = sum(weight for weight, _ in images), sum(weight * seen.objects for weight, seen in images)
        if not objects:
            return np.zeros(0), None
        scores = np.concatenate([seen.scores for _, seen in images])
        right = np.concatenate([seen.right for _, seen in images])
        weight = np.concatenate([np.full(len(seen.scores), weight) for weight, seen in images])
        order = np.argsort(-scores, kind="stable")
        last = (
            np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1) if len(order) else order
        )  # of equal scores
        alarms = np.cumsum(weight[order] * ~right[order])[last] / total
        misses = 1 - np.cumsum(weight[order] * right[order])[last] / objects
        # Rounding must not leave a trace of a miss where there is none.
        return np.append(0.0, alarms), np.append(1.0, np.where(misses < 1e-12, 0.0, misses))


def look(prediction: Prediction, truth: ImageInfo, label: int, iou: float) -> Seen:
    """Match one class of one image: from the surest detection on, each takes the free object that it overlaps most."""
    mine = prediction.labels == label
    order = np.argsort(-prediction.scores[mine], kind="stable")
    scores = prediction.scores[mine][order].astype(np.float64)
    boxes = prediction.boxes[mine][order].astype(np.float64)
    wanted = [item for item in truth.annotations if item.label == label]
    objects = np.array([item.box for item in wanted if not item.iscrowd]).reshape(-1, 4)
    crowds = np.array([item.box for item in wanted if item.iscrowd]).reshape(-1, 4)
    overlaps, free = overlap(boxes, objects), np.ones(len(objects), dtype=bool)
    right, counted = np.zeros(len(boxes), dtype=bool), np.ones(len(boxes), dtype=bool)
    for number in range(len(boxes)):
        candidates = np.where(free, overlaps[number], 0.0)
        if len(candidates) and candidates.max() >= iou:
            free[candidates.argmax()] = False
            right[number] = True
        elif len(crowds):  # what lies in a crowd is neither right nor wrong
            counted[number] = inside(boxes[number], crowds).max() < iou
    return Seen(len(objects), scores[counted], right[counted])


def overlap(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union, [N, M]."""
    shared = intersection(boxes, others)
    union = area(boxes)[:, None] + area(others)[None] - shared
    return shared / np.maximum(union, NOTHING)


def inside(box: Floats, others: Floats) -> Floats:
    """Which share of a box lies in each of the others, [M]."""
    shared: Floats = intersection(box[None], others)[0] / np.maximum(area(box[None]), NOTHING)
    return shared


def intersection(boxes: Floats, others: Floats) -> Floats:
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared: Floats = np.clip(high - low, 0, None).prod(axis=2)
    return shared


def area(boxes: Floats) -> Floats:
    sides: Floats = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return sides


def mean_of(rates: Sequence[float | None]) -> float | None:
    """Over the classes that have objects; None where none has."""
    known = [rate for rate in rates if rate is not None]
    return float(np.mean(known)) if known else None


def build_miss_rate(options: MissRateOptions, context: BuildContext) -> MissRate:
    return MissRate(options.iou, context.class_names)


MISS_RATE = MetricComponent("miss_rate", MissRateOptions, build_miss_rate, "log-average miss rate")


@hookimpl
def detkit_metrics() -> list[MetricComponent[Any]]:
    return [MISS_RATE]
