"""The objects of an image: boxes, labels, masks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from detkit.checks.finding import Check, Finding, Severity, Where
from detkit.data.degenerate import Degenerate, has_area, short_box
from detkit.data.types import Annotation, ImageInfo

WITHOUT_AREA = Check(
    "box-without-area",
    "error",
    "a box that is no wider or no higher than 0: training with it stops, or makes losses that are not finite",
    'mend it in its file, or leave such objects out with degenerate = "drop" in [dataset]',
    vital=True,
)
NOT_FINITE = Check("box-not-finite", "error", "a box with NaN or infinity in it", "mend it in its file", vital=True)
OUTSIDE = Check(
    "box-outside",
    "error",
    "a box that lies outside its image: it belongs to another image, size or turn",
    "bring the image that the box was drawn on; is `exif` in [dataset] as the labelling tool had it?",
)
OVER_EDGE = Check(
    "box-over-edge",
    "warning",
    "a box that reaches over the image's edge by more than a pixel",
    'degenerate = "clip" in [dataset] clips boxes to the image; many of them mean another size or turn',
)
TINY = Check(
    "box-tiny",
    "note",
    "a box whose shorter side is under 4 pixels of the file: hardly any detector finds such objects",
    "look whether it is a slip of the mouse; cut images into tiles or raise [input] min_size where such objects matter",
)
REPEATED = Check(
    "object-repeated",
    "warning",
    "an object that its image has twice, with the same class and box",
    "take one of them out of the file",
)
UNKNOWN_LABEL = Check(
    "label-unknown",
    "error",
    "an object whose class is not in the dataset's list",
    "a fault of the dataset's plugin: labels are 1 to K",
    vital=True,
)
MASK_MISFIT = Check(
    "mask-does-not-fit", "error", "a mask of another size than its image", "bring the mask of this image", vital=True
)
MASK_AND_BOX = Check(
    "mask-and-box-differ",
    "warning",
    "a box that differs from its mask's extent by more than 3 pixels",
    "look which of them is right; training may use either",
)
MASK_EMPTY = Check(
    "mask-empty",
    "error",
    "a mask without a pixel",
    "draw it again or take the object out; polygons may be thinner than a pixel",
)
CHECKS = (
    WITHOUT_AREA,
    NOT_FINITE,
    OUTSIDE,
    OVER_EDGE,
    TINY,
    REPEATED,
    UNKNOWN_LABEL,
    MASK_MISFIT,
    MASK_EMPTY,
    MASK_AND_BOX,
)

#: How far a box may reach over the edge, pixels: conventions of counting differ by one.
SLACK = 1.0
TINY_SIDE = 4.0
#: How far a box may be from its mask's extent, pixels: outlines are rounded to whole ones.
MASK_SLACK = 3.0


class Found(Protocol):
    """Makes a finding of the object at hand."""

    def __call__(self, check: Check, text: str, *, severity: Severity | None = None) -> Finding: ...


def object_findings(where: Where, info: ImageInfo, classes: Sequence[str], degenerate: Degenerate) -> list[Finding]:
    """All that is wrong with an image's objects.

    Args:
        degenerate: what the spec does with boxes without area; findings that it takes care of weigh less.
    """
    masks = _masks(info)
    findings: list[Finding] = []
    for number, item in enumerate(info.annotations):
        found = partial(where.of_object, number, item)
        findings += _of_label(item, classes, found)
        findings += _of_box(item, info, degenerate, found)
        if number in masks:
            findings += _of_mask(item, info, masks[number], found)
    return [*findings, *_repeated(where, info)]


def _of_label(item: Annotation, classes: Sequence[str], found: Found) -> Iterator[Finding]:
    if not 1 <= item.label <= len(classes):
        names = ", ".join(f"{number} {name}" for number, name in enumerate(classes, 1))
        yield found(UNKNOWN_LABEL, f"label {item.label} is out of range; the classes are {names}")


def _of_box(item: Annotation, info: ImageInfo, degenerate: Degenerate, found: Found) -> Iterator[Finding]:
    x0, y0, x1, y1 = item.box
    size = f"the image of {info.width} x {info.height}"
    if not all(map(math.isfinite, item.box)):
        yield found(NOT_FINITE, f"box {short_box(item.box)} is not of finite numbers")
    elif not has_area(item.box):
        text = f"box {short_box(item.box)} has no area"
        if degenerate == "error":
            yield found(WITHOUT_AREA, text)
        else:
            handled = f'{text}; the object is left out (degenerate = "{degenerate}")'
            yield found(WITHOUT_AREA, handled, severity="warning")
    elif x1 <= 0 or y1 <= 0 or x0 >= info.width or y0 >= info.height:
        text = f"box {short_box(item.box)} is outside {size}"
        if degenerate == "clip":
            yield found(OUTSIDE, f'{text}; the object is left out (degenerate = "clip")', severity="warning")
        else:
            yield found(OUTSIDE, text)
    else:
        over = max(-x0, -y0, x1 - info.width, y1 - info.height)
        if over > SLACK:
            text = f"box {short_box(item.box)} reaches {over:g} pixels over {size}"
            if degenerate == "clip":
                yield found(OVER_EDGE, f'{text}; it is clipped (degenerate = "clip")', severity="note")
            else:
                yield found(OVER_EDGE, text)
        if min(x1 - x0, y1 - y0) < TINY_SIDE and not item.iscrowd:
            yield found(TINY, f"box {short_box(item.box)} is {x1 - x0:g} x {y1 - y0:g} pixels")


def _repeated(where: Where, info: ImageInfo) -> Iterator[Finding]:
    first: dict[tuple[object, ...], int] = {}
    for number, item in enumerate(info.annotations):
        same = (item.label, item.iscrowd, item.box, item.mask and item.mask["counts"])
        before = first.setdefault(same, number)
        if before != number:
            other = where.place(before, info.annotations[before])
            yield where.of_object(number, item, REPEATED, f"is the same as {other}: box {short_box(item.box)}")


# --- masks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shape:
    """A mask: how many pixels it has, and its extent (x0, y0, x1, y1), pixels."""

    area: float
    extent: tuple[float, ...]


def _masks(info: ImageInfo) -> dict[int, Shape]:
    """Of each object that has a mask, by its number; together, since each call of pycocotools has its price."""
    masks = {number: item.mask for number, item in enumerate(info.annotations) if item.mask is not None}
    if not masks:
        return {}
    from detkit.data.coco_masks import mask_boxes
    from detkit.data.targets import mask_areas

    areas, extents = mask_areas(list(masks.values())), mask_boxes(list(masks.values()))
    return {
        number: Shape(float(area), (x, y, x + width, y + height))
        for number, area, (x, y, width, height) in zip(masks, areas, extents.tolist(), strict=True)
    }


def _of_mask(item: Annotation, info: ImageInfo, shape: Shape, found: Found) -> Iterator[Finding]:
    assert item.mask is not None
    height, width = item.mask["size"]
    if (height, width) != (info.height, info.width):
        yield found(MASK_MISFIT, f"mask of {width} x {height} does not fit the image of {info.width} x {info.height}")
    if not shape.area:
        yield found(MASK_EMPTY, "mask has no pixel")
    elif has_area(item.box):
        apart = max(abs(one - other) for one, other in zip(item.box, shape.extent, strict=True))
        if apart > MASK_SLACK:
            extent = short_box(shape.extent)
            yield found(
                MASK_AND_BOX, f"box {short_box(item.box)} and the mask's extent {extent} are {apart:g} pixels apart"
            )
