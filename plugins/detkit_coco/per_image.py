"""COCO's numbers for each image alone: all images at once, from the matches of the whole."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detkit.data.evaluated import Floats, Integers
from detkit_coco.columns import Columns, Flags
from detkit_coco.envelope import highest_from_here_on
from detkit_coco.matching import Matches
from detkit_coco.settings import Settings


def numbers_by_image(columns: Columns, matches: Matches, settings: Settings) -> Mapping[str, Floats]:
    """float64 [I] for each of COCO's numbers, under the names of `summary.summarise`; -1 where one does not apply.

    They are what pycocotools gives for the image alone, but for the last bits: the mean over 101 recalls is summed by
    the steps of the curve here.
    """
    groups = _Groups(columns, matches)
    precision = np.full((len(settings.areas), len(settings.ious), len(columns.images)), -1.0)
    recall = np.full((*precision.shape, len(settings.max_detections)), -1.0)
    for area in range(len(settings.areas)):
        totals = groups.totals(~matches.uncounted[area])
        for iou in range(len(settings.ious)):
            true, counted = matches.true(area, iou), matches.counted(area, iou)
            precision[area, iou] = groups.mean(_average_precision(groups, true, counted, totals, settings), totals)
            for place, limit in enumerate(settings.max_detections):
                hits = np.bincount(groups.of_detection[true & (matches.rank < limit)], minlength=groups.count)
                recall[area, iou, :, place] = groups.mean(hits / np.maximum(totals, 1), totals)
    return _named(precision, recall, settings)


def _named(precision: Floats, recall: Floats, settings: Settings) -> dict[str, Floats]:
    names = list(settings.areas)
    values = {"ap": _mean_of_known(precision[0])}
    values |= {name: precision[0, place] for name, place in settings.named_ious().items()}
    values |= {f"ap_{name}": _mean_of_known(precision[area]) for area, name in enumerate(names) if area}
    values |= {f"ar{n}": _mean_of_known(recall[0, :, :, place]) for place, n in enumerate(settings.max_detections)}
    values |= {f"ar_{name}": _mean_of_known(recall[area, :, :, -1]) for area, name in enumerate(names) if area}
    return values


def _mean_of_known(values: Floats) -> Floats:
    """Over the thresholds [T, I]. An image has a value at all of them or at none."""
    mean: Floats = values.mean(axis=0)
    return np.where(values[0] > -1, mean, -1.0)


class _Groups:
    """The pairs of image and class that hold anything, numbered by image and then by class."""

    def __init__(self, columns: Columns, matches: Matches) -> None:
        objects = columns.objects
        of_object = objects.image * columns.classes + objects.label - 1
        of_detection = matches.image * columns.classes + matches.label - 1
        there = np.unique(np.concatenate([of_object, of_detection]))
        self.count = len(there)
        self.of_object: Integers = np.searchsorted(there, of_object)
        self.of_detection: Integers = np.searchsorted(there, of_detection)
        self._image = there // columns.classes
        self._images = len(columns.images)

    def totals(self, counts: Flags) -> Integers:
        """int64 [groups]: how many of the objects for which the flag is set."""
        return np.bincount(self.of_object[counts], minlength=self.count)

    def mean(self, values: Floats, totals: Integers) -> Floats:
        """float64 [I]: of each image the mean over its classes with objects; -1 where there is none."""
        known = totals > 0
        classes = np.bincount(self._image[known], minlength=self._images)
        sums = np.bincount(self._image[known], weights=values[known], minlength=self._images)
        return np.where(classes > 0, sums / np.maximum(classes, 1), -1.0)


def _average_precision(groups: _Groups, true: Flags, counted: Flags, totals: Integers, settings: Settings) -> Floats:
    """float64 [groups]: AP of each group alone; 0 where nothing matches."""
    hits = np.flatnonzero(true)
    group = groups.of_detection[hits]
    begins = np.flatnonzero(np.r_[True, group[1:] != group[:-1]]) if len(group) else np.zeros(0, dtype=np.int64)
    lengths = np.diff(np.r_[begins, len(group)])
    nth = np.arange(len(group)) - np.repeat(begins, lengths) + 1
    so_far = np.r_[0, np.cumsum(counted)]
    before = so_far[np.searchsorted(groups.of_detection, group)]
    precision = nth / (so_far[hits + 1] - before + np.spacing(1))
    precision = highest_from_here_on(precision, group)
    recall = nth / totals[group] if len(group) else np.zeros(0)
    reached = np.searchsorted(settings.recalls, recall, side="right")
    # The recalls that this hit is the first to reach; those that the first hit reaches begin at 0.
    steps = reached - np.where(nth > 1, np.r_[0, reached[:-1]], 0)
    return np.bincount(group, weights=steps * precision, minlength=groups.count) / len(settings.recalls)
