"""A plugin for tests: a detector as good as its options say, getting there epoch by epoch, and a metric that sees it.

And a callback that kills a run and the process that began it, once.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from detkit import (
    BuildContext,
    CallbackComponent,
    MetricComponent,
    MetricResult,
    ModelComponent,
    OptionPath,
    Options,
    RunInfo,
    Scalar,
    hookimpl,
)
from detkit.data.types import ImageInfo, Prediction


class RatedOptions(Options):
    quality: float = Field(0.5, ge=0, le=1, description="the score that it comes to")
    broken: bool = Field(False, description="whether it cannot be built")


class Rated(nn.Module):
    """Finds one box in every image, with a score that nears its quality with every step of training."""

    steps: Tensor

    def __init__(self, quality: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("steps", torch.zeros(()))
        self._quality = quality

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        if targets is not None:
            if torch.is_grad_enabled():  # not when it is the loss on validation images
                self.steps += 1
            return {"loss": (self.weight**2).sum()}
        score = self._quality * (1 - 0.9**self.steps)
        box = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
        return [{"boxes": box, "labels": torch.ones(1, dtype=torch.int64), "scores": score.reshape(1)} for _ in images]


def build_rated(options: RatedOptions, context: BuildContext) -> Rated:
    if options.broken:
        raise RuntimeError("made to fail")
    return Rated(options.quality)


class NoOptions(Options):
    pass


class MeanScore:
    """The mean score of what was found."""

    def __init__(self) -> None:
        self._scores: list[float] = []

    def reset(self) -> None:
        self._scores = []

    def update(self, predictions: Sequence[Prediction], truths: Sequence[ImageInfo]) -> None:
        self._scores += [float(score) for prediction in predictions for score in prediction.scores]

    def compute(self) -> MetricResult:
        mean = sum(self._scores) / len(self._scores) if self._scores else None
        return MetricResult({"mean": Scalar(mean, primary=True), "count": Scalar(len(self._scores), None)})


class KillerOptions(Options):
    run: str = Field(description="the id of the run that is killed")
    step: int = Field(description="after so many steps")
    marker: OptionPath = Field(description="exists once it has struck")


class Killer:
    """Kills the process of the run, and that of the experiment, as a power cut would."""

    def __init__(self, options: KillerOptions) -> None:
        self._options = options

    @hookimpl
    def step_ended(self, run: RunInfo, step: int) -> None:
        if run.run_id == self._options.run and step == self._options.step and not self._options.marker.exists():
            self._options.marker.touch()
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)


@hookimpl
def detkit_models() -> list[ModelComponent[Any]]:
    return [ModelComponent("rated", RatedOptions, build_rated)]


@hookimpl
def detkit_metrics() -> list[MetricComponent[Any]]:
    return [MetricComponent("score", NoOptions, lambda options, context: MeanScore())]


@hookimpl
def detkit_callbacks() -> list[CallbackComponent[Any]]:
    return [CallbackComponent("killer", KillerOptions, lambda options, context: Killer(options))]
