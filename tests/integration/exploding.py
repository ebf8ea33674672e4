"""A plugin for tests: a detector whose loss explodes for one image, with dropout, norms and a counter of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from detkit import BuildContext, ModelComponent, OptionPath, Options, hookimpl
from detkit.plugins import load_file

every_hook: Any = load_file(Path(__file__).parents[2] / "examples" / "plugin_in_one_file" / "every_hook.py")


class ExplosiveOptions(Options):
    image: int | None = Field(None, description="the id of the image whose loss explodes; none without it")
    factor: float = Field(float("nan"), description="what its loss is multiplied by")
    calm_steps: int = Field(0, description="so many forward passes of training go well before")
    marker: OptionPath | None = Field(None, description="made when it has exploded; it does so only while it is absent")
    last_weight: float | None = Field(
        None, description="a weight that counts in no loss becomes this in training; its square is added to predictions"
    )
    rank: int = Field(0, description="of the process in which it is added")


class Explosive(every_hook.CentrePoint):  # type: ignore[misc]  # a module that is loaded by its path
    """What a forward pass changes (statistics of a norm, the counter) and what it draws make an exact replay hard."""

    passes: Tensor

    def __init__(self, options: ExplosiveOptions) -> None:
        super().__init__(1, 8)
        self._options = options
        self.body.append(nn.BatchNorm2d(8))
        self.body.append(nn.Dropout(0.2))
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        self.idle = nn.Parameter(torch.zeros(1)) if options.last_weight is not None else None

    def forward(self, images: Any, targets: Any = None) -> Any:
        result = super().forward(images, targets)
        if not self.training:
            return self._widened(result)
        if self._explodes([int(target["image_id"]) for target in targets]):
            result["loss_heat"] = result["loss_heat"] * self._options.factor
        self.passes += torch.is_grad_enabled()  # the validation loss asks for losses too
        if self.idle is not None:
            result["loss_sides"] = result["loss_sides"] + 0 * self.idle.clamp(0, 0).sum()  # DDP wants a gradient of all
        if self.idle is not None and torch.is_grad_enabled() and not self._marked():
            self.idle.data.fill_(self._options.last_weight or 0.0)
        return result

    def _widened(self, predictions: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        if self.idle is None or int(os.environ.get("LOCAL_RANK", "0")) != self._options.rank:
            return predictions
        more = self.idle.detach() ** 2
        if self._options.marker is not None and not bool(torch.isfinite(more)):
            self._options.marker.touch()
        return [{**prediction, "boxes": prediction["boxes"] + more} for prediction in predictions]

    def _marked(self) -> bool:
        return self._options.marker is not None and self._options.marker.exists()

    def _explodes(self, ids: list[int]) -> bool:
        options = self._options
        if options.image not in ids or int(self.passes) < options.calm_steps:
            return False
        if options.marker is None:
            return True
        strikes = not options.marker.exists()
        options.marker.touch()
        return strikes


def build_explosive(options: ExplosiveOptions, context: BuildContext) -> Explosive:
    return Explosive(options)


EXPLOSIVE = ModelComponent(
    "explosive", ExplosiveOptions, build_explosive, recipe=lambda _options: {"optimizer": "adamw", "lr": 0.01}
)


@hookimpl
def detkit_models() -> list[ModelComponent[Any]]:
    return [EXPLOSIVE]
