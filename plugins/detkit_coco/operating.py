"""What a detector does at a confidence: precision, recall and F1, the confidence that is best, and how far to trust it.

All is at one IoU threshold. A detection counts when its score is at least the confidence. Detections that match a crowd
count neither as right nor as wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detkit.data.evaluated import Floats
from detkit_coco.columns import Columns, Flags
from detkit_coco.matching import Matches

#: The confidences at which curves are drawn.
GRID: Floats = np.linspace(0.0, 1.0, 101)
#: Bins of equal width over 0..1, as Guo et al. (On Calibration of Modern Neural Networks, 2017) and hotcoco have them.
CALIBRATION_BINS = 10


@dataclass(frozen=True, slots=True)
class F1Counts:
    """Right and wrong detections, and objects; weighted, where images are."""

    true: float
    false: float
    objects: float

    def values(self, prefix: str = "") -> dict[str, float | None]:
        """`f1` and `recall`, None without objects; `precision`, None without detections; after the prefix."""
        return {
            f"{prefix}f1": _share(2 * self.true, self.true + self.false + self.objects) if self.objects else None,
            f"{prefix}precision": _share(self.true, self.true + self.false),
            f"{prefix}recall": _share(self.true, self.objects),
        }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True, slots=True)
class Best:
    """The highest F1 that a confidence gives, and the highest confidence that gives it."""

    f1: float
    confidence: float


class Operating:
    """Detections of some classes by falling score, with who is right.

    Attributes:
        objects: how many there are, without crowds.
        scores: float64 [N], falling, of the detections that are right or wrong. true: bool [N].
    """

    def __init__(self, scores: Floats, true: Flags, objects: int) -> None:
        self.scores, self.true, self.objects = scores, true, objects
        self._hits = np.cumsum(true)

    def counts(self, confidence: float) -> F1Counts:
        number = int(np.searchsorted(-self.scores, -confidence, side="right"))
        hits = int(self._hits[number - 1]) if number else 0
        return F1Counts(hits, number - hits, self.objects)

    def curves(self) -> dict[str, Floats]:
        """`f1`, `precision` and `recall` at the confidences of `GRID`: 0 where nothing is right.

        Precision is that at the highest score where no detection is so sure: there is nothing to be a share of.
        """
        number = np.searchsorted(-self.scores, -GRID, side="right")
        hits = np.r_[0, self._hits][number].astype(np.float64)
        asked = np.maximum(number, 1)
        surest = int(np.count_nonzero(self.scores == self.scores[:1]))
        first = float(self.true[:surest].mean()) if surest else 0.0
        return {
            "f1": 2 * hits / np.maximum(number + self.objects, 1),
            "precision": np.where(number > 0, hits / asked, first),
            "recall": hits / max(self.objects, 1),
        }

    def best(self) -> Best | None:
        """None where no detection is right."""
        if not self.true.any():
            return None
        # A confidence admits all detections of one score together: only the last of equal ones is a choice.
        last = np.r_[self.scores[1:] != self.scores[:-1], True]
        f1 = np.where(last, 2 * self._hits / (np.arange(1, len(self.scores) + 1) + self.objects), -1.0)
        place = int(f1.argmax())
        return Best(float(f1[place]), float(self.scores[place]))


def operating(columns: Columns, matches: Matches, iou: int) -> tuple[Operating, list[Operating]]:
    """Of all classes together, and of each of the K."""
    counted = np.flatnonzero(matches.counted(0, iou))
    counted = counted[np.argsort(-matches.score[counted], kind="stable")]
    scores, true = matches.score[counted], matches.true(0, iou)[counted]
    labels = columns.objects.label[~matches.uncounted[0]]
    objects = np.bincount(labels, minlength=columns.classes + 1)
    # Few different values: numpy sorts short integers by counting.
    label = matches.label[counted].astype(np.uint16 if columns.classes < 2**16 else np.int64)
    by_label = np.argsort(label, kind="stable")
    ends = np.searchsorted(label[by_label], np.arange(1, columns.classes + 2))
    by_class = [
        Operating(scores[own], true[own], int(objects[k]))
        for k, own in enumerate(np.split(by_label, ends)[1:-1], start=1)
    ]
    return Operating(scores, true, int(objects.sum())), by_class


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far scores are from shares of right detections.

    Attributes:
        error: the expected calibration error: the mean distance over detections, bin by bin; 0 is perfect.
        confidence, accuracy: float64 [B], means of the bins that hold detections.
    """

    error: float
    confidence: Floats
    accuracy: Floats


def calibration(of: Operating) -> Calibration | None:
    """None where there is no detection."""
    if not len(of.scores):
        return None
    bins = np.minimum((of.scores * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    count = np.bincount(bins, minlength=CALIBRATION_BINS)
    there = count > 0
    confidence = np.bincount(bins, weights=of.scores, minlength=CALIBRATION_BINS)[there] / count[there]
    accuracy = np.bincount(bins, weights=of.true, minlength=CALIBRATION_BINS)[there] / count[there]
    error = float(np.abs(confidence - accuracy) @ count[there] / len(of.scores))
    return Calibration(error, confidence, accuracy)
