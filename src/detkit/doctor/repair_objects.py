"""The objects of an image, repaired: what the doctor's own rules find is left out or clipped."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from detkit.checks import objects
from detkit.checks.finding import Finding, Where
from detkit.data.degenerate import has_area, short_box
from detkit.data.types import Annotation, ImageInfo

#: Objects in which these find something are left out.
LEFT_OUT = (
    objects.WITHOUT_AREA,
    objects.NOT_FINITE,
    objects.OUTSIDE,
    objects.REPEATED,
    objects.UNKNOWN_LABEL,
    objects.MASK_MISFIT,
    objects.MASK_EMPTY,
)
CHECKS = (*LEFT_OUT, objects.OVER_EDGE)

#: A box of which less is in the image, pixels, may lose its area where a format rounds or clips it.
SLIVER = 1e-3


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing that was repaired.

    Attributes:
        finding: what was wrong, with its place in the original. done: what became of it, as "the object is left out".
    """

    finding: Finding
    done: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = self.finding.to_dict()
        del found["severity"]  # it says what the original is worth, not the copy
        return {**found, "done": self.done}


def repaired_objects(
    where: Where, info: ImageInfo, classes: Sequence[str], wanted: Collection[str]
) -> tuple[ImageInfo, list[Repair]]:
    """The image with its objects repaired, and what was done.

    The rules are those of `object_findings`, applied until they find nothing more to repair: a box that is clipped may
    be another one's double. Repairs have the numbers of the original.

    Args:
        wanted: ids of the checks whose findings are repaired.
    """
    alive = list(enumerate(info.annotations))
    repairs: list[Repair] = []
    while True:
        now = replace(info, annotations=tuple(item for _, item in alive))
        # As if degenerate = "error": the copy must not need the option.
        found = objects.object_findings(where, now, classes, "error")
        acted = [one for one in (*found, *_slivers(where, now)) if one.check in CHECKS and one.check.id in wanted]
        if not acted:
            return (now if repairs else info), repairs
        gone: set[int] = set()
        for finding in acted:
            assert finding.object is not None
            number, item = alive[finding.object]
            named = replace(finding, object=number, place=where.place(number, item))
            if finding.check in LEFT_OUT:
                gone.add(finding.object)
                repairs.append(Repair(named, "the object is left out"))
            else:
                clipped = _clipped(item, info.width, info.height)
                alive[finding.object] = (number, clipped)
                repairs.append(Repair(named, f"clipped to {short_box(clipped.box)}"))
        alive = [entry for place, entry in enumerate(alive) if place not in gone]


def _slivers(where: Where, info: ImageInfo) -> Iterator[Finding]:
    """Boxes that have an area, and hardly any of it in the image."""
    for number, item in enumerate(info.annotations):
        x0, y0, x1, y1 = item.box
        touches = x1 > 0 and y1 > 0 and x0 < info.width and y0 < info.height  # else it is outside
        if has_area(item.box) and all(map(math.isfinite, item.box)) and touches:
            inside = _within(item.box, info.width, info.height)
            if min(inside[2] - inside[0], inside[3] - inside[1]) < SLIVER:
                text = f"of box {short_box(item.box)} less than {SLIVER:g} pixels are in the image"
                yield where.of_object(number, item, objects.WITHOUT_AREA, text)


def _within(box: Sequence[float], width: int, height: int) -> tuple[float, float, float, float]:
    x0, x1 = (min(max(value, 0.0), float(width)) for value in (box[0], box[2]))
    y0, y1 = (min(max(value, 0.0), float(height)) for value in (box[1], box[3]))
    return x0, y0, x1, y1


def _clipped(item: Annotation, width: int, height: int) -> Annotation:
    x0, y0, x1, y1 = _within(item.box, width, height)
    # A mask lies within the image, and so does its area; a stated one may be of the mask that nobody has.
    area = item.area if item.mask is not None else min(item.area, (x1 - x0) * (y1 - y0))
    return replace(item, box=(x0, y0, x1, y1), bbox=None, area=area)
