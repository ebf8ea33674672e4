"""How often bootstrap intervals over images hold the true value, of simulated detectors whose true AP is known.

Images differ in how hard they are, objects in how well they are found; the classes' shares of the objects are given. AP
is COCO's, over ten IoU thresholds and 101 recalls. Each line is one situation: the corrected interval, as detkit gives
it, the plain percentile interval and BCa, each with the share of samples in which it holds the AP of 8,000 images; and
how often two detectors of equal quality are told apart by the paired difference.
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
RECALLS = np.linspace(0, 1, 101)
RESAMPLES = 300


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
    return tuple(_detector(generator, image, label, hard, shares, easy) for _ in range(2))  # type: ignore[return-value]


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


def mean_ap(classes: Sequence[OneClass], weights: Floats) -> float:
    """AP over the classes that have objects under these weights."""
    return float(np.mean([_ap(one, weights) for one in classes if weights @ one.objects > 0]))


def _ap(one: OneClass, weights: Floats) -> float:
    if not len(one.image):
        return 0.0
    weight = weights[one.image]
    true = np.cumsum(weight * one.right, axis=1)
    precision = true / np.maximum(np.cumsum(weight), 1e-12)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = true / (weights @ one.objects)
    total = 0.0
    for t in range(10):
        place = np.searchsorted(recall[t], RECALLS - 1e-12)
        reached = place < len(one.image)
        total += float(np.mean(np.where(reached, precision[t][np.minimum(place, len(one.image) - 1)], 0)))
    return total / 10


def bca(values: Floats, estimate: float, left_out: Floats) -> tuple[float, float]:
    """Efron and Tibshirani, An Introduction to the Bootstrap, chapter 14; left_out: without each image."""
    shift = NORMAL.inv_cdf(min(max(float(np.mean(values < estimate)), 0.001), 0.999))
    apart = left_out.mean() - left_out
    acceleration = float((apart**3).sum() / (6 * (apart**2).sum() ** 1.5))
    ends = [shift + (shift + z) / (1 - acceleration * (shift + z)) for z in (-1.96, 1.96)]
    lower, upper = np.quantile(values, [NORMAL.cdf(end) for end in ends])
    return float(lower), float(upper)


def coverage_of_ap(images: int, shares: Sequence[float], easy: float, samples: int = 300) -> None:
    generator = np.random.default_rng(1)
    truth = mean_ap(detectors(generator, 8000, shares, easy)[0], np.ones(8000))
    weights = np.array([list(drawn.values()) for drawn in draws(range(images), resamples=RESAMPLES)])
    whole, without = np.ones(images), 1.0 - np.eye(images)
    held = {"corrected": 0, "percentile": 0, "BCa": 0}
    apart, estimates = 0, []
    for _ in range(samples):
        a, b = detectors(generator, images, shares, easy)
        estimate, other = mean_ap(a, whole), mean_ap(b, whole)
        values, others = (np.array([mean_ap(one, drawn) for drawn in weights]) for one in (a, b))
        found = interval(values, estimate=estimate, images=images)
        ends = {
            "corrected": (found.lower, found.upper) if found else (0.0, 0.0),
            "percentile": tuple(np.quantile(values, [0.025, 0.975])),
            "BCa": bca(values, estimate, np.array([mean_ap(a, part) for part in without])),
        }
        for name, (lower, upper) in ends.items():
            held[name] += bool(lower <= truth <= upper)
        apart += difference(values, others, estimate=estimate - other, images=images).is_clear
        estimates.append(estimate)
    shown = ", ".join(f"{name} {count / samples:.0%}" for name, count in held.items())
    print(
        f"AP, {images} images, classes {list(shares)}: true {truth:.3f}, on average {np.mean(estimates):.3f};"
        f" held by {shown}; equal detectors told apart in {apart / samples:.0%}",
        flush=True,
    )


def coverage_of_a_mean(images: int, samples: int = 4000) -> None:
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


if __name__ == "__main__":
    main()
