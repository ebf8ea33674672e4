"""Pooling by lookup against TorchVision's operator and module."""

from __future__ import annotations

import itertools
from collections import OrderedDict

import pytest
import torch
from torch import Tensor
from torchvision import ops
from torchvision.ops.poolers import LevelMapper

from detkit_torchvision.accelerate.pooling import LookupRoIAlign
from detkit_torchvision.accelerate.roi_align import roi_align

FORWARD = 1e-4
BACKWARD = 1e-4


def regions(count: int, *, odd: bool = False) -> Tensor:
    """[K, 5] over two images of about 160 x 120 px; odd ones lie outside, have no area, or are turned over."""
    generator = torch.Generator().manual_seed(count)
    corners = torch.rand(count, 2, generator=generator) * torch.tensor([150.0, 110.0])
    ends = corners + torch.rand(count, 2, generator=generator) * 90
    boxes = torch.cat([torch.randint(0, 2, (count, 1), generator=generator).float(), corners, ends], 1)
    if odd:
        extra = [
            [0, 10, 10, 10, 10],  # no area
            [1, 10, 10, 10.01, 90],  # a line
            [0, 50, 60, 40, 30],  # turned over
            [1, -40, -30, 20, 25],  # over the edge
            [0, 150, 110, 400, 300],
            [1, -300, -300, -200, -200],  # outside
            [0, 500, 500, 600, 700],
            [1, 0, 0, 160, 120],  # all of the image
            [0, -4, -4, -3, -3],  # within the pixel before the first, which counts
        ]
        boxes = torch.cat([boxes, torch.tensor(extra, dtype=torch.float32)])
    return boxes


def feature_map(scale: float, channels: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    shape = (2, channels, max(int(120 * scale), 1), max(int(160 * scale), 1))
    return torch.randn(shape, generator=generator).to(dtype).requires_grad_()


def pooled(
    features: Tensor, rois: Tensor, scale: float, cells: tuple[int, int], sampling_ratio: int, aligned: bool
) -> Tensor:
    levels = torch.zeros(len(rois), dtype=torch.int64)
    return roi_align(
        [features], rois, levels, scales=[scale], cells=cells, sampling_ratio=sampling_ratio, aligned=aligned
    )


def assert_equal_to_torchvision(
    features: Tensor, rois: Tensor, scale: float, cells: tuple[int, int], sampling_ratio: int, aligned: bool
) -> None:
    theirs = ops.roi_align(features, rois, cells, scale, sampling_ratio, aligned)
    ours = pooled(features, rois, scale, cells, sampling_ratio, aligned)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert ours.is_contiguous()
    torch.testing.assert_close(ours, theirs, rtol=FORWARD, atol=FORWARD)
    weighting = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(3), dtype=theirs.dtype)
    (theirs_grad,) = torch.autograd.grad(theirs, features, weighting, allow_unused=True)
    (ours_grad,) = torch.autograd.grad(ours, features, weighting)
    largest = theirs_grad.abs().max() if theirs_grad is not None else torch.zeros(())
    torch.testing.assert_close(ours_grad, theirs_grad, rtol=0, atol=BACKWARD * max(float(largest), 1))


@pytest.mark.parametrize(
    ("aligned", "sampling_ratio", "scale", "cells"),
    list(itertools.product((False, True), (0, -1, 1, 2, 3), (1.0, 0.25, 1 / 32), ((7, 7), (14, 14), (2, 5)))),
)
def test_forward_and_backward_are_torchvisions(
    aligned: bool, sampling_ratio: int, scale: float, cells: tuple[int, int]
) -> None:
    assert_equal_to_torchvision(feature_map(scale), regions(40, odd=True), scale, cells, sampling_ratio, aligned)


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_no_region_gives_no_cells_and_no_gradient(sampling_ratio: int) -> None:
    features = feature_map(0.25)
    ours = pooled(features, torch.zeros(0, 5), 0.25, (7, 7), sampling_ratio, False)
    assert ours.shape == (0, 5, 7, 7)
    torch.autograd.backward(ours.sum())
    assert features.grad is not None
    assert not features.grad.any()


@pytest.mark.parametrize("aligned", [False, True])
def test_float64_is_torchvisions_to_rounding(aligned: bool) -> None:
    """So what float32 leaves is the rounding of places on the map, not another formula."""
    features = feature_map(0.25, dtype=torch.float64)
    rois = regions(60, odd=True).double()
    theirs = ops.roi_align(features, rois, (7, 7), 0.25, 2, aligned)
    torch.testing.assert_close(pooled(features, rois, 0.25, (7, 7), 2, aligned), theirs, rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    features = feature_map(0.1, channels=2, dtype=torch.float64)
    rois = regions(4, odd=True).double()
    assert torch.autograd.gradcheck(lambda x: pooled(x, rois, 0.1, (3, 2), 2, True), (features,))


def test_bfloat16_is_the_float32_result_rounded_once() -> None:
    features = feature_map(0.25, dtype=torch.bfloat16)
    rois = regions(40, odd=True)
    ours = pooled(features, rois, 0.25, (7, 7), 2, False)
    exact = ops.roi_align(features.float(), rois, (7, 7), 0.25, 2, False)
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.float(), exact, rtol=2**-8, atol=1e-4)
    weighting = torch.randn(exact.shape, generator=torch.Generator().manual_seed(3)).bfloat16()
    (ours_grad,) = torch.autograd.grad(ours, features, weighting)
    (exact_grad,) = torch.autograd.grad(exact, features, weighting.float())
    assert ours_grad.dtype == torch.bfloat16
    torch.testing.assert_close(ours_grad.float(), exact_grad.float(), rtol=2**-7, atol=1e-4)


def test_channels_last_maps_give_the_same_bits() -> None:
    features = feature_map(0.25)
    rois = regions(40)
    last = features.contiguous(memory_format=torch.channels_last)
    assert torch.equal(pooled(last, rois, 0.25, (7, 7), 2, False), pooled(features, rois, 0.25, (7, 7), 2, False))


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    rois = regions(300)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            features = feature_map(0.5, channels=64)
            cells = pooled(features, rois, 0.5, (7, 7), 2, False)
            (gradient,) = torch.autograd.grad(cells.square().sum(), features)
            results.append((cells.detach(), gradient))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_a_region_that_is_not_a_number_shows() -> None:
    rois = torch.tensor([[0, 1, 1, 50, float("nan")], [0, 1, 1, 50, 50]])
    cells = pooled(feature_map(0.25), rois, 0.25, (7, 7), 2, False)
    assert cells[0].isnan().any()
    assert cells[1].isfinite().all()
    endless = torch.tensor([[0, 1, 1, float("inf"), 50]])
    assert pooled(feature_map(0.25), endless, 0.25, (7, 7), 0, False).shape == (1, 5, 7, 7)


def test_the_module_is_torchvisions_over_a_pyramid() -> None:
    modules = []
    for kind in (ops.MultiScaleRoIAlign, LookupRoIAlign):
        module = kind(["0", "1", "2"], 7, 2)
        module.scales, module.map_levels = [1 / 4, 1 / 8, 1 / 16], LevelMapper(2, 4, canonical_scale=56)
        modules.append(module)
    maps = OrderedDict((str(level), feature_map(2.0**-level).detach()) for level in (2, 3, 4))
    maps = OrderedDict((name, features) for name, features in zip(("0", "1", "2"), maps.values(), strict=True))
    maps["pool"] = feature_map(1 / 32)  # not among the module's
    rois = regions(80)
    boxes = [rois[rois[:, 0] == 0, 1:], rois[rois[:, 0] == 1, 1:]]
    assert len(modules[0].map_levels(boxes).unique()) == 3
    theirs, ours = (module(maps, boxes, [(120, 160)] * 2) for module in modules)
    torch.testing.assert_close(ours, theirs, rtol=FORWARD, atol=FORWARD)
    none = [torch.zeros(0, 4), torch.zeros(0, 4)]
    assert modules[1](maps, none, [(120, 160)] * 2).shape == (0, 5, 7, 7)
