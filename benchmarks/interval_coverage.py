"""How often bootstrap intervals over images hold the true value, of simulated detectors whose true AP is known.

Each line is one situation. Of one detector: the share of samples in which detkit's interval (bias-corrected, Student's
t) and others hold the true AP, and how often the number itself is outside detkit's. Of pairs of detectors on the same
images: the share in which the interval of the difference holds the true one, by detkit's rule (Student's t, no
correction for bias) and by others, and how often the pair is told apart. Of models with several seeds: the same for
the interval over images and seeds. `--pairs`, `--single`, `--seeds` choose; by default all, in about half an hour.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from detkit.resampling import Seeds, difference, difference_over_seeds, interval
from detkit.student import t_reach
from simulated_detectors import Floats, detect, drawn_weights, mean_ap, scene, true_ap

NORMAL = NormalDist()
RESAMPLES = 300
ONE = (1.0,)
THREE = (0.4, 0.35, 0.25)
#: The rarest has two or three objects in 50 images, and counts a quarter.
FOUR = (0.7, 0.2, 0.07, 0.03)
#: Shares of 20 classes: the rarest has a sixth of the objects of the most frequent.
MANY = tuple(share / 70 for share in [6.0] * 5 + [4.0] * 5 + [3.0] * 5 + [1.0] * 5)


def bias_corrected_percentile(values: Floats, estimate: float) -> tuple[float, float]:
    """Efron and Tibshirani, An Introduction to the Bootstrap, chapter 14, without acceleration."""
    shift = 2 * NORMAL.inv_cdf(min(max(float(np.mean(values < estimate)), 0.001), 0.999))
    lower, upper = np.quantile(values, [NORMAL.cdf(shift - 1.96), NORMAL.cdf(shift + 1.96)])
    return float(lower), float(upper)


def others(values: Floats, estimate: float) -> dict[str, tuple[float, float]]:
    """Intervals that detkit does not use, of a number or of a difference."""
    lower, upper = np.quantile(values, [0.025, 0.975]).tolist()
    reach, bias = 1.96 * float(values.std(ddof=1)), float(values.mean()) - estimate
    return {
        "percentile": (lower, upper),
        "basic": (2 * estimate - upper, 2 * estimate - lower),
        "normal": (estimate - reach, estimate + reach),
        "bias-corrected normal": (estimate - bias - reach, estimate - bias + reach),
        "bias-corrected percentile": bias_corrected_percentile(values, estimate),
    }


def jackknife(left_out: Floats, estimate: float) -> tuple[float, float]:
    """From the number without each image in turn, by Student's t (Efron and Tibshirani, chapter 11)."""
    images = len(left_out)
    spread = np.sqrt((images - 1) / images * ((left_out - left_out.mean()) ** 2).sum())
    reach = t_reach(0.95, images - 1) * float(spread)
    return estimate - reach, estimate + reach


def held_by(ends: dict[str, tuple[float, float]], truth: float, counts: dict[str, int]) -> None:
    for name, (low, high) in ends.items():
        counts[name] = counts.get(name, 0) + (low <= truth <= high)


def shown(counts: dict[str, int], samples: int) -> str:
    return ", ".join(f"{name} {count / samples:.1%}" for name, count in counts.items())


def of_one(images: int, shares: Sequence[float], skill: float = 1.2, samples: int = 300) -> None:
    generator = np.random.default_rng(1)
    truth = true_ap(generator, skill, shares)
    weights = drawn_weights(images, RESAMPLES)
    counts: dict[str, int] = {}
    outside, estimates = 0, []
    for _ in range(samples):
        seen = scene(generator, images, shares)
        estimate, *drawn = mean_ap(seen, detect(generator, seen, skill), weights).tolist()
        values = np.array(drawn)
        found = interval(values, estimate=estimate, images=images)
        assert found is not None
        held_by({"detkit": (found.lower, found.upper), **others(values, estimate)}, truth, counts)
        outside += not found.lower <= estimate <= found.upper
        estimates.append(estimate)
    print(
        f"AP, {images} images, {len(shares)} classes: true {truth:.3f}, on average {np.mean(estimates):.3f}; held by"
        f" {shown(counts, samples)}; number outside detkit's {outside / samples:.0%}",
        flush=True,
    )


def of_pairs(images: int, shares: Sequence[float], skills: tuple[float, float], samples: int = 2000) -> None:
    generator = np.random.default_rng(images)
    a, b = (true_ap(generator, skill, shares) for skill in skills)
    truth = 0.0 if skills[0] == skills[1] else a - b
    weights = np.concatenate([drawn_weights(images, RESAMPLES), np.ones((images, images)) - np.eye(images)])
    counts: dict[str, int] = {}
    clear = 0
    for _ in range(samples):
        seen = scene(generator, images, shares)
        first, second = (mean_ap(seen, detect(generator, seen, skill), weights) for skill in skills)
        both, estimate = first - second, float(first[0] - second[0])
        drawn = slice(1, RESAMPLES + 1)
        found = difference(first[drawn], second[drawn], estimate=estimate, images=images)
        assert found.interval is not None
        ends = {"detkit": (found.interval.lower, found.interval.upper), **others(both[drawn], estimate)}
        held_by({**ends, "jackknife": jackknife(both[RESAMPLES + 1 :], estimate)}, truth, counts)
        clear += found.is_clear
    print(
        f"difference, {images} images, {len(shares)} classes: true {truth:.3f}; held by {shown(counts, samples)};"
        f" told apart {clear / samples:.1%}",
        flush=True,
    )


def of_seeds(images: int, seeds: int, spread: float, samples: int = 600) -> None:
    """Equal models, each trained with several seeds that make its skill vary by so much."""
    generator = np.random.default_rng(seeds)
    weights = drawn_weights(images, RESAMPLES)
    counts: dict[str, int] = {}
    for _ in range(samples):
        seen = scene(generator, images)
        models = []
        for _ in range(2):
            drawn = [
                mean_ap(seen, detect(generator, seen, 1.2 + generator.normal(0, spread)), weights) for _ in range(seeds)
            ]
            models.append(Seeds([float(one[0]) for one in drawn], [one[1:] for one in drawn]))
        means = [Seeds([model.mean], [np.mean(model.drawn, axis=0)]) for model in models]
        for name, (one, other) in {"images and seeds": models, "images alone": means}.items():
            found = difference_over_seeds(one, other, images=images).interval
            assert found is not None
            held_by({name: (found.lower, found.upper)}, 0.0, counts)
    print(
        f"equal models, {images} images, {seeds} seeds whose skill varies by {spread:g}: held by"
        f" {shown(counts, samples)}",
        flush=True,
    )


def of_a_mean(images: int, samples: int = 2000) -> None:
    generator = np.random.default_rng(2)
    weights = drawn_weights(images, 1000)[1:]
    held = 0
    for _ in range(samples):
        sample = generator.normal(size=images)
        found = interval(weights @ sample / images, estimate=float(sample.mean()), images=images)
        held += found is not None and found.lower <= 0 <= found.upper
    print(f"mean, {images} images: held by {held / samples:.1%}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("single", "pairs", "seeds"):
        parser.add_argument(f"--{name}", action="store_true", help="these alone")
    asked = parser.parse_args()
    everything = not (asked.single or asked.pairs or asked.seeds)
    if asked.single or everything:
        for images in (10, 20, 30, 50, 200):
            of_a_mean(images)
        for images in (20, 50, 200):
            of_one(images, ONE)
        of_one(50, ONE, skill=4.0)
        for images in (50, 200):
            of_one(images, FOUR)
        for images in (100, 300):
            of_one(images, MANY)
        of_one(300, [share / 4 for share in MANY for _ in range(4)], samples=100)
    if asked.pairs or everything:
        for images, samples in ((20, 2000), (50, 2000), (200, 2000)):
            for shares in (ONE, THREE, FOUR) if images > 20 else (ONE,):
                of_pairs(images, shares, (1.2, 1.2), samples)
                of_pairs(images, shares, (1.2, 0.6), samples)
        of_pairs(100, MANY, (1.2, 1.2), 500)
        of_pairs(100, MANY, (1.2, 0.6), 500)
    if asked.seeds or everything:
        for spread in (0.0, 0.2, 0.5):
            for seeds in (2, 3, 5):
                of_seeds(50, seeds, spread)


if __name__ == "__main__":
    main()
