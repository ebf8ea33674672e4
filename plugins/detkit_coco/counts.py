"""Right, wrong and missed in each image, at one IoU threshold and confidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detkit.data.evaluated import Floats, Integers
from detkit_coco.columns import Columns
from detkit_coco.matching import Matches
from detkit_coco.operating import F1Counts


@dataclass(frozen=True, slots=True)
class Counts:
    """At one IoU threshold and confidence, by image: int64 [I] each, but `lowest_iou`: float64 [I].

    Attributes:
        objects: without crowds. true, false: detections that match an object, and that match none.
        missed: objects without a match.
        lowest_iou: of the matches; -1 where there are none.
    """

    objects: Integers
    true: Integers
    false: Integers
    missed: Integers
    lowest_iou: Floats

    def weighted(self, weight: Floats) -> F1Counts:
        """Over all images, each of which counts by its weight: float64 [I]."""
        return F1Counts(*(float(weight @ part) for part in (self.true, self.false, self.objects)))


def count_by_image(columns: Columns, matches: Matches, confidence: float | Floats) -> Counts:
    """Of detections with a score of at least `confidence`, at the first threshold of the matches.

    Args:
        confidence: of all detections; or float64 [N], of each of the matches'.
    """
    images = len(columns.images)
    sure = matches.score >= confidence
    true = matches.true(0, 0) & sure
    false = matches.counted(0, 0) & sure & ~true
    objects = np.bincount(columns.objects.image[~matches.uncounted[0]], minlength=images)
    hits = np.bincount(matches.image[true], minlength=images)
    lowest = np.full(images, np.inf)
    at_candidates = true[matches.candidates]
    np.minimum.at(lowest, matches.image[true], matches.iou[0, 0][at_candidates])
    return Counts(
        objects=objects,
        true=hits,
        false=np.bincount(matches.image[false], minlength=images),
        missed=objects - hits,
        lowest_iou=np.where(np.isinf(lowest), -1.0, lowest),
    )
