"""Whether two runs differ, and by how much: their figures in the same draws of the same images, from records alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from detkit.compare.figure import Figure, draw_figure, find_figure
from detkit.compare.leaderboard import SAME_IMAGES
from detkit.components import Messages, Silent
from detkit.errors import RecordError, UserError
from detkit.record.reader import RunRecord
from detkit.record.scored import unlike
from detkit.resampling import FEWEST_RESAMPLES, RESAMPLES, SEED, Difference, difference, rough


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Of one quantity of two runs on the same images. As text it is one plain sentence.

    Attributes:
        run_a, run_b: their names; with their experiments', where these differ.
        quantity: as `coco/ap`. higher_is_better: of it; None where neither is.
        value_a, value_b: the final figures, as in the summaries.
        difference: a less b.
        images: how many. warnings: what must be said with the result.
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

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "is_clear": self.difference.is_clear, "sentence": str(self)}

    def __str__(self) -> str:
        found, estimate = self.difference.interval, self.difference.estimate
        both = f"{self.run_a} and {self.run_b}"
        if found is None:
            return f"{both} differ by {estimate:.3f} {self.quantity}; the images ({self.images}) allow no interval"
        level = f"{100 * found.level:g} % interval"
        if not self.difference.is_clear:
            return (
                f"{both} cannot be told apart on {self.images} images: they differ by {estimate:.3f} {self.quantity}"
                f" ({level} {found.lower:.3f} to {found.upper:.3f})"
            )
        a_first = (found.lower > 0) != (self.higher_is_better is False)
        first, second = (self.run_a, self.run_b) if a_first else (self.run_b, self.run_a)
        verb = "is above" if self.higher_is_better is None else "beats"
        lower, upper = sorted((abs(found.lower), abs(found.upper)))
        return f"{first} {verb} {second} by {abs(estimate):.3f} {self.quantity} ({level} {lower:.3f} to {upper:.3f})"


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
    b = find_figure(run_b, a.quantity)
    _refuse_unlike(a, b)
    count = resamples or a.spec.experiment.resamples or RESAMPLES
    silent = messages or Silent()
    with silent.progress("resampling 2 runs", 2 * count, "draws") as bar:
        drawn_a, drawn_b = (
            draw_figure(figure, resamples=count, seed=seed, messages=silent, advance=bar.advance) for figure in (a, b)
        )
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
        difference=difference(drawn_a, drawn_b, estimate=a.value - b.value, images=images),
        images=images,
        warnings=tuple(filter(None, (same_images, rough(images)))),
    )


def _refuse_unlike(a: Figure, b: Figure) -> None:
    name_a, name_b = _names(a.run, b.run)
    differs = unlike(a.scored, b.scored)
    if differs:
        folds = "" if a.run.fold == b.run.fold else f" (folds {a.run.fold or '-'} and {b.run.fold or '-'})"
        raise RecordError(f"{name_a} and {name_b} were not scored on the same images{folds}: {differs}")
    if a.metric != b.metric:
        raise RecordError(f"{name_a} and {name_b} were not scored by the same metric: {a.metric} and {b.metric}")


def _names(run_a: RunRecord, run_b: RunRecord) -> tuple[str, str]:
    """As short as tells them apart: the runs' own names, with those of their experiments, or whole paths."""
    if run_a.experiment.resolve() == run_b.experiment.resolve():
        return run_a.run_id, run_b.run_id
    if run_a.experiment.name != run_b.experiment.name:
        return f"{run_a.experiment.name}/{run_a.run_id}", f"{run_b.experiment.name}/{run_b.run_id}"
    return str(run_a.files.folder), str(run_b.files.folder)
