"""Who is ahead: the comparison of the models, as the page reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detkit.compare.comparison import comparison
from detkit.components import Messages
from detkit.errors import ComponentError, DetkitError, RecordError
from detkit.record.reader import ExperimentRecord
from detkit.report.portable import portable, portable_text


def standing(
    record: ExperimentRecord, folders: Sequence[Path], *, ended: bool, messages: Messages | None = None
) -> dict[str, Any]:
    """The models side by side, and what can be said of pairs.

    Args:
        folders: what no page may name.
        ended: no run goes on. Pairs are compared then alone, since that takes a thousand draws each; and only where the
            spec wants intervals at all.
    """
    wanted = any(summary["scored"].get("intervals") for run in record.runs if (summary := run.summary))
    found, troubles = _compared(record, ended and wanted, messages)
    if found is None:
        return {"rows": [], "quantities": [], "by": "", "scored_on": "", "sentences": [], "notes": troubles}
    states = tuple(f"{run['run_id']} {run['state']}" for row in found["rows"] for run in row["runs"])
    sentences = [found["sentence"], *(pair["sentence"] for pair in found["pairs"])]
    notes = [*found["notes"], found["pairs_note"], *troubles]
    return {
        "by": found["by"],
        "rows": [_row(row) for row in found["rows"]],
        # Names of metrics' numbers hold a slash, costs' do not.
        "quantities": [{**quantity, "is_cost": "/" not in name} for name, quantity in found["quantities"].items()],
        "scored_on": _scored_on(found["scored_on"]),
        "sentences": [sentence for sentence in sentences if sentence],
        # How runs ended is told with the runs.
        "notes": [portable_text(note, folders) for note in notes if note and not note.startswith(states)],
    }


def _compared(
    record: ExperimentRecord, pairs: bool, messages: Messages | None
) -> tuple[dict[str, Any] | None, list[str]]:
    """As much of it as can be had, and what stood in the way of the rest."""
    troubles: list[str] = []
    for anyway, with_pairs in ((False, pairs), (True, pairs), (True, False)):
        try:
            return comparison([record], pairs=with_pairs, anyway=anyway, messages=messages).to_dict(), troubles
        except RecordError as error:
            # Models that were scored on other images: the comparison says so itself when it is made all the same.
            troubles = [] if not anyway else [str(error)]
        except ComponentError as error:
            troubles = [f"the models were not compared in pairs: {error}"]
        except DetkitError as error:
            troubles = [str(error)]
    return None, troubles


def _scored_on(found: Mapping[str, Any]) -> str:
    folds = f" in {len(found['folds'])} folds" if len(found["folds"]) > 1 else ""
    return f"{found['images']} {found['split']} images{folds}" if found["split"] else ""


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
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
