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
from detkit_coco.columns import Columns
from detkit_coco.counts import Counts
from detkit_coco.envelope import highest_from_here_on
from detkit_coco.matching import Matches
from detkit_coco.settings import Settings
from detkit_coco.summary import mean_of_known

#: What sums of weights that are not whole may be off by, as a share.
ROUNDING = 1e-12


class Weighted:
    """A resampler's work for boxes, or for masks.

    Args:
        matches: at the thresholds of the settings. counts: for precision, recall and F1, by what comes before
            these names.
    """

    def __init__(self, columns: Columns, matches: Matches, counts: Mapping[str, Counts], settings: Settings) -> None:
        self._settings, self._counts = settings, counts
        self._image_ids = [image.truth.image_id for image in columns.images]
        self.curves = WeightedCurves(columns, matches, len(settings.ious))

    def __call__(self, weights: Mapping[int, float]) -> dict[str, float | None]:
        """`ap`, `ap50`, `ap75`, the last `ar`, each `precision`, `recall` and `f1`; images weigh 0 by default."""
        weight = np.array([weights.get(image_id, 0.0) for image_id in self._image_ids], dtype=np.float64)
        precision, recall = self.curves.at(weight, self._settings.recalls)
        values = {"ap": mean_of_known(precision)}
        values |= {name: mean_of_known(precision[place]) for name, place in self._settings.named_ious().items()}
        values[f"ar{self._settings.max_detections[-1]}"] = mean_of_known(recall)
        for prefix, counts in self._counts.items():
            values |= counts.weighted(weight).values(prefix)
        return values


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

    The events of a curve are its hits, in the order of scores. Curves stand one after another: those of all classes at
    the first threshold, then those at the second ...
    """

    def __init__(self, columns: Columns, matches: Matches, thresholds: int) -> None:
        classes, objects = columns.classes, columns.objects
        counts = ~matches.uncounted[0]
        self._classes, self._thresholds = classes, thresholds
        self._object_image, self._object_label = objects.image[counts], objects.label[counts] - 1
        order = np.lexsort((-matches.score, matches.label))
        self._image = matches.image[order]
        label = matches.label[order] - 1
        class_begins = np.searchsorted(label, np.arange(classes))
        all_hits = [np.flatnonzero(matches.true(0, t)[order]) for t in range(thresholds)]
        self._hit_label = [label[hits] for hits in all_hits]
        # Weights are only asked for up to a hit or a class's beginning: sums of the stretches between those are enough.
        ends = np.unique(np.concatenate([[0, len(label)], class_begins, *(hits + 1 for hits in all_hits)]))
        self._stretches = ends[:-1]
        self._class_place = np.searchsorted(ends, class_begins)
        self._hit_place = [np.searchsorted(ends, hits + 1) for hits in all_hits]
        ignored = [np.flatnonzero(~matches.counted(0, t)[order]) for t in range(thresholds)]
        self._ignored = [
            _Ignored(self._image[places], np.searchsorted(places, hits), np.searchsorted(places, class_begins))
            for places, hits in zip(ignored, all_hits, strict=True)
        ]
        nothing = np.zeros(0, dtype=np.int64)
        self._event_image = self._image[np.concatenate([nothing, *all_hits])]
        self._event_label = np.concatenate([nothing, *self._hit_label])
        self._curve = np.concatenate([nothing, *(t * classes + own for t, own in enumerate(self._hit_label))])
        self._begins = np.searchsorted(self._curve, np.arange(thresholds * classes))
        self._first = np.r_[True, self._curve[1:] != self._curve[:-1]][: len(self._curve)]

    def at(self, weight: Floats, recalls: Floats) -> tuple[Floats, Floats]:
        """Precision [T, R, K] and recall [T, K] as pycocotools' arrays have them; -1 without ground truth.

        Args:
            weight: float64 [I], not negative. recalls: float64 [R], from 0 to 1 in equal steps.
        """
        totals = np.bincount(self._object_label, weights=weight[self._object_image], minlength=self._classes)
        sums = np.r_[0.0, np.cumsum(weight[self._event_image])]
        before = sums[self._begins]
        true = sums[1:] - before[self._curve]
        precision = true / (self._counted(weight) + np.spacing(1))
        known = totals > 0
        recall = true / np.where(known, totals, 1.0)[self._event_label]
        if not (weight == np.rint(weight)).all():
            recall += ROUNDING  # sums of the same weights in another order: all of them must reach 1
        curves = self._interpolated(precision, recall, recalls).reshape(self._thresholds, self._classes, -1)
        curves[:, ~known] = -1.0
        last = (np.r_[before[1:], sums[-1:]] - before).reshape(self._thresholds, self._classes)
        reached = np.where(known, last / np.where(known, totals, 1.0), -1.0)
        return curves.transpose(0, 2, 1), reached

    def _interpolated(self, precision: Floats, recall: Floats, recalls: Floats) -> Floats:
        """[T K, R]: at each recall the highest precision from the event on that reaches it; 0 where none does."""
        reached = _number_reached(recalls, recall)
        earlier = np.where(self._first, 0, np.r_[0, reached[:-1]][: len(reached)])
        # Every curve's first event is among them, since it reaches the recall of 0.
        steps = np.flatnonzero(reached > earlier)
        curves = np.zeros((self._thresholds * self._classes, len(recalls)))
        if len(steps):
            curve, width = self._curve[steps], (reached - earlier)[steps]
            highest = highest_from_here_on(np.maximum.reduceat(precision, steps), curve)
            place = curve * len(recalls) + earlier[steps]
            within = np.arange(int(width.sum())) - np.repeat(np.cumsum(width) - width, width)
            curves.ravel()[np.repeat(place, width) + within] = np.repeat(highest, width)
        return curves

    def _counted(self, weight: Floats) -> Floats:
        """At every event, the weight of the class's detections up to it that are right or wrong."""
        stretches = np.add.reduceat(weight[self._image], self._stretches) if len(self._stretches) else np.zeros(0)
        sums = np.r_[0.0, np.cumsum(stretches)]
        class_sums = sums[self._class_place]
        parts = []
        for places, labels, ignored in zip(self._hit_place, self._hit_label, self._ignored, strict=True):
            every = sums[places] - class_sums[labels]
            if len(ignored.image):
                left_out = np.r_[0.0, np.cumsum(weight[ignored.image])]
                every -= left_out[ignored.before_event] - left_out[ignored.before_class][labels]
            parts.append(every)
        return np.concatenate([np.zeros(0), *parts])


def _number_reached(recalls: Floats, recall: Floats) -> Integers:
    """How many of the recalls each value reaches: `searchsorted` from the right, quick since their steps are equal."""
    place = np.minimum((recall * (len(recalls) - 1)).astype(np.int64), len(recalls) - 1)
    place -= recalls[place] > recall
    place += np.r_[recalls, np.inf][place + 1] <= recall
    return place + 1
