"""Transforms that move pixels of one image: flips, crops, scales, rotations."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from detkit import Draw
from detkit.data.types import Target
from detkit_augment import CropOptions, FlipOptions, RotationOptions, ScaleJitterOptions
from detkit_augment.objects import Sample, chosen, inside, moved, pixels_of, plain, resized, shares, window


class Flip:
    """Mirrors an image and its objects."""

    def __init__(self, options: FlipOptions) -> None:
        self._options = options

    def __call__(self, image: tv_tensors.Image, target: Target, draw: Draw, /) -> Sample:
        horizontal, vertical = draw.chance(self._options.horizontal), draw.chance(self._options.vertical)
        axes = [axis for axis, flipped in ((-1, horizontal), (-2, vertical)) if flipped]
        if not axes:
            return image, target
        height, width = image.shape[-2:]
        boxes = plain(target["boxes"])
        if horizontal:
            boxes = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], dim=1)
        if vertical:
            boxes = torch.stack([boxes[:, 0], height - boxes[:, 3], boxes[:, 2], height - boxes[:, 1]], dim=1)
        masks = plain(target["masks"]).flip(axes) if "masks" in target else None
        return tv_tensors.Image(plain(image).flip(axes)), moved(target, boxes, masks, height, width)


class ScaleJitter:
    """Zooms in or out: the image is resized by a factor, then cut or padded at random to the size that it had.

    Ghiasi et al. 2021 (arXiv 2012.07177), there with 0.1 to 2. Resizing alone would do nothing: models resize to their
    own input size.
    """

    def __init__(self, options: ScaleJitterOptions) -> None:
        self._options = options

    def __call__(self, image: tv_tensors.Image, target: Target, draw: Draw, /) -> Sample:
        o = self._options
        changed, factor = draw.chance(o.probability), logarithmic(draw, *o.scale)
        across, down = draw.uniform(), draw.uniform()
        height, width = image.shape[-2:]
        if not changed:
            return image, target
        if factor >= 1:  # cut first: the rest need not be resized
            part_height, part_width = max(1, round(height / factor)), max(1, round(width / factor))
            x, y = round(across * (width - part_width)), round(down * (height - part_height))
            part = window((image, target), x, y, part_width, part_height, fill=o.fill, min_visible=o.min_visible)
            return resized(part, height, width)
        small_height, small_width = max(1, round(height * factor)), max(1, round(width * factor))
        small = resized((image, target), small_height, small_width)
        x, y = round(across * (width - small_width)), round(down * (height - small_height))
        return window(small, -x, -y, width, height, fill=o.fill, min_visible=o.min_visible)


class Crop:
    """Cuts out a part in which objects stay; others are taken out by their visible share, or for their centre.

    In the manner of SSD's sampling (Liu et al. 2016, arXiv 1512.02325; TorchVision's RandomIoUCrop), whose condition is
    the overlap of crop and box; here it is the share of the box that stays, so that small objects can meet it.
    """

    def __init__(self, options: CropOptions) -> None:
        self._options = options

    def __call__(self, image: tv_tensors.Image, target: Target, draw: Draw, /) -> Sample:
        o = self._options
        if not draw.chance(o.probability):
            return image, target
        height, width = image.shape[-2:]
        boxes = plain(target["boxes"])
        for _ in range(o.trials):
            part_width = max(1, round(width * draw.uniform(*o.scale)))
            part_height = max(1, round(height * draw.uniform(*o.scale)))
            x, y = draw.integer(width - part_width + 1), draw.integer(height - part_height + 1)
            aspect = (part_width * height) / (part_height * width)
            if not o.aspect[0] <= aspect <= o.aspect[1]:
                continue
            keep = self._kept(boxes - torch.tensor([x, y] * 2, dtype=boxes.dtype), part_height, part_width)
            if len(keep) and not bool(keep.all() if o.keep == "all" else keep.any()):
                continue
            part = window(
                (image, chosen(target, keep)), x, y, part_width, part_height, fill=0, min_visible=o.min_visible
            )
            if self._suffices(len(part[1]["labels"]), len(keep)):
                return part
        return image, target

    def _kept(self, boxes: Tensor, height: int, width: int) -> Tensor:
        """bool [N]: the objects whose centre and visible share stay; boxes in pixels of the crop."""
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        within = (centres >= 0).all(dim=1) & (centres <= torch.tensor([width, height], dtype=centres.dtype)).all(dim=1)
        return within & (inside(boxes, height, width) >= self._options.min_visible)

    def _suffices(self, left: int, before: int) -> bool:
        """Of masks a smaller share may stay than of their boxes."""
        if not before:
            return True
        return left == before if self._options.keep == "all" else left > 0


class Rotation:
    """Turns an image about its centre; its size stays."""

    def __init__(self, options: RotationOptions) -> None:
        self._options = options

    def __call__(self, image: tv_tensors.Image, target: Target, draw: Draw, /) -> Sample:
        o = self._options
        changed, angle = draw.chance(o.probability), draw.uniform(-o.degrees, o.degrees)
        if not changed:
            return image, target
        height, width = image.shape[-2:]
        picture = F.rotate_image(
            plain(image), angle, interpolation=F.InterpolationMode.BILINEAR, fill=[float(o.fill)] * 3
        )
        boxes = turned(plain(target["boxes"]), angle, height, width)
        masks = None
        if "masks" in target:
            masks = plain(target["masks"])
            if len(masks):
                masks = F.rotate_image(masks, angle, interpolation=F.InterpolationMode.NEAREST)
            visible = shares(pixels_of(masks), pixels_of(target["masks"]))
        else:
            visible = inside(boxes, height, width)
        changed_target = moved(target, boxes, masks, height, width)
        return tv_tensors.Image(picture), chosen(changed_target, visible >= o.min_visible)


def turned(boxes: Tensor, degrees: float, height: int, width: int) -> Tensor:
    """The boxes around boxes that were turned about the image's centre, counter-clockwise as seen; not clipped."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = boxes[:, [0, 2, 2, 0]].double() - width / 2, boxes[:, [1, 1, 3, 3]].double() - height / 2
    new_x, new_y = cosine * x + sine * y + width / 2, cosine * y - sine * x + height / 2
    corners = [new_x.amin(dim=1), new_y.amin(dim=1), new_x.amax(dim=1), new_y.amax(dim=1)]
    return torch.stack(corners, dim=1).to(torch.float32)


def logarithmic(draw: Draw, low: float, high: float) -> float:
    """A number in low..high, even on a logarithmic scale: 0.5 is as likely as 2."""
    return math.exp(draw.uniform(math.log(low), math.log(high)))
