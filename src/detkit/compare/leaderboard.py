"""The models of an experiment, side by side: means over seeds of what each run's summary states."""

from __future__ import annotations

import html
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from detkit.record.files import write_json
from detkit.record.reader import ExperimentRecord, RunRecord

#: Quantities shown beside the primary one, by their last part, where a run has them: the most wanted first.
SHOWN_QUANTITIES = ("ap50", "mask_ap", "ap75", "ar100", "map_50")
#: Of a summary's costs, what is compared; of those under `measured` and those beside it.
SHOWN_COSTS = ("flops", "weights_bytes", "train_ms_per_image", "latency_ms_median", "latency_ms_p95")

SAME_IMAGES = "selected and scored on the same images"


@dataclass(frozen=True, slots=True)
class Value:
    """A quantity over the finished seeds: their mean, and their standard deviation where there are two or more."""

    mean: float
    deviation: float | None
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.deviation is None else f"{self.mean:.3f} ± {self.deviation:.3f}"


@dataclass(frozen=True, slots=True)
class Row:
    """One model.

    Attributes:
        states: run id to state. causes: run id to why it failed.
        selected_epochs: of the finished runs. values: scored quantities. measured: times and memory, means over seeds.
        costs: those of `SHOWN_COSTS` that were measured, means over seeds; none in records of an older detkit.
    """

    model: str
    states: Mapping[str, str]
    causes: Mapping[str, str]
    selected_epochs: Sequence[int] = ()
    values: Mapping[str, Value] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    parameters: int | None = None

    @property
    def finished(self) -> int:
        return sum(state == "finished" for state in self.states.values())


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Rows with the best first, failed ones last. In a notebook it shows itself as a table.

    Attributes:
        primary: the quantity that orders the rows. higher_is_better: of it.
        split, images: what the figures were measured on.
        note: what must be said wherever the figures are shown; empty where nothing must.
    """

    name: str
    rows: Sequence[Row]
    primary: str = ""
    higher_is_better: bool = True
    split: str = ""
    images: int = 0
    note: str = ""

    @property
    def best(self) -> Row | None:
        """The first row that has the primary quantity."""
        return next((row for row in self.rows if self.primary in row.values), None)

    @property
    def columns(self) -> list[str]:
        """Names of the quantities to show, the primary one first."""
        names = {name for row in self.rows for name in row.values}
        ordered = [name for row in self.rows for name in row.values if name.rsplit("/", 1)[-1] in SHOWN_QUANTITIES]
        return [name for name in dict.fromkeys([self.primary, *ordered]) if name in names]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("model", "runs", *self.columns))
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in _cells(row, self.columns)) + "</tr>"
            for row in self.rows
        )
        return f"<b>{html.escape(self.name)}</b><table>{head}{body}</table><p>{html.escape(self.note)}</p>"


def _cells(row: Row, columns: Sequence[str]) -> list[object]:
    return [row.model, f"{row.finished}/{len(row.states)}", *(row.values.get(name, "-") for name in columns)]


def make_leaderboard(record: ExperimentRecord) -> Leaderboard:
    """From the summaries of the runs that finished, and the causes of those that failed."""
    by_model: dict[str, list[RunRecord]] = {}
    for run in record.runs:
        by_model.setdefault(run.model, []).append(run)
    summaries = [summary for run in record.runs if (summary := run.summary) is not None]
    rows = [_row(model, runs) for model, runs in by_model.items()]
    if not summaries:
        return Leaderboard(record.name, rows)
    first = summaries[0]
    primary = str(first["primary"])
    higher = bool(first["higher_is_better"].get(primary, True))

    def rank(row: Row) -> tuple[bool, float]:
        value = row.values.get(primary)
        return (value is None, 0.0 if value is None else -value.mean if higher else value.mean)

    return Leaderboard(
        name=record.name,
        rows=sorted(rows, key=rank),
        primary=primary,
        higher_is_better=higher,
        split=first["scored"]["split"],
        images=first["scored"]["images"],
        note=SAME_IMAGES if first["scored"]["same_images"] else "",
    )


def write_leaderboard(record: ExperimentRecord) -> Leaderboard:
    """Make it, and put it into the record as leaderboard.json."""
    leaderboard = make_leaderboard(record)
    write_json(record.files.leaderboard, leaderboard.to_dict())
    return leaderboard


def _row(model: str, runs: Sequence[RunRecord]) -> Row:
    states = {run.run_id: run.state for run in runs}
    causes = {run.run_id: str((run.failure or {}).get("message", "")) for run in runs if states[run.run_id] == "failed"}
    summaries = [summary for run in runs if (summary := run.summary) is not None]
    if not summaries:
        return Row(model, states, causes)
    names = dict.fromkeys(name for summary in summaries for name in summary["scored"]["values"])
    values = {name: _value([summary["scored"]["values"].get(name) for summary in summaries]) for name in names}
    return Row(
        model=model,
        states=states,
        causes=causes,
        selected_epochs=[summary["selected"]["epoch"] for summary in summaries],
        values={name: value for name, value in values.items() if value is not None},
        measured={
            name: statistics.fmean(summary["measured"][name] for summary in summaries)
            for name in summaries[0]["measured"]
        },
        costs=_costs(summaries),
        parameters=summaries[0]["parameters"],
    )


def _costs(summaries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    plain = [summary.get("costs", {}) for summary in summaries]
    found = [{**costs, **costs.get("measured", {})} for costs in plain]
    values = {name: _value([costs.get(name) for costs in found]) for name in SHOWN_COSTS}
    return {name: value.mean for name, value in values.items() if value is not None}


def _value(values: Sequence[float | None]) -> Value | None:
    there = [value for value in values if value is not None]
    if not there:
        return None
    return Value(statistics.fmean(there), statistics.stdev(there) if len(there) > 1 else None, len(there))
