"""What datasets promise of each image and its target."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors

from detkit.data.augment import mask_extents
from detkit.data.augment_contract import FIELDS
from detkit.testing.rule import Broken, NotApplicable, rule
from detkit.testing.rules.dataset import AREA_PX, AREA_SHARE, dataset_of, samples_of
from detkit.testing.subject import Subject

#: Boxes may reach out of the image by so much, pixels: those of files are rounded, and some count pixels from 1.
OUTSIDE_PX = 1.0
#: Masks of polygons have whole pixels, their boxes fractions, pixels.
MASK_PX = 2.0


def described(value: object) -> str:
    """A tensor's dtype and shape, or what it is instead."""
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _tensor(target: Any, name: str, dtype: torch.dtype, shape: str) -> Tensor:
    """The field as a plain tensor of its dtype.

    Raises:
        NotApplicable: it is something else, which the rule about it says.
    """
    found = target.get(name)
    if not isinstance(found, Tensor) or found.dtype != dtype or found.ndim != (2 if shape == "[N, 4]" else found.ndim):
        raise NotApplicable(f"{name} are {described(found)}: the rule about them says so")
    return found.as_subclass(Tensor)


@rule("dataset", "dataset-image", "an image is a uint8 `tv_tensors.Image` [3, H, W]")
def image_form(subject: Subject) -> None:
    """Each image is a `torchvision.tv_tensors.Image` of dtype uint8 and shape [3, H, W] (colours first, RGB), with at
    least one pixel. Grey images are repeated, and a fourth channel is dropped, by the dataset."""
    for index, image, _ in samples_of(subject):
        right = isinstance(image, tv_tensors.Image) and image.dtype == torch.uint8
        if not right or image.ndim != 3 or image.shape[0] != 3 or not image.numel():
            what = (
                f"of type {type(image).__name__}, {described(image)}" if isinstance(image, Tensor) else described(image)
            )
            raise Broken(f"image {index} is {what}", "a tv_tensors.Image, uint8 [3, H, W]")


@rule("dataset", "dataset-target-fields", "a target has boxes, labels, image_id, area and iscrowd")
def fields(subject: Subject) -> None:
    """Each target is a dict with `boxes`, `labels`, `image_id`, `area` and `iscrowd`, also where the image has no
    objects; with `masks` where the dataset provides them. Other fields may be there."""
    for index, _, target in samples_of(subject):
        missing = sorted(FIELDS - target.keys())
        if missing:
            raise Broken(f"the target of image {index} lacks {', '.join(missing)}", "all five fields")


@rule("dataset", "dataset-boxes", "boxes are float32 [N, 4] `BoundingBoxes` in XYXY on the image's canvas")
def boxes_form(subject: Subject) -> None:
    """`boxes` is a `tv_tensors.BoundingBoxes` of dtype float32 and shape [N, 4], N = 0 included ([0, 4], not [0]),
    format XYXY, in pixels, with the image's (height, width) as `canvas_size`. There are as many as labels."""
    for index, image, target in samples_of(subject):
        found: Any = target.get("boxes")
        count = len(target.get("labels", ()))
        if not isinstance(found, tv_tensors.BoundingBoxes) or found.dtype != torch.float32:
            raise Broken(
                f"the boxes of image {index} are a {type(found).__name__}, {described(found)}",
                "tv_tensors.BoundingBoxes, float32 [N, 4]",
            )
        if tuple(found.shape) != (count, 4):
            raise Broken(f"the boxes of image {index} have shape {list(found.shape)}", f"[{count}, 4]: one a label")
        if found.format != tv_tensors.BoundingBoxFormat.XYXY or tuple(found.canvas_size) != tuple(image.shape[-2:]):
            raise Broken(
                f"the boxes of image {index} are {found.format.value} on a canvas of {tuple(found.canvas_size)}",
                f"XYXY on (height, width) = {tuple(image.shape[-2:])}",
            )


@rule("dataset", "dataset-boxes-in-image", "boxes have area and lie in the image")
def boxes_inside(subject: Subject) -> None:
    """Boxes are finite, have x0 < x1 and y0 < y1, and reach out of the image by no more than a pixel. A reader of
    people's files may meet others: it gives them as they are (`[dataset] degenerate` and `detkit check --deep` treat
    them), so test it on files that are in order. Boxes of the form (x, y, width, height) break this rule."""
    for index, image, target in samples_of(subject):
        height, width = image.shape[-2:]
        for place, box in enumerate(_tensor(target, "boxes", torch.float32, "[N, 4]").tolist()):
            x0, y0, x1, y1 = box
            if not all(map(_finite, box)) or x0 >= x1 or y0 >= y1:
                raise Broken(f"box {place} of image {index} is {box}", "x0 < x1 and y0 < y1")
            if min(x0, y0) < -OUTSIDE_PX or x1 > width + OUTSIDE_PX or y1 > height + OUTSIDE_PX:
                raise Broken(f"box {place} of image {index} is {box}, the image {width} x {height}", "boxes inside it")


def _finite(number: float) -> bool:
    return abs(number) < float("inf")


@rule("dataset", "dataset-labels", "labels are int64 [N] in 1..K")
def labels_form(subject: Subject) -> None:
    """`labels` is an int64 tensor of shape [N]; each is in 1..K, where K is the number of `class_names`: 0 is the
    background of TorchVision's detectors and labels no object."""
    classes = len(dataset_of(subject).class_names)
    for index, _, target in samples_of(subject):
        found: Any = target.get("labels")
        if not isinstance(found, Tensor) or found.dtype != torch.int64 or found.ndim != 1:
            raise Broken(f"the labels of image {index} are {described(found)}", "int64 [N]")
        wrong = [label for label in found.tolist() if not 1 <= label <= classes]
        if wrong:
            raise Broken(
                f"image {index} has the label {wrong[0]}; there are {classes} classes", f"labels in 1..{classes}"
            )


@rule("dataset", "dataset-area", "area is float32 [N], and no more than the box holds")
def area_form(subject: Subject) -> None:
    """`area` is a float32 tensor of shape [N], in square pixels: of the mask where there is one, else of the box. It is
    above 0 and no larger than the box (but for rounding): COCO's small, medium and large go by it."""
    for index, _, target in samples_of(subject):
        found: Any = target.get("area")
        count = len(target["labels"])
        if not isinstance(found, Tensor) or found.dtype != torch.float32 or tuple(found.shape) != (count,):
            raise Broken(f"the area of image {index} is {described(found)}", f"float32 [{count}]")
        boxes = _tensor(target, "boxes", torch.float32, "[N, 4]")
        sides = boxes[:, 2:] - boxes[:, :2]
        for place, (area, most) in enumerate(zip(found.tolist(), sides.prod(dim=1).tolist(), strict=True)):
            if not 0 < area <= most * (1 + AREA_SHARE) + AREA_PX:
                raise Broken(
                    f"object {place} of image {index} has the area {area:g}, its box {most:g}",
                    "above 0, and no more than the box",
                )


@rule("dataset", "dataset-iscrowd", "iscrowd is bool [N]")
def crowd_form(subject: Subject) -> None:
    """`iscrowd` is a bool tensor of shape [N]: whether the object is one of COCO's crowds, which count neither as found
    nor as missed. A dataset that knows no crowds gives False."""
    for index, _, target in samples_of(subject):
        found: Any = target.get("iscrowd")
        count = len(target["labels"])
        if not isinstance(found, Tensor) or found.dtype != torch.bool or tuple(found.shape) != (count,):
            raise Broken(f"iscrowd of image {index} is {described(found)}", f"bool [{count}]")


@rule("dataset", "dataset-masks", "masks are uint8 [N, H, W] of 0 and 1")
def masks_form(subject: Subject) -> None:
    """`masks` is a `tv_tensors.Mask` of dtype uint8 and shape [N, H, W], H and W the image's, with 1 inside and 0
    outside; N = 0 included ([0, H, W])."""
    for index, image, target in _with_masks(subject):
        found: Any = target["masks"]
        shape = (len(target["labels"]), *image.shape[-2:])
        if not isinstance(found, tv_tensors.Mask) or found.dtype != torch.uint8 or tuple(found.shape) != shape:
            what = f"a {type(found).__name__}, {described(found)}"
            raise Broken(f"the masks of image {index} are {what}", f"tv_tensors.Mask, uint8 {list(shape)}")
        if found.numel() and int(found.as_subclass(Tensor).max()) > 1:
            raise Broken(f"the masks of image {index} hold {int(found.max())}", "1 inside and 0 outside")


@rule("dataset", "dataset-masks-fit-boxes", "each mask lies in its object's box, and fills its extents")
def masks_fit(subject: Subject) -> None:
    """The extents of a mask are its object's box, within two pixels (polygons have fractional corners); no mask is
    empty. Masks in another order than the boxes break this rule. Crowds are left out: their masks may be parts."""
    for index, _, target in _with_masks(subject):
        extents, there = mask_extents(target["masks"])
        boxes = target["boxes"].as_subclass(Tensor)
        if len(extents) != len(boxes):
            raise NotApplicable("there are not as many masks as boxes: see the rule dataset-masks")
        for place in range(len(boxes)):
            if bool(target["iscrowd"][place]):
                continue
            if not bool(there[place]):
                raise Broken(f"the mask of object {place} of image {index} is empty", "a mask with pixels")
            if float((extents[place] - boxes[place]).abs().max()) > MASK_PX:
                raise Broken(
                    f"object {place} of image {index} has the box {boxes[place].tolist()}, its mask the extents"
                    f" {extents[place].tolist()}",
                    f"the same within {MASK_PX:g} pixels",
                )


def _with_masks(subject: Subject) -> list[tuple[int, Any, Any]]:
    found = [(index, image, target) for index, image, target in samples_of(subject) if "masks" in target]
    if not found:
        raise NotApplicable("it provides no masks")
    return found
