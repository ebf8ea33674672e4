"""Intervals of differences hold what they say: simulated pairs of detectors whose true difference is known.

`benchmarks/interval_coverage.py` has more situations, and those in which intervals are too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from detkit.components import Silent
from detkit.data.types import Annotation, ImageInfo, Prediction
from detkit.resampling import Seeds, difference, difference_over_seeds
from detkit_coco import CocoOptions, choose_engine
from detkit_coco.metric import CocoMetric
from simulated_detectors import THRESHOLDS, Found, Scene, detect, drawn_weights, mean_ap, scene, true_ap

PAIRS = 2000
RESAMPLES = 300
FOUR_CLASSES = (0.4, 0.3, 0.2, 0.1)


# --- the simulation is that of the metric ----------------------------------------------------------------------------


def as_boxes(seen: Scene, found: Found) -> tuple[list[Prediction], list[ImageInfo]]:
    """The same as boxes: objects far from each other; a detection is shifted until its IoU lies between thresholds."""
    side, step = 100.0, 1000.0
    corner = np.stack([step * np.arange(len(seen.image)), np.zeros(len(seen.image))], axis=1)
    infos, predictions = [], []
    for image in range(seen.images):
        own = np.flatnonzero(seen.image == image)
        boxes = [(float(corner[i][0]), 0.0, float(corner[i][0]) + side, side) for i in own]
        annotations = [Annotation(int(seen.label[i]) + 1, b, side * side) for i, b in zip(own, boxes, strict=True)]
        infos.append(ImageInfo(image, None, 10_000, 1000, tuple(annotations), f"{image}.png"))
        rows = np.flatnonzero(found.image == image)
        shifted = []
        for row in rows:
            iou = 0.475 + 0.05 * found.reached[row]
            shift = side * (1 - iou) / (1 + iou)
            matched = found.matched[row]
            x, y = (float(corner[matched][0]) + shift, 0.0) if matched >= 0 else (step * float(row), 500.0)
            shifted.append((x, y, x + side, y + side))
        predictions.append(
            Prediction(
                image,
                np.array(shifted, dtype=np.float32).reshape(-1, 4),
                (found.label[rows] + 1).astype(np.int64),
                found.score[rows].astype(np.float32),
            )
        )
    return predictions, infos


@pytest.mark.parametrize("shares", [(1.0,), FOUR_CLASSES])
def test_the_simulated_ap_is_that_of_the_coco_metric_in_every_draw(shares: Sequence[float]) -> None:
    generator = np.random.default_rng(1)
    seen = scene(generator, 30, shares)
    found = detect(generator, seen, 1.0)
    names = [f"class {number}" for number in range(len(shares))]
    metric = CocoMetric(names, CocoOptions(), choose_engine("auto", Silent()))
    metric.update(*as_boxes(seen, found))
    result = metric.compute()
    assert result.resampler is not None
    weights = drawn_weights(30, 20)
    expected = [result.resampler(dict(enumerate(row.tolist())))["ap"] for row in weights]
    assert expected[0] == result.scalars["ap"].value
    assert mean_ap(seen, found, weights) == pytest.approx(np.array(expected, dtype=np.float64), abs=1e-9)
    assert found.reached.max() == THRESHOLDS


# --- two trained models ----------------------------------------------------------------------------------------------


def coverage(
    images: int, skills: tuple[float, float], shares: Sequence[float] = (1.0,), *, pairs: int = PAIRS
) -> tuple[float, float]:
    """In which share of pairs the interval holds the true difference, and in which it leaves out 0."""
    generator = np.random.default_rng(images)
    a, b = skills
    true = 0.0 if a == b else true_ap(generator, a, shares) - true_ap(generator, b, shares)
    weights = drawn_weights(images, RESAMPLES)
    held = clear = 0
    for _ in range(pairs):
        seen = scene(generator, images, shares)
        first, second = (mean_ap(seen, detect(generator, seen, skill), weights) for skill in skills)
        found = difference(first[1:], second[1:], estimate=float(first[0] - second[0]), images=images)
        assert found.interval is not None
        held += found.interval.lower <= true <= found.interval.upper
        clear += found.is_clear
    return held / pairs, clear / pairs


@pytest.mark.slow
@pytest.mark.parametrize("images", [50, 200])
@pytest.mark.parametrize(
    ("skills", "shares"),
    [((1.2, 0.6), (1.0,)), ((1.2, 1.2), (1.0,)), ((1.2, 0.6), FOUR_CLASSES), ((1.2, 1.2), FOUR_CLASSES)],
)
def test_the_interval_of_a_difference_holds_it_as_often_as_it_says(
    images: int, skills: tuple[float, float], shares: Sequence[float]
) -> None:
    held, clear = coverage(images, skills, shares)
    print(f"{images} images, {len(shares)} classes, skills {skills}: held {held:.3f}, told apart {clear:.3f}")
    assert 0.925 <= held <= 0.97
    if skills[0] == skills[1]:
        assert clear <= 0.07
    else:
        assert clear > 0.15  # it is no interval that holds everything


def test_a_few_pairs_are_held_too() -> None:
    """The same in short, for every run of the tests."""
    held, clear = coverage(50, (1.2, 1.2), pairs=150)
    assert held >= 0.9
    assert clear <= 0.1


# --- seeds -----------------------------------------------------------------------------------------------------------


def seeds_coverage(images: int, seeds: int, spread: float, *, pairs: int) -> tuple[float, float]:
    """Of equal models, each trained with several seeds that make its skill vary by so much.

    Returns:
        In which share of pairs the interval over images and seeds holds 0, and that over images alone.
    """
    generator = np.random.default_rng(seeds)
    weights = drawn_weights(images, RESAMPLES)
    held = of_images = 0
    for _ in range(pairs):
        seen = scene(generator, images)
        models = []
        for _ in range(2):
            drawn = [
                mean_ap(seen, detect(generator, seen, 1.2 + generator.normal(0, spread)), weights) for _ in range(seeds)
            ]
            models.append(Seeds([float(one[0]) for one in drawn], [one[1:] for one in drawn]))
        found = difference_over_seeds(*models, images=images)
        means = [Seeds([model.mean], [np.mean(model.drawn, axis=0)]) for model in models]
        alone = difference_over_seeds(*means, images=images)
        assert found.interval is not None
        assert alone.interval is not None
        held += found.interval.lower <= 0 <= found.interval.upper
        of_images += alone.interval.lower <= 0 <= alone.interval.upper
    return held / pairs, of_images / pairs


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_over_seeds_the_interval_holds_the_difference_where_that_of_the_images_does_not(seeds: int) -> None:
    held, of_images = seeds_coverage(50, seeds, 0.5, pairs=600)
    print(f"{seeds} seeds: held {held:.3f}, by images alone {of_images:.3f}")
    assert 0.925 <= held <= 0.985
    assert of_images < 0.8


@pytest.mark.slow
def test_where_seeds_make_no_difference_the_interval_is_cautious() -> None:
    held, of_images = seeds_coverage(50, 3, 0.0, pairs=600)
    print(f"held {held:.3f}, by images alone {of_images:.3f}")
    assert held >= 0.94
    assert 0.925 <= of_images <= 0.975
