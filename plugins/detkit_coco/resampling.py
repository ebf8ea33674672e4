"""COCO's numbers with images weighted: what a bootstrap asks for, a thousand times.

A resample only weights images; which detection matches which object, and the order by score, never change. So all that
depends on them is worked out once. A call then sums weights along the detections, reads the precision where there is a
hit, and takes from those the 101 recalls of each class and threshold. With whole weights the numbers equal, to the last
bit, those of an evaluation in which each image stands as often as its weight says, copies side by side; unless one
image has several detections of a class with the same score, whose copies stand together here, and mix there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detkit.data.evaluated import Floats, Integers
from detkit_coco.columns import Columns, Flags
from detkit_coco.matching import Matches
from detkit_coco.operating import F1Counts
from detkit_coco.settings import Settings
from detkit_coco.summary import mean_of_known


class Weighted:
    """A `detkit` resampler's work for boxes, or for masks.

    Args:
        iou: the place in the matches of the threshold of precision, recall and F1. confidence: from which they count.
    """

    def __init__(self, columns: Columns, matches: Matches, settings: Settings, *, iou: int, confidence: float) -> None:
        self._settings = settings
        self._classes = columns.classes
        self._image_ids = [image.truth.image_id for image in columns.images]
        self.curves = WeightedCurves(columns, matches, len(settings.ious))
        sure = matches.score >= confidence
        true = matches.true(0, iou) & sure
        false = matches.counted(0, iou) & sure & ~true
        images = len(columns.images)
        self._true = np.bincount(matches.image[true], minlength=images)
        self._false = np.bincount(matches.image[false], minlength=images)
        self._objects = np.bincount(columns.objects.image[~matches.uncounted[0]], minlength=images)

    def __call__(self, weights: Mapping[int, float]) -> dict[str, float | None]:
        """`ap`, `ap50`, `ap75`, the last `ar`, `precision`, `recall` and `f1`, with an image's weight 0 by default."""
        weight = np.array([weights.get(image_id, 0.0) for image_id in self._image_ids], dtype=np.float64)
        precision, recall = self.curves.at(weight, self._settings.recalls)
        values = {"ap": mean_of_known(precision)}
        values |= {name: mean_of_known(precision[place]) for name, place in self._settings.named_ious().items()}
        values[f"ar{self._settings.max_detections[-1]}"] = mean_of_known(recall)
        counts = F1Counts(*(float(weight @ part) for part in (self._true, self._false, self._objects)))
        return values | counts.values()


@dataclass(frozen=True, slots=True)
class _Ignored:
    """Detections that neither count as right nor as wrong at one threshold.

    Attributes:
        image: int64, rising in the order of scores. before_event, before_class: how many of them stand before each.
    """

    image: Integers
    before_event: Integers
    before_class: Integers


class WeightedCurves:
    """Precision and recall of each class and threshold under weights, over objects of all areas.

    The events of a curve are its hits, in the order of scores, and a stop: an event without weight or precision, at
    which every recall arrives that is never reached.
    """

    def __init__(self, columns: Columns, matches: Matches, thresholds: int) -> None:
        classes, objects = columns.classes, columns.objects
        counts = ~matches.uncounted[0]
        self._classes, self._thresholds = classes, thresholds
        self._object_image, self._object_label = objects.image[counts], objects.label[counts] - 1
        order = np.lexsort((-matches.score, matches.label))
        self._image = matches.image[order]
        label = matches.label[order] - 1
        self._class_begins = np.searchsorted(label, np.arange(classes))
        hits = [np.flatnonzero(matches.true(0, t)[order]) for t in range(thresholds)]
        ignored = [np.flatnonzero(~matches.counted(0, t)[order]) for t in range(thresholds)]
        self._ignored = [
            _Ignored(self._image[places], np.searchsorted(places, hits[t]), np.searchsorted(places, self._class_begins))
            for t, places in enumerate(ignored)
        ]
        self._hits, self._hit_label = hits, [label[places] for places in hits]
        lengths = np.array([np.bincount(labels, minlength=classes) for labels in self._hit_label]).reshape(-1)
        # Each curve is one longer than its hits, for the stop.
        self._begins = np.r_[0, np.cumsum(lengths + 1)[:-1]]
        self._stops = self._begins + lengths
        is_hit = np.ones(int(lengths.sum()) + len(lengths), dtype=np.bool_)
        is_hit[self._stops] = False
        self._is_hit: Flags = is_hit
        self._hit_image = self._image[np.concatenate(hits)] if hits else np.zeros(0, dtype=np.int64)

    def at(self, weight: Floats, recalls: Floats) -> tuple[Floats, Floats]:
        """Precision [T, R, K] and recall [T, K] as pycocotools' arrays have them; -1 without ground truth."""
        totals = np.bincount(self._object_label, weights=weight[self._object_image], minlength=self._classes)
        reached = np.cumsum(self._events(weight[self._hit_image]))
        before = np.r_[0.0, reached][self._begins]
        true = (reached - np.repeat(before, self._stops - self._begins + 1))[self._is_hit]
        precision = self._events(true / (self._counted(weight) + np.spacing(1)))
        need = _needed(np.tile(totals, self._thresholds), recalls, whole=bool((weight == np.rint(weight)).all()))
        place = np.searchsorted(reached, before[:, None] + need, side="left")
        place = np.clip(place, self._begins[:, None], self._stops[:, None])
        # The highest from each recall to the next, then from each recall to the end.
        highest = np.maximum.reduceat(precision, place.ravel()).reshape(place.shape)
        highest = np.maximum.accumulate(highest[:, ::-1], axis=1)[:, ::-1]
        highest = np.where(place == self._stops[:, None], 0.0, highest)
        known = np.tile(totals > 0, self._thresholds)
        curves = np.where(known[:, None], highest, -1.0).reshape(self._thresholds, self._classes, -1)
        last = reached[self._stops] - before
        recall = np.divide(last, np.tile(totals, self._thresholds), out=np.full(len(last), -1.0), where=known)
        return curves.transpose(0, 2, 1), recall.reshape(self._thresholds, self._classes)

    def _events(self, values: Floats) -> Floats:
        """Values of the hits, with 0 at the stops."""
        events = np.zeros(len(self._is_hit))
        events[self._is_hit] = values
        return events

    def _counted(self, weight: Floats) -> Floats:
        """At every hit, the weight of the class's detections up to it that are right or wrong."""
        sums = np.r_[0.0, np.cumsum(weight[self._image])]
        parts = []
        for hits, labels, ignored in zip(self._hits, self._hit_label, self._ignored, strict=True):
            left_out = np.r_[0.0, np.cumsum(weight[ignored.image])]
            every = sums[hits + 1] - sums[self._class_begins][labels]
            parts.append(every - (left_out[ignored.before_event] - left_out[ignored.before_class][labels]))
        return np.concatenate([np.zeros(0), *parts])


def _needed(totals: Floats, recalls: Floats, *, whole: bool) -> Floats:
    """[S, R]: the smallest weight of hits with which hits / total reaches each recall, in floating point."""
    wanted = totals[:, None] * recalls
    if not whole:
        return wanted
    nearest = np.rint(wanted)
    on_it = np.abs(wanted - nearest) < 1e-6
    reaches = nearest / np.maximum(totals, 1)[:, None] >= recalls
    return np.where(on_it, np.where(reaches, nearest, nearest + 1), np.ceil(wanted))
