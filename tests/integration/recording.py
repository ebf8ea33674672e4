"""A plugin for tests: a logger that keeps every call with all that it was given; and an interrupt at a chosen step."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field

from detkit import (
    BuildContext,
    CallbackComponent,
    Curve,
    Logger,
    LoggerComponent,
    Matrix,
    Options,
    Outcome,
    RunInfo,
    Table,
    hookimpl,
)


class NoOptions(Options):
    pass


class Recording(Logger):
    """A line a call: the method's name and its arguments, plain."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def _write(self, method: str, **given: Any) -> None:
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([method, given], default=str, sort_keys=True) + "\n")

    def start(self, run: RunInfo) -> None:
        self._write("start", **asdict(run))

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        self._write("log_parameters", parameters=dict(parameters))

    def log_metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        self._write("log_metrics", values=dict(values), step=step, epoch=epoch)

    def log_predictions(self, file: Path, *, step: int, epoch: int) -> None:
        self._write("log_predictions", file=file, there=file.is_file(), step=step, epoch=epoch)

    def log_table(self, name: str, table: Table, *, step: int, epoch: int) -> None:
        self._write("log_table", name=name, table=asdict(table), step=step, epoch=epoch)

    def log_curve(self, name: str, curve: Curve, *, step: int, epoch: int) -> None:
        self._write("log_curve", name=name, curve=asdict(curve), step=step, epoch=epoch)

    def log_confusion_matrix(self, name: str, matrix: Matrix, *, step: int, epoch: int) -> None:
        self._write("log_confusion_matrix", name=name, matrix=asdict(matrix), step=step, epoch=epoch)

    def log_file(self, file: Path, *, name: str) -> None:
        self._write("log_file", file=file, name=name)

    def close(self, outcome: Outcome) -> None:
        self._write("close", state=outcome.state, reason=outcome.reason)


def build_recording(_options: NoOptions, context: BuildContext) -> Recording:
    assert context.run_folder is not None
    return Recording(context.run_folder / "calls.jsonl")


class InterruptOptions(Options):
    step: int = Field(description="the optimizer step after which the run is asked to stop")
    model: str = Field(description="of which model's runs")


class Interrupt:
    def __init__(self, options: InterruptOptions) -> None:
        self._options = options
        self._model = ""

    @hookimpl
    def run_started(self, run: RunInfo) -> None:
        self._model = run.model

    @hookimpl
    def step_ended(self, step: int) -> None:
        if (step, self._model) == (self._options.step, self._options.model):
            os.kill(os.getpid(), signal.SIGTERM)


@hookimpl
def detkit_loggers() -> list[LoggerComponent[Any]]:
    return [LoggerComponent("recording", NoOptions, build_recording)]


@hookimpl
def detkit_callbacks() -> list[CallbackComponent[Any]]:
    return [CallbackComponent("interrupt", InterruptOptions, lambda options, context: Interrupt(options))]
