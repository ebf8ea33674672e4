"""Who is ahead: the comparison of the models, as the page reads it."""

from __future__ import annotations

from typing import Any

from detkit.compare.leaderboard import make_leaderboard
from detkit.record.reader import ExperimentRecord


def standing(record: ExperimentRecord, *, ended: bool) -> dict[str, Any]:
    """The leaderboard, and what can be said of pairs.

    Args:
        ended: no run goes on. Pairs are compared then alone: it takes a thousand draws each.
    """
    board = make_leaderboard(record)
    rows = []
    for row in board.rows:
        interval = row.interval(board.primary)
        rows.append(
            {
                "model": row.model,
                "finished": row.finished,
                "runs": list(row.states),
                "values": {
                    name: {"mean": value.mean, "deviation": value.deviation} for name, value in row.values.items()
                },
                "interval": [interval.lower, interval.upper] if interval else None,
                "epochs": list(row.selected_epochs),
                "parameters": row.parameters,
                "costs": {**row.costs, **row.measured, **_memory(record, list(row.states))},
            }
        )
    return {
        "rows": rows,
        "columns": board.columns,
        "primary": board.primary,
        "higher_is_better": board.higher_is_better,
        "scored_on": board.scored_on if board.best else "",
        "notes": [note for note in (board.note, board.interval_note) if note],
        "sentences": [],
    }


def _memory(record: ExperimentRecord, runs: list[str]) -> dict[str, float]:
    """The mean of what inference takes, over the runs where it was measured."""
    summaries = [summary for name in runs if (summary := record.run(name).summary) is not None]
    found = [summary.get("costs", {}).get("measured", {}).get("inference_memory_bytes") for summary in summaries]
    there = [value for value in found if value is not None]
    return {"inference_memory_bytes": sum(there) / len(there)} if there else {}
