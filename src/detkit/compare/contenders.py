"""The models that are compared: each with its runs, and every number that these have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from detkit.compare.leaderboard import mean_value
from detkit.compare.quantities import COSTS, costs_of
from detkit.record.figures import read_table
from detkit.record.reader import RunRecord
from detkit.record.summary import scored_intervals
from detkit.resampling import Interval


@dataclass(frozen=True, slots=True)
class Measured:
    """A number of a model: the mean over its finished runs.

    Attributes:
        deviation: over seeds, or over folds where there are several; None for one run. count: of runs behind it.
        interval: where the true value may lie; None where there is none.
    """

    value: float
    deviation: float | None = None
    count: int = 1
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished run with its summary, which is read once."""

    run: RunRecord
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Contender:
    """One row: a model with all its seeds and folds, or one run.

    Attributes:
        name: unique among those compared. experiment: the name of its experiment. model: its key in the spec.
        states: run id to state, of all its runs. causes: run id to why it failed.
        finished: its finished runs that count, see `folds`.
        values: by quantity: numbers of metrics as `coco/ap`, costs as `latency_ms`; only those that are known.
        texts: by name of `TEXTS`.
        folds: over which the numbers are means; none without folds.
    """

    name: str
    experiment: str
    model: str
    states: Mapping[str, str]
    causes: Mapping[str, str]
    finished: Sequence[Finished]
    values: Mapping[str, Measured] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    folds: tuple[int, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of its finished runs, rising."""
        return tuple(sorted({one.run.seed for one in self.finished}))

    def value(self, quantity: str) -> float | None:
        measured = self.values.get(quantity)
        return None if measured is None else measured.value

    def per_class(self, quantity: str) -> dict[str, Measured]:
        """Class name to a number of a metric, as `coco/ap`, of that class; empty where the metric has no such table.

        Raises:
            RecordError: a table of the record is damaged.
        """
        tables = [_class_column(one, quantity) for one in self.finished]
        names = dict.fromkeys(name for table in tables for name in table)
        found = {name: _mean([table.get(name) for table in tables], self.finished) for name in names}
        return {name: measured for name, measured in found.items() if measured is not None}


def contenders(runs: Sequence[RunRecord], *, by_run: bool = False) -> list[Contender]:
    """The rows, in the order of the runs.

    Args:
        by_run: every run is a row of its own, instead of every model of an experiment.

    Raises:
        RecordError: a file of a record is damaged.
    """
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for run in runs:
        key = (str(run.experiment.resolve()), run.run_id if by_run else run.entry)
        groups.setdefault(key, []).append(run)
    finished = {key: [Finished(run, summary) for run in own if (summary := run.summary)] for key, own in groups.items()}
    folds = common_folds(finished.values())
    names = _names(groups)
    return [_contender(names[key], own, whole_seeds(_within(finished[key], folds))) for key, own in groups.items()]


def common_folds(groups: Iterable[Sequence[Finished]]) -> set[int]:
    """The folds that all have finished who have finished any; none where they share none."""
    of_each = [{one.run.fold for one in own if one.run.fold is not None} for own in groups if own]
    with_folds = [folds for folds in of_each if folds]
    return set.intersection(*with_folds) if with_folds else set()


def _within(finished: Sequence[Finished], folds: set[int]) -> list[Finished]:
    """Those of the folds; all where none is shared, since they are refused then, or compared at the user's will."""
    return [one for one in finished if not folds or one.run.fold is None or one.run.fold in folds]


def whole_seeds(finished: Sequence[Finished]) -> list[Finished]:
    """Without the seeds that lack a fold which others of the model have: their means would be of other images.

    All where no seed has every fold.
    """
    folds = {one.run.fold for one in finished}
    by_seed: dict[int, set[int | None]] = {}
    for one in finished:
        by_seed.setdefault(one.run.seed, set()).add(one.run.fold)
    whole = {seed for seed, own in by_seed.items() if own == folds}
    return [one for one in finished if not whole or one.run.seed in whole]


def _names(groups: Mapping[tuple[str, str], Sequence[RunRecord]]) -> dict[tuple[str, str], str]:
    """As short as tells them apart: their own names, with those of their experiments, or whole paths."""
    own = [key[1] for key in groups]
    if len(set(own)) == len(own):
        return {key: key[1] for key in groups}
    several = {key: f"{runs[0].experiment.resolve().name}/{key[1]}" for key, runs in groups.items()}
    if len(set(several.values())) == len(several):
        return several
    return {key: f"{key[0]}/{key[1]}" for key in groups}


def _contender(name: str, runs: Sequence[RunRecord], finished: Sequence[Finished]) -> Contender:
    states = {run.run_id: run.state for run in runs}
    causes = {run.run_id: str((run.failure or {}).get("message", "")) for run in runs if states[run.run_id] == "failed"}
    experiment = runs[0].experiment.resolve().name
    return Contender(
        name=name,
        experiment=experiment,
        model=runs[0].model,
        states=states,
        causes=causes,
        finished=finished,
        values=_values(finished),
        texts={"name": name, "model": runs[0].model, "experiment": experiment, **_texts(finished)},
        folds=tuple(sorted({one.run.fold for one in finished if one.run.fold is not None})),
    )


def _values(finished: Sequence[Finished]) -> dict[str, Measured]:
    scored = [one.summary["scored"]["values"] for one in finished]
    costs = [costs_of(one.summary) for one in finished]
    found: dict[str, Measured | None] = {}
    for rows, names in ((scored, dict.fromkeys(name for row in scored for name in row)), (costs, COSTS)):
        found |= {name: _mean([row.get(name) for row in rows], finished) for name in names}
    intervals = scored_intervals(finished[0].summary) if len(finished) == 1 else {}
    return {
        name: Measured(measured.value, measured.deviation, measured.count, intervals.get(name))
        for name, measured in found.items()
        if measured is not None
    }


def _mean(values: Sequence[float | None], finished: Sequence[Finished]) -> Measured | None:
    found = mean_value(values, [one.run.fold for one in finished])
    return None if found is None else Measured(found.mean, found.deviation, found.count)


def _texts(finished: Sequence[Finished]) -> dict[str, str]:
    if not finished:
        return {}
    read: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
        "weights": lambda summary: (summary.get("weights_origin") or {}).get("source"),
        "device": lambda summary: summary.get("costs", {}).get("device_name") or summary.get("device"),
        "precision": lambda summary: summary.get("precision"),
    }
    found = {
        name: list(dict.fromkeys(str(text) for one in finished if (text := get(one.summary))))
        for name, get in read.items()
    }
    return {name: ", ".join(texts) for name, texts in found.items() if texts}


def _class_column(one: Finished, quantity: str) -> dict[str, float | None]:
    """Of one run: class name to the number."""
    metric, _, column = quantity.partition("/")
    marked = "mask_" if column.startswith("mask_") else ""
    file = one.run.files.table(metric, f"{marked}per_class", str(one.summary["scored"]["split"]))
    if not file.exists():
        return {}
    _, table = read_table(file)
    wanted = column.removeprefix(marked)
    if wanted not in table.columns or not table.columns:
        return {}
    place = table.columns.index(wanted)
    return {str(row[0]): None if (cell := row[place]) is None else float(cell) for row in table.rows}
