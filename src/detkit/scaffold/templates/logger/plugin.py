"""A logger for detkit: what happens in a run, one JSON object a line, for scripts and for `tail -f`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detkit import BuildContext, Logger, LoggerComponent, LoggerRefused, OptionPath, Options, Outcome, RunInfo, hookimpl
from pydantic import Field

requires_detkit = ">=0.1"  # another detkit says that the plugin does not fit, before it imports it
detkit_api = 1  # and so does one whose hooks are no longer those that it was written for


class LinesOptions(Options):
    """What a spec may say in [loggers.KEY]. `detkit plugins show` prints the descriptions."""

    folder: OptionPath | None = Field(None, description="where the files go; by default into the folder of each run")
    steps: bool = Field(False, description="write numbers of steps too, not only those of epochs")


class LinesLogger(Logger):
    """Every method of `Logger` does nothing: override those that you want.

    They are called one after another on a thread of the logger's own. What one of them raises ends this logger, with
    a warning, and never the run.
    """

    def __init__(self, folder: Path, run_id: str, steps: bool) -> None:
        self._file = folder / f"{run_id or 'run'}.jsonl"
        self._steps = steps

    # YOUR DESTINATION HERE: send each of these where you want to have it.

    def start(self, run: RunInfo) -> None:
        """The first call. A run that goes on after an interruption says so by `start_step`."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._write(event="start", run=run.run_id, model=run.model, seed=run.seed, step=run.start_step)
        except OSError as error:
            # Before training has begun a logger may refuse the run: nobody wants to learn it hours later.
            raise LoggerRefused(f"{COMPONENT.name}: {self._file} cannot be written: {error.strerror}") from None

    def log_metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Numbers such as `train/loss`, which each step has, or `coco/ap50`, which each epoch has."""
        if self._steps or "train/loss" not in values:
            self._write(event="metrics", step=step, epoch=epoch, values=dict(values))

    def close(self, outcome: Outcome) -> None:
        """The last call, however the run ended."""
        self._write(event="end", state=outcome.state, reason=outcome.reason)

    def _write(self, **entry: Any) -> None:
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")


def build(options: LinesOptions, context: BuildContext) -> LinesLogger:
    """What a run calls."""
    folder = options.folder or context.run_folder or context.spec_folder
    logger = LinesLogger(folder, context.run_id, options.steps)
    context.messages.info(f"{COMPONENT.name}: writes into {folder}")
    return logger


COMPONENT = LoggerComponent(
    name="my_plugin",  # what a spec writes in `use`, or as the key in [loggers.KEY]
    options=LinesOptions,
    build=build,
    summary="a JSON line for each event",
    close_timeout_s=lambda _options: 5.0,  # so long the end of a run waits for `close`
)


@hookimpl
def detkit_loggers() -> list[LoggerComponent[Any]]:
    return [COMPONENT]
