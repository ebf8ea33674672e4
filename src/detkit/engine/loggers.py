"""Each logger on a thread of its own: it may raise, hang or be slow, and training neither stops nor waits."""

from __future__ import annotations

import queue
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from detkit.components import Logger, LoggerComponent, Outcome, RunInfo
from detkit.errors import LoggerRefused, NotDelivered
from detkit.figures import Curve, Matrix, Table
from detkit.spec.model import Use

#: Calls that may wait for one logger; beyond it the logger does not keep up and is dropped.
QUEUE_SIZE = 10_000
#: How long the beginning of a run waits for a logger to say whether it can work.
START_TIMEOUT_S = 60.0
#: How long a replay waits for one place in a full queue before it takes the logger for hanging.
STALL_S = 120.0

Build = Callable[[Use], Logger]
Call = tuple[str, tuple[Any, ...], dict[str, Any]]


class LoggerThread:
    """One logger and its thread. After a failure it is dropped: one warning, and no further calls.

    Attributes:
        trouble: why it was dropped; empty while all is well.
    """

    def __init__(self, use: Use, build: Build, warn: Callable[[str], None], *, patient: bool = False) -> None:
        """Args: patient: wait for a slow logger as long as it goes on; for a replay, where nothing else waits."""
        self.use = use
        self._patient = patient
        self.trouble = ""
        self._warn = warn
        self._later = ""
        self._calls: queue.Queue[Call | None] = queue.Queue(QUEUE_SIZE)
        self._started: Future[None] = Future()
        self._closed = threading.Event()
        # A daemon: a logger that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._work, args=(build,), name=f"logger-{use.key}", daemon=True)

    def start(self, run: RunInfo, timeout_s: float = START_TIMEOUT_S) -> None:
        """Build and start the logger, and wait for it.

        Raises:
            LoggerRefused: it says that its configuration cannot work.
        """
        self._later = self._command_for_later(run)
        self.call("start", run)
        self._thread.start()
        try:
            self._started.result(timeout_s)
        except FutureTimeout:
            self._drop(f"did not start within {timeout_s:g} s")

    def _command_for_later(self, run: RunInfo) -> str:
        component = self.use.offered.component
        if isinstance(component, LoggerComponent) and component.upload_command is not None:
            return component.upload_command(run.folder)
        return f"detkit upload {shlex.quote(str(run.folder.parent))} --logger {self.use.key}"

    def call(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Queue a call; returns at once, unless this is a patient thread whose queue is full."""
        if self.trouble:
            return
        try:
            self._calls.put((method, args, kwargs), block=self._patient, timeout=STALL_S)
        except queue.Full:
            self._drop(f"does not keep up: {QUEUE_SIZE} calls wait for it")

    def close(self, outcome: Outcome) -> None:
        """Let it finish what waits, for as long as its component allows."""
        component = self.use.offered.component
        assert isinstance(component, LoggerComponent)
        timeout_s = component.close_timeout_s(self.use.options)
        if self._thread.ident is None:  # never started: another logger refused the run before it
            return
        self.call("close", outcome if self._patient else replace(outcome, deadline=time.monotonic() + timeout_s))
        if self.trouble:
            return
        with suppress(queue.Full):  # it hangs, then, and the wait below ends in vain
            self._calls.put(None, timeout=timeout_s)
        waiting = self._calls.qsize()
        while self._patient and not self._closed.wait(timeout_s) and self._calls.qsize() < waiting:
            waiting = self._calls.qsize()  # it is getting on
        if not self._closed.wait(timeout_s):
            self._drop(f"did not finish within {timeout_s:g} s of the run's end")

    def _work(self, build: Build) -> None:
        logger: Logger | None = None
        while (call := self._calls.get()) is not None and not self.trouble:
            method, args, kwargs = call
            try:
                if logger is None:
                    logger = build(self.use)
                getattr(logger, method)(*args, **kwargs)
            except LoggerRefused as error:
                if self._started.done():
                    self._drop(f"was refused in {method}: {error}")
                else:
                    self.trouble = str(error)  # told by whoever waits for the start, not as a warning
                    self._started.set_exception(error)
                return
            except NotDelivered as error:
                if not self.trouble:  # else it was given up meanwhile, and that was told
                    self.trouble = str(error)
                    self._warn(f"{self.use.title}: {error}")
            except Exception as error:  # noqa: BLE001 - a logger is foreign code that must never stop a run
                self._drop(f"raised in {method}: {type(error).__name__}: {' '.join(str(error).split())}")
            if not self._started.done():
                self._started.set_result(None)
        self._closed.set()

    def _drop(self, trouble: str) -> None:
        if not self.trouble:
            self.trouble = trouble
            self._warn(
                f"{self.use.title} {trouble}; it gets nothing more of this run. The record has everything;"
                f" once the run has finished, send it with: {self._later}"
            )


class Loggers:
    """All loggers of a run, with `Logger`'s own methods."""

    def __init__(
        self, uses: Sequence[Use], build: Build, warn: Callable[[str], None], *, patient: bool = False
    ) -> None:
        self._threads = [LoggerThread(use, build, warn, patient=patient) for use in uses]

    @property
    def keys(self) -> list[str]:
        return [thread.use.key for thread in self._threads]

    def start(self, run: RunInfo) -> None:
        for thread in self._threads:
            thread.start(run)

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        self._call("log_parameters", parameters)

    def log_metrics(self, values: Mapping[str, float | None], *, step: int, epoch: int) -> None:
        """Values that do not apply are left out."""
        there = {name: value for name, value in values.items() if value is not None}
        self._call("log_metrics", there, step=step, epoch=epoch)

    def log_predictions(self, file: Path, *, step: int, epoch: int) -> None:
        self._call("log_predictions", file, step=step, epoch=epoch)

    def log_table(self, name: str, table: Table, *, step: int, epoch: int) -> None:
        self._call("log_table", name, table, step=step, epoch=epoch)

    def log_curve(self, name: str, curve: Curve, *, step: int, epoch: int) -> None:
        self._call("log_curve", name, curve, step=step, epoch=epoch)

    def log_confusion_matrix(self, name: str, matrix: Matrix, *, step: int, epoch: int) -> None:
        self._call("log_confusion_matrix", name, matrix, step=step, epoch=epoch)

    def log_file(self, file: Path, *, name: str) -> None:
        self._call("log_file", file, name=name)

    def close(self, outcome: Outcome) -> dict[str, str]:
        """Close all; returns logger key to its trouble, empty for those that received everything."""
        # All at once: the slowest one's deadline is the longest wait, not the sum.
        closers = [threading.Thread(target=thread.close, args=(outcome,)) for thread in self._threads]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join()
        return {thread.use.key: thread.trouble for thread in self._threads}

    def _call(self, method: str, *args: Any, **kwargs: Any) -> None:
        for thread in self._threads:
            thread.call(method, *args, **kwargs)
