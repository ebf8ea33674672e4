"""The table of an experiment, for `run` and `show`."""

from __future__ import annotations

import click

from detkit.cli.console import plain_table, print_table
from detkit.cli.words import duration, millions, size, three_digits
from detkit.compare.leaderboard import SHOWN_QUANTITIES, Leaderboard, Row

#: Quantities are left out until the table is no wider than this, characters; the primary one never is.
WIDTH = 120

#: So many runs have their selected epochs listed one by one.
MOST_EPOCHS = 5

COSTS = ("training", "memory", "latency", "GFLOPs", "parameters", "weights")


def print_leaderboard(board: Leaderboard) -> None:
    """Models with the best first, what must be said of the figures, and why runs failed. On stdout."""
    names = shown_quantities(board)
    print_table(_header(names), _rows(board, names), right=_header(names)[1:])
    left_out = [name for name in board.columns if name not in names]
    if left_out:
        click.echo(f"not shown for want of room: {', '.join(left_out)}")
    if board.rows and board.best is not None:
        click.echo("; ".join(filter(None, (board.scored_on, board.note))))
    if board.interval_note:
        click.echo(board.interval_note)
    for row in board.rows:
        for run, state in row.states.items():
            if state != "finished":
                cause = row.causes.get(run, "")
                click.echo(f"{run} {state}: {cause}" if cause else f"{run} {state}")


def shown_quantities(board: Leaderboard) -> list[str]:
    """Those of the board's quantities for which the table has room, the primary one first."""
    names = board.columns
    by_importance = sorted(names[1:], key=_importance)
    while by_importance and _width(board, names) > WIDTH:
        names.remove(by_importance.pop())
    return names


def _width(board: Leaderboard, names: list[str]) -> int:
    return max(map(len, plain_table(_header(names), _rows(board, names), right=_header(names))))


def _importance(name: str) -> int:
    last = name.rsplit("/", 1)[-1]
    return SHOWN_QUANTITIES.index(last) if last in SHOWN_QUANTITIES else len(SHOWN_QUANTITIES)


def _header(names: list[str]) -> list[str]:
    return ["model", "runs", *names, "epoch", *COSTS]


def _rows(board: Leaderboard, names: list[str]) -> list[list[str]]:
    return [_cells(board, row, names) for row in board.rows]


def _epochs(row: Row) -> str:
    """The selected epochs; of more runs than have room, the first and the last of them."""
    epochs = sorted(row.selected_epochs) if len(row.selected_epochs) > MOST_EPOCHS else row.selected_epochs
    if len(epochs) > MOST_EPOCHS:
        return str(epochs[0]) if epochs[0] == epochs[-1] else f"{epochs[0]} to {epochs[-1]}"
    return ", ".join(map(str, epochs)) or "-"


def _cells(board: Leaderboard, row: Row, names: list[str]) -> list[str]:
    measured, costs = row.measured, row.costs
    return [
        row.model,
        f"{row.finished}/{len(row.states)}",
        *(board.figure(row, name) for name in names),
        _epochs(row),
        duration(measured["train_s"]) if measured else "-",
        size(measured["peak_memory_bytes"]) if measured else "-",
        f"{three_digits(costs['latency_ms_median'])} ms" if "latency_ms_median" in costs else "-",
        three_digits(costs["flops"] / 1e9) if "flops" in costs else "-",
        millions(row.parameters) if row.parameters is not None else "-",
        size(costs["weights_bytes"]) if "weights_bytes" in costs else "-",
    ]
