"""leaderboard.json: the table of an experiment, and what its comparison says, for whoever reads the record."""

from __future__ import annotations

from typing import Any

from detkit.compare.comparison import comparison
from detkit.compare.leaderboard import Leaderboard, make_leaderboard
from detkit.components import Messages, Silent
from detkit.errors import DetkitError
from detkit.record.files import write_json
from detkit.record.reader import ExperimentRecord

#: Of a comparison, what is not in the table already.
BESIDE_ROWS = ("by", "scored_on", "fronts", "pairs", "pairs_note", "choice", "sentence", "comparable", "notes")


def write_leaderboard(record: ExperimentRecord, messages: Messages | None = None) -> Leaderboard:
    """Put the table and the comparison into the record.

    A comparison that is not possible costs nobody the table: its cause stands in the place of it.
    """
    board = make_leaderboard(record)
    write_json(record.files.leaderboard, {**board.to_dict(), "comparison": compared(record, messages or Silent())})
    return board


def compared(record: ExperimentRecord, messages: Messages) -> dict[str, Any]:
    """What the comparison of an experiment says, or the `trouble` that keeps it from saying anything."""
    intervals = any(summary["scored"].get("intervals") for run in record.compared if (summary := run.summary))
    try:
        plain = comparison([record], pairs=intervals, messages=messages).to_dict()
    except DetkitError as error:
        return {"sentence": "", "trouble": str(error)}
    return {name: plain[name] for name in BESIDE_ROWS}
