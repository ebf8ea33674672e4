"""Who is ahead: the comparison of the models, as the page reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detkit.compare.comparison import Comparison, comparison
from detkit.components import Messages
from detkit.errors import ComponentError, DetkitError, RecordError
from detkit.record.reader import ExperimentRecord
from detkit.report.portable import portable, portable_text


def standing(
    record: ExperimentRecord, folders: Sequence[Path], *, ended: bool, messages: Messages | None = None
) -> dict[str, Any]:
    """The models side by side, and what can be said of pairs.

    Args:
        folders: that no page may name. ended: no run goes on. Pairs are compared then alone: that takes a thousand draws.
    """
    found, troubles = _compared(record, ended, messages)
    if found is None:
        return {"rows": [], "quantities": [], "by": "", "scored_on": "", "sentences": [], "notes": troubles}
    plain = found.to_dict()
    states = [f"{run['run_id']} {run['state']}" for row in plain["rows"] for run in row["runs"]]
    return {
        "by": found.by,
        "rows": [_row(row) for row in plain["rows"]],
        "quantities": [
            {**quantity, "is_cost": found.quantities[name].is_cost} for name, quantity in plain["quantities"].items()
        ],
        "scored_on": found.scored_on,
        "sentences": [text for text in (found.sentence, *(pair["sentence"] for pair in plain["pairs"])) if text],
        # How runs ended is told with the runs.
        "notes": [
            portable_text(note, folders)
            for note in (*plain["notes"], plain["pairs_note"], *troubles)
            if note and not note.startswith(tuple(states))
        ],
    }


def _compared(record: ExperimentRecord, pairs: bool, messages: Messages | None) -> tuple[Comparison | None, list[str]]:
    """As much of it as can be had, and what stood in the way of the rest."""
    troubles: list[str] = []
    for anyway, with_pairs in ((False, pairs), (True, pairs), (True, False)):
        try:
            return comparison([record], pairs=with_pairs, anyway=anyway, messages=messages), troubles
        except RecordError as error:
            # Models that were scored on other images: the comparison says so itself when it is made all the same.
            troubles = [] if not anyway else [str(error)]
        except ComponentError as error:
            troubles = [f"the models were not compared in pairs: {error}"]
        except DetkitError as error:
            troubles = [str(error)]
    return None, troubles


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": row["name"],
        "model": row["model"],
        "finished": len(row["finished"]),
        "runs": [run["run_id"] for run in row["runs"]],
        "values": {
            name: {key: value[key] for key in ("value", "deviation", "count", "lower", "upper")}
            for name, value in row["values"].items()
        },
        "texts": portable(dict(row["texts"])),
    }
