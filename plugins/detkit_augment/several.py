"""Transforms that combine several training images. All of them keep the size of the first."""

from __future__ import annotations

import random

import torch
from torchvision import tv_tensors

from detkit import Draw
from detkit.data.types import Target
from detkit_augment import GREY, CopyPasteOptions, MixUpOptions, MosaicOptions
from detkit_augment.geometry import logarithmic
from detkit_augment.objects import Sample, chosen, joined, moved, pixels_of, plain, resized, shares, window

#: Smaller images are left as they are, pixels of the shorter side.
SMALLEST_MOSAIC = 8
#: So many images are looked at for one with objects to copy.
MOST_TRIED = 3


class Mosaic:
    """Four images around a random point (Bochkovskiy et al. 2020, arXiv 2004.10934): more and smaller objects.

    Each image is resized to cover its tile, enlarged by `zoom`, and cut at random.
    """

    def __init__(self, options: MosaicOptions) -> None:
        self._options = options

    def __call__(self, image: tv_tensors.Image, target: Target, draw: Draw, /) -> Sample:
        o = self._options
        if not draw.chance(o.probability) or min(image.shape[-2:]) < SMALLEST_MOSAIC:
            return image, target
        height, width = image.shape[-2:]
        x = min(width - 1, max(1, round(width * draw.uniform(o.smallest, 1 - o.smallest))))
        y = min(height - 1, max(1, round(height * draw.uniform(o.smallest, 1 - o.smallest))))
        tiles = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
        first = draw.integer(4)
        canvas = torch.empty((3, height, width), dtype=torch.uint8)
        targets: list[Target] = []
        for number in range(4):
            source = (image, target) if not number else draw.another()
            left, top, right, bottom = tiles[(first + number) % 4]
            part, objects = self._tile(source, right - left, bottom - top, draw)
            canvas[:, top:bottom, left:right] = plain(part)
            targets.append(_placed(objects, left, top, height, width))
        return tv_tensors.Image(canvas), joined(targets, height, width)

    def _tile(self, source: Sample, width: int, height: int, draw: Draw) -> Sample:
        old_height, old_width = source[0].shape[-2:]
        factor = max(width / old_width, height / old_height) * draw.uniform(1, self._options.zoom)
        new_height, new_width = max(height, round(old_height * factor)), max(width, round(old_width * factor))
        x, y = draw.integer(new_width - width + 1), draw.integer(new_height - height + 1)
        enlarged = resized(source, new_height, new_width)
        return window(enlarged, x, y, width, height, fill=0, min_visible=self._options.min_visible)


def _placed(target: Target, x: int, y: int, height: int, width: int) -> Target:
    """The objects of a tile on the canvas, whose upper left corner lies at (x, y) there, cut to the tile."""
    tile_height, tile_width = target["boxes"].canvas_size
    limits = torch.tensor([tile_width, tile_height] * 2, dtype=torch.float32)
    boxes = torch.minimum(plain(target["boxes"]).clamp(min=0), limits) + torch.tensor([x, y] * 2, dtype=torch.float32)
    masks = None
    if "masks" in target:
        masks = torch.zeros((len(boxes), height, width), dtype=torch.uint8)
        masks[:, y : y + tile_height, x : x + tile_width] = plain(target["masks"])
    return moved(target, boxes, masks, height, width)


class MixUp:
    """Lays another image over this one, with the objects of both (Zhang et al. 2019, arXiv 1902.04103).

    The other image is resized to fit, and padded.
    """

    def __init__(self, options: MixUpOptions) -> None:
        self._options = options

    def __call__(self, image: tv_tensors.Image, target: Target, draw: Draw, /) -> Sample:
        o = self._options
        if not draw.chance(o.probability):
            return image, target
        height, width = image.shape[-2:]
        share = _beta(o.alpha, draw)
        other, objects = _fitted(draw.another(), height, width, 1.0, draw, fill=o.fill, min_visible=1e-6)
        mixed = plain(image).to(torch.float32).mul(share).add(plain(other).to(torch.float32).mul(1 - share))
        return tv_tensors.Image(mixed.round().to(torch.uint8)), joined([target, objects], height, width)


class CopyPaste:
    """Pastes objects of another image, cut out by their masks (Ghiasi et al. 2021, arXiv 2012.07177).

    Masks of what they cover lose these pixels. Crowds are not copied.
    """

    def __init__(self, options: CopyPasteOptions) -> None:
        self._options = options

    def __call__(self, image: tv_tensors.Image, target: Target, draw: Draw, /) -> Sample:
        o = self._options
        if not draw.chance(o.probability):
            return image, target
        if "masks" not in target:
            raise TypeError("the target has no masks, which copy_paste needs")
        height, width = image.shape[-2:]
        found = self._objects(draw)
        if found is None:
            return image, target
        other, objects = found
        scale = logarithmic(draw, *o.scale)
        other, objects = _fitted((other, objects), height, width, scale, draw, fill=GREY, min_visible=o.min_visible)
        copies = plain(objects["masks"]) > 0
        if not len(copies) or not bool(copies.any()):
            return image, target
        covered = copies.any(dim=0)
        pasted = torch.where(covered, plain(other), plain(image))
        masks = plain(target["masks"]) & (~covered).view(torch.uint8)
        visible = shares(pixels_of(masks), pixels_of(target["masks"]))
        below = chosen(moved(target, plain(target["boxes"]), masks, height, width), visible >= o.min_visible)
        return tv_tensors.Image(pasted), joined([below, objects], height, width)

    def _objects(self, draw: Draw) -> Sample | None:
        """An image with the objects to copy, at least one; None where few images have any."""
        for _ in range(MOST_TRIED):
            other, objects = draw.another()
            there = torch.nonzero(~objects["iscrowd"].bool()).flatten().tolist()
            if there:
                certain = there[draw.integer(len(there))]
                keep = torch.zeros(len(objects["labels"]), dtype=torch.bool)
                keep[[number for number in there if draw.chance(self._options.each) or number == certain]] = True
                return other, chosen(objects, keep)
        return None


def _fitted(
    sample: Sample, height: int, width: int, scale: float, draw: Draw, *, fill: int, min_visible: float
) -> Sample:
    """The sample on a canvas of that size: resized to fit, times a factor, at a random place; cut or padded."""
    old_height, old_width = sample[0].shape[-2:]
    factor = min(height / old_height, width / old_width) * scale
    new_height, new_width = max(1, round(old_height * factor)), max(1, round(old_width * factor))
    x, y = round(draw.uniform() * (new_width - width)), round(draw.uniform() * (new_height - height))
    return window(resized(sample, new_height, new_width), x, y, width, height, fill=fill, min_visible=min_visible)


def _beta(alpha: float, draw: Draw) -> float:
    """Of a symmetric beta distribution; Python's own algorithm, the same on every machine."""
    return random.Random(draw.integer(2**31 - 1)).betavariate(alpha, alpha)
