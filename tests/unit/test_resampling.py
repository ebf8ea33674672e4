"""The bootstrap over images: its draws, and what intervals and differences of a mean, whose answer is known, hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detkit.resampling import (
    FEWEST_IMAGES,
    SEED,
    Difference,
    Interval,
    Seeds,
    difference,
    difference_over_seeds,
    draws,
    interval,
    interval_over_seeds,
    resample,
    rough,
)
from detkit.student import t_reach, t_two_sided

Floats = NDArray[np.float64]


#: How many deviations of the draws an interval from 50 images reaches: Student's t with 49 degrees, for 50 images.
OF_50 = 2.0095752 * math.sqrt(50 / 49)


def mean_of(values: Mapping[int, float]) -> Callable[[Mapping[int, float]], dict[str, float | None]]:
    """A resampler of the mean over images."""

    def mean(weights: Mapping[int, float]) -> dict[str, float | None]:
        return {"mean": sum(weights[i] * value for i, value in values.items()) / sum(weights.values())}

    return mean


def drawn_weights(images: int, resamples: int = 500, seed: int = SEED) -> Floats:
    """Float64 [resamples, images]."""
    return np.array([list(weights.values()) for weights in draws(range(images), resamples=resamples, seed=seed)])


# --- draws -----------------------------------------------------------------------------------------------------------


def test_a_draw_takes_as_many_images_as_there_are_with_replacement() -> None:
    weights = drawn_weights(40)
    assert (weights.sum(axis=1) == 40).all()
    assert (weights == np.rint(weights)).all()
    assert weights.min() == 0
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.2)
    # Of a multinomial distribution: an image is left out of a draw with probability (1 - 1/n)^n.
    assert (weights == 0).mean() == pytest.approx((1 - 1 / 40) ** 40, abs=0.01)
    assert weights.var() == pytest.approx(1 - 1 / 40, abs=0.03)


def test_draws_depend_on_the_seed_and_on_the_set_of_ids_alone() -> None:
    ids = [30, 4, 17, 9]
    first = list(draws(ids, resamples=20))
    assert list(first[0]) == sorted(ids)
    assert list(draws(reversed(ids), resamples=20)) == first
    assert list(draws(iter([4, 4, 9, 17, 30]), resamples=20)) == first
    assert list(draws(ids, resamples=50))[:20] == first
    assert list(draws(ids, resamples=20, seed=SEED + 1)) != first


def test_the_draws_are_those_of_every_machine_and_version() -> None:
    """Records name their seed: another stream of numbers must not go unnoticed."""
    found = [list(weights.values()) for weights in draws(range(5), resamples=3)]
    assert found == [[0, 0, 2, 3, 0], [2, 0, 2, 1, 0], [1, 1, 1, 1, 1]]


# --- intervals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [50, 200])
def test_the_interval_of_a_mean_holds_the_true_value_as_often_as_it_says(images: int) -> None:
    generator = np.random.default_rng(images)
    weights = drawn_weights(images)
    held = 0
    for _ in range(400):
        sample = generator.random(images) ** 2  # skewed, of mean 1/3
        found = interval(weights @ sample / images, estimate=float(sample.mean()), images=images)
        assert found is not None
        held += found.lower <= 1 / 3 <= found.upper
    assert 0.91 <= held / 400 <= 0.98


def test_the_interval_of_a_mean_is_as_wide_as_theory_has_it() -> None:
    generator = np.random.default_rng(3)
    values = dict(enumerate(generator.normal(5, 2, size=200).tolist()))
    scalars = {"mean": sum(values.values()) / 200}
    drawn = resample(mean_of(values), scalars, values, resamples=1000)["mean"]
    found = interval(drawn, estimate=scalars["mean"], images=200)
    assert found is not None
    deviation = float(np.std(list(values.values()))) / math.sqrt(200)
    assert found.upper - found.lower == pytest.approx(2 * 1.96 * deviation, rel=0.1)
    assert found.lower < scalars["mean"] < found.upper
    assert (found.level, found.resamples) == (0.95, 1000)


def test_the_same_again_is_the_same_to_the_bit_whatever_the_order_of_the_images() -> None:
    values = {7: 0.1, 3: 0.9, 5: 0.4, 11: 0.2}
    scalars = {"mean": 0.4}
    first = resample(mean_of(values), scalars, [7, 3, 5, 11], resamples=100)["mean"]
    again = resample(mean_of(values), scalars, [11, 5, 3, 7], resamples=100)["mean"]
    assert first.tobytes() == again.tobytes()
    other = resample(mean_of(values), scalars, [7, 3, 5, 11], resamples=100, seed=1)["mean"]
    assert first.tobytes() != other.tobytes()


@pytest.mark.parametrize(("without", "there"), [(0, True), (50, True), (51, False), (1000, False)])
def test_draws_without_a_value_are_left_out_and_too_many_leave_no_interval(without: int, there: bool) -> None:
    values = np.concatenate([np.full(without, math.nan), np.linspace(0, 1, 1000 - without)])
    found = interval(values, estimate=0.5, images=50)
    assert (found is not None) == there
    if found is not None:
        reach = OF_50 * float(np.nanstd(values, ddof=1))
        assert (found.lower, found.upper) == pytest.approx((max(0.5 - reach, 0), min(0.5 + reach, 1)))


def test_a_rare_class_may_be_in_too_few_draws() -> None:
    """One of 20 images has it: it is missing in more than a third of the draws."""

    def only_the_first(weights: Mapping[int, float]) -> dict[str, float | None]:
        return {"ap": 0.5 if weights[0] else None}

    values = resample(only_the_first, {"ap": 0.5}, range(20), resamples=200)["ap"]
    assert np.isnan(values).mean() == pytest.approx(0.358, abs=0.08)
    assert interval(values, estimate=0.5, images=20) is None


def test_one_image_allows_no_interval() -> None:
    values = resample(mean_of({4: 0.5}), {"mean": 0.5}, [4], resamples=100)["mean"]
    assert interval(values, estimate=0.5, images=1) is None
    assert interval(values, estimate=0.5, images=2) == Interval(0.5, 0.5, 0.95, 100)
    assert interval(np.array([]), estimate=0.5, images=5) is None
    assert rough(1) == ""


def test_a_bias_of_the_draws_is_taken_back() -> None:
    """The formula, written out: twice the number less the mean of the draws, and two of their deviations."""
    values = np.random.default_rng(1).normal(3, 2, size=20_000)
    found = interval(values, estimate=2.5, images=50)
    assert found is not None
    assert (found.lower, found.upper) == pytest.approx((2.0 - OF_50 * 2, 2.0 + OF_50 * 2), abs=0.1)


@pytest.mark.parametrize("images", [5, 10, 20, 50])
def test_the_interval_of_a_mean_over_few_images_holds_it_as_often_as_it_says(images: int) -> None:
    generator = np.random.default_rng(images)
    weights = drawn_weights(images, 400)
    held = 0
    for _ in range(1000):
        sample = generator.normal(size=images)
        found = interval(weights @ sample / images, estimate=float(sample.mean()), images=images)
        held += found is not None and found.lower <= 0 <= found.upper
    assert 0.93 <= held / 1000 <= 0.97


def test_the_interval_of_a_biased_number_holds_the_true_value() -> None:
    """The square of a mean over images with ten components is too high, and in the draws by as much again."""
    generator = np.random.default_rng(8)
    weights = drawn_weights(50)
    held, without_correction = 0, 0
    for _ in range(400):
        sample = generator.normal(0.4, 1, size=(50, 10))
        drawn = ((weights @ sample / 50) ** 2).sum(axis=1)
        found = interval(drawn, estimate=float((sample.mean(axis=0) ** 2).sum()), images=50)
        assert found is not None
        held += found.lower <= 1.6 <= found.upper
        without_correction += bool(np.quantile(drawn, 0.025) <= 1.6 <= np.quantile(drawn, 0.975))
    assert held / 400 > 0.88
    assert without_correction / 400 < 0.85


def test_a_number_below_all_its_draws_has_an_interval_that_holds_the_true_value() -> None:
    """As AP of many classes. With 500 components the bias is larger than the spread."""
    generator = np.random.default_rng(9)
    weights = drawn_weights(50)
    held, below, outside = 0, 0, 0
    for _ in range(100):
        sample = generator.normal(0.4, 1, size=(50, 500))
        drawn = ((weights @ sample / 50) ** 2).sum(axis=1)
        estimate = float((sample.mean(axis=0) ** 2).sum())
        found = interval(drawn, estimate=estimate, images=50)
        assert found is not None
        held += found.lower <= 80 <= found.upper
        below += estimate < drawn.min()
        outside += estimate > found.upper
    assert held > 80
    assert below > 80
    assert outside > 90


@pytest.mark.parametrize(
    ("estimate", "values", "ends"),
    [
        (0.01, [0.0, 0.02], (0.0, 0.038708)),  # shares
        (0.99, [0.98, 1.0], (0.961292, 1.0)),
        (0.01, [0.4, 0.42], (0.0, 0.0)),
        (0.0, [-0.01, 0.01], (-0.028708, 0.028708)),  # no shares
        (1.0, [0.99, 1.01], (0.971292, 1.028708)),
        (1.5, [0.98, 1.0], (1.981292, 2.038708)),
        (-0.5, [0.0, 0.02], (-1.038708, -0.981292)),
    ],
)
def test_an_interval_of_a_share_is_within_0_and_1(
    estimate: float, values: list[float], ends: tuple[float, float]
) -> None:
    found = interval(np.array(values), estimate=estimate, images=50)
    assert found is not None
    assert (found.lower, found.upper) == pytest.approx(ends, abs=1e-6)


def test_draws_that_are_all_equal_give_a_point_at_the_number_itself() -> None:
    assert interval(np.full(100, 0.1), estimate=0.3, images=50) == Interval(0.3, 0.3, 0.95, 100)


def test_without_a_number_there_is_no_interval() -> None:
    assert interval(np.linspace(0, 1, 1000), estimate=None, images=50) is None


def test_few_images_are_said_to_be_rough() -> None:
    assert rough(FEWEST_IMAGES - 1) == "an interval from 29 images is rough"
    assert rough(FEWEST_IMAGES) == ""


def test_an_interval_as_text() -> None:
    assert str(Interval(0.55349, 0.6441)) == "[0.553, 0.644]"


def test_every_draw_is_told() -> None:
    told: list[None] = []
    resample(mean_of({1: 0.0, 2: 1.0}), {"mean": 0.5}, [1, 2], resamples=7, advance=lambda: told.append(None))
    assert len(told) == 7


def test_all_quantities_of_the_resampler_and_only_those_are_drawn() -> None:
    def two(weights: Mapping[int, float]) -> dict[str, float | None]:
        return {"a": 1.0, "b": None}

    assert set(resample(two, {"a": 1.0, "b": None, "c": 3}, [1, 2], resamples=2)) == {"a", "b"}


# --- broken resamplers -----------------------------------------------------------------------------------------------


def broken_later(value: Any) -> Callable[[Mapping[int, float]], Any]:
    """Gives the right number with every image drawn once, and in other draws what it is told to."""
    return lambda weights: {"mean": 0.5} if set(weights.values()) == {1.0} else value


@pytest.mark.parametrize(
    ("resampler", "error", "says"),
    [
        (broken_later({"mean": math.nan}), ValueError, "gives nan for mean; a value that does not apply is None"),
        (broken_later({"mean": math.inf}), ValueError, "gives inf for mean"),
        (broken_later({"mean": 0.5, "maen": 0.5}), ValueError, "gives maen; known are mean"),
        (broken_later([0.5]), TypeError, "gives a list; it must be a mapping"),
        (lambda weights: {"ap": 0.5}, ValueError, "gives ap; known are mean"),
        (lambda weights: {"mean": 0.4}, ValueError, "every image drawn once .* gives 0.4 for mean, .* itself 0.5"),
        (lambda weights: {"mean": None}, ValueError, "gives None for mean, and the metric itself 0.5"),
        (lambda weights: {"mean": weights[100]}, KeyError, "100"),
    ],
)
def test_a_broken_resampler_is_refused(resampler: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        resample(resampler, {"mean": 0.5}, range(8), resamples=10)


def test_a_missing_quantity_has_no_value_in_that_draw() -> None:
    values = resample(broken_later({}), {"mean": 0.5}, range(8), resamples=10)["mean"]
    assert np.isnan(values).all()


# --- differences -----------------------------------------------------------------------------------------------------


def test_equal_models_are_seldom_told_apart() -> None:
    generator = np.random.default_rng(5)
    weights = drawn_weights(60)
    clear = 0
    for _ in range(400):
        hard = generator.normal(size=60)  # what an image is for both
        a, b = (hard + generator.normal(0, 0.5, size=60) for _ in range(2))
        estimate = float((a - b).mean())
        clear += difference(weights @ a / 60, weights @ b / 60, estimate=estimate, images=60).is_clear
    assert clear / 400 <= 0.07
    assert clear  # it is a test at all


def test_what_is_hard_for_both_cancels() -> None:
    generator = np.random.default_rng(6)
    weights = drawn_weights(60)
    hard = generator.normal(size=60)
    a, b = hard + generator.normal(0, 0.1, 60) + 0.1, hard + generator.normal(0, 0.1, 60)
    drawn_a, drawn_b = weights @ a / 60, weights @ b / 60
    found = difference(drawn_a, drawn_b, estimate=float((a - b).mean()), images=60)
    alone_a = interval(drawn_a, estimate=float(a.mean()), images=60)
    alone_b = interval(drawn_b, estimate=float(b.mean()), images=60)
    assert found.interval is not None
    assert alone_a is not None
    assert alone_b is not None
    assert alone_a.lower < alone_b.upper  # side by side they overlap
    assert found.is_clear
    assert found.interval.lower < found.estimate < found.interval.upper
    assert found.share_above is not None
    assert found.share_above > 0.99
    turned = difference(drawn_b, drawn_a, estimate=-found.estimate, images=60)
    assert turned.interval is not None
    assert (turned.interval.lower, turned.interval.upper) == pytest.approx(
        (-found.interval.upper, -found.interval.lower)
    )
    assert turned.is_clear


def test_the_share_above_counts_ties_half_and_leaves_out_draws_without_a_value() -> None:
    first = np.array([1.0, 1.0, 1.0, math.nan, 0.0])
    second = np.array([0.0, 1.0, 2.0, 0.0, math.nan])
    found = difference(first, second, estimate=0.0, images=50)
    assert found == Difference(0.0, None, 0.5)
    assert not found.is_clear
    nothing = np.array([math.nan])
    assert difference(nothing, nothing, estimate=0.0, images=50).share_above is None
    same = np.array([0.3, 0.4])
    assert difference(same, same, estimate=0.0, images=50).share_above == 0.5


@pytest.mark.parametrize(
    ("images", "level", "there"), [(2, 0.95, False), (5, 0.95, False), (6, 0.95, True), (6, 0.99, False)]
)
def test_images_that_all_say_the_same_are_told_apart_only_where_they_are_enough(
    images: int, level: float, there: bool
) -> None:
    """Draws of them do not vary, which is no certainty: by the sign test, from six on."""
    a, b = np.full(400, 0.9), np.full(400, 0.1)
    found = difference_over_seeds(Seeds([0.9], [a]), Seeds([0.1], [b]), images=images, level=level)
    assert (found.interval is not None, found.is_clear) == (there, there)
    assert found.p_value == 2 * 0.5**images
    same = difference(a, a, estimate=0.0, images=images)
    assert (same.is_clear, same.p_value) == (False, 1.0)
    assert same.interval is not None


def test_the_order_of_a_sum_makes_no_difference() -> None:
    """What differs in the last bits alone is neither above nor below, and does not vary."""
    generator = np.random.default_rng(8)
    a = generator.normal(0.5, 0.1, 400)
    noise = generator.choice([-1e-16, 0.0, 1e-16], 400)
    found = difference_over_seeds(Seeds([0.5], [a]), Seeds([0.5 - 1e-16], [a + noise]), images=60)
    assert (found.estimate, found.share_above, found.p_value) == (0.0, 0.5, 1.0)
    constant = difference_over_seeds(Seeds([0.6], [a + 0.1 + noise]), Seeds([0.5], [a]), images=60)
    assert constant.interval is not None
    assert constant.interval.lower == constant.interval.upper == pytest.approx(0.1)


def test_draws_within_folds_lose_an_image_in_each() -> None:
    """Of three folds of four images: the variance is that of stratified samples, with 12 - 3 degrees."""
    generator = np.random.default_rng(9)
    folds = generator.normal([[0.0], [5.0], [9.0]], 1.0, (3, 4))
    weights = [drawn_weights(4, 20_000, seed=number) for number in range(3)]
    drawn = np.mean([own @ fold / 4 for own, fold in zip(weights, folds, strict=True)], axis=0)
    model = Seeds([float(folds.mean())], [drawn])
    found = interval_over_seeds(model, images=12, folds=3)
    error = math.sqrt(sum(fold.var(ddof=1) / 4 for fold in folds)) / 3
    assert found is not None
    assert (found.upper - found.lower) / 2 == pytest.approx(t_reach(0.95, 9) * error, rel=0.02)
    assert interval_over_seeds(model, images=3, folds=3) is None  # one image each: no spread within a fold


# --- images and seeds ------------------------------------------------------------------------------------------------


def seeds_of(generator: np.random.Generator, effects: Sequence[float], own: float) -> Seeds:
    """A mean over 60 images of a model that is better with some seeds; an image has a luck of its own with each."""
    weights = drawn_weights(60, 400)
    luck = [generator.normal(size=60) for _ in effects]
    samples = [effect + own * (one - one.mean()) for effect, one in zip(effects, luck, strict=True)]
    return Seeds([float(sample.mean()) for sample in samples], [weights @ sample / 60 for sample in samples])


@pytest.mark.parametrize("effects", [(0.0, 0.5, 1.0), (0.0, 0.0, 0.0)])
def test_the_variance_over_images_and_seeds_written_out(effects: Sequence[float]) -> None:
    """Draws of means over seeds, and what the seeds differ by beyond what these images explain, counted once."""
    generator = np.random.default_rng(4)
    a, b = seeds_of(generator, effects, 0.4), seeds_of(generator, [0.2], 0.4)
    found = difference_over_seeds(a, b, images=60)
    assert found.interval is not None
    of_images = np.var(np.mean(a.drawn, axis=0) - b.drawn[0], ddof=1) * 60 / 59
    spread = np.var(a.values, ddof=1)
    by_images = sum(np.var(one - np.mean(a.drawn, axis=0), ddof=1) * 60 / 59 for one in a.drawn) / 2
    beyond = max(spread - by_images, 0.0)
    assert (beyond > 0) == (effects[1] > 0)  # without effects, all of the seeds' spread is of these images
    variance = of_images + beyond / 3
    rest = variance - spread / 3
    freedom = variance**2 / ((spread / 3) ** 2 / 2 + rest**2 / 59)
    reach = t_reach(0.95, freedom) * math.sqrt(variance)
    estimate = float(np.mean(a.values)) - b.values[0]
    assert found.estimate == pytest.approx(estimate)
    assert (found.interval.lower, found.interval.upper) == pytest.approx((estimate - reach, estimate + reach))
    assert found.p_value == pytest.approx(t_two_sided(estimate / math.sqrt(variance), freedom))


def test_the_interval_of_one_model_over_seeds_is_corrected_for_bias() -> None:
    generator = np.random.default_rng(7)
    model = seeds_of(generator, [2.0, 2.5, 3.0], 0.4)
    shifted = Seeds(model.values, [one + 0.1 for one in model.drawn])
    plain, moved = interval_over_seeds(model, images=60), interval_over_seeds(shifted, images=60)
    assert plain is not None
    assert moved is not None
    assert (moved.lower, moved.upper) == pytest.approx((plain.lower - 0.1, plain.upper - 0.1))
    assert interval_over_seeds(model, images=1) is None
    assert interval_over_seeds(Seeds([0.3, 0.3], [np.full(9, 0.3)] * 2), images=60) == Interval(0.3, 0.3, 0.95, 9)
