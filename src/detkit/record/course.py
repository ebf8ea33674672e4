"""How far a run has come, from its rows of metrics.jsonl: its primary figure by epoch, the best of them, its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from detkit.errors import RecordError
from detkit.record.files import read_json
from detkit.record.reader import RunRecord

Rows = Sequence[Mapping[str, Any]]

#: What a summary calls `loss/NAME` stands in the rows of epochs as `validation/NAME`.
SCORED, BY_EPOCH = "loss/", "validation/"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A figure of the rows, as "coco/ap", and whether higher is better."""

    name: str
    higher: bool

    def is_better(self, value: float, than: float) -> bool:
        return value > than if self.higher else value < than


@dataclass(frozen=True, slots=True)
class Best:
    """A value and the epoch that has it."""

    value: float
    epoch: int


def primary_quantity(run: RunRecord, rows: Rows) -> Quantity | None:
    """What orders models, at any time of the run; None where nothing is known of it yet.

    As the run has written it down; a record of an older detkit has it in its summary only. Before that it is the first
    figure of a metric, of which higher is taken to be better, or else the validation loss.
    """
    for file in (run.files.quantities, run.files.summary):
        with suppress(RecordError):
            content = read_json(file)
            name = content.get("primary")
            if isinstance(name, str) and name:
                higher = bool(content.get("higher_is_better", {}).get(name, True))
                return Quantity(by_epoch(name), higher)
    for row in reversed(rows):
        names = [name for name in row["values"] if not name.startswith(("train/", BY_EPOCH))]
        if names:
            return Quantity(names[0], higher=True)
        if f"{BY_EPOCH}loss" in row["values"]:
            return Quantity(f"{BY_EPOCH}loss", higher=False)
    return None


def by_epoch(name: str) -> str:
    """The name in the rows of a figure of the summary."""
    return f"{BY_EPOCH}{name.removeprefix(SCORED)}" if name.startswith(SCORED) else name


def values_of(rows: Rows, quantity: Quantity | None) -> list[Best]:
    """The quantity's values, of the epochs that have one, in their order."""
    if quantity is None:
        return []
    found = ((row["epoch"], row["values"].get(quantity.name)) for row in rows)
    return [Best(float(value), int(epoch)) for epoch, value in found if value is not None]


def best_of(rows: Rows, quantity: Quantity | None) -> Best | None:
    """The best of them; of equal ones the first, as the checkpoint is chosen."""
    best: Best | None = None
    for point in values_of(rows, quantity):
        if best is None or (quantity is not None and quantity.is_better(point.value, best.value)):
            best = point
    return best


def epoch_seconds(row: Mapping[str, Any]) -> float:
    """Training and evaluation of the epoch."""
    measured = row["measured"]
    return float(measured["train_s"]) + float(measured.get("evaluation_s") or 0.0)
