"""RoIAlign as a weighted lookup: each cell of a region is a weighted sum of a few pixels of a feature map.

TorchVision's loop on the processor goes through channels outside and pixels inside, and its backward scatters one
number at a time. Here the maps become one table with a row a pixel, the bilinear weights (He et al. 2017, Mask R-CNN,
section 3; the sampling points of `torchvision.ops.roi_align`) become (row, weight) pairs, and `embedding_bag` adds the
rows up. The backward is the same lookup the other way round: for each pixel, the cells that it went into.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Up to how many sampling points a cell and axis pixels that two of them share are counted once. TorchVision's
#: detectors have two, whose neighbours mostly coincide; looking for pairs costs the square of the number.
MERGED_SAMPLES = 2


def roi_align(
    maps: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    *,
    scales: Sequence[float],
    cells: tuple[int, int],
    sampling_ratio: int,
    aligned: bool = False,
) -> Tensor:
    """Pool regions from several feature maps, as `torchvision.ops.roi_align` does from each.

    Args:
        maps: floating [B, C, H, W] each, of one C and one dtype.
        rois: floating [K, 5]: the image's index in the batch, x0, y0, x1, y1 in pixels of the input.
        levels: int64 [K], the map from which each region is pooled.
        scales: of each map, its pixels by those of the input.
        cells: rows and columns of cells of a region.
        sampling_ratio: points of a cell along each axis; 0 or less: as many as the cell has pixels, rounded up.
        aligned: whether pixels' centres lie at half coordinates.

    Returns:
        [K, C, *cells] of the maps' dtype. Sums are float32 (float64 for float64 maps) and equal TorchVision's up to
        the order of the additions. No gradient goes to the regions, as in TorchVision.
    """
    exact = torch.float64 if maps[0].dtype == torch.float64 else torch.float32
    channels = maps[0].shape[1]
    table = torch.cat([_rows(features) for features in maps]).to(exact)
    with torch.no_grad():
        taps, weights = _taps(maps, rois.to(exact), levels, scales, cells, sampling_ratio, aligned)
        counted = weights != 0  # also where it is not a number, so that such a region shows
        ends = counted.flatten(1).sum(1).cumsum(0)
        offsets = torch.cat([ends.new_zeros(1), ends])
        taps, weights = taps[counted], weights[counted]
    pooled: Tensor = _Lookup.apply(table, taps, weights, offsets)
    pooled = pooled.view(len(rois), *cells, channels).permute(0, 3, 1, 2)
    return pooled.to(maps[0].dtype, memory_format=torch.contiguous_format)


def _rows(features: Tensor) -> Tensor:
    """[B, C, H, W] to [B * H * W, C]."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])


def _taps(
    maps: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    scales: Sequence[float],
    cells: tuple[int, int],
    sampling_ratio: int,
    aligned: bool,
) -> tuple[Tensor, Tensor]:
    """Rows of the table and their weights, [K * cells, taps] each."""
    sizes = torch.tensor([features.shape[-2:] for features in maps])
    rows = torch.tensor([features.shape[0] * features.shape[2] * features.shape[3] for features in maps])
    height, width = sizes[levels].unbind(1)
    corners = rois[:, 1:] * torch.tensor(scales, dtype=rois.dtype)[levels, None] - (0.5 if aligned else 0.0)
    begin, end = corners[:, :2], corners[:, 2:]
    extent = end - begin
    if not aligned:
        extent = extent.clamp(min=1)  # TorchVision's: regions without area are one pixel there
    y, y_weights = _axis(begin[:, 1], extent[:, 1], height, cells[0], sampling_ratio)
    x, x_weights = _axis(begin[:, 0], extent[:, 0], width, cells[1], sampling_ratio)
    first = (rows.cumsum(0) - rows)[levels] + rois[:, 0].long() * height * width
    lines = first[:, None, None] + y * width[:, None, None]
    taps = lines[:, :, None, :, None] + x[:, None, :, None, :]
    weights = y_weights[:, :, None, :, None] * x_weights[:, None, :, None, :]
    shape = (len(rois) * cells[0] * cells[1], y.shape[-1] * x.shape[-1])
    return taps.reshape(shape), weights.reshape(shape)


def _axis(begin: Tensor, extent: Tensor, limit: Tensor, cells: int, sampling_ratio: int) -> tuple[Tensor, Tensor]:
    """Pixels along one axis and their weights in each cell, [K, cells, 2 * samples] each.

    Args:
        begin, extent: [K], of the regions, in the map's pixels. limit: int64 [K], the map's pixels.
    """
    cell = extent / cells
    if sampling_ratio > 0:
        samples = torch.full_like(limit, sampling_ratio)
    else:
        samples = cell.ceil().nan_to_num(1, 1, 1).clamp(min=0).long()
    number = torch.arange(int(samples.max()) if len(samples) else 0)
    # In TorchVision's order of operations: a point at -1 counts, and one before it does not.
    within = (number + 0.5) * cell[:, None] / samples[:, None].clamp(min=1)
    at = begin[:, None, None] + torch.arange(cells)[:, None] * cell[:, None, None] + within[:, None, :]
    last = (limit - 1)[:, None, None]
    counted = ~((at < -1) | (at > limit[:, None, None])) & (number < samples[:, None])[:, None, :]
    at = at.clamp(min=0)
    low = torch.minimum(at.nan_to_num(0).floor(), last.to(at.dtype)).long()
    beyond = torch.where(low < last, at - low, at * 0)
    share = torch.where(counted, 1 / samples[:, None, None].clamp(min=1), 0).to(at.dtype)
    pixels = torch.stack([low, torch.minimum(low + 1, last)], -1).flatten(2)
    weights = torch.stack([(1 - beyond) * share, beyond * share], -1).flatten(2)
    if number.numel() <= MERGED_SAMPLES:
        weights = _merged(pixels, weights)
    return pixels, weights


def _merged(pixels: Tensor, weights: Tensor) -> Tensor:
    """The weights with those of a pixel that occurs twice all at its first place."""
    columns = list(weights.unbind(-1))
    for later in range(1, len(columns)):
        for first in range(later):
            same = pixels[..., first] == pixels[..., later]
            columns[first] = torch.where(same, columns[first] + columns[later], columns[first])
            columns[later] = torch.where(same, 0, columns[later])
    return torch.stack(columns, -1) if columns else weights


class _Lookup(torch.autograd.Function):
    """`table` [R, C], rows' numbers and weights [T], offsets [K + 1] into them, to weighted sums [K, C]."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, taps: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(taps, weights, offsets)
        ctx.rows = len(table)
        return _bags(table, taps, weights, offsets)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        taps, weights, offsets = ctx.saved_tensors
        order = torch.argsort(taps, stable=True)
        cells = torch.repeat_interleave(offsets.diff())[order]
        ends = torch.bincount(taps, minlength=ctx.rows).cumsum(0)
        begins = torch.cat([ends.new_zeros(1), ends])
        return _bags(gradient.contiguous(), cells, weights[order], begins), None, None, None


def _bags(table: Tensor, taps: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    """Rows are added in the order of `taps`, each sum by one thread: the same bits with any number of threads."""
    if not len(taps):
        return table.new_zeros(len(offsets) - 1, table.shape[1])
    with torch.no_grad():
        return torch.nn.functional.embedding_bag(
            taps, table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
        )
