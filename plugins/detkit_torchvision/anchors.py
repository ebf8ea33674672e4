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

from detkit_torchvision.accelerate import LookupRoIAlign
from detkit_torchvision.backbones import Features
from detkit_torchvision.options import FasterRCNNOptions, RetinaNetOptions
from detkit_torchvision.sizes import OCTAVE, PAPER_MIN_SIZE, RATIOS, anchor_sizes, dense_anchor_sizes


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
        sizes = anchor_sizes(features.strides, PAPER_MIN_SIZE, None)
        # TorchVision truncates RetinaNet's sizes and infers strides, and so do weights trained with them.
        return Anchors([[int(size * step) for size in level for step in octave] for level in sizes], RATIOS, None)
    derive = dense_anchor_sizes if isinstance(options, RetinaNetOptions) else anchor_sizes
    sizes = derive(features.strides, min_size, options.anchor_sizes)
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


def make_pooling(features: Features, cells: int, *, accelerate: bool) -> MultiScaleRoIAlign:
    """RoI pooling from the maps that a detector has, to cells x cells."""
    strides = features.strides[: features.pooled]
    kind = LookupRoIAlign if accelerate else MultiScaleRoIAlign
    pooling = kind(list(features.names[: features.pooled]), cells, sampling_ratio=2)
    # TorchVision infers these from the first batch and keeps them: one small image there would spoil the whole run.
    pooling.scales = [1 / stride for stride in strides]
    levels = [stride.bit_length() - 1 for stride in strides]
    # Which level a RoI is pooled from counts in its own pixels (FPN, equation 1) and does not shrink with the input as
    # anchors do: it decides how many cells the RoI has. (Measured with tiny_fpn at 128 px: AP 0.25 against 0.16.)
    pooling.map_levels = LevelMapper(levels[0], levels[-1])
    return pooling
