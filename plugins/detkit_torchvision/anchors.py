"""Anchors and RoI pooling, derived from the feature maps that a backbone gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from detkit_torchvision.backbones import Features
from detkit_torchvision.options import FasterRCNNOptions, RetinaNetOptions

#: The input size of the papers, at which their anchors span 32 to 512 px (Lin et al. 2017, FPN, section 4.1).
PAPER_MIN_SIZE = 800
PAPER_LARGEST_ANCHOR = 512
#: RetinaNet's smallest anchor, 32 px, lies on stride 8 (Lin et al. 2017, Focal Loss, section 4).
DENSE_ANCHOR_STRIDES = 4
RATIOS = (0.5, 1.0, 2.0)
OCTAVE = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
#: Distinct strides from which on each map has one size; with fewer, this many sizes lie on all maps.
SHORTEST_PYRAMID = 3
SIZES_WITHOUT_PYRAMID = 5
#: Levels of the papers' pyramids.
WHOLE_PYRAMID = 5


class Anchors(AnchorGenerator):  # type: ignore[misc]  # TorchVision has no types
    """TorchVision's anchors, in float32 under autocast too, and on the true strides where they are given.

    TorchVision makes them in the features' type (bf16 rounds 500 to 500 +- 2) and infers strides from sizes, which
    for a map of 2 cells in 96 px gives 48 instead of 64.
    """

    def __init__(
        self, sizes: Sequence[Sequence[float]], ratios: Sequence[float], strides: Sequence[int] | None
    ) -> None:
        super().__init__(tuple(map(tuple, sizes)), (tuple(ratios),) * len(sizes))
        self.strides = strides

    def set_cell_anchors(self, dtype: torch.dtype, device: torch.device) -> None:
        super().set_cell_anchors(torch.float32, device)

    def grid_anchors(self, grid_sizes: list[Any], strides: list[list[Tensor]]) -> list[Tensor]:
        if self.strides is not None:
            strides = [
                [torch.tensor(true, device=inferred.device) for inferred in pair]
                for true, pair in zip(self.strides, strides, strict=True)
            ]
        anchors: list[Tensor] = super().grid_anchors(grid_sizes, strides)
        return anchors


def anchor_sizes(features: Features, min_size: int, given: tuple[float, ...] | None) -> list[list[float]]:
    """Sides of an R-CNN's anchors of each map, in resized pixels.

    They halve from the coarsest map on, whose anchors have the papers' share of the input size. Where there are fewer
    strides than make a pyramid, all sizes lie on every map.
    """
    is_pyramid = len(set(features.strides)) >= SHORTEST_PYRAMID
    count = len(features.strides) if is_pyramid else SIZES_WITHOUT_PYRAMID
    largest = PAPER_LARGEST_ANCHOR * min_size / PAPER_MIN_SIZE
    sizes = list(given) if given else [largest / 2 ** (count - 1 - level) for level in range(count)]
    return [[size] for size in sizes] if is_pyramid else [sizes] * len(features.strides)


def dense_anchor_sizes(features: Features, min_size: int, given: tuple[float, ...] | None) -> list[list[float]]:
    """Sides of RetinaNet's anchors of each map, in resized pixels.

    On a whole pyramid they are so many strides, whatever the input size. No second stage mends what anchors miss: with
    sizes that shrink with the input and strides that do not, anchors come to lie further apart than objects are wide,
    and few objects overlap with any. (Measured on Penn-Fudan at 320 px: AP after two epochs 0.23, against 0.11.)
    The small pyramid of tiny_fpn is for small images with small objects, whose anchors do shrink.
    """
    if given or len(set(features.strides)) < WHOLE_PYRAMID:
        return anchor_sizes(features, min_size, given)
    return [[DENSE_ANCHOR_STRIDES * stride] for stride in features.strides]


@dataclass(frozen=True, slots=True)
class TrainedAnchors:
    """Attributes: sizes: sides by map, in resized pixels. strides: of the maps; None where they are inferred."""

    sizes: Sequence[Sequence[float]]
    strides: Sequence[int] | None


#: Those of TorchVision's COCO weights.
COCO: Literal["coco"] = "coco"
#: The anchors that a detector's weights were trained with; None where nobody says, or there are none.
Trained = TrainedAnchors | Literal["coco"] | None


def make_anchors(
    features: Features, options: FasterRCNNOptions | RetinaNetOptions, min_size: int, trained: Trained
) -> Anchors:
    """The anchors of a detector: those that the user gives, those that its weights were trained with, or new ones."""
    octave = OCTAVE if isinstance(options, RetinaNetOptions) else (1.0,)
    if options.anchor_sizes is None and isinstance(trained, TrainedAnchors):
        return Anchors(trained.sizes, RATIOS, trained.strides)
    if options.anchor_sizes is None and trained == COCO:
        sizes = anchor_sizes(features, PAPER_MIN_SIZE, None)
        # TorchVision truncates RetinaNet's sizes and infers strides, and so do weights trained with them.
        return Anchors([[int(size * step) for size in level for step in octave] for level in sizes], RATIOS, None)
    derive = dense_anchor_sizes if isinstance(options, RetinaNetOptions) else anchor_sizes
    sizes = derive(features, min_size, options.anchor_sizes)
    return Anchors([[size * step for size in level for step in octave] for level in sizes], RATIOS, features.strides)


def true_strides(features: Features, trained: Trained) -> Sequence[int] | None:
    """On which points of an anchor-free detector lie; None where its weights were trained on inferred ones."""
    inferred = trained == COCO or (isinstance(trained, TrainedAnchors) and trained.strides is None)
    return None if inferred else features.strides


def trained_anchors(origin: Mapping[str, Any]) -> Trained:
    """From what a model said of itself in its `weights_origin`."""
    stated = origin.get("anchors")
    return TrainedAnchors(stated["sizes"], stated["strides"]) if isinstance(stated, Mapping) else stated


def stated_anchors(model: nn.Module) -> dict[str, Any] | None:
    """The anchors of a model, to be said; None for a detector without."""
    for module in model.modules():
        if isinstance(module, Anchors):
            strides = None if module.strides is None else list(module.strides)
            return {"sizes": [list(level) for level in module.sizes], "strides": strides}
    return None


def make_pooling(features: Features, cells: int) -> MultiScaleRoIAlign:
    """RoI pooling from the maps that a detector has, to cells x cells."""
    strides = features.strides[: features.pooled]
    pooling = MultiScaleRoIAlign(list(features.names[: features.pooled]), cells, sampling_ratio=2)
    # TorchVision infers these from the first batch and keeps them: one small image there would spoil the whole run.
    pooling.scales = [1 / stride for stride in strides]
    levels = [stride.bit_length() - 1 for stride in strides]
    # Which level a RoI is pooled from counts in its own pixels (FPN, equation 1) and does not shrink with the input as
    # anchors do: it decides how many cells the RoI has. (Measured with tiny_fpn at 128 px: AP 0.25 against 0.16.)
    pooling.map_levels = LevelMapper(levels[0], levels[-1])
    return pooling
