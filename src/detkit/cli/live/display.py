"""What the command line shows of runs: the live table on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from detkit.cli.console import RichMessages, can_draw, plain_table, tolerate
from detkit.cli.live.course import ExperimentCourse, RunCourse
from detkit.cli.live.lines import Lines
from detkit.cli.words import duration
from detkit.components import Progress, Silent
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.record.summary import primary_figure

if TYPE_CHECKING:
    from detkit.cli.live.screen import Screen


class ConsoleDisplay(RichMessages):
    """A `detkit.engine.display.Display` on stderr."""

    def __init__(self, *, lines_on_stdout: bool = True) -> None:
        """Args: lines_on_stdout: where lines of the runs go off a terminal; not there when JSON is to stand there."""
        super().__init__()
        tolerate(sys.stdout)
        self._lines_on_stdout = lines_on_stdout
        self._course: ExperimentCourse | None = None
        self._screen: Screen | None = None
        self._lines = Lines(self._say)

    # --- the experiment ----------------------------------------------------------------------------------------------

    def experiment_started(self, experiment: ExperimentRecord, runs: Sequence[RunRecord]) -> None:
        """Look at all runs; the table comes with the first that begins."""
        self._course = ExperimentCourse.of(experiment, runs, time.monotonic())

    def experiment_ended(self) -> None:
        """Take the table away; the terminal is as before."""
        screen, self._screen = self._screen, None
        if screen is not None:
            screen.stop()

    # --- runs --------------------------------------------------------------------------------------------------------

    def run_started(self, run: RunRecord, number: int, total: int, resumed: bool) -> None:
        """Announce the run; show the table, where there is a terminal to draw on."""
        with self._changing() as course:
            course.run_started(run, time.monotonic(), after=total - number)
        if self._screen is None and can_draw(sys.stderr):
            from detkit.cli.live.screen import Screen

            self._screen = Screen(self._shared_console(), course)
            self._screen.start()
        self._lines.run_started(course.runs[run.run_id])
        self._say(f"[{number}/{total}] {run.run_id}{' (resumed)' if resumed else ''}", style="bold")

    def run_progress(self, run: RunRecord, progress: Mapping[str, Any]) -> None:
        """Move the bars; a line only where nothing was said for long."""
        with self._changing() as course:
            course.run_progress(run, progress, time.monotonic())
        if self._screen is None:
            self._lines.run_progress(course, self._of(run), time.monotonic())

    def run_epochs(self, run: RunRecord, epochs: Sequence[Mapping[str, Any]]) -> None:
        """The table has the new values; elsewhere a line says them."""
        with self._changing() as course:
            course.run_epochs(run, epochs, time.monotonic())
        if self._screen is None:
            self._lines.run_epochs(course, self._of(run), time.monotonic())

    def run_line(self, run: RunRecord, line: str) -> None:
        """What a logger or a callback prints goes to stdout, above the table."""
        if self._screen is not None and sys.stdout.isatty():
            self._shared_console().print(line, markup=False)
        else:
            click.echo(line, err=not self._lines_on_stdout)

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", right: Sequence[str] = ()
    ) -> None:
        """The table of a component, above that of the runs."""
        for line in [*([title] if title else []), *plain_table(columns, rows, right=right)]:
            self._say(f"  {line}")

    def run_ended(self, run: RunRecord) -> None:
        """Say how the run ended."""
        with self._changing() as course:
            course.run_ended(run, time.monotonic())
        took = duration(self._of(run).took(time.monotonic()) or 0.0)
        summary, failure = run.summary, run.failure
        if summary is not None:
            value = summary["scored"]["values"].get(summary["primary"])
            best = primary_figure(summary) if value is not None else "no figure"
            self._say(
                f"  {run.run_id} finished in {took}: {best} (epoch {summary['selected']['epoch']})", style="green"
            )
        elif failure is not None:
            self._say(f"  {run.run_id} failed after {took}: {failure['message']}", style="red")

    # --- messages ----------------------------------------------------------------------------------------------------

    def warning(self, text: str) -> None:
        """Above the table, which counts them: over days they scroll out of sight."""
        if self._course is not None:
            self._course.warnings += 1
        super().warning(text)

    @contextmanager
    def progress(self, description: str, total: int | None, unit: str = "") -> Iterator[Progress]:
        """As `RichMessages.progress`; while the table stands, the description alone."""
        if self._screen is None:
            with super().progress(description, total, unit) as bar:
                yield bar
            return
        self.info(description)
        with Silent().progress(description, total, unit) as silent:
            yield silent

    # --- what is known -----------------------------------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[ExperimentCourse]:
        """What is known of the experiment, to be changed: the table is not drawn meanwhile."""
        if self._course is None:  # runs without an experiment around them
            self._course = ExperimentCourse("", time.monotonic(), {})
        if self._screen is None:
            yield self._course
            return
        with self._screen.lock:
            yield self._course

    def _of(self, run: RunRecord) -> RunCourse:
        assert self._course is not None
        return self._course.runs[run.run_id]
