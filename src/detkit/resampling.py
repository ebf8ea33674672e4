"""How far a metric's numbers could be off: the bootstrap over images, for any metric that gives a `Resampler`.

The images of a split are a sample of all that might have been taken. Drawing as many of them again and again, with
replacement, shows how the numbers move with the sample (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).
Images are drawn, not objects: those of one image share its light, its place and its faults. Nothing is stratified,
since a new sample would have other numbers of each class too.

Of the intervals that can be read from the draws this is the normal one, corrected for bias (Davison and Hinkley,
Bootstrap Methods and their Application, 1997, section 5.2; the bias: Efron and Tibshirani, chapter 10). AP is too high
where there are few objects, and in a draw, which has fewer different images, by about as much again: how far the mean
of the draws is above the number tells how far the number is above the truth. So the middle of the interval is the
number less that bias, and its ends are about two standard deviations of the draws away. Where the bias is larger than
that, the number lies outside its own interval. Percentiles of the draws lie on the wrong side of the truth with many
classes; the bias-corrected percentile interval and BCa (Efron and Tibshirani, chapter 14) ask how many draws are below
the number, and have no answer where nearly none is (benchmarks/interval_coverage.py).

Draws of few images spread too little: those of a mean by (n - 1) / n, and "two" is not enough where the spread itself
is known from few. Both are mended as for a mean: by the factor n / (n - 1), and by Student's t (Hesterberg, What
Teachers Should Know About the Bootstrap, The American Statistician 69, 2015). From very few images the interval is
rough all the same, and `rough` says so.

In a difference of two models the biases cancel, and taking them off would only add noise: its middle is the number.

An interval of one run is of its images alone. How a number moves with the seed of the training, only other seeds show:
with several, the number of a model is the mean over them, and a new experiment would have other images *and* other
seeds, which are crossed: all seeds see the same images. The variance has a part of the images, from draws in which all
seeds of all models get the same ones, and a part of the seeds, from the spread of the seeds' own numbers. The latter
holds, too, what the seeds differ by on these images alone, which is in the former already: the draws tell how much that
is, and it is counted once (moments of a crossed design; Searle, Casella and McCulloch, Variance Components, 1992,
chapter 4; why plain resampling of both counts it twice: Owen, The pigeonhole bootstrap, The Annals of Applied
Statistics 1, 2007). The degrees of freedom of the sum are Satterthwaite's (Biometrics Bulletin 2, 1946).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detkit.data.seeds import derive_seed
from detkit.figures import Number, Resampler
from detkit.student import t_reach, t_two_sided

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

METHOD = "bias-corrected t"
#: The share of samples whose interval is to hold the true value.
LEVEL = 0.95
#: Draws, where nobody says how many. The ends of a difference's interval are then about the 25th value from each side.
RESAMPLES = 1000
#: Fewer would put the ends among the last two or three values.
FEWEST_RESAMPLES = 100
#: Of all runs, so that all have the same draws of the same images, and can be compared draw by draw.
SEED = derive_seed("bootstrap over images")
#: Below so many images an interval is rough.
FEWEST_IMAGES = 30
#: A quantity may have no value in a draw: no image with an object of the class was drawn. Where it has none in more
#: than a twentieth of them, what is left is not a sample of what might have been, and there is no interval.
SHARE_WITH_VALUE = 0.95

#: Numbers that differ by less than this share differ by the order in which they were summed.
SAME_NUMBER = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the true value of a quantity may lie, as far as the images can tell.

    Attributes:
        lower, upper: its ends, in the unit of the quantity.
        level: the share of samples whose interval is to hold the true value.
        resamples: how many draws there were.
    """

    lower: float
    upper: float
    level: float = LEVEL
    resamples: int = RESAMPLES

    def __str__(self) -> str:
        return f"[{self.lower:.3f}, {self.upper:.3f}]"


@dataclass(frozen=True, slots=True)
class Difference:
    """Of a quantity of two runs, the first less the second, on the same draws of the same images.

    What makes an image hard is hard for both, and cancels: the interval is narrower than those of the two suggest.

    Attributes:
        estimate: on the images as they are.
        interval: None where there is none.
        share_above: in which share of the draws the first is higher, draws with equal values counting half; None where
            no draw has a value. It says what was counted, and is no probability that the first is better.
        p_value: how often two equal models would differ by so much or more, two-sided, by the same t as the interval;
            None where there is no interval.
    """

    estimate: float
    interval: Interval | None
    share_above: float | None
    p_value: float | None = None

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.interval is not None and (self.interval.lower > 0 or self.interval.upper < 0)


def rough(images: int) -> str:
    """What must be said of an interval from so many images; empty where nothing must, or there is none."""
    return f"an interval from {images} images is rough" if 1 < images < FEWEST_IMAGES else ""


def draws(image_ids: Iterable[int], *, resamples: int, seed: int = SEED) -> Iterator[dict[int, float]]:
    """Image id to how often it was drawn, 0 for those that were not; the weights of a draw sum to the images.

    They depend on the set of ids, not on their order, and on the seed; the first hundred are the same however many are
    asked for.
    """
    import numpy as np

    ids = sorted(set(image_ids))
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = generator.integers(len(ids), size=len(ids))
        counts = np.bincount(drawn, minlength=len(ids)).astype(np.float64)
        yield dict(zip(ids, counts.tolist(), strict=True))


def resample(
    resampler: Resampler,
    scalars: Mapping[str, Number],
    image_ids: Collection[int],
    *,
    resamples: int,
    seed: int = SEED,
    advance: Callable[[], object] = lambda: None,
) -> dict[str, NDArray[np.float64]]:
    """The metric's numbers in each draw.

    Args:
        scalars: the metric's own, by bare name. image_ids: of all images behind them.
        advance: called after each draw.

    Returns:
        Float64 [resamples] of every quantity that the resampler gives; NaN where it has no value in a draw.

    Raises:
        ValueError: the resampler gives a quantity that the metric has not, a value that is not finite, or, with every
            image drawn once, other numbers than the metric's. TypeError: it gives no mapping of numbers.
    """
    import numpy as np

    names = _verified_once(resampler, scalars, image_ids)
    columns: dict[str, list[float]] = {name: [] for name in names}
    for weights in draws(image_ids, resamples=resamples, seed=seed):
        values = _checked(resampler(weights), names)
        for name, column in columns.items():
            value = values.get(name)
            column.append(math.nan if value is None else value)
        advance()
    return {name: np.array(column, dtype=np.float64) for name, column in columns.items()}


def interval(
    values: NDArray[np.float64], *, estimate: float | None, images: int, level: float = LEVEL
) -> Interval | None:
    """The bias-corrected interval of a quantity, by Student's t.

    Where the estimate and all draws are within 0 and 1, as shares are, so is the interval. Where all draws are equal it
    is a point, the estimate. The estimate may lie outside it, where the bias of the draws is large.

    Args:
        values: in the draws, float64 [resamples], NaN where there is none. estimate: on the images as they are.

    Returns:
        None where there is no estimate, there are fewer than two images, or too few draws have a value
        (`SHARE_WITH_VALUE`).
    """
    there = _enough(values, images)
    if there is None or estimate is None:
        return None
    found = _interval(2 * estimate - float(there.mean()), _variance(there, images), images - 1, level, len(values))
    return _as_share(Interval(estimate, estimate, level, len(values)) if found is None else found, there, estimate)


def interval_over_seeds(model: Seeds, *, images: int, folds: int = 1, level: float = LEVEL) -> Interval | None:
    """The bias-corrected interval of a model's mean over its seeds, for other images and other seeds.

    Args:
        images: of all folds together. folds: within how many groups of images the draws were made, each on its own.

    None where there are too few images for a spread, or too few draws have a value (`SHARE_WITH_VALUE`).
    """
    import numpy as np

    drawn = np.asarray(model.drawn).mean(axis=0)
    there = _enough(drawn, images, folds)
    if there is None:
        return None
    variance, freedom = _crossed(there, (model,), images, folds)
    found = _interval(2 * model.mean - float(there.mean()), variance, freedom, level, len(drawn))
    return _as_share(found or Interval(model.mean, model.mean, level, len(drawn)), there, model.mean)


def _as_share(found: Interval, there: NDArray[np.float64], estimate: float) -> Interval:
    """Within 0 and 1 where all numbers are."""
    if min(float(there.min()), estimate) < 0 or max(float(there.max()), estimate) > 1:
        return found
    lower, upper = (min(max(end, 0.0), 1.0) for end in (found.lower, found.upper))
    return Interval(lower, upper, found.level, found.resamples)


def difference(
    first: NDArray[np.float64], second: NDArray[np.float64], *, estimate: float, images: int, level: float = LEVEL
) -> Difference:
    """Of two runs, from their values in the same draws (float64 [resamples] each, NaN for none).

    Args:
        estimate: the difference on the images as they are.
    """
    return difference_over_seeds(Seeds([estimate], [first]), Seeds([0.0], [second]), images=images, level=level)


@dataclass(frozen=True, slots=True)
class Seeds:
    """A model's number with each of its seeds.

    Attributes:
        values: on the images as they are. drawn: in the same draws of the same images, float64 [resamples] a seed, NaN
            where there is none.
    """

    values: Sequence[float]
    drawn: Sequence[NDArray[np.float64]]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)


def difference_over_seeds(
    first: Seeds, second: Seeds, *, images: int, folds: int = 1, level: float = LEVEL
) -> Difference:
    """Of two models, the first less the second, for other images and, of a model with several seeds, other seeds.

    Where a model has one seed, the difference is that of this one training of it. Where nothing varies at all, images
    that are as unlike as any two can be would not show in the draws: there is an interval only where so many images
    that all say the same are enough by the sign test.

    Args:
        images: of all folds together. folds: within how many groups of images the draws were made, each on its own.
    """
    import numpy as np

    means = [np.mean(np.asarray(model.drawn), axis=0) for model in (first, second)]
    last_bits = SAME_NUMBER * float(np.nanmax(np.abs(means), initial=0.0))
    differences = means[0] - means[1]
    differences[np.abs(differences) <= last_bits] = 0.0
    estimate = first.mean - second.mean if abs(first.mean - second.mean) > last_bits else 0.0
    there = differences[~np.isnan(differences)]
    above = float(np.mean((there > 0) + (there == 0) / 2)) if len(there) else None
    enough = _enough(differences, images, folds)
    if enough is None:
        return Difference(estimate, None, above)
    variance, freedom = _crossed(enough, (first, second), images, folds)
    found = _interval(estimate, variance, freedom, level, len(differences))
    if found is None:
        by_signs = 1.0 if estimate == 0 else 2 * 0.5**images
        same = Interval(estimate, estimate, level, len(differences))
        return Difference(estimate, same if estimate == 0 or by_signs <= 1 - level else None, above, by_signs)
    return Difference(estimate, found, above, t_two_sided(estimate / math.sqrt(variance), freedom))


def _crossed(there: NDArray[np.float64], models: Sequence[Seeds], images: int, folds: int) -> tuple[float, float]:
    """Variance and degrees of freedom of a sum of means over seeds, whose draws are given."""
    import numpy as np

    of_images = _variance(there, images, folds)
    variance, spreads = of_images, []
    for model in models:
        seeds = len(model.values)
        if seeds < 2:
            continue
        drawn = np.asarray(model.drawn)
        drawn = drawn[:, ~np.isnan(drawn).any(axis=0)]
        # What the seeds differ by on these images alone: a part of their spread that the images have brought already.
        with_images = sum(_variance(column, images, folds) for column in drawn - drawn.mean(axis=0)) / (seeds - 1)
        spread = statistics.variance(model.values)
        variance += max(0.0, spread - with_images) / seeds
        spreads.append((spread / seeds, seeds - 1))
    rest = max(0.0, variance - sum(part for part, _ in spreads))
    parts = [*spreads, (rest, images - folds)]
    below = sum(part * part / freedom for part, freedom in parts)
    return variance, variance * variance / below if below else images - folds


def _variance(drawn: NDArray[np.float64], images: int, folds: int = 1) -> float:
    """Of a number over samples of so many images; exactly 0 where all draws are equal but for their last bits.

    Draws of a fold are of its own images alone, which loses an image in each: folds are about equally large.
    """
    lowest, highest = float(drawn.min()), float(drawn.max())
    if highest - lowest <= SAME_NUMBER * max(abs(lowest), abs(highest)):
        return 0.0
    return float(drawn.var(ddof=1)) * images / (images - folds)


def _interval(middle: float, variance: float, freedom: float, level: float, resamples: int) -> Interval | None:
    """None where nothing varies."""
    if variance == 0:
        return None
    reach = t_reach(level, freedom) * math.sqrt(variance)
    return Interval(middle - reach, middle + reach, level, resamples)


def _enough(values: NDArray[np.float64], images: int, folds: int = 1) -> NDArray[np.float64] | None:
    """The values that are there, where they suffice for an interval."""
    import numpy as np

    there = values[~np.isnan(values)]
    return there if images > folds and len(there) > 1 and len(there) >= SHARE_WITH_VALUE * len(values) else None


def _verified_once(resampler: Resampler, scalars: Mapping[str, Number], image_ids: Collection[int]) -> list[str]:
    """The quantities that a resampler gives, once it has given the metric's own numbers with every image drawn once."""
    values = _checked(resampler(dict.fromkeys(image_ids, 1.0)), scalars)
    for name, value in values.items():
        own = scalars[name]
        same = value is own if value is None or own is None else math.isclose(value, own, rel_tol=1e-6, abs_tol=1e-9)
        if not same:
            raise ValueError(
                f"with every image drawn once its resampler gives {value} for {name}, and the metric itself {own}"
            )
    return list(values)


def _checked(values: Mapping[str, float | None], known: Collection[str]) -> dict[str, float | None]:
    """What a resampler gave, as plain numbers."""
    if not isinstance(values, Mapping):
        raise TypeError(f"its resampler gives a {type(values).__name__}; it must be a mapping of names to numbers")
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"its resampler gives {', '.join(unknown)}; known are {', '.join(known) or 'none'}")
    plain = {name: None if value is None else float(value) for name, value in values.items()}
    for name, value in plain.items():
        if value is not None and not math.isfinite(value):
            raise ValueError(f"its resampler gives {value} for {name}; a value that does not apply is None")
    return plain
