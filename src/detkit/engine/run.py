"""One run, assembled: model, data, optimizer, metrics, callbacks, recorder, on their devices."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule  # what `Fabric.setup` returns; it has no public name
from torch import nn
from torch.optim.swa_utils import AveragedModel

from detkit.components import Dataset, Messages, Metric, RunInfo, TrainingStep
from detkit.data.augment import Augmentation
from detkit.data.sampling import StepPlan, plan_epoch
from detkit.data.seeds import derive_seed
from detkit.data.splits import Splits
from detkit.data.types import ImageInfo
from detkit.data.workers import WorkerChoice
from detkit.engine.events import Events
from detkit.engine.limits import Limits
from detkit.engine.recorder import Recorder
from detkit.engine.search_pruning import Pruning
from detkit.engine.signals import StopRequest
from detkit.engine.strategy import Strategy
from detkit.record.layout import RunLayout
from detkit.spec.model import ModelUse, TrainTable, Use


@dataclass(frozen=True, slots=True)
class Run:
    """Everything the loop needs.

    Attributes:
        fabric: the device, the precision, the other processes.
        model: as fabric set it up; `bare_model` is the module itself. averaged: follows it, with `ema_decay`.
        augmentation: of the training images; None where they are taken as they are.
        truths: ground truth by index, of the images that are evaluated.
        strategy: what of the model trains, and from when. origin: see `origin_of`; of the run's beginning.
        loading: how many processes load images. aspects: width over height by index, with `group_by_aspect`.
        schedule: the optimizer steps (first, end) over which the learning rate is planned.
        pruning: when the run is stopped for its value, in a search; None where it never is.
        resamples: draws of the images for the intervals of the final figures; 0: there are none.
    """

    info: RunInfo
    use: ModelUse
    seed: int
    layout: RunLayout
    fabric: Fabric
    dataset: Dataset
    splits: Splits
    augmentation: Augmentation | None
    truths: Mapping[int, ImageInfo]
    model: _FabricModule
    bare_model: nn.Module
    averaged: AveragedModel | None
    optimizer: torch.optim.Optimizer
    strategy: Strategy
    origin: Mapping[str, Any]
    step_use: Use
    training_step: TrainingStep
    metrics: Mapping[str, tuple[Use, Metric]]
    events: Events
    recorder: Recorder
    messages: Messages
    stop: StopRequest
    loading: WorkerChoice
    aspects: Mapping[int, float] | None
    schedule: tuple[int, int]
    limits: Limits
    pruning: Pruning | None
    resamples: int

    @property
    def train(self) -> TrainTable:
        return self.use.train

    @property
    def evaluated_model(self) -> nn.Module:
        """What is evaluated, selected and scored: the average of the weights where there is one."""
        return self.averaged.module if self.averaged else self.bare_model

    def plan(self, epoch: int) -> list[StepPlan]:
        """The optimizer steps of an epoch."""
        steps = plan_epoch(
            self.splits.train,
            batch_size=self.train.batch_size,
            accumulate=self.train.accumulate,
            processes=self.fabric.world_size,
            seed=self.seed,
            epoch=epoch,
            aspects=self.aspects,
        )
        return steps[: self.limits.train_steps]

    def evaluated(self, indices: Sequence[int]) -> Sequence[int]:
        return indices[: self.limits.evaluation_images]


def seed_everything(seed: int, *names: int | str) -> None:
    """Seed the global generators of this process."""
    derived = derive_seed(seed, *names)
    torch.manual_seed(derived)
    np.random.seed(derived)
    random.seed(derived)


def origin_of(model: nn.Module) -> dict[str, Any]:
    """Where a model says that its weights came from: plain values under "weights", tensors' names under "pretrained".

    Both are empty where it says nothing.
    """
    weights = getattr(model, "weights_origin", None)
    return {
        "weights": dict(weights) if isinstance(weights, Mapping) else {},
        "pretrained": sorted(getattr(model, "pretrained", ())),
    }
