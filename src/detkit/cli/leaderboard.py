"""The table of an experiment, for `run` and `show`."""

from __future__ import annotations

import click

from detkit.cli.console import print_table
from detkit.cli.words import duration, millions, size
from detkit.compare.leaderboard import Leaderboard, Row


def print_leaderboard(board: Leaderboard) -> None:
    """Models with the best first, what must be said of the figures, and why runs failed. On stdout."""
    names = board.columns
    columns = ["model", "runs", *names, "epoch", "training", "img/s", "memory", "parameters"]
    print_table(columns, [_cells(row, names) for row in board.rows], right=columns[1:])
    if board.rows and board.best is not None:
        what = f"{board.split} images: {board.images}"
        click.echo(f"{what}; {board.note}" if board.note else what)
    for row in board.rows:
        for run, state in row.states.items():
            if state != "finished":
                cause = row.causes.get(run, "")
                click.echo(f"{run} {state}: {cause}" if cause else f"{run} {state}")


def _cells(row: Row, names: list[str]) -> list[str]:
    measured = row.measured
    return [
        row.model,
        f"{row.finished}/{len(row.states)}",
        *(str(row.values.get(name, "-")) for name in names),
        ", ".join(map(str, row.selected_epochs)) or "-",
        duration(measured["train_s"]) if measured else "-",
        f"{measured['images_per_s']:.1f}" if measured else "-",
        size(measured["peak_memory_bytes"]) if measured else "-",
        millions(row.parameters) if row.parameters is not None else "-",
    ]
