"""Which detection matches which object: COCO's greedy matching, for all images at once.

Evaluators keep their matches to themselves, or give them as one dictionary for each image, class and range of area: a
million of them, which take longer than all the rest. The rule is short (pycocotools' `COCOeval.evaluateImg`): in each
image and class, detections choose in the order of their scores; each takes the free object with the highest IoU, an
object that counts before one that does not, the later one of two with equal IoU. Every step of the loop below makes the
choices of one detection in every image and class, at all thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detkit.data.evaluated import Floats, Integers
from detkit_coco.columns import Columns, Detections, Flags, Objects

#: So many pairs of detection and object are looked at at once: some 100 MB.
PAIRS_AT_ONCE = 1_000_000
#: A detection that comes near more objects than this chooses apart from those of other groups.
WIDE = 16


@dataclass(frozen=True, slots=True)
class Matches:
    """Of the D detections that count, in the order of image, class, falling score.

    Attributes:
        source: int64 [D], places in `Columns.detections`.
        image, label: int64 [D]. score: float64 [D].
        rank: int64 [D], from 0, in the detection's image and class.
        outside: bool [A, D], whether its own area is outside the range.
        candidates: int64 [C], rising, places in D of the detections that reach the lowest IoU with any object.
        partner: int64 [A, T, C], the place of the matched object in `Columns.objects`, or -1.
        iou: float64 [A, T, C], with the partner; -1 without.
        uncounted: bool [A, G], whether an object neither counts nor is missed: a crowd, or of another area.
    """

    source: Integers
    image: Integers
    label: Integers
    score: Floats
    rank: Integers
    outside: Flags
    candidates: Integers
    partner: Integers
    iou: Floats
    uncounted: Flags

    def true(self, area: int, iou: int) -> Flags:
        """bool [D]: the detection matches an object that counts."""
        partner = self.partner[area, iou]
        flags = np.zeros(len(self.score), dtype=np.bool_)
        flags[self.candidates] = (partner >= 0) & ~self._at_partner(area, partner)
        return flags

    def counted(self, area: int, iou: int) -> Flags:
        """bool [D]: the detection is either right or wrong."""
        partner = self.partner[area, iou]
        flags: Flags = ~self.outside[area]
        matched = partner >= 0
        flags[self.candidates[matched]] = ~self._at_partner(area, partner)[matched]
        return flags

    def _at_partner(self, area: int, partner: Integers) -> Flags:
        if not self.uncounted.shape[1]:
            return np.zeros(len(partner), dtype=np.bool_)
        flags: Flags = self.uncounted[area, partner]
        return flags


@dataclass(frozen=True, slots=True)
class Near:
    """The detections of each image and class, and the objects that they come near: what all matches begin with.

    Attributes:
        source: int64 [D], places in `Columns.detections`, in the order of image, class, falling score.
        group: int64 [D], rising, the number of the image and class. rank: int64 [D], from 0, within the group.
        detection: int64 [P], rising, places in D. object: int64 [P], of the same group. iou: float64 [P].
    """

    columns: Columns
    source: Integers
    group: Integers
    rank: Integers
    detection: Integers
    object: Integers
    iou: Floats


def near(columns: Columns, lowest: float, max_detections: int, *, across_classes: bool = False) -> Near:
    """The pairs of a detection and an object of its image and class whose IoU is high enough.

    Args:
        lowest: the IoU that is enough, above 0.
        max_detections: of a class in an image; those with the highest scores count.
        across_classes: take all classes of an image together; the limit is then on all detections of an image.
    """
    found = columns.detections
    found_group = _groups(found, columns.classes, across_classes)
    source = np.lexsort((-found.score, found_group))
    group = found_group[source]
    rank = _places_in_runs(group)
    counted = rank < max_detections
    source, group, rank = source[counted], group[counted], rank[counted]
    return Near(
        columns,
        source,
        group,
        rank,
        *_near_pairs(columns, source, group, across_classes, float(_limits(np.array(lowest)))),
    )


def match(pairs: Near, ious: Floats, areas: Sequence[tuple[float, float]]) -> Matches:
    """Match the detections of each image and class with its objects.

    Args:
        ious: float64 [T], thresholds, none below the lowest IoU of the pairs.
        areas: A ranges, both ends included.
    """
    found, objects, source = pairs.columns.detections, pairs.columns.objects, pairs.source
    own_area = found.area[source]
    uncounted = np.array([objects.crowd | (objects.area < low) | (objects.area > high) for low, high in areas])
    candidates, partner, overlap = _choose(pairs, objects.crowd, uncounted, _limits(ious))
    return Matches(
        source=source,
        image=found.image[source],
        label=found.label[source],
        score=found.score[source],
        rank=pairs.rank,
        outside=np.array([(own_area < low) | (own_area > high) for low, high in areas]),
        candidates=candidates,
        partner=partner,
        iou=overlap,
        uncounted=uncounted,
    )


def _limits(ious: Floats) -> Floats:
    """pycocotools' own: an IoU that rounding left below 1 is 1."""
    return np.minimum(ious, 1 - 1e-10)


def _groups(of: Objects | Detections, classes: int, across_classes: bool) -> Integers:
    return of.image if across_classes else of.image * classes + of.label - 1


def _places_in_runs(values: NDArray[Any]) -> Integers:
    """int64 [N]: 0, 1, 2, ... within each run of equal values."""
    places = np.arange(len(values))
    begins = np.flatnonzero(np.r_[True, values[1:] != values[:-1]]) if len(values) else places
    return places - np.repeat(begins, np.diff(np.r_[begins, len(values)]))


# --- pairs -----------------------------------------------------------------------------------------------------------


def _near_pairs(
    columns: Columns, source: Integers, group: Integers, across_classes: bool, lowest: float
) -> tuple[Integers, Integers, Floats]:
    object_group = _groups(columns.objects, columns.classes, across_classes)
    by_group = np.argsort(object_group, kind="stable")
    first = np.searchsorted(object_group[by_group], group, side="left")
    count = np.searchsorted(object_group[by_group], group, side="right") - first
    parts = []
    for begin, end in _blocks(count):
        counts = count[begin:end]
        detection = np.repeat(np.arange(begin, end), counts)
        place = np.arange(len(detection)) - np.repeat(np.cumsum(counts) - counts, counts)
        object_ = by_group[np.repeat(first[begin:end], counts) + place]
        iou = _pair_ious(columns, source[detection], object_, group[detection])
        kept = iou >= lowest
        parts.append((detection[kept], object_[kept], iou[kept]))
    detections, objects, ious = zip(*parts, strict=True) if parts else ((), (), ())
    nothing = np.zeros(0, dtype=np.int64)
    return (
        np.concatenate([nothing, *detections]),
        np.concatenate([nothing, *objects]),
        np.concatenate([np.zeros(0), *ious]),
    )


def _blocks(counts: Integers) -> Iterator[tuple[int, int]]:
    """Ranges of detections that make some `PAIRS_AT_ONCE` pairs each."""
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + PAIRS_AT_ONCE, side="right")))
        yield begin, end
        begin = end


def _pair_ious(columns: Columns, detection: Integers, object_: Integers, group: Integers) -> Floats:
    """float64 [P]: the IoU of each pair. With a crowd it is the share of the detection that lies in it."""
    if columns.region == "segm":
        return _mask_ious(columns, detection, object_, group)
    return box_ious(columns.detections.boxes[detection], columns.objects.boxes[object_], columns.objects.crowd[object_])


def box_ious(first: Floats, second: Floats, crowd: Flags) -> Floats:
    """float64 [P], in the arithmetic of pycocotools' `bbIou`, of boxes [P, 4] as (x, y, width, height)."""
    width = np.minimum(first[:, 0] + first[:, 2], second[:, 0] + second[:, 2]) - np.maximum(first[:, 0], second[:, 0])
    height = np.minimum(first[:, 1] + first[:, 3], second[:, 1] + second[:, 3]) - np.maximum(first[:, 1], second[:, 1])
    shared = width * height
    own, other = first[:, 2] * first[:, 3], second[:, 2] * second[:, 3]
    union = np.where(crowd, own, own + other - shared)
    touching = (width > 0) & (height > 0)
    ious: Floats = np.divide(shared, union, out=np.zeros(len(first)), where=touching)
    return ious


def _mask_ious(columns: Columns, detection: Integers, object_: Integers, group: Integers) -> Floats:
    """float64 [P], of all detections with all objects of each group, in the order of detections."""
    from pycocotools import mask

    found, objects = columns.detections.masks, columns.objects.masks
    ious = np.zeros(len(detection))
    begins = np.flatnonzero(np.r_[True, group[1:] != group[:-1]]) if len(group) else np.zeros(0, dtype=np.int64)
    for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(group)], strict=False):
        count = int(np.count_nonzero(detection[begin:end] == detection[begin]))
        others = object_[begin : begin + count]
        ious[begin:end] = mask.iou(
            [found[place] for place in detection[begin:end:count].tolist()],
            [objects[place] for place in others.tolist()],
            columns.objects.crowd[others].astype(np.uint8).tolist(),
        ).ravel()
    return ious


# --- choices ---------------------------------------------------------------------------------------------------------


def _choose(pairs: Near, crowd: Flags, uncounted: Flags, limits: Floats) -> tuple[Integers, Integers, Floats]:
    """The candidates, and for each range of area and threshold their partner and the IoU with it."""
    candidates, first, count = np.unique(pairs.detection, return_index=True, return_counts=True)
    shape = (len(uncounted), len(limits), len(candidates))
    partner, iou = np.full(shape, -1), np.full(shape, -1.0)
    taken = np.zeros((*shape[:2], len(crowd)), dtype=np.bool_)
    for rows in _turns(pairs.group[candidates], count):
        options, overlap = _options(pairs, first[rows], count[rows])
        for area in range(len(uncounted)):
            chosen, its_iou = _best(options, overlap, taken[area], crowd, uncounted[area], limits[:, None, None])
            partner[area][:, rows] = chosen
            iou[area][:, rows] = its_iou
            at, who = np.nonzero(chosen >= 0)
            taken[area][at, chosen[at, who]] = True
    return candidates, partner, iou


def _turns(group: Integers, count: Integers) -> Iterator[Integers]:
    """The candidates that choose at once, one of a group: the surest of each first. Those with many options go apart,
    since all of a turn take the room of the one with most."""
    turn = _places_in_runs(group)
    by_turn = np.argsort(turn, kind="stable")
    for rows in np.split(by_turn, np.flatnonzero(np.diff(turn[by_turn])) + 1):
        wide = count[rows] > WIDE
        for part in (rows[~wide], rows[wide]) if wide.any() else (rows,):
            if len(part):
                yield part


def _options(pairs: Near, first: Integers, count: Integers) -> tuple[Integers, Floats]:
    """[N, W] each: the objects near to N candidates, -1 where there are fewer, and the IoU.

    Later objects stand first: `argmax` then finds the later one of two with equal IoU.
    """
    width = int(count.max())
    place = count[:, None] - 1 - np.arange(width)
    pair = np.where(place >= 0, first[:, None] + place, 0)
    return np.where(place >= 0, pairs.object[pair], -1), np.where(place >= 0, pairs.iou[pair], -1.0)


def _best(
    options: Integers, overlap: Floats, taken: Flags, crowd: Flags, uncounted: Flags, limits: Floats
) -> tuple[Integers, Floats]:
    """[T, N]: of N detections in N groups, each one's choice among its options [N, W], and the IoU; or -1."""
    free = (overlap >= limits) & (options >= 0) & (~taken[:, options] | crowd[options])
    second_choice = uncounted[options]
    chosen, iou = _highest(options, overlap, free & ~second_choice)
    if second_choice.any():
        other, other_iou = _highest(options, overlap, free & second_choice)
        chosen, iou = np.where(chosen >= 0, chosen, other), np.where(chosen >= 0, iou, other_iou)
    return chosen, iou


def _highest(options: Integers, overlap: Floats, free: Flags) -> tuple[Integers, Floats]:
    value = np.where(free, overlap, -1.0)
    best = value.argmax(axis=2)
    iou = np.take_along_axis(value, best[..., None], axis=2)[..., 0]
    return np.where(iou >= 0, options[np.arange(len(options)), best], -1), iou
