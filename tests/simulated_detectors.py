"""Simulated detectors whose true AP is known: images differ in how hard they are, objects in how well they are found.

AP is COCO's, over ten IoU thresholds and 101 recalls, of all draws at once; tests/unit/test_simulated_detectors.py
holds it together with the COCO metric on the same detections as boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detkit.resampling import draws

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: How many IoU thresholds.
THRESHOLDS = 10
#: As COCO has them, which are not decimals to the last bit: 7 objects of 10 do not reach the recall of 0.7.
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Scene:
    """What all detectors see.

    Attributes:
        images: how many. shares: of the objects, by class.
        image, label: of each object; labels from 0. hard_image: of each image. hard_object: of each object.
    """

    images: int
    shares: tuple[float, ...]
    image: Integers
    label: Integers
    hard_image: Floats
    hard_object: Floats


@dataclass(frozen=True)
class Found:
    """What a detector finds, by falling score.

    Attributes:
        image, label: of each detection. reached: how many of the thresholds it passes; 0 for a false alarm.
        matched: the object; -1 where there is none. score: float64.
    """

    image: Integers
    label: Integers
    reached: Integers
    matched: Integers
    score: Floats


def scene(generator: np.random.Generator, images: int, shares: Sequence[float] = (1.0,)) -> Scene:
    per_image = generator.poisson(1.7, images) + 1
    image = np.repeat(np.arange(images), per_image)
    label = generator.choice(len(shares), size=len(image), p=shares)
    hard, own = generator.normal(0, 0.7, images), generator.normal(0, 0.7, len(image))
    return Scene(images, tuple(shares), image, label, hard, own)


def detect(generator: np.random.Generator, seen: Scene, skill: float, *, false_alarms: float = 1.0) -> Found:
    """A detector's results: the higher its skill, the better its boxes; another one is as good but independent."""
    found = generator.random(len(seen.image)) < 0.95
    ease = skill - seen.hard_image[seen.image] - seen.hard_object
    well = 1 / (1 + np.exp(-ease))
    luck = generator.random(len(seen.image))
    reached = (luck < well * np.linspace(1, 0.15, THRESHOLDS)[:, None]).sum(axis=0)
    extra_image = np.repeat(
        np.arange(seen.images), generator.poisson(false_alarms * (1 + np.maximum(seen.hard_image, 0)))
    )
    extra = len(extra_image)
    score = np.concatenate([generator.beta(4, 2, int(found.sum())), generator.beta(2, 3, extra)])
    order = np.argsort(-score)
    return Found(
        image=np.concatenate([seen.image[found], extra_image])[order],
        label=np.concatenate([seen.label[found], generator.choice(len(seen.shares), size=extra, p=seen.shares)])[order],
        reached=np.concatenate([reached[found], np.zeros(extra, dtype=np.int64)])[order],
        matched=np.concatenate([np.flatnonzero(found), np.full(extra, -1)])[order],
        score=score[order],
    )


def drawn_weights(images: int, resamples: int) -> Floats:
    """The images as they are, then in draws: float64 [1 + resamples, images]."""
    return np.array([[1.0] * images] + [list(drawn.values()) for drawn in draws(range(images), resamples=resamples)])


def mean_ap(seen: Scene, found: Found, weights: Floats) -> Floats:
    """AP over the classes that have objects, under each row of weights [draws, images]: [draws]."""
    total, known = np.zeros(len(weights)), np.zeros(len(weights))
    for label in range(len(seen.shares)):
        objects = weights @ np.bincount(seen.image[seen.label == label], minlength=seen.images).astype(np.float64)
        own = found.label == label
        total += np.where(objects > 0, _class_ap(found.image[own], found.reached[own], objects, weights), 0)
        known += objects > 0
    return total / known


def _class_ap(image: Integers, reached: Integers, objects: Floats, weights: Floats) -> Floats:
    weight = weights[:, image]
    seen = np.cumsum(weight, axis=1)
    total = np.zeros(len(weights))
    for threshold in range(THRESHOLDS):
        hits = np.flatnonzero(reached > threshold)
        if not len(hits):
            continue
        true = np.cumsum(weight[:, hits], axis=1)
        precision = true / np.maximum(seen[:, hits], 1e-12)
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        # How many of the recalls are reached with each hit; the first that is drawn reaches recall 0.
        recalls = np.searchsorted(RECALLS, true / np.maximum(objects, 1e-12)[:, None], side="right")
        newly = np.diff(np.where(true > 0, recalls, 0), axis=1, prepend=0)
        total += np.einsum("ij,ij->i", precision, newly) / 101
    return total / THRESHOLDS


def true_ap(
    generator: np.random.Generator, skill: float, shares: Sequence[float], *, false_alarms: float = 1.0
) -> float:
    """Over so many images that what is left of chance is far below any interval."""
    parts = []
    for _ in range(4):
        seen = scene(generator, 40_000, shares)
        found = detect(generator, seen, skill, false_alarms=false_alarms)
        parts.append(float(mean_ap(seen, found, np.ones((1, seen.images)))[0]))
    return float(np.mean(parts))
