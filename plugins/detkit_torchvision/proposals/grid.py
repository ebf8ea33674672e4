"""Boxes all over the image: sliding windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

#: Grids of so many image sizes are kept.
SIZES_KEPT = 512
#: By so much distances grow at a time, until the boxes are few enough.
WIDENED = 1.05


class Grid(nn.Module):
    """The same boxes for every image of a size: of each scale and ratio, at equal distances from edge to edge.

    Args:
        scales: how many sizes; the largest is the shorter side of the image, each next one the root of 2 smaller.
        ratios: heights over widths. step: distance between neighbours as a share of the box's side.
        limit: most boxes.
    """

    def __init__(self, scales: int, ratios: Sequence[float], step: float, limit: int) -> None:
        super().__init__()
        self._arguments = (scales, tuple(ratios), step, limit)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        return grid_boxes(height, width, *self._arguments).to(image.device)


@lru_cache(maxsize=SIZES_KEPT)
def grid_boxes(height: int, width: int, scales: int, ratios: tuple[float, ...], step: float, limit: int) -> Tensor:
    """The grid of an image of height x width pixels: float32 [N, 4], N <= limit, inside the image.

    Where it would have more boxes than the limit, the distances between them grow.
    """
    shorter = min(height, width)
    sides = [
        (min(float(width), side / ratio**0.5), min(float(height), side * ratio**0.5))
        for side in (shorter * 2 ** (-scale / 2) for scale in range(scales))
        for ratio in ratios
    ]
    while step < 1 and sum(_count(width, w, step) * _count(height, h, step) for w, h in sides) > limit:
        step = min(1.0, step * WIDENED)
    boxes = []
    for box_width, box_height in sides:
        lefts = torch.linspace(0, width - box_width, _count(width, box_width, step))
        tops = torch.linspace(0, height - box_height, _count(height, box_height, step))
        corners = torch.cartesian_prod(tops, lefts).flip(1)
        boxes.append(torch.cat([corners, corners + torch.tensor([box_width, box_height])], dim=1))
    return thinned(torch.cat(boxes), limit)


def _count(length: int, side: float, step: float) -> int:
    """How many boxes of a side stand from edge to edge at most `step` sides apart."""
    return math.ceil((length - side) / (side * step) - 1e-9) + 1


def thinned(boxes: Tensor, limit: int) -> Tensor:
    """At most `limit` of the boxes, taken at equal distances in their order."""
    if len(boxes) <= limit:
        return boxes
    return boxes[torch.linspace(0, len(boxes) - 1, limit).round().long()]
