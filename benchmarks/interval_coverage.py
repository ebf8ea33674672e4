"""How often bootstrap intervals over images hold the true value, of simulated detectors whose true AP is known.

Images differ in how hard they are, objects in how well they are found; the classes' shares of the objects are given. AP
is COCO's, over ten IoU thresholds and 101 recalls. Each line is one situation: of detkit's interval (the bias-corrected
normal one) and of others the share of samples in which it holds the AP of 40,000 images; how often the number itself
is outside detkit's interval; and how often two detectors of equal quality are told apart by the paired difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from detkit.resampling import difference, draws, interval

Floats = NDArray[np.float64]
NORMAL = NormalDist()
RESAMPLES = 200
#: Shares of 20 classes: the rarest has a sixth of the objects of the most frequent.
MANY = [share / 70 for share in [6.0] * 5 + [4.0] * 5 + [3.0] * 5 + [1.0] * 5]


@dataclass(frozen=True)
class OneClass:
    """A detector's results of one class: objects of each image; of each detection, by falling score, its image and
    whether it is right at each IoU threshold, bool [10, N]."""

    objects: Floats
    image: NDArray[np.int64]
    right: NDArray[np.bool_]


def detectors(
    generator: np.random.Generator, images: int, shares: Sequence[float], easy: float
) -> tuple[list[OneClass], list[OneClass]]:
    """Two detectors of equal quality on the same images."""
    per_image = generator.poisson(1.7, images) + 1
    image = np.repeat(np.arange(images), per_image)
    label = generator.choice(len(shares), size=len(image), p=shares)
    hard = generator.normal(0, 0.7, images)
    return tuple(_detector(generator, image, label, hard, shares, easy) for _ in range(2))  # type: ignore[return-value]  # two


def _detector(
    generator: np.random.Generator,
    image: NDArray[np.int64],
    label: NDArray[np.int64],
    hard: Floats,
    shares: Sequence[float],
    easy: float,
) -> list[OneClass]:
    found = generator.random(len(image)) < 0.95
    well = 1 / (1 + np.exp(hard[image] - easy))
    right = generator.random(len(image)) < well * np.linspace(1, 0.15, 10)[:, None]
    extra = np.repeat(np.arange(len(hard)), generator.poisson(1 + np.maximum(hard, 0)))
    all_images = np.concatenate([image[found], extra])
    all_labels = np.concatenate([label[found], generator.choice(len(shares), size=len(extra), p=shares)])
    scores = np.concatenate([generator.beta(4, 2, int(found.sum())), generator.beta(2, 3, len(extra))])
    all_right = np.concatenate([right[:, found], np.zeros((10, len(extra)), dtype=np.bool_)], axis=1)
    order = np.argsort(-scores)
    classes = []
    for k in range(len(shares)):
        own = order[all_labels[order] == k]
        objects = np.bincount(image[label == k], minlength=len(hard)).astype(np.float64)
        classes.append(OneClass(objects, all_images[own], all_right[:, own]))
    return classes


def mean_ap(classes: Sequence[OneClass], weights: Floats) -> Floats:
    """AP over the classes that have objects, under each row of weights [draws, images]: [draws]."""
    objects = np.stack([weights @ one.objects for one in classes])
    each = np.stack([_ap(one, weights, of) for one, of in zip(classes, objects, strict=True)])
    return np.asarray((each * (objects > 0)).sum(axis=0) / (objects > 0).sum(axis=0))


def _ap(one: OneClass, weights: Floats, objects: Floats) -> Floats:
    if not len(one.image):
        return np.zeros(len(weights))
    weight = weights[:, None, one.image]
    true = np.cumsum(weight * one.right, axis=2)
    precision = true / np.maximum(np.cumsum(weight, axis=2), 1e-12)
    precision = np.maximum.accumulate(precision[:, :, ::-1], axis=2)[:, :, ::-1]
    recall = true / np.maximum(objects, 1e-12)[:, None, None]
    # How many of the recalls 0, 0.01, ..., 1 are reached with each detection; the first reaches recall 0.
    reached = np.floor(100 * recall + 1e-9) + 1
    newly = np.diff(reached, axis=2, prepend=0)
    return np.asarray((precision * newly).sum(axis=2).mean(axis=1) / 101)


def bias_corrected_percentile(values: Floats, estimate: float) -> tuple[float, float]:
    """Efron and Tibshirani, An Introduction to the Bootstrap, chapter 14, without acceleration."""
    shift = 2 * NORMAL.inv_cdf(min(max(float(np.mean(values < estimate)), 0.001), 0.999))
    lower, upper = np.quantile(values, [NORMAL.cdf(shift - 1.96), NORMAL.cdf(shift + 1.96)])
    return float(lower), float(upper)


def coverage_of_ap(images: int, shares: Sequence[float], easy: float, samples: int = 300) -> None:
    generator = np.random.default_rng(1)
    truth = float(mean_ap(detectors(generator, 40_000, shares, easy)[0], np.ones((1, 40_000)))[0])
    # The first row is the images as they are.
    weights = np.array([[1.0] * images] + [list(drawn.values()) for drawn in draws(range(images), resamples=RESAMPLES)])
    held = {"detkit": 0, "basic": 0, "percentile": 0, "bias-corrected percentile": 0}
    outside, apart, estimates = 0, 0, []
    for _ in range(samples):
        (estimate, *a), (other, *b) = (
            mean_ap(one, weights).tolist() for one in detectors(generator, images, shares, easy)
        )
        values = np.array(a)
        found = interval(values, estimate=estimate, images=images)
        assert found is not None
        lower, upper = np.quantile(values, [0.025, 0.975]).tolist()
        ends = {
            "detkit": (found.lower, found.upper),
            "basic": (2 * estimate - upper, 2 * estimate - lower),
            "percentile": (lower, upper),
            "bias-corrected percentile": bias_corrected_percentile(values, estimate),
        }
        for name, (low, high) in ends.items():
            held[name] += low <= truth <= high
        outside += not found.lower <= estimate <= found.upper
        apart += difference(values, np.array(b), estimate=estimate - other, images=images).is_clear
        estimates.append(estimate)
    shown = ", ".join(f"{name} {count / samples:.0%}" for name, count in held.items())
    print(
        f"AP, {images} images, {len(shares)} classes: true {truth:.3f}, on average {np.mean(estimates):.3f}; held by"
        f" {shown}; number outside detkit's {outside / samples:.0%}; equal detectors told apart {apart / samples:.0%}",
        flush=True,
    )


def coverage_of_a_mean(images: int, samples: int = 2000) -> None:
    generator = np.random.default_rng(2)
    weights = np.array([list(drawn.values()) for drawn in draws(range(images), resamples=1000)])
    held = 0
    for _ in range(samples):
        sample = generator.normal(size=images)
        found = interval(weights @ sample / images, estimate=float(sample.mean()), images=images)
        held += found is not None and found.lower <= 0 <= found.upper
    print(f"mean, {images} images: held by {held / samples:.0%}", flush=True)


def main() -> None:
    for images in (10, 20, 30, 50, 200):
        coverage_of_a_mean(images)
    for images in (20, 50, 200):
        coverage_of_ap(images, [1.0], easy=1.2)
    coverage_of_ap(50, [1.0], easy=4.0)
    for images in (50, 200):
        coverage_of_ap(images, [0.7, 0.2, 0.07, 0.03], easy=1.2)
    for images in (100, 300):
        coverage_of_ap(images, MANY, easy=1.2)
    coverage_of_ap(300, [share / 4 for share in MANY for _ in range(4)], easy=1.2, samples=100)


if __name__ == "__main__":
    main()
