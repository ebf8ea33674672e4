"""A detector of a hundred lines that trains in seconds: what training steps are tried with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from detkit.components import BuildContext, ModelComponent, Options
from detkit.data.types import Target

STRIDE = 8
#: At most so many detections an image.
MOST = 10


class TinyOptions(Options):
    """It has no options."""


class TinyDetector(nn.Module):
    """Finds objects by their centres on a grid of stride 8, in the manner of CenterNet (arXiv 1904.07850).

    It keeps the contract of `ModelComponent`: losses in training, a list of `ModelOutput` in evaluation.

    Args:
        classes: how many foreground classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(),
        )
        self.heat = nn.Conv2d(16, classes, 1)
        self.sides = nn.Conv2d(16, 4, 1)

    def forward(self, images: list[Tensor], targets: list[Target] | None = None) -> Any:
        """Losses in training, predictions in evaluation.

        Args:
            images: float32 [3, H, W] in 0..1. targets: of the same images; only for losses.

        Raises:
            ValueError: there are no targets to compute losses with.
        """
        maps = [self._maps(image) for image in images]
        if not self.training:
            return [self._output(*pair, image) for pair, image in zip(maps, images, strict=True)]
        if targets is None:
            raise ValueError("in training mode targets are needed")
        rows = [self._losses(*pair, target) for pair, target in zip(maps, targets, strict=True)]
        return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}

    def _maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(image[None])
        return self.heat(features)[0].float(), functional.softplus(self.sides(features)[0].float())

    def _losses(self, heat: Tensor, sides: Tensor, target: Target) -> dict[str, Tensor]:
        boxes = target["boxes"]
        centre = ((boxes[:, :2] + boxes[:, 2:]) / 2 / STRIDE).long()
        x, y = centre[:, 0].clamp(max=heat.shape[2] - 1), centre[:, 1].clamp(max=heat.shape[1] - 1)
        wanted = torch.zeros_like(heat)
        wanted[target["labels"] - 1, y, x] = 1
        distances = (boxes - (torch.stack([x, y, x, y], dim=1) + 0.5) * STRIDE).abs() / STRIDE
        weight = torch.tensor(20.0, device=heat.device)
        return {
            "heat": functional.binary_cross_entropy_with_logits(heat, wanted, pos_weight=weight),
            "sides": functional.l1_loss(sides[:, y, x].T, distances, reduction="sum") / max(1, len(boxes)),
        }

    def _output(self, heat: Tensor, sides: Tensor, image: Tensor) -> dict[str, Tensor]:
        scores, order = heat.sigmoid().flatten().topk(min(MOST, heat.numel()))
        cells = heat.shape[1] * heat.shape[2]
        y, x = order % cells // heat.shape[2], order % heat.shape[2]
        signs = torch.tensor([-1, -1, 1, 1], device=heat.device)
        boxes = ((torch.stack([x, y, x, y], dim=1) + 0.5) + signs * sides[:, y, x].T) * STRIDE
        limits = torch.tensor([image.shape[2], image.shape[1]] * 2, device=heat.device)
        boxes = torch.minimum(boxes.clamp(min=0), limits)
        return {"boxes": boxes, "labels": order // cells + 1, "scores": scores}


def _build(_options: TinyOptions, context: BuildContext) -> TinyDetector:
    return TinyDetector(len(context.class_names))


TINY_DETECTOR = ModelComponent("tiny_detector", TinyOptions, _build, "the kit's own detector, small and quick")
