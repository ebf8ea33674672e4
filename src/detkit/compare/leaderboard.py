"""The models of an experiment, side by side: means over seeds and folds of what each run's summary states."""

from __future__ import annotations

import html
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.record.summary import scored_intervals
from detkit.resampling import SHARE_WITH_VALUE, Interval, rough

#: Quantities shown beside the primary one, by their last part, where a run has them: the most wanted first.
SHOWN_QUANTITIES = ("ap50", "mask_ap", "f1", "ap75", "ar100", "map_50")
#: Of a summary's costs, what is compared; of those under `measured` and those beside it.
SHOWN_COSTS = ("flops", "weights_bytes", "train_ms_per_image", "latency_ms_median", "latency_ms_p95")

SAME_IMAGES = "selected and scored on the same images"


@dataclass(frozen=True, slots=True)
class Value:
    """A quantity over the finished runs: their mean, and its standard deviation where there are two or more.

    With folds each fold counts once: by the mean over its seeds. The deviation is that of the folds then, where two or
    more have finished: other images make it, and other training images; without them it is that of the seeds.
    """

    mean: float
    deviation: float | None
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.deviation is None else f"{self.mean:.3f} ± {self.deviation:.3f}"


@dataclass(frozen=True, slots=True)
class Row:
    """One model.

    Attributes:
        model: its key; of one that was searched the best trial's entry, as `fcos-trial007`.
        states: run id to state. causes: run id to why it failed.
        selected_epochs: of the finished runs. values: scored quantities. measured: times and memory, means over seeds.
        costs: those of `SHOWN_COSTS` that were measured, means over seeds; none in records of an older detkit.
        intervals: run id to quantity to its interval over the images, of the finished runs that have some. They are not
            averaged over seeds: all seeds are scored on the same images, so a mean of their ends would say no more of
            the images than one of them does, and nothing of the seeds, which the deviation of the values tells.
        folds: those in which a run has finished; none in an experiment without folds.
    """

    model: str
    states: Mapping[str, str]
    causes: Mapping[str, str]
    selected_epochs: Sequence[int] = ()
    values: Mapping[str, Value] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    parameters: int | None = None
    intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    folds: Sequence[int] = ()

    @property
    def finished(self) -> int:
        return sum(state == "finished" for state in self.states.values())

    def interval(self, name: str) -> Interval | None:
        """Of a quantity of the only finished run; None where there are several, or it has none."""
        if self.finished != 1:
            return None
        return next((of_run.get(name) for of_run in self.intervals.values()), None)


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Rows with the best first, failed ones last. In a notebook it shows itself as a table.

    Attributes:
        primary: the quantity that orders the rows. higher_is_better: of it.
        split, images: what the figures were measured on; with folds and no test split, those of all finished folds.
        folds: in which a run has finished; none without folds.
        note: what must be said wherever the figures are shown; empty where nothing must.
        interval_note: the same of the intervals, and why a row that could have one beside its primary figure has none;
            empty where nothing must.
    """

    name: str
    rows: Sequence[Row]
    primary: str = ""
    higher_is_better: bool = True
    split: str = ""
    images: int = 0
    note: str = ""
    interval_note: str = ""
    folds: Sequence[int] = ()

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

    def figure(self, row: Row, name: str) -> str:
        """A cell: as "0.601", "0.601 ± 0.012" over seeds, or "0.601 [0.553, 0.644]" for the primary one of one run."""
        value = row.values.get(name)
        found = row.interval(name) if name == self.primary else None
        return "-" if value is None else f"{value} {found}" if found else str(value)

    @property
    def is_comparable(self) -> bool:
        """Whether all models that have figures have them of the same folds."""
        return len({tuple(row.folds) for row in self.rows if row.finished}) <= 1

    @property
    def scored_on(self) -> str:
        """The images behind the figures, as "test images: 50", or "validation images: 120 in 3 folds"."""
        return f"{self.split} images: {self.images}{f' in {len(self.folds)} folds' if len(self.folds) > 1 else ''}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("model", "runs", *self.columns))
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in self._cells(row)) + "</tr>"
            for row in self.rows
        )
        notes = "; ".join(filter(None, (self.note, self.interval_note)))
        return f"<b>{html.escape(self.name)}</b><table>{head}{body}</table><p>{html.escape(notes)}</p>"

    def _cells(self, row: Row) -> list[str]:
        runs = f"{row.finished}/{len(row.states)}"
        return [row.model, runs, *(self.figure(row, name) for name in self.columns)]


def make_leaderboard(record: ExperimentRecord) -> Leaderboard:
    """From the summaries of the runs that finished, and the causes of those that failed."""
    by_model: dict[str, list[RunRecord]] = {}
    for run in record.compared:
        by_model.setdefault(run.entry, []).append(run)
    summaries = _summaries(record.compared)
    rows = [_row(model, runs) for model, runs in by_model.items()]
    if not summaries:
        return Leaderboard(record.name, rows)
    first = summaries[0]
    primary = str(first["primary"])
    higher = bool(first["higher_is_better"].get(primary, True))

    def rank(row: Row) -> tuple[bool, float]:
        value = row.values.get(primary)
        return (value is None, 0.0 if value is None else -value.mean if higher else value.mean)

    images_of = {summary.get("fold"): int(summary["scored"]["images"]) for summary in summaries}
    on_test = first["scored"]["split"] == "test"
    images = images_of[first.get("fold")] if on_test else sum(images_of.values())
    shown = next((found for row in rows if (found := row.interval(primary))), None)
    alone = [of_model[0] for runs in by_model.values() if len(of_model := _summaries(runs)) == 1]
    notes = [
        interval_note(shown.level, int(first["scored"]["images"])) if shown else "",
        *(_no_interval(summary, primary) for summary in alone),
    ]
    return Leaderboard(
        name=record.name,
        rows=sorted(rows, key=rank),
        primary=primary,
        higher_is_better=higher,
        split=first["scored"]["split"],
        images=images,
        note="; ".join(filter(None, (SAME_IMAGES if first["scored"]["same_images"] else "", _fold_note(rows)))),
        interval_note="; ".join(dict.fromkeys(filter(None, notes))),
        folds=sorted({fold for row in rows for fold in row.folds}),
    )


def _fold_note(rows: Sequence[Row]) -> str:
    """What ± is with folds; and where models have not all finished the same ones, that they cannot be compared yet."""
    folded = [row for row in rows if row.folds]
    if not folded:
        return ""
    if len({tuple(row.folds) for row in folded}) == 1:
        return "means over folds ± their standard deviation" if len(folded[0].folds) > 1 else ""
    listed = "; ".join(f"{row.model}: {', '.join(map(str, row.folds))}" for row in folded)
    return f"NOT COMPARABLE: the models have not finished the same folds, whose images differ ({listed})"


def interval_note(level: float, images: int) -> str:
    """What the brackets are, and whether they are rough."""
    return "; ".join(filter(None, (f"in brackets: {100 * level:g} % intervals over the images", rough(images))))


def _summaries(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    return [summary for run in runs if (summary := run.summary) is not None]


def _no_interval(summary: Mapping[str, Any], primary: str) -> str:
    """Why the primary figure of a run has no interval; empty where it has one or no value, or none were asked for."""
    scored = summary["scored"]
    intervals = scored.get("intervals")
    if intervals is None or intervals.get(primary) is not None or scored["values"].get(primary) is None:
        return ""
    if primary not in intervals:
        return f"no interval: {primary} cannot be resampled"
    if scored["images"] < 2:
        return "no interval: one image allows none"
    return f"no interval: {primary} has no value in more than {100 * (1 - SHARE_WITH_VALUE):.0f} % of the draws"


def _row(model: str, runs: Sequence[RunRecord]) -> Row:
    states = {run.run_id: run.state for run in runs}
    causes = {run.run_id: str((run.failure or {}).get("message", "")) for run in runs if states[run.run_id] == "failed"}
    summaries = _summaries(runs)
    if not summaries:
        return Row(model, states, causes)
    names = dict.fromkeys(name for summary in summaries for name in summary["scored"]["values"])
    folds = [summary.get("fold") for summary in summaries]
    values = {
        name: mean_value([summary["scored"]["values"].get(name) for summary in summaries], folds) for name in names
    }
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
        intervals={summary["run_id"]: found for summary in summaries if (found := scored_intervals(summary))},
        folds=sorted({fold for fold in folds if fold is not None}),
    )


def _costs(summaries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    plain = [summary.get("costs", {}) for summary in summaries]
    found = [{**costs, **costs.get("measured", {})} for costs in plain]
    values = {name: mean_value([costs.get(name) for costs in found]) for name in SHOWN_COSTS}
    return {name: value.mean for name, value in values.items() if value is not None}


def mean_value(values: Sequence[float | None], folds: Sequence[int | None] = ()) -> Value | None:
    """The mean of those that are there; None where none is.

    Args:
        folds: of each value; None, or left out, where there are none.
    """
    there = [value for value in values if value is not None]
    if not there:
        return None
    by_fold: dict[int, list[float]] = {}
    for value, fold in zip(values, folds, strict=bool(folds)):
        if value is not None and fold is not None:
            by_fold.setdefault(fold, []).append(value)
    means = [statistics.fmean(of_fold) for of_fold in by_fold.values()]
    spread = means if len(means) > 1 else there
    return Value(statistics.fmean(spread), statistics.stdev(spread) if len(spread) > 1 else None, len(there))
