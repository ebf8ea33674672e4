"""Targets under changes of geometry: what all transforms of this plugin share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from detkit.data.types import Target

Sample = tuple[tv_tensors.Image, Target]


def bounding_boxes(boxes: Tensor, height: int, width: int) -> tv_tensors.BoundingBoxes:
    """XYXY boxes on a canvas of that size."""
    form = tv_tensors.BoundingBoxFormat.XYXY
    return tv_tensors.BoundingBoxes(boxes, format=form, canvas_size=(height, width))


def plain(value: Tensor) -> Tensor:
    return value.as_subclass(Tensor)


def chosen(target: Target, keep: Tensor) -> Target:
    """Only the objects of a mask, bool [N], in every field that has one entry an object."""
    if bool(keep.all()):
        return target
    count = len(target["labels"])

    def of(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.ndim or len(value) != count:
            return value
        picked = value[keep]
        return tv_tensors.wrap(picked, like=value) if isinstance(value, tv_tensors.TVTensor) else picked

    return {name: of(value) for name, value in target.items()}  # type: ignore[return-value]  # the same keys and types


def joined(targets: Sequence[Target], height: int, width: int) -> Target:
    """The objects of all targets, whose boxes and masks are of that canvas; the rest is the first one's.

    Fields that not all of them have, or that do not hold one entry an object, are the first one's too, or left out
    where they hold one entry an object.
    """
    first = targets[0]
    result: dict[str, Any] = {}
    for name, value in first.items():
        values: list[Any] = [target.get(name) for target in targets]
        if not _one_an_object(value, first):
            result[name] = value
        elif all(_one_an_object(one, target) for one, target in zip(values, targets, strict=True)):
            together = torch.cat([plain(one) for one in values])
            if isinstance(value, tv_tensors.BoundingBoxes):
                result[name] = bounding_boxes(together, height, width)
            else:
                result[name] = tv_tensors.Mask(together) if isinstance(value, tv_tensors.Mask) else together
    return result  # type: ignore[return-value]  # the first one's keys, with the same types


def _one_an_object(value: object, target: Target) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == len(target["labels"])


def moved(target: Target, boxes: Tensor, masks: Tensor | None, height: int, width: int) -> Target:
    """The target with other boxes and masks, of a canvas of that size."""
    result: Target = {**target, "boxes": bounding_boxes(boxes, height, width)}
    if masks is not None:
        result["masks"] = tv_tensors.Mask(masks)
    return result


def pixels_of(masks: Tensor) -> Tensor:
    """float64 [N], of each mask. numpy counts a hundred times as fast as torch sums bytes."""
    counts = [np.count_nonzero(mask) for mask in plain(masks).numpy()]
    return torch.tensor(counts, dtype=torch.float64)


def inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """float64 [N], the share of each box that lies in the image; 0 for boxes without area."""
    limits = torch.tensor([width, height] * 2, dtype=boxes.dtype)
    clipped = torch.minimum(boxes.clamp(min=0), limits)
    return shares(_areas(clipped), _areas(boxes))


def shares(after: Tensor, before: Tensor) -> Tensor:
    return torch.where(before > 0, after / before.clamp(min=1e-12), torch.zeros_like(after))


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).to(torch.float64).prod(dim=1)


def resized(sample: Sample, height: int, width: int) -> Sample:
    """To another size: pixels bilinearly with antialiasing, masks by the nearest pixel, boxes in proportion."""
    image, target = sample
    old_height, old_width = image.shape[-2:]
    if (height, width) == (old_height, old_width):
        return sample
    factors = torch.tensor([width / old_width, height / old_height] * 2, dtype=torch.float32)
    masks = None
    if "masks" in target:
        rows, columns = _nearest(old_height, height), _nearest(old_width, width)
        masks = torch.from_numpy(plain(target["masks"]).numpy().take(rows, axis=1).take(columns, axis=2))
    # To a single pixel, torch (2.14) fails on bytes: "num_channels == unpacked_output.size(0) INTERNAL ASSERT FAILED".
    pixels = plain(image).float() if height == width == 1 else plain(image)
    picture = F.resize_image(pixels, [height, width], interpolation=F.InterpolationMode.BILINEAR, antialias=True)
    picture = picture.round().to(torch.uint8) if picture.is_floating_point() else picture
    return tv_tensors.Image(picture), moved(target, plain(target["boxes"]) * factors, masks, height, width)


def _nearest(old: int, new: int) -> NDArray[np.int64]:
    """Of each new pixel the old one under its centre: as TorchVision's "nearest-exact", in a third of the time."""
    return ((2 * np.arange(new, dtype=np.int64) + 1) * old) // (2 * new)


def window(sample: Sample, x: int, y: int, width: int, height: int, *, fill: int, min_visible: float) -> Sample:
    """What a window shows of an image; what lies outside of the image is filled.

    Args:
        x, y: of the window's upper left corner; negative where it begins outside.
        min_visible: objects of which a smaller share can be seen are taken out.
    """
    image, target = sample
    picture = _shown(plain(image), x, y, width, height, fill)
    boxes = plain(target["boxes"]) - torch.tensor([x, y] * 2, dtype=torch.float32)
    if "masks" in target:
        masks = _shown(plain(target["masks"]), x, y, width, height, 0)
        visible = shares(pixels_of(masks), pixels_of(target["masks"]))
        changed = moved(target, boxes, masks, height, width)
    else:
        visible = inside(boxes, height, width)
        changed = moved(target, boxes, None, height, width)
    return tv_tensors.Image(picture), chosen(changed, visible >= min_visible)


def _shown(planes: Tensor, x: int, y: int, width: int, height: int, fill: int) -> Tensor:
    """[C, height, width] of [C, H, W]."""
    old_height, old_width = planes.shape[-2:]
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + width, old_width), min(y + height, old_height)
    if (left, top, right, bottom) == (x, y, x + width, y + height):
        return planes[:, top:bottom, left:right].contiguous()
    result = planes.new_full((len(planes), height, width), fill)
    if right > left and bottom > top:
        result[:, top - y : bottom - y, left - x : right - x] = planes[:, top:bottom, left:right]
    return result
