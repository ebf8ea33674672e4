"""The objects of an image: boxes, labels, masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from detkit.data.checks import Degenerate
from detkit.data.types import Annotation, ImageInfo
from detkit.doctor.finding import Check, Finding, Where

WITHOUT_AREA = Check(
    "box-without-area",
    "error",
    "a box that is no wider or no higher than 0: training with it stops, or makes losses that are not finite",
    'mend it in its file, or leave such objects out with degenerate = "drop" in [dataset]',
)
NOT_FINITE = Check("box-not-finite", "error", "a box with NaN or infinity in it", "mend it in its file")
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
)
MASK_MISFIT = Check(
    "mask-does-not-fit", "error", "a mask of another size than its image", "bring the mask of this image"
)
MASK_EMPTY = Check(
    "mask-empty",
    "error",
    "a mask without a pixel",
    "draw it again or take the object out; polygons may be thinner than a pixel",
)
CHECKS = (WITHOUT_AREA, NOT_FINITE, OUTSIDE, OVER_EDGE, TINY, REPEATED, UNKNOWN_LABEL, MASK_MISFIT, MASK_EMPTY)

#: How far a box may reach over the edge, pixels: conventions of counting differ by one.
SLACK = 1.0
TINY_SIDE = 4.0


def object_findings(where: Where, info: ImageInfo, classes: Sequence[str], degenerate: Degenerate) -> list[Finding]:
    """All that is wrong with an image's objects.

    Args:
        degenerate: what the spec does with boxes without area; findings that it takes care of are warnings.
    """
    findings = []
    first: dict[tuple[int, bool, tuple[float, ...]], int] = {}
    for number, item in enumerate(info.annotations):
        found: Callable[..., Finding] = lambda check, text, severity=None, n=number, i=item: where.of_object(  # noqa: E731
            check, n, i, text, severity=severity
        )
        findings += _of_label(item, classes, found)
        findings += _of_box(item, info, degenerate, found)
        findings += _of_mask(item, info, found)
        before = first.setdefault((item.label, item.iscrowd, item.box), number)
        if before != number:
            other = where.place(before, info.annotations[before])
            findings.append(found(REPEATED, f"is the same as {other}: box {short(item.box)}"))
    return findings


def _of_label(item: Annotation, classes: Sequence[str], found: Callable[..., Finding]) -> Iterator[Finding]:
    if not 1 <= item.label <= len(classes):
        names = ", ".join(f"{number} {name}" for number, name in enumerate(classes, 1))
        yield found(UNKNOWN_LABEL, f"label {item.label} is out of range; the classes are {names}")


def _of_box(
    item: Annotation, info: ImageInfo, degenerate: Degenerate, found: Callable[..., Finding]
) -> Iterator[Finding]:
    x0, y0, x1, y1 = item.box
    if not all(map(math.isfinite, item.box)):
        yield found(NOT_FINITE, f"box {short(item.box)} is not of finite numbers")
    elif not (x1 > x0 and y1 > y0):
        handled = "" if degenerate == "error" else f'; the object is left out (degenerate = "{degenerate}")'
        severity = "error" if degenerate == "error" else "warning"
        yield found(WITHOUT_AREA, f"box {short(item.box)} has no area{handled}", severity)
    elif x1 <= 0 or y1 <= 0 or x0 >= info.width or y0 >= info.height:
        yield found(OUTSIDE, f"box {short(item.box)} is outside the image of {info.width} x {info.height}")
    else:
        over = max(-x0, -y0, x1 - info.width, y1 - info.height)
        if over > SLACK:
            yield found(
                OVER_EDGE,
                f"box {short(item.box)} reaches {over:g} pixels over the image of {info.width} x {info.height}",
            )
        if min(x1 - x0, y1 - y0) < TINY_SIDE and not item.iscrowd:
            yield found(TINY, f"box {short(item.box)} is {x1 - x0:g} x {y1 - y0:g} pixels")


def _of_mask(item: Annotation, info: ImageInfo, found: Callable[..., Finding]) -> Iterator[Finding]:
    if item.mask is None:
        return
    height, width = item.mask["size"]
    if (height, width) != (info.height, info.width):
        yield found(MASK_MISFIT, f"mask of {width} x {height} does not fit the image of {info.width} x {info.height}")
    from detkit.data.targets import mask_areas

    if not mask_areas([item.mask])[0]:
        yield found(MASK_EMPTY, "mask has no pixel")


def short(box: Sequence[float]) -> str:
    """A box for people."""
    return "(" + ", ".join(f"{value:g}" for value in box) + ")"
