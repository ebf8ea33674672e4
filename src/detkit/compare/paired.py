"""Whether two runs differ, and by how much: their figures in the same draws of the same images, from records alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from detkit.compare.figure import Figure, NotResampled, draw_figure, find_figure
from detkit.compare.leaderboard import SAME_IMAGES
from detkit.components import Messages, Silent
from detkit.errors import RecordError, UserError
from detkit.record.layout import run_id
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.record.scored import unlike
from detkit.record.summary import scored_intervals
from detkit.resampling import FEWEST_RESAMPLES, RESAMPLES, SEED, Difference, difference, rough

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Of one quantity of two runs on the same images. As text it is one plain sentence.

    With folds the two are models with a seed, and the values are means over the folds that both have finished; in each
    draw every fold's images are drawn, and the folds' values averaged.

    Attributes:
        run_a, run_b: their names; with their experiments', where these differ.
        quantity: as `coco/ap`. higher_is_better: of it; None where neither is.
        value_a, value_b: the final figures, as in the summaries.
        difference: a less b.
        images: how many, over all folds. warnings: what must be said with the result.
        folds: over which the values are means; none where two single runs are compared.
    """

    run_a: str
    run_b: str
    quantity: str
    higher_is_better: bool | None
    value_a: float
    value_b: float
    difference: Difference
    images: int
    warnings: tuple[str, ...] = ()
    folds: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "is_clear": self.difference.is_clear, "sentence": str(self)}

    def __str__(self) -> str:
        found, estimate = self.difference.interval, self.difference.estimate
        both = f"{self.run_a} and {self.run_b}"
        images = f"{self.images} images{f' in {len(self.folds)} folds' if self.folds else ''}"
        if found is None:
            return f"{both} differ by {estimate:.3f} {self.quantity}; the images ({self.images}) allow no interval"
        level = f"{100 * found.level:g} % interval"
        if not self.difference.is_clear:
            return (
                f"{both} cannot be told apart on {images}: they differ by {estimate:.3f} {self.quantity}"
                f" ({level} {found.lower:.3f} to {found.upper:.3f})"
            )
        a_first = (found.lower > 0) != (self.higher_is_better is False)
        first, second = (self.run_a, self.run_b) if a_first else (self.run_b, self.run_a)
        verb = "is above" if self.higher_is_better is None else "beats"
        lower, upper = sorted((abs(found.lower), abs(found.upper)))
        return f"{first} {verb} {second} by {abs(estimate):.3f} {self.quantity} ({level} {lower:.3f} to {upper:.3f})"


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs of an experiment's finished runs.

    Attributes:
        differences: of each pair, the better run first. note: why there are none, or not of the primary quantity.
    """

    differences: Sequence[PairedDifference] = ()
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"pairs": [pair.to_dict() for pair in self.differences], "pairs_note": self.note}


def paired_difference(
    run_a: RunRecord,
    run_b: RunRecord,
    *,
    quantity: str | None = None,
    resamples: int | None = None,
    seed: int = SEED,
    messages: Messages | None = None,
) -> PairedDifference:
    """See `detkit.paired_difference`; `messages` is where the progress is shown.

    Raises:
        UserError: fewer than `FEWEST_RESAMPLES` resamples.
    """
    if resamples is not None and resamples < FEWEST_RESAMPLES:
        raise UserError(f"a paired difference needs at least {FEWEST_RESAMPLES} resamples, not {resamples}")
    a = find_figure(run_a, quantity)
    (found,) = _differences([a, find_figure(run_b, a.quantity)], resamples, seed, messages or Silent())
    return found


def paired_differences(record: ExperimentRecord, *, messages: Messages | None = None) -> Pairs:
    """Of the primary quantity; where it cannot be resampled, of the first that has an interval in every finished run.

    In an experiment with folds, models are compared seed by seed over the folds that all of them have finished.

    Raises:
        RecordError, ComponentError: as `detkit.paired_difference`.
    """
    finished = [(run, summary) for run in record.compared if (summary := run.summary) is not None]
    if len(finished) < 2:
        return Pairs(note="fewer than two runs have finished")
    runs = [run for run, _ in finished]
    primary = str(finished[0][1]["primary"])
    try:
        return _pairs(_of_all(runs, primary, messages or Silent()), runs)
    except NotResampled:
        with_interval = [scored_intervals(summary) for _, summary in finished]
    shared = [name for name in with_interval[0] if all(name in found for found in with_interval)]
    if not shared:
        return Pairs(note=f"{primary} cannot be resampled, and no other figure has an interval in every run")
    found = _of_all(runs, shared[0], messages or Silent())
    return _pairs(found, runs, f"of {shared[0]}: {primary} cannot be resampled")


def _pairs(found: Sequence[PairedDifference], runs: Sequence[RunRecord], note: str = "") -> Pairs:
    """Says which folds were left out."""
    finished = {run.fold for run in runs if run.fold is not None}
    left_out = sorted(finished.difference(*(pair.folds for pair in found[:1]))) if found else []
    folds = f"without fold {', '.join(map(str, left_out))}, which not all models have finished" if left_out else ""
    alone = "there is one model with one seed" if finished and not found else ""
    return Pairs(found, "; ".join(filter(None, (note, folds, alone))))


def _of_all(runs: Sequence[RunRecord], quantity: str, messages: Messages) -> list[PairedDifference]:
    """Of each pair of runs, the better one first."""
    if any(run.fold is not None for run in runs):
        return _over_folds(runs, quantity, messages)
    figures = [find_figure(run, quantity) for run in runs]
    figures.sort(key=lambda figure: figure.value, reverse=figures[0].higher_is_better is not False)
    return _differences(figures, None, SEED, messages)


@dataclass(frozen=True, slots=True)
class _Folded:
    """A model with a seed: its figures by fold, and the means of their draws."""

    name: str
    figures: Mapping[int, Figure]
    drawn: NDArray[np.float64]

    @property
    def value(self) -> float:
        return statistics.fmean(figure.value for figure in self.figures.values())


def _over_folds(runs: Sequence[RunRecord], quantity: str, messages: Messages) -> list[PairedDifference]:
    """Of each pair of models with a seed, over the folds that all have finished, the better one first.

    Raises:
        RecordError: they have none in common.
    """
    by_name: dict[str, dict[int, RunRecord]] = {}
    for run in runs:
        if run.fold is not None:
            by_name.setdefault(run_id(run.model, run.seed, trial=run.trial), {})[run.fold] = run
    folds = sorted(set.intersection(*(set(found) for found in by_name.values())))
    if not folds:
        listed = "; ".join(f"{name}: {', '.join(map(str, sorted(found)))}" for name, found in by_name.items())
        raise RecordError(f"the models have finished no fold in common, and folds have different images ({listed})")
    if len(by_name) < 2:
        return []
    figures = {name: {fold: find_figure(found[fold], quantity) for fold in folds} for name, found in by_name.items()}
    first = next(iter(figures.values()))
    for of_folds in figures.values():
        for fold in folds:
            _refuse_unlike(first[fold], of_folds[fold])
    count = first[folds[0]].spec.experiment.resamples or RESAMPLES
    total = len(figures) * len(folds) * count
    with messages.progress(f"resampling {len(figures) * len(folds)} runs", total, "draws") as bar:
        found = [_folded(name, of_folds, count, messages, bar.advance) for name, of_folds in figures.items()]
    found.sort(key=lambda one: one.value, reverse=first[folds[0]].higher_is_better is not False)
    return [_fold_difference(a, b, tuple(folds)) for a, b in combinations(found, 2)]


def _folded(
    name: str, figures: Mapping[int, Figure], count: int, messages: Messages, advance: Callable[[], object]
) -> _Folded:
    # One seed for all: where folds are scored on one test split, a draw is of the same images in each.
    columns = [
        draw_figure(figure, resamples=count, seed=SEED, messages=messages, advance=advance)
        for figure in figures.values()
    ]
    drawn: NDArray[np.float64] = sum(columns[1:], columns[0]) / len(columns)
    return _Folded(name, figures, drawn)


def _fold_difference(a: _Folded, b: _Folded, folds: tuple[int, ...]) -> PairedDifference:
    figures = list(a.figures.values())
    # Folds of one test split share its images.
    images = len({image_id for figure in figures for image_id in figure.scored.image_ids})
    return PairedDifference(
        run_a=a.name,
        run_b=b.name,
        quantity=figures[0].quantity,
        higher_is_better=figures[0].higher_is_better,
        value_a=a.value,
        value_b=b.value,
        difference=difference(a.drawn, b.drawn, estimate=a.value - b.value, images=images),
        images=images,
        warnings=tuple(filter(None, (SAME_IMAGES if any(f.same_images for f in figures) else "", rough(images)))),
        folds=folds,
    )


def _differences(
    figures: Sequence[Figure], resamples: int | None, seed: int, messages: Messages
) -> list[PairedDifference]:
    """Of each pair; every run is drawn once, when all of them are known to be comparable."""
    for figure in figures[1:]:
        _refuse_unlike(figures[0], figure)
    count = resamples or figures[0].spec.experiment.resamples or RESAMPLES
    with messages.progress(f"resampling {len(figures)} runs", len(figures) * count, "draws") as bar:
        drawn = [
            draw_figure(figure, resamples=count, seed=seed, messages=messages, advance=bar.advance)
            for figure in figures
        ]
    return [_difference(a, b) for a, b in combinations(zip(figures, drawn, strict=True), 2)]


def _refuse_unlike(a: Figure, b: Figure) -> None:
    name_a, name_b = _names(a.run, b.run)
    differs = unlike(a.scored, b.scored)
    if differs:
        folds = "" if a.run.fold == b.run.fold else f" (folds {a.run.fold or '-'} and {b.run.fold or '-'})"
        raise RecordError(f"{name_a} and {name_b} were not scored on the same images{folds}: {differs}")
    if a.metric != b.metric:
        raise RecordError(f"{name_a} and {name_b} were not scored by the same metric: {a.metric} and {b.metric}")


def _difference(one: tuple[Figure, NDArray[np.float64]], other: tuple[Figure, NDArray[np.float64]]) -> PairedDifference:
    (a, values_a), (b, values_b) = one, other
    name_a, name_b = _names(a.run, b.run)
    images = len(a.scored.truths)
    same_images = SAME_IMAGES if a.same_images or b.same_images else ""
    return PairedDifference(
        run_a=name_a,
        run_b=name_b,
        quantity=a.quantity,
        higher_is_better=a.higher_is_better,
        value_a=a.value,
        value_b=b.value,
        difference=difference(values_a, values_b, estimate=a.value - b.value, images=images),
        images=images,
        warnings=tuple(filter(None, (same_images, rough(images)))),
    )


def _names(run_a: RunRecord, run_b: RunRecord) -> tuple[str, str]:
    """As short as tells them apart: the runs' own names, with those of their experiments, or whole paths."""
    if run_a.experiment.resolve() == run_b.experiment.resolve():
        return run_a.run_id, run_b.run_id
    if run_a.experiment.name != run_b.experiment.name:
        return f"{run_a.experiment.name}/{run_a.run_id}", f"{run_b.experiment.name}/{run_b.run_id}"
    return str(run_a.files.folder), str(run_b.files.folder)
