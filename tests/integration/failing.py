"""A plugin for tests whose components fail in the way they are told to."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch.utils._python_dispatch import _get_current_dispatch_mode

from detkit import (
    BuildContext,
    CallbackComponent,
    DatasetComponent,
    Logger,
    LoggerComponent,
    LoggerRefused,
    MetricComponent,
    ModelComponent,
    Options,
    RunInfo,
    TrainingStepComponent,
    hookimpl,
)
from detkit.plugins import load_file

every_hook: Any = load_file(Path(__file__).parents[2] / "examples" / "plugin_in_one_file" / "every_hook.py")


class NoOptions(Options):
    pass


class Raises(Logger):
    """Raises in every method but the first."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("log_") or name == "close":
            raise RuntimeError(f"no {name}")
        return super().__getattribute__(name)


class Sleeps(Logger):
    def log_metrics(self, values: Any, *, step: int, epoch: int) -> None:
        time.sleep(3600)


class Refuses(Logger):
    def start(self, run: RunInfo) -> None:
        raise LoggerRefused("no key for the service; set SERVICE_KEY")


class BrokenOptions(Options):
    way: Literal["raises", "raises_at_once", "killed", "nan", "memory", "labels", "exits", "uncountable"] = Field(
        description="how"
    )


class Broken(every_hook.CentrePoint):  # type: ignore[misc]  # a module that is loaded by its path
    """Breaks at the third training step, or in its predictions."""

    def __init__(self, way: str) -> None:
        super().__init__(1, 16)
        self._way = way
        self._steps = 0

    def forward(self, images: Any, targets: Any = None) -> Any:
        result = super().forward(images, targets)
        if not self.training:
            if self._way == "labels":
                for output in result:
                    output["labels"] = output["labels"] + 6
            if self._way == "uncountable" and _get_current_dispatch_mode() is not None:
                raise RuntimeError("no counting here")
            return result
        self._steps += torch.is_grad_enabled()  # the validation loss asks for losses too
        if self._way == "raises_at_once":
            raise ValueError("a fault in the model")
        if self._steps == 3 and torch.is_grad_enabled():
            return self._break(result)
        return result

    def _break(self, losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self._way == "raises":
            raise ValueError("a fault in the model")
        if self._way == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._way == "memory":
            torch.empty(2**50)
        if self._way == "exits":
            sys.stderr.write("good bye\n")
            sys.stderr.flush()
            os._exit(9)
        if self._way == "nan":
            losses["loss_heat"] = losses["loss_heat"] * float("nan")
        return losses


def build_broken(options: BrokenOptions, context: BuildContext) -> Broken:
    return Broken(options.way)


class BrokenCallback:
    @hookimpl
    def epoch_ended(self, epoch: int) -> None:
        raise RuntimeError("a fault in the callback")


class BrokenMetric:
    def reset(self) -> None:
        pass

    def update(self, predictions: Sequence[Any], truths: Sequence[Any]) -> None:
        raise RuntimeError("a fault in the metric")

    def compute(self) -> Any:
        raise AssertionError("never reached")


def broken_step(model: Any, batch: Any) -> Any:
    raise RuntimeError("a fault in the step")


class BrokenDataset(every_hook.Squares):  # type: ignore[misc]  # as above
    """Its ground truth can be read, and one of its images cannot."""

    def info(self, index: int) -> Any:
        from detkit.data.targets import info_from_target

        return info_from_target(*super().__getitem__(index))

    def __getitem__(self, index: int, /) -> Any:
        if index == 3:
            raise OSError("cannot identify image file")
        return super().__getitem__(index)


@hookimpl
def detkit_loggers() -> list[LoggerComponent[Any]]:
    return [
        LoggerComponent("raises", NoOptions, lambda options, context: Raises()),
        LoggerComponent("sleeps", NoOptions, lambda options, context: Sleeps(), close_timeout_s=lambda options: 1.0),
        LoggerComponent("refuses", NoOptions, lambda options, context: Refuses()),
    ]


@hookimpl
def detkit_models() -> list[ModelComponent[Any]]:
    return [ModelComponent("broken", BrokenOptions, build_broken)]


@hookimpl
def detkit_callbacks() -> list[CallbackComponent[Any]]:
    return [CallbackComponent("broken_callback", NoOptions, lambda options, context: BrokenCallback())]


@hookimpl
def detkit_metrics() -> list[MetricComponent[Any]]:
    return [MetricComponent("broken_metric", NoOptions, lambda options, context: BrokenMetric())]


@hookimpl
def detkit_training_steps() -> list[TrainingStepComponent[Any]]:
    return [TrainingStepComponent("broken_step", NoOptions, lambda options, context: broken_step)]


@hookimpl
def detkit_datasets() -> list[DatasetComponent[Any]]:
    return [
        DatasetComponent("broken_dataset", every_hook.SquaresOptions, lambda options, context: BrokenDataset(options))
    ]
