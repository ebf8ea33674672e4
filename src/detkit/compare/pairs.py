"""Which models can be told apart: pairs in the same draws of the same images, and over seeds where there are some."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING, Any

from detkit.compare.contenders import Contender, Finished, whole_seeds
from detkit.compare.figure import draw_figure, find_figure
from detkit.compare.quantities import Quantity
from detkit.components import Messages
from detkit.data.seeds import derive_seed
from detkit.record.draws import read_draws
from detkit.record.reader import RunRecord
from detkit.resampling import (
    FEWEST_RESAMPLES,
    LEVEL,
    RESAMPLES,
    SEED,
    Difference,
    Interval,
    Seeds,
    difference_over_seeds,
    interval_over_seeds,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models. As text it is one plain sentence.

    Attributes:
        a, b: names; a has the better number. quantity: what they are compared by.
        value_a, value_b: means over seeds and folds.
        difference: a less b; its interval is of all pairs together: that all of them hold what they are to hold is as
            likely as its level. Its p-value is of this pair alone.
        alone: the interval of this pair alone.
        pairs: how many pairs the interval allows for. images: over all folds. seeds_a, seeds_b: how many.
        folds: over which the numbers are means; none without.
    """

    a: str
    b: str
    quantity: Quantity
    value_a: float
    value_b: float
    difference: Difference
    alone: Interval | None
    pairs: int
    images: int
    seeds_a: int = 1
    seeds_b: int = 1
    folds: tuple[int, ...] = ()

    @property
    def told_apart(self) -> bool:
        """Whether the interval of all pairs together leaves out 0."""
        return self.difference.is_clear

    @property
    def level(self) -> float:
        """At which the pairs hold together."""
        return LEVEL

    def to_dict(self) -> dict[str, Any]:
        found, alone = self.difference.interval, self.alone
        return {
            "a": self.a,
            "b": self.b,
            "quantity": self.quantity.name,
            "value_a": self.value_a,
            "value_b": self.value_b,
            "difference": self.difference.estimate,
            "lower": None if found is None else found.lower,
            "upper": None if found is None else found.upper,
            "level": LEVEL,
            "pairs": self.pairs,
            "lower_alone": None if alone is None else alone.lower,
            "upper_alone": None if alone is None else alone.upper,
            "p_value": self.difference.p_value,
            "p_value_of_all": None
            if self.difference.p_value is None
            else min(1.0, self.pairs * self.difference.p_value),
            "share_above": self.difference.share_above,
            "told_apart": self.told_apart,
            "images": self.images,
            "seeds_a": self.seeds_a,
            "seeds_b": self.seeds_b,
            "folds": list(self.folds),
            "sentence": str(self),
        }

    def __str__(self) -> str:
        estimate, found = self.difference.estimate, self.difference.interval
        by = self.quantity.amount(abs(estimate))
        if found is None:
            return f"{self.a} and {self.b} differ by {by}; the images ({self.images}) allow no interval"
        level = f"{100 * LEVEL:g} % interval"
        if not self.told_apart:
            ends = f"{self.quantity.bare(found.lower)} to {self.quantity.bare(found.upper)}"
            return f"{self.a} and {self.b} cannot be told apart {self._where()}: they differ by {by} ({level} {ends})"
        lower, upper = sorted((abs(found.lower), abs(found.upper)))
        verb = "is above" if self.quantity.higher_is_better is None else "beats"
        first, second = self._in_order(found)
        ends = f"{self.quantity.bare(lower)} to {self.quantity.bare(upper)}"
        return f"{first} {verb} {second} by {by} ({level} {ends}) {self._where()}"

    def _in_order(self, found: Interval) -> tuple[str, str]:
        """The better one first, whichever stands first here."""
        a_better = (found.lower > 0) != (self.quantity.higher_is_better is False)
        return (self.a, self.b) if a_better else (self.b, self.a)

    def _where(self) -> str:
        folds = f" in {len(self.folds)} folds" if self.folds else ""
        images = f"on {self.images} images{folds}"
        if self.seeds_a == self.seeds_b == 1:
            return images
        if self.seeds_a == self.seeds_b:
            return f"over {self.seeds_a} seeds {images}"
        return f"over {self.seeds_a} and {self.seeds_b} seeds {images}"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A model's numbers with each seed, and in the draws: means over folds.

    Attributes:
        images: over all folds. folds: over which the numbers are means.
        parts: in how many the images are drawn, each on its own: the folds, unless all share the test split.
    """

    seeds: Seeds
    images: int
    folds: tuple[int, ...]
    parts: int = 1


def draw(rows: Sequence[Contender], quantity: str, *, resamples: int | None, messages: Messages) -> dict[str, Drawn]:
    """By name of the model: of those that have finished. The runs have left their draws; of older ones, and where more
    draws are wanted than were made, they are computed again from the predictions.

    Args:
        resamples: None: as many as all of the runs have left, or the first one's spec says.

    Raises:
        NotResampled: the quantity has no intervals. RecordError: a record does not give its own number again.
        ComponentError: the metric failed.
    """
    finished = [(row, one) for row in rows for one in row.finished if _value(one, quantity) is not None]
    left = {id(one): column for _, one in finished if (column := _left(one, quantity)) is not None}
    count = resamples or min((len(column) for column in left.values()), default=0)
    if count < FEWEST_RESAMPLES and finished:
        count = find_figure(finished[0][1].run, quantity).spec.experiment.resamples or RESAMPLES
    missing = [one for _, one in finished if id(one) not in left or len(left[id(one)]) < count]
    if missing:
        with messages.progress(f"resampling {len(missing)} runs", len(missing) * count, "draws") as bar:
            for one in missing:
                left[id(one)] = _computed(one.run, quantity, count, messages, bar.advance)
    drawn = {row.name: _drawn(row, quantity, left, count) for row in rows}
    return {name: found for name, found in drawn.items() if found is not None}


def left_interval(row: Contender, quantity: str) -> Interval | None:
    """Of a model's mean over its runs, from the draws that these have left; None where one has left none.

    Raises:
        RecordError: a file of the record is damaged.
    """
    there = [one for one in row.finished if _value(one, quantity) is not None]
    left = {id(one): column for one in there if (column := _left(one, quantity)) is not None}
    count = min((len(column) for column in left.values()), default=0)
    if len(left) < len(row.finished) or count < FEWEST_RESAMPLES:
        return None
    found = _drawn(row, quantity, left, count)
    return None if found is None else interval_over_seeds(found.seeds, images=found.images, folds=found.parts)


def _left(one: Finished, quantity: str) -> NDArray[np.float64] | None:
    value = _value(one, quantity)
    return None if value is None else read_draws(one.run, quantity, value)


def _value(one: Finished, quantity: str) -> float | None:
    value: float | None = one.summary["scored"]["values"].get(quantity)
    return value


def _computed(
    run: RunRecord, quantity: str, count: int, messages: Messages, advance: Callable[[], object]
) -> NDArray[np.float64]:
    # One seed of the draws for all: where folds are scored on one test split, a draw is of the same images in each.
    figure = find_figure(run, quantity)
    return draw_figure(figure, resamples=count, seed=SEED, messages=messages, advance=advance)


def _drawn(row: Contender, quantity: str, columns: Mapping[int, NDArray[np.float64]], count: int) -> Drawn | None:
    """None where no run has a value."""
    there = whole_seeds([one for one in row.finished if id(one) in columns])
    if not there:
        return None
    by_seed: dict[int, list[Finished]] = {}
    for one in there:
        by_seed.setdefault(one.run.seed, []).append(one)
    folds = {one.run.fold for one in there}
    if any(len(own) < len(folds) for own in by_seed.values()):
        # No seed has all folds: what the seeds differ by cannot be told from what the folds do.
        by_seed = {0: there}
    parts = 1 if _on_test(row) else max(1, len(folds))
    values, drawn = [], []
    for own in by_seed.values():
        by_fold: dict[int | None, list[Finished]] = {}
        for one in own:
            by_fold.setdefault(one.run.fold, []).append(one)
        means = [_mean_over([columns[id(one)][:count] for one in of_fold]) for of_fold in by_fold.values()]
        if parts > 1:
            means = [_apart(mean, fold) for mean, fold in zip(means, by_fold, strict=True)]
        drawn.append(_mean_over(means))
        values.append(fmean(fmean(_value(one, quantity) or 0.0 for one in of_fold) for of_fold in by_fold.values()))
    return Drawn(Seeds(values, drawn), images_of(row), row.folds, parts)


def _mean_over(columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    total: NDArray[np.float64] = sum(columns[1:], columns[0])
    return total / len(columns)


def _apart(column: NDArray[np.float64], fold: int | None) -> NDArray[np.float64]:
    """The draws of a fold in an order of its own, the same for all models.

    Images are drawn by their places, and folds of one size have the same places: as they come, the first image of each
    fold would be drawn together, as if they were one.
    """
    import numpy as np

    order = np.random.default_rng(derive_seed("draws of a fold", fold or 0)).permutation(len(column))
    moved: NDArray[np.float64] = column[order]
    return moved


def _on_test(row: Contender) -> bool:
    return bool(row.finished[0].summary["scored"]["split"] == "test")


def images_of(row: Contender) -> int:
    """Behind a model's numbers, over its folds; folds of one test split share its images."""
    by_fold = {one.run.fold: one.summary["scored"] for one in row.finished}
    counts = [int(scored["images"]) for scored in by_fold.values()]
    return counts[0] if _on_test(row) else sum(counts)


def pairs_of(
    drawn: Mapping[str, Drawn],
    quantity: Quantity,
    groups: Sequence[Sequence[str]],
    shown: Collection[str] | None = None,
) -> list[Pair]:
    """Every pair within a group, the better model first; the intervals allow for the number of all pairs.

    The allowance is Bonferroni's: each interval is wider, so that all of them together hold with their level. It needs
    nothing of how the pairs hang together; a step-down test as Holm's would tell a few more apart, but has no intervals
    that say the same.

    Args:
        groups: names of models that can be compared with each other.
        shown: only pairs of these are told; the intervals allow for all others too. None: all.
    """
    found = [pair for group in groups for pair in combinations(_ranked(group, drawn, quantity), 2)]
    return [_pair(a, b, drawn, quantity, len(found)) for a, b in found if shown is None or (a in shown and b in shown)]


def _ranked(group: Sequence[str], drawn: Mapping[str, Drawn], quantity: Quantity) -> list[str]:
    there = [name for name in group if name in drawn]
    return sorted(there, key=lambda name: drawn[name].seeds.mean, reverse=quantity.higher_is_better is not False)


def _pair(a: str, b: str, drawn: Mapping[str, Drawn], quantity: Quantity, pairs: int) -> Pair:
    one, other = drawn[a], drawn[b]
    alone = difference_over_seeds(one.seeds, other.seeds, images=one.images, folds=one.parts)
    together = difference_over_seeds(
        one.seeds, other.seeds, images=one.images, folds=one.parts, level=1 - (1 - LEVEL) / pairs
    )
    return Pair(
        a=a,
        b=b,
        quantity=quantity,
        value_a=one.seeds.mean,
        value_b=other.seeds.mean,
        difference=replace(together, interval=_of_shares(together.interval, quantity, one, other)),
        alone=_of_shares(alone.interval, quantity, one, other),
        pairs=pairs,
        images=one.images,
        seeds_a=len(one.seeds.values),
        seeds_b=len(other.seeds.values),
        folds=one.folds,
    )


def _of_shares(found: Interval | None, quantity: Quantity, *models: Drawn) -> Interval | None:
    """No two shares, as AP, differ by more than 1; whether 0 lies within stays as it is."""
    values = [value for model in models for value in model.seeds.values]
    if found is None or not quantity.is_share or not all(0 <= value <= 1 for value in values):
        return found
    return replace(found, lower=max(found.lower, -1.0), upper=min(found.upper, 1.0))
