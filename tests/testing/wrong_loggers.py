"""Wrong loggers: an honest one that writes lines into the run's folder, bent in one way each."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detkit import BuildContext, Logger, LoggerComponent, RunInfo
from testing.wrong_form import NoOptions, Wrong

WRONG: list[Wrong] = []


class Lines(Logger):
    """One line a call, in a file that is opened for it: honest."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "lines.jsonl"
        self.run: RunInfo | None = None

    def write(self, **values: Any) -> None:
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(values) + "\n")

    def start(self, run: RunInfo) -> None:
        self.run = run
        self.write(start=run.run_id)

    def log_metrics(self, values: Any, *, step: int, epoch: int) -> None:
        self.write(step=step, **values)

    def close(self, outcome: Any) -> None:
        self.write(end=outcome.state)


def component(make: Callable[[Path], Any], **more: Any) -> LoggerComponent[Any]:
    def build(_options: Any, context: BuildContext) -> Any:
        assert context.run_folder is not None
        return make(context.run_folder)

    return LoggerComponent("wrong", NoOptions, build, "lines", **more)


HONEST = component(Lines)


def wrong(rule: str, fault: str, says: str, **more: Any) -> Callable[[type], type]:
    def added(cls: type) -> type:
        WRONG.append(Wrong(rule, fault, says, component(cls, **more)))
        return cls

    return added


@wrong("logger-type", "no Logger", "a NoLogger")
class NoLogger:
    def __init__(self, _folder: Path) -> None: ...


@wrong("logger-whole-run", "a table that it knows", "KeyError")
class KnownTable(Lines):
    def log_table(self, name: str, table: Any, *, step: int, epoch: int) -> None:
        {"coco/summary": 1}[name]


@wrong("logger-whole-run", "cells that are numbers", "TypeError")
class NumberCells(Lines):
    def log_table(self, name: str, table: Any, *, step: int, epoch: int) -> None:
        sum(row[1] for row in table.rows)


@wrong("logger-whole-run", "texts in ASCII", "UnicodeEncodeError")
class Ascii(Lines):
    def log_table(self, name: str, table: Any, *, step: int, epoch: int) -> None:
        str(table.rows).encode("ascii")


@wrong("logger-whole-run", "parameters without nesting", "TypeError")
class FlatParameters(Lines):
    def log_parameters(self, parameters: Any) -> None:
        for value in parameters.values():
            float(value)


@wrong("logger-ends", "the epoch's figures at the end", "AttributeError")
class LastEpoch(Lines):
    def log_predictions(self, file: Path, *, step: int, epoch: int) -> None:
        self.last = epoch

    def close(self, outcome: Any) -> None:
        self.write(last=self.last)


@wrong("logger-ends", "a reason that must be there", "ValueError")
class Reason(Lines):
    def close(self, outcome: Any) -> None:
        _kind, _text = outcome.reason.split(": ")


@wrong("logger-close-twice", "a file closed twice", "a second time")
class Deleting(Lines):
    def close(self, outcome: Any) -> None:
        if self.run is not None:
            del self.run


@wrong("logger-close-twice", "a file that start opens", "never started")
class Opened(Lines):
    def close(self, outcome: Any) -> None:
        assert self.run is not None


@wrong("logger-resume", "a file written anew", "lines.jsonl has")
class Anew(Lines):
    def start(self, run: RunInfo) -> None:
        self.file.write_text("")


@wrong("logger-resume", "a file that must not be there", "FileExistsError")
class Exclusive(Lines):
    def start(self, run: RunInfo) -> None:
        self.file.open("x").close()


@wrong("logger-resume", "files cleared away", "is gone")
class Clearing(Lines):
    def start(self, run: RunInfo) -> None:
        for file in self.file.parent.glob("from*.jsonl"):
            file.unlink()
        self.file = self.file.with_name(f"from{run.start_step}.jsonl")
        super().start(run)


@wrong("logger-goes-back", "steps that must rise", "AssertionError")
class Rising(Lines):
    step = 0

    def log_metrics(self, values: Any, *, step: int, epoch: int) -> None:
        assert step >= self.step
        self.step = step


@wrong("logger-replays", "what only the run has", "a replay")
class OnlyLive(Lines):
    def start(self, run: RunInfo) -> None:
        if self.file.exists():
            raise RuntimeError("I have been here")
        super().start(run)


@wrong("logger-rehearsal", "no rehearsals", "rehearsal")
class NoRehearsal(Lines):
    def start(self, run: RunInfo) -> None:
        if run.rehearsal:
            raise ValueError("not a run")


@wrong("logger-runs-apart", "one file for all runs", "of the first")
class OneFile(Lines):
    shared: Path | None = None

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if OneFile.shared is None or not OneFile.shared.parent.exists():
            OneFile.shared = self.file
        self.file = OneFile.shared


@wrong("logger-record-untouched", "predictions moved away", "predictions")
class Moving(Lines):
    def log_predictions(self, file: Path, *, step: int, epoch: int) -> None:
        if epoch == 3:
            file.rename(file.with_suffix(".moved"))


@wrong("logger-record-untouched", "a summary of its own", "summary.json")
class Overwriting(Lines):
    def close(self, outcome: Any) -> None:
        self.file.with_name("summary.json").write_text("{}")


@wrong("logger-record-untouched", "values popped", "in log_metrics")
class Popping(Lines):
    def log_metrics(self, values: Any, *, step: int, epoch: int) -> None:
        values.pop("train/loss", None)


@wrong("logger-quick", "a server in every call", "takes")
class Slow(Lines):
    def log_parameters(self, parameters: Any) -> None:
        time.sleep(2.05)


@wrong("logger-quick", "closing late", "close takes", close_timeout_s=lambda _options: 0.05)
class Late(Lines):
    def close(self, outcome: Any) -> None:
        time.sleep(0.1)


@wrong("logger-no-threads-left", "a thread that waits", "the thread")
class Waiting(Lines):
    def start(self, run: RunInfo) -> None:
        threading.Thread(target=time.sleep, args=(1.5,), name="sender").start()


@wrong("logger-leaves-settings", "a generator for names", "numpy's global generator")
class Naming(Lines):
    def start(self, run: RunInfo) -> None:
        np.random.seed(run.seed)


@wrong("logger-leaves-settings", "a working directory of its own", "working directory")
class Moved(Lines):
    def start(self, run: RunInfo) -> None:
        os.chdir(run.folder)


@wrong("logger-leaves-settings", "gradients off", "gradients")
class NoGradients(Lines):
    def log_predictions(self, file: Path, *, step: int, epoch: int) -> None:
        torch.set_grad_enabled(False)


WRONG += [
    Wrong(
        "logger-component",
        "no time to close",
        "close_timeout_s gives 0",
        component(Lines, close_timeout_s=lambda _o: 0),
    ),
    Wrong(
        "logger-component",
        "a command for no run",
        "'upload'",
        component(Lines, upload_command=lambda _folder: "upload"),
    ),
]
