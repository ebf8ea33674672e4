"""Which model is best: every number of every model, who can be told apart from whom, and what must be said with it."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from detkit.compare.alike import likeness, refuse
from detkit.compare.choice import Choice, choose
from detkit.compare.contenders import Contender, Measured, contenders
from detkit.compare.expression import Name, names_in
from detkit.compare.figure import NotResampled
from detkit.compare.members import Named, find_members
from detkit.compare.names import Names
from detkit.compare.notes import images_behind, notes_on, notes_on_pairs, unfinished
from detkit.compare.pairs import Drawn, Pair, draw, left_interval, pairs_of
from detkit.compare.pareto import Front, front
from detkit.compare.quantities import COSTS, Quantity, by_wanted, of_metric
from detkit.components import Messages, Silent
from detkit.errors import UserError
from detkit.record.summary import scored_intervals
from detkit.resampling import FEWEST_RESAMPLES, LEVEL, interval_over_seeds

#: Names of the fronts that are always there: of the primary number against these.
FRONTS = {"speed": "latency_ms", "memory": "memory_mb"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The models side by side. In a notebook it shows itself; as text it is the sentence about the winner.

    Attributes:
        experiments: folders. by: the quantity that orders the rows and is compared in pairs.
        rows: the best first; without a number last.
        quantities: of all rows, by name: numbers of metrics first, the most wanted first, then costs.
        split, images, folds: what the numbers were measured on.
        fronts: Pareto fronts. pairs: the better model first. pairs_note: why there are none, or not all.
        choice: who wins by which rule. notes: what must be said wherever the numbers are shown.
        comparable: whether all were scored on the same images by the same metric.
    """

    experiments: Sequence[str]
    by: str
    rows: Sequence[Contender]
    quantities: Mapping[str, Quantity]
    split: str = ""
    images: int = 0
    folds: tuple[int, ...] = ()
    fronts: Sequence[Front] = ()
    pairs: Sequence[Pair] = ()
    pairs_note: str = ""
    choice: Choice | None = None
    notes: Sequence[str] = ()
    comparable: bool = True

    @property
    def names(self) -> Names:
        """What expressions may name."""
        return Names(self.quantities, self.by)

    @property
    def primary(self) -> Quantity:
        """What `by` names."""
        return self.quantities[self.by]

    @property
    def sentence(self) -> str:
        """Who won, in plain words; empty before any run has finished."""
        return self.choice.sentence if self.choice else ""

    @property
    def scored_on(self) -> str:
        """As "50 test images", or "120 validation images in 3 folds"; empty before any run has finished."""
        if not self.comparable:
            return "other images each"
        folds = f" in {len(self.folds)} folds" if len(self.folds) > 1 else ""
        return f"{self.images} {self.split} images{folds}" if self.split else ""

    def fronts_of(self, name: str) -> list[str]:
        """The fronts that a model is on."""
        return [found.name for found in self.fronts if name in found.members]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "experiments": list(self.experiments),
            "by": self.by,
            "scored_on": {"split": self.split, "images": self.images, "folds": list(self.folds)},
            "quantities": {name: asdict(quantity) for name, quantity in self.quantities.items()},
            "rows": [self._row(row) for row in self.rows],
            "fronts": [_plain(found) for found in self.fronts],
            "pairs": [pair.to_dict() for pair in self.pairs],
            "pairs_note": self.pairs_note,
            "choice": self.choice.to_dict() if self.choice else None,
            "sentence": self.sentence,
            "comparable": self.comparable,
            "notes": list(self.notes),
        }

    def _row(self, row: Contender) -> dict[str, Any]:
        return {
            "name": row.name,
            "experiment": row.experiment,
            "model": row.model,
            "runs": [
                {"run_id": run, "state": state, "cause": row.causes.get(run)} for run, state in row.states.items()
            ],
            "finished": [one.run.run_id for one in row.finished],
            "seeds": list(row.seeds),
            "folds": list(row.folds),
            "values": {name: _plain_measured(value) for name, value in row.values.items()},
            "per_class": {name: _plain_measured(value) for name, value in row.per_class(self.by).items()},
            "texts": dict(row.texts),
            "fronts": self.fronts_of(row.name),
        }

    def __str__(self) -> str:
        return self.sentence or "no run has finished yet"

    def _repr_html_(self) -> str:
        shown = [name for name in self.quantities if any(name in row.values for row in self.rows)][:12]
        head = "".join(f"<th>{html.escape(title)}</th>" for title in ("model", *(self._title(name) for name in shown)))
        body = "".join(
            f"<tr><td>{html.escape(row.name)}</td>"
            + "".join(f"<td>{html.escape(self.cell(row, name))}</td>" for name in shown)
            + "</tr>"
            for row in self.rows
        )
        said = "".join(f"<li>{html.escape(text)}</li>" for text in (*map(str, self.pairs), *self.notes))
        return f"<p><b>{html.escape(str(self))}</b></p><table>{head}{body}</table><ul>{said}</ul>"

    def _title(self, name: str) -> str:
        quantity = self.quantities[name]
        return f"{quantity.title} ({quantity.unit})" if quantity.unit else quantity.title

    def cell(self, row: Contender, name: str) -> str:
        """A number as a table shows it: "0.601 [0.553, 0.644]", "0.601 ± 0.012", "11.2"; "-" where there is none."""
        value = row.values.get(name)
        if value is None:
            return "-"
        quantity = self.quantities[name]
        if name == self.by and value.interval is not None:
            return f"{quantity.shown(value.value)} {value.interval}"
        spread = f" ± {quantity.shown(value.deviation)}" if value.deviation is not None and not quantity.is_cost else ""
        return f"{quantity.shown(value.value)}{spread}"


def comparison(
    named: Sequence[Named] = (),
    *,
    by: str | None = None,
    best: str | None = None,
    where: str | None = None,
    sort: str | None = None,
    pareto: Sequence[tuple[str, str]] = (),
    by_run: bool = False,
    anyway: bool = False,
    pairs: bool = True,
    resamples: int | None = None,
    messages: Messages | None = None,
) -> Comparison:
    """Compare models from their records alone.

    Args:
        named: experiments and runs, see `find_members`; by default the newest experiment in runs/.
        by: the quantity that orders the rows and is compared in pairs; by default that of `best` where it is one of a
            metric, else the primary one of the runs.
        best: the rule that names the winner, as "ap where latency_ms < 50"; by default the best `by`.
        where: which models are shown, as "ap > 0.3".
        sort: another quantity that orders the rows, the best first; or a text, as "name".
        pareto: further fronts, as pairs of quantities.
        by_run: every run is a row of its own, instead of every model with its seeds and folds.
        anyway: compare what can be compared where models were scored on other images, instead of refusing.
        pairs: whether to say which models can be told apart.
        resamples: draws of the images; by default as many as the spec says.
        messages: where the progress is shown.

    Raises:
        RecordError: there is no such experiment or run, a record is damaged, or models cannot be compared.
        UserError: an expression is wrong, says where; or there are fewer than 100 resamples.
        ComponentError: a metric failed.
    """
    if resamples is not None and resamples < FEWEST_RESAMPLES:
        raise UserError(f"pairs need at least {FEWEST_RESAMPLES} resamples, not {resamples}")
    members = find_members(named)
    experiments = list(dict.fromkeys(str(run.experiment) for run in members))
    rows = contenders(members, by_run=by_run)
    summaries = [one.summary for row in rows for one in row.finished]
    if not summaries:
        return Comparison(experiments, "", rows, {}, notes=unfinished(rows))
    primary = str(summaries[0]["primary"])
    quantities = _quantities(rows, primary)
    names = Names(quantities, primary, [row for row in rows if row.finished])
    rule = names.rule(best) if best else None
    condition = names.condition(where) if where else None
    sorter = names.name(sort) if sort else None
    more = [(names.number(x), names.number(y)) for x, y in pareto]
    compared = _compared(names, by) if by else _by(rule.name.full if rule else "", primary)
    limited = names_in(rule.where if rule else None) + names_in(condition)
    alike = likeness(rows, [compared, *([rule.name.full] if rule else []), *(name.full for name in limited)])
    if not anyway:
        refuse(alike)
    stand_ins = [] if by or rule else _with_intervals(rows)
    drawn, of_pairs, note = (
        _draw(rows, compared, stand_ins, resamples, messages or Silent()) if pairs else ({}, compared, "")
    )
    rows = [_with_interval(row, of_pairs, drawn) for row in rows]
    rows = [_with_left_intervals(row, [name.full for name in limited if name.of_class is None]) for row in rows]
    rows, left_out = names.kept(where, rows)
    quantity = quantities[compared]
    kept = {row.name for row in rows}
    groups: Sequence[Sequence[str]] = alike.groups
    if not any("/" in name.full for name in names_in(condition)):
        groups = [[name for name in group if name in kept] for group in groups]
    # Who was left out for a number of a metric was compared by it: chance had its occasion.
    found = pairs_of(drawn, quantities[of_pairs], groups, kept) if drawn else []
    notes = [*(f"NOT COMPARABLE: {sentence}" for sentence in alike.differs), *notes_on(rows, members), *left_out]
    fronts = _fronts(rows, names, compared, more)
    return Comparison(
        experiments=experiments,
        by=compared,
        rows=_sorted(_ranked(rows, quantity), names, sorter),
        quantities=quantities,
        split=str(summaries[0]["scored"]["split"]),
        images=images_behind(rows),
        folds=next((row.folds for row in rows if row.finished), ()),
        fronts=fronts,
        pairs=found,
        pairs_note=note,
        choice=choose(rows, names, found, rule or names.plain_rule(compared), comparable=not alike.differs),
        notes=[*notes, *notes_on_pairs(found), *unfinished(rows)],
        comparable=not alike.differs,
    )


def _compared(names: Names, by: str) -> str:
    """Raises:
    UserError: it is what a model costs, of which no draw of images says anything.
    """
    full = names.number(by)
    if names.quantity(full).is_cost:
        raise UserError(
            f"{by} is a cost, and pairs are compared by a number of a metric, as ap50;"
            f" to order the rows by it use --sort {by}, to name the winner by it --best {by}"
        )
    return full


def _by(wanted: str, primary: str) -> str:
    """Costs have no draws: models are then compared by the primary number."""
    return wanted if "/" in wanted else primary


def _quantities(rows: Sequence[Contender], primary: str) -> dict[str, Quantity]:
    higher: dict[str, bool] = {}
    for row in rows:
        for one in row.finished:
            higher |= one.summary["higher_is_better"]
    names = by_wanted(dict.fromkeys(name for row in rows for name in row.values if name not in COSTS), primary)
    ordered = dict.fromkeys([primary, *names])
    costs = {name: quantity for name, (quantity, _) in COSTS.items() if any(name in row.values for row in rows)}
    return {**{name: of_metric(name, higher.get(name)) for name in ordered}, **costs}


def _draw(
    rows: Sequence[Contender], quantity: str, others: Sequence[str], resamples: int | None, messages: Messages
) -> tuple[dict[str, Drawn], str, str]:
    """The draws, of which quantity they are, and what must be said of that.

    Args:
        others: what may stand in for a quantity that cannot be resampled.
    """
    done = [row for row in rows if row.value(quantity) is not None]
    short = sum(bool(row.finished) for row in rows) < 2
    few = f"fewer than two models have {'finished' if short else f'a value of {quantity}'}" if len(done) < 2 else ""
    if few and all(len(row.finished) < 2 for row in done):
        return {}, quantity, few
    try:
        return draw(done, quantity, resamples=resamples, messages=messages), quantity, few
    except NotResampled as error:
        why = str(error)
    if not others:
        return {}, quantity, why
    found, _, few = _draw(rows, others[0], others[1:], resamples, messages)
    return found, others[0], few or f"of {others[0]}: {quantity} cannot be resampled"


def _with_intervals(rows: Sequence[Contender]) -> list[str]:
    """The quantities that have an interval in every finished run, in the order of the first."""
    finished = [scored_intervals(one.summary) for row in rows for one in row.finished]
    return [name for name in finished[0] if all(name in found for found in finished)] if finished else []


def _with_interval(row: Contender, quantity: str, drawn: Mapping[str, Drawn]) -> Contender:
    """Over images and seeds, where the model has several runs: a single run has its own in its summary."""
    value, found = row.values.get(quantity), drawn.get(row.name)
    if value is None or found is None or value.count < 2 or not math.isclose(value.value, found.seeds.mean):
        return row  # with a run that has no value, the draws may be of fewer runs than the number
    interval = interval_over_seeds(found.seeds, images=found.images, folds=found.parts)
    return replace(row, values={**row.values, quantity: replace(value, interval=interval)})


def _with_left_intervals(row: Contender, quantities: Sequence[str]) -> Contender:
    """Those of a model with several runs, of numbers that a condition limits, as far as the runs have left draws."""
    values = dict(row.values)
    for name in quantities:
        value = values.get(name)
        if value is not None and value.interval is None and value.count > 1 and "/" in name:
            values[name] = replace(value, interval=left_interval(row, name))
    return replace(row, values=values)


def _ranked(rows: Sequence[Contender], quantity: Quantity) -> list[Contender]:
    def rank(row: Contender) -> tuple[bool, float]:
        value = row.value(quantity.name)
        return (value is None, 0.0 if value is None else value if quantity.higher_is_better is False else -value)

    return sorted(rows, key=rank)


def _sorted(rows: Sequence[Contender], names: Names, name: Name | None) -> list[Contender]:
    """Those without the quantity last; low first where neither high nor low is better."""
    if name is None:
        return list(rows)
    higher = None if name.is_text else names.quantity(name.full).higher_is_better

    def rank(row: Contender) -> tuple[bool, float, str]:
        value = names.of(name, row)
        if value is None or isinstance(value, str):
            return (value is None, 0.0, value or "")
        return (False, -value if higher else value, "")

    return sorted(rows, key=rank)


def _fronts(rows: Sequence[Contender], names: Names, by: str, more: Sequence[tuple[str, str]]) -> list[Front]:
    usual = [(name, cost, by) for name, cost in FRONTS.items() if cost in names.quantities]
    wanted = [*usual, *((f"{x}, {y}", x, y) for x, y in more)]
    done = [row for row in rows if row.finished]
    return [
        front(name, names.quantity(x), names.quantity(y), {row.name: (row.value(x), row.value(y)) for row in done})
        for name, x, y in wanted
    ]


def _plain(found: Front) -> dict[str, Any]:
    return {
        "name": found.name,
        "x": found.x,
        "y": found.y,
        "members": list(found.members),
        "unknown": list(found.unknown),
    }


def _plain_measured(value: Measured) -> dict[str, Any]:
    ends = value.interval
    return {
        "value": value.value,
        "deviation": value.deviation,
        "count": value.count,
        "lower": None if ends is None else ends.lower,
        "upper": None if ends is None else ends.upper,
        "level": None if ends is None else LEVEL,
    }
