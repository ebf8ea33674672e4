"""A plugin for tests: a linear model, whose gradient over a batch is known to be the mean of its images' gradients.

Its training step writes down which images each process saw.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from detkit import BuildContext, ModelComponent, Options, TrainingStepComponent, hookimpl
from detkit.data.types import Batch


class NoOptions(Options):
    pass


class Linear(nn.Module):
    """Predicts the sum of the first box's coordinates from the mean colours; finds nothing in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Linear(3, 1)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        means = torch.stack([image.mean(dim=(1, 2)) for image in images])
        if targets is None:
            found = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0)}
            return [found for _ in images]
        wanted = torch.stack([target["boxes"].sum() for target in targets]) / 100
        return {"loss": ((self.weights(means)[:, 0] - wanted) ** 2).mean()}


LINEAR = ModelComponent("linear", NoOptions, lambda options, context: Linear())


class WitnessOptions(Options):
    folder: str = Field(description="where each process writes what it saw")


class Witness:
    """The model's own losses; every batch's image ids go to a file of the process."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"rank-{os.environ.get('LOCAL_RANK', '0')}.jsonl"

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        if model.training and torch.is_grad_enabled():
            with self._file.open("a") as stream:
                stream.write(json.dumps([int(target["image_id"]) for target in batch.targets]) + "\n")
        losses: dict[str, Tensor] = model(batch.images, batch.targets)
        return losses


def build_witness(options: WitnessOptions, context: BuildContext) -> Witness:
    return Witness(Path(options.folder))


WITNESS = TrainingStepComponent("witness", WitnessOptions, build_witness)


@hookimpl
def detkit_models() -> list[ModelComponent[Any]]:
    return [LINEAR]


@hookimpl
def detkit_training_steps() -> list[TrainingStepComponent[Any]]:
    return [WITNESS]
