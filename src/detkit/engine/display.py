"""What the parent shows while runs go on; the command line and notebooks bring their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from detkit.components import Messages, Silent
from detkit.record.reader import ExperimentRecord, RunRecord


class Display(Messages, Protocol):
    """Messages, and the course of runs.

    All is called in one thread, `experiment_started` before and `experiment_ended` after the events of runs.
    """

    def experiment_started(self, experiment: ExperimentRecord, runs: Sequence[RunRecord]) -> None:
        """Runs are about to begin.

        Args:
            runs: all that the spec asks for, in its order, with those that have finished before. More may come later:
                a search begins its trials one by one.
        """

    def run_started(self, run: RunRecord, number: int, total: int, resumed: bool) -> None:
        """The run begins; it is the `number`th of `total` that this command runs."""

    def run_progress(self, run: RunRecord, progress: Mapping[str, Any]) -> None:
        """The content of progress.json, a few times a second."""

    def run_epochs(self, run: RunRecord, epochs: Sequence[Mapping[str, Any]]) -> None:
        """The run has recorded an epoch, or has gone back to an earlier one.

        Args:
            epochs: all rows of its metrics.jsonl, those of before a resume too: epoch, step, values, measured.
        """

    def run_line(self, run: RunRecord, line: str) -> None:
        """A line that the run's process printed (a logger, a callback)."""

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", right: Sequence[str] = ()
    ) -> None:
        """A table that the run wants seen: what of its model trains, what a metric has found.

        Args:
            title: stands above it. right: the columns to align to the right.
        """

    def run_ended(self, run: RunRecord) -> None:
        """The run ended; its record says how."""

    def experiment_ended(self) -> None:
        """No run goes on: all have ended, or were stopped, or could not go on. Called in any case."""


@contextmanager
def shown(display: Display, experiment: ExperimentRecord, runs: Sequence[RunRecord]) -> Iterator[None]:
    """For the time in which runs go on: whatever ends it, the display is told."""
    try:
        display.experiment_started(experiment, runs)
        yield
    finally:
        display.experiment_ended()


class SilentDisplay(Silent):
    """Shows nothing: for tests and scripts."""

    def experiment_started(self, experiment: ExperimentRecord, runs: Sequence[RunRecord]) -> None:
        pass

    def run_started(self, run: RunRecord, number: int, total: int, resumed: bool) -> None:
        pass

    def run_progress(self, run: RunRecord, progress: Mapping[str, Any]) -> None:
        pass

    def run_epochs(self, run: RunRecord, epochs: Sequence[Mapping[str, Any]]) -> None:
        pass

    def run_line(self, run: RunRecord, line: str) -> None:
        pass

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", right: Sequence[str] = ()
    ) -> None:
        pass

    def run_ended(self, run: RunRecord) -> None:
        pass

    def experiment_ended(self) -> None:
        pass
