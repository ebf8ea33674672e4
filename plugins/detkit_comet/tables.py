"""Tables as CSV, which Comet's Data Panel reads: of one epoch, of all epochs, and the leaderboard."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from detkit import Table


def to_csv(table: Table) -> str:
    """The table as CSV with a header; values that do not apply are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return text.getvalue()


def all_epochs(tables: Iterable[tuple[int, int, Table]]) -> Table:
    """One table of all epochs, with the columns `epoch` and `step` before the others.

    Args:
        tables: (epoch, optimizer step, table). Their columns may differ: a later epoch may have a further class.
    """
    tables = list(tables)
    columns = list(dict.fromkeys(column for _, _, table in tables for column in table.columns))
    rows = []
    for epoch, step, table in tables:
        for cells in table.rows:
            named = dict(zip(table.columns, cells, strict=True))
            rows.append((epoch, step, *(named.get(column) for column in columns)))
    return Table(("epoch", "step", *columns), tuple(rows))


def leaderboard_table(board: Mapping[str, Any]) -> Table:
    """leaderboard.json, a row a model: its figures, their deviations over seeds and intervals, its costs."""
    rows = [_leaderboard_row(row) for row in board["rows"]]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return Table(tuple(columns), tuple(tuple(row.get(column) for column in columns) for row in rows))


def _leaderboard_row(row: Mapping[str, Any]) -> dict[str, str | float | int | None]:
    states = list(row["states"].values())
    finished = states.count("finished")
    cells: dict[str, str | float | int | None] = {"model": row["model"], "runs": len(states), "finished": finished}
    for name, value in row["values"].items():
        cells[name] = value["mean"]
        if value["deviation"] is not None:
            cells[f"{name}_deviation"] = value["deviation"]
        # Of one run alone: intervals over the images are not averaged over seeds.
        if finished == 1:
            for of_run in row["intervals"].values():
                if name in of_run:
                    cells |= {f"{name}_lower": of_run[name]["lower"], f"{name}_upper": of_run[name]["upper"]}
    return {**cells, "parameters": row["parameters"], **row["costs"], **row["measured"]}
