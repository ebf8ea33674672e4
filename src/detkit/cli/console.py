"""What people see: tables, messages and progress bars; plain lines where nobody watches a terminal."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import click

from detkit.components import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

#: Where no bar can be drawn, a long task says how far it is at each of these shares.
SHARES_TOLD = (0.25, 0.5, 0.75)


def console(*, stderr: bool = True) -> Console:
    """A rich console: for people on stderr by default. Off a terminal it writes plain text and never wraps it."""
    from rich.console import Console

    stream: IO[str] = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, soft_wrap=not stream.isatty())


def can_draw(stream: IO[str]) -> bool:
    """Whether to draw bars and tables that move: on a terminal that can, and for somebody who wants to see them.

    Not in a pipe or a file, not where $TERM is dumb, not under a build service ($CI), not with $NO_COLOR: lines then.
    """
    if not stream.isatty() or os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
        return False
    return not (os.environ.get("NO_COLOR") or os.environ.get("CI", "").lower() not in ("", "0", "false"))


def tolerate(stream: IO[str]) -> None:
    """Write what the stream's encoding lacks as escapes: a name in another script must not end a command."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), stderr: bool = False
) -> None:
    """A table; on a terminal as wide as it is, elsewhere aligned text with one line a row.

    Args:
        right: the columns to align to the right.
        stderr: whether it is for people only.
    """
    stream: IO[str] = sys.stderr if stderr else sys.stdout
    if not stream.isatty():
        for line in plain_table(columns, rows, right=right):
            click.echo(line, err=stderr)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, width=None)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console(stderr=stderr).print(table)


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> list[str]:
    """The lines of a table in plain text, columns two blanks apart."""
    cells = [tuple(columns), *(tuple(" ".join(cell.split()) for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(columns, row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]


class RichMessages:
    """`detkit.components.Messages` on stderr: bars on a terminal, a few plain lines elsewhere."""

    def __init__(self) -> None:
        self._console: Console | None = None
        self._bars: Bars | None = None

    def info(self, text: str) -> None:
        self._say(text)

    def warning(self, text: str) -> None:
        self._say(f"warning: {text}", style="yellow")

    @contextmanager
    def progress(self, description: str, total: int | None, unit: str = "") -> Iterator[Progress]:
        """A bar for the time of the block; one within another is shown below it."""
        if not can_draw(sys.stderr):
            yield _PlainProgress(description, total, unit)
            return
        outermost = self._bars is None
        bars = self._bars or _bars(self._shared_console(), unit)
        self._bars = bars
        if outermost:
            bars.start()
        task = bars.add_task(description, total=total)
        try:
            yield _RichProgress(bars, task)
        finally:
            bars.remove_task(task)
            if outermost:
                bars.stop()
                self._bars = None

    def _shared_console(self) -> Console:
        if self._console is None:
            self._console = console()
        return self._console

    def _say(self, text: str, style: str | None = None) -> None:
        if not sys.stderr.isatty():
            click.echo(text, err=True)
            return
        from rich.text import Text

        # The bars' own console prints above them instead of through them; its `style` would be theirs too.
        self._shared_console().print(Text(text, style=style or ""))


def _bars(on: Console, unit: str) -> Bars:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bars

    amount = [DownloadColumn(), TransferSpeedColumn()] if unit == "B" else [MofNCompleteColumn()]
    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *amount,
        *([TextColumn(unit, markup=False)] if unit not in ("", "B") else []),
        TimeRemainingColumn(),
        console=on,
        transient=True,
    )


class _RichProgress:
    def __init__(self, bars: Bars, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def advance(self, amount: int = 1) -> None:
        self._bars.advance(self._task, amount)


class _PlainProgress:
    def __init__(self, description: str, total: int | None, unit: str) -> None:
        self._description = description
        self._total = total
        self._unit = unit
        self._done = 0
        click.echo(description if not total else f"{description} ({self._amount(total)})", err=True)

    def advance(self, amount: int = 1) -> None:
        before, self._done = self._done, self._done + amount
        if not self._total:
            return
        for share in SHARES_TOLD:
            if before < share * self._total <= self._done:
                click.echo(f"{self._description}: {share:.0%}", err=True)

    def _amount(self, value: int) -> str:
        if self._unit == "B":
            return f"{value / 1e6:.1f} MB"
        return f"{value} {self._unit}".strip()
