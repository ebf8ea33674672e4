"""The course of runs on the console: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from detkit.cli.console import RichMessages, plain_table
from detkit.cli.words import duration
from detkit.record.reader import RunRecord
from detkit.record.summary import primary_figure

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

#: Off a terminal, a run says how far it is at every phase and at most so often in between.
PLAIN_INTERVAL_S = 30.0


class ConsoleDisplay(RichMessages):
    """A `detkit.engine.display.Display` on stderr."""

    def __init__(self, *, lines_on_stdout: bool = True) -> None:
        """Args: lines_on_stdout: where lines of the runs go off a terminal; not there when JSON is to stand there."""
        super().__init__()
        self._lines_on_stdout = lines_on_stdout
        self._live: Bars | None = None
        self._said = ""
        self._said_at = 0.0
        self._began = 0.0

    def run_started(self, run: RunRecord, number: int, total: int, resumed: bool) -> None:
        """Announce the run, and show a bar for it."""
        self._began = time.monotonic()
        self._said = ""
        self._say(f"[{number}/{total}] {run.run_id}{' (resumed)' if resumed else ''}", style="bold")
        if sys.stderr.isatty():
            self._live = _bars(self._shared_console())
            self._live.start()
            self._live.add_task("starting", total=None, detail="")

    def run_progress(self, run: RunRecord, progress: Mapping[str, Any]) -> None:
        """Move the bar, or say a line."""
        phase = _phase(progress)
        if self._live is not None:
            task = self._live.task_ids[0]
            self._live.update(
                task, description=phase, completed=progress["done"], total=progress["total"], detail=_detail(progress)
            )
            return
        now = time.monotonic()
        if phase != self._said or now - self._said_at >= PLAIN_INTERVAL_S:
            self._said, self._said_at = phase, now
            self._say(f"  {phase}  {progress['done']}/{progress['total']}  {_detail(progress)}".rstrip())

    def run_line(self, run: RunRecord, line: str) -> None:
        """What a logger or a callback prints goes to stdout, above the bar."""
        if self._live is not None:
            self._live.console.print(line, markup=False)
        else:
            click.echo(line, err=not self._lines_on_stdout)

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", right: Sequence[str] = ()
    ) -> None:
        """The table, above the bar."""
        for line in [*([title] if title else []), *plain_table(columns, rows, right=right)]:
            self._say(f"  {line}")

    def run_ended(self, run: RunRecord) -> None:
        """Take the bar away, and say how the run ended."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        took = duration(time.monotonic() - self._began)
        summary, failure = run.summary, run.failure
        if summary is not None:
            value = summary["scored"]["values"].get(summary["primary"])
            best = primary_figure(summary) if value is not None else "no figure"
            self._say(
                f"  {run.run_id} finished in {took}: {best} (epoch {summary['selected']['epoch']})", style="green"
            )
        elif failure is not None:
            self._say(f"  {run.run_id} failed after {took}: {failure['message']}", style="red")


def _phase(progress: Mapping[str, Any]) -> str:
    epoch = f"epoch {progress['epoch']}/{progress['epochs']}"
    return {"training": epoch, "scoring": f"scoring {epoch}"}.get(progress["phase"], f"{epoch}, {progress['phase']}")


def _detail(progress: Mapping[str, Any]) -> str:
    if progress["phase"] != "training":
        return ""
    return (
        f"loss {progress['loss']:.4g}  lr {progress['lr']:.2g}  {progress['images_per_s']:.1f} img/s"
        f"  {duration(progress['eta_s'])} left"
    )


def _bars(on: Any) -> Bars:
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bars

    return Bars(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
        console=on,
        transient=True,
    )
