"""The objects of an image, repaired: what the doctor's own rules find is left out or clipped."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from detkit.checks import objects
from detkit.checks.finding import Finding, Where
from detkit.data.degenerate import short_box
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
        acted = [one for one in found if one.check in CHECKS and one.check.id in wanted]
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


def _clipped(item: Annotation, width: int, height: int) -> Annotation:
    x0, x1 = (min(max(value, 0.0), float(width)) for value in (item.box[0], item.box[2]))
    y0, y1 = (min(max(value, 0.0), float(height)) for value in (item.box[1], item.box[3]))
    # A mask lies within the image, and so does its area; a stated one may be of the mask that nobody has.
    area = item.area if item.mask is not None else min(item.area, (x1 - x0) * (y1 - y0))
    return replace(item, box=(x0, y0, x1, y1), bbox=None, area=area)
