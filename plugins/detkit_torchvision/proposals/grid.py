"""Boxes all over the image: sliding windows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

#: Grids of so many image sizes are kept.
SIZES_KEPT = 512


class Grid(nn.Module):
    """The same boxes for every image of a size: of each scale and ratio, at equal distances from edge to edge.

    Args:
        scales: how many sizes; the largest is the shorter side of the image, each next one the root of 2 smaller.
        ratios: heights over widths. step: distance between neighbours as a share of the box's side.
        limit: most boxes; more are thinned out evenly.
    """

    def __init__(self, scales: int, ratios: Sequence[float], step: float, limit: int) -> None:
        super().__init__()
        self._arguments = (scales, tuple(ratios), step, limit)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        return grid_boxes(height, width, *self._arguments).to(image.device)


@lru_cache(maxsize=SIZES_KEPT)
def grid_boxes(height: int, width: int, scales: int, ratios: tuple[float, ...], step: float, limit: int) -> Tensor:
    """The grid of an image of height x width pixels: float32 [N, 4], N <= limit, inside the image."""
    shorter = min(height, width)
    boxes = []
    for scale in range(scales):
        side = shorter * 2 ** (-scale / 2)
        for ratio in ratios:
            box_width, box_height = min(width, side / ratio**0.5), min(height, side * ratio**0.5)
            lefts, tops = _starts(width, box_width, step), _starts(height, box_height, step)
            corners = torch.cartesian_prod(tops, lefts).flip(1)
            boxes.append(torch.cat([corners, corners + torch.tensor([box_width, box_height])], dim=1))
    return thinned(torch.cat(boxes), limit)


def thinned(boxes: Tensor, limit: int) -> Tensor:
    """At most `limit` of the boxes, taken at equal distances in their order."""
    if len(boxes) <= limit:
        return boxes
    return boxes[torch.linspace(0, len(boxes) - 1, limit).round().long()]


def _starts(length: int, side: float, step: float) -> Tensor:
    room = length - side
    count = int(room / (side * step) + 0.999) + 1
    return torch.linspace(0, room, count)
