"""What metrics promise of their form and of what they do with what they get."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from detkit.components import Metric
from detkit.data.types import ImageInfo, Prediction
from detkit.figures import MetricResult, Scalar
from detkit.testing.rule import Broken, NotApplicable, rule
from detkit.testing.rules.common import capabilities
from detkit.testing.scenes import Scenes, no_predictions, perfect_predictions, poor_predictions, truths_of
from detkit.testing.subject import Subject
from detkit.testing.surroundings import left_alone

#: Numbers of the same images in another order: sums of floats differ in their last bits.
CLOSE = 1e-9
IMAGES = 12


def truths(subject: Subject, *, crowds: bool = False) -> list[ImageInfo]:
    """The ground truth of twelve scenes, three of them without objects."""
    scenes = Scenes(IMAGES, class_names=subject.class_names, size=subject.size, crowds=crowds)
    return subject.once(f"truths {crowds}", lambda: truths_of(scenes))


def with_masks(subject: Subject) -> bool:
    """Whether predictions must hold masks."""
    return "masks" in capabilities(subject, "needs")


def poor(subject: Subject, images: Sequence[ImageInfo]) -> list[Prediction]:
    """A detector's everyday work on these images."""
    return poor_predictions(images, masks=with_masks(subject))


def metric_of(subject: Subject) -> Metric:
    """A fresh one.

    Raises:
        NotApplicable: it is no metric; `metric-methods` says so.
    """
    built = subject.build()
    if not all(callable(getattr(built, name, None)) for name in ("reset", "update", "compute")):
        raise NotApplicable("it is no metric: see the rule metric-methods")
    return built  # type: ignore[no-any-return]  # it has the methods


def result_of(
    subject: Subject,
    metric: Metric,
    predictions: Sequence[Prediction],
    images: Sequence[ImageInfo],
    what: str,
    *,
    at_once: int | None = None,
) -> MetricResult:
    """The result over these images after a reset, as the engine asks for it.

    Args:
        at_once: images an update; None: all.

    Raises:
        Broken: it raises, or computes something else.
    """
    with subject.doing(f"measuring {what}"):
        metric.reset()
        size = at_once or max(1, len(images))
        for begin in range(0, len(images), size):
            metric.update(predictions[begin : begin + size], images[begin : begin + size])
        result: Any = metric.compute()
    if not isinstance(result, MetricResult):
        raise Broken(f"compute gives a {type(result).__name__} of {what}", "a detkit.MetricResult")
    return result


def usual_result(subject: Subject) -> MetricResult:
    """Of a detector's everyday work.

    Raises:
        NotApplicable: there is none; `metric-result` says so.
    """
    images = truths(subject)
    try:
        return subject.once(
            "usual", lambda: result_of(subject, metric_of(subject), poor(subject, images), images, "twelve scenes")
        )
    except Broken as broken:
        raise NotApplicable("it gives no result: see the rule metric-result") from broken


def numbers(result: MetricResult) -> dict[str, float | None]:
    """Plain values of the scalars."""
    return {name: None if each.value is None else float(each.value) for name, each in result.scalars.items()}


def differing(one: dict[str, float | None], other: dict[str, float | None], close: float = CLOSE) -> str:
    """The first number in which two results differ, with both values; empty where none does."""
    for name in one.keys() | other.keys():
        a, b = one.get(name), other.get(name)
        if (a is None) != (b is None) or (a is not None and b is not None and not _close(a, b, close)):
            return f"{name} is {a} and {b}"
    return ""


def _close(a: float, b: float, close: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=close, abs_tol=close)


def kinds_of_work(subject: Subject) -> Iterator[tuple[str, Sequence[Prediction], Sequence[ImageInfo]]]:
    """What a metric meets: perfect, everyday and no predictions; images without objects; one image; crowds."""
    images, masks = truths(subject), with_masks(subject)
    empty = [image for image in images if not image.annotations]
    yield "perfect predictions", perfect_predictions(images, masks=masks), images
    yield "a detector's everyday work", poor(subject, images), images
    yield "no predictions at all", no_predictions(images, masks=masks), images
    yield "false alarms in images without objects", poor(subject, empty), empty
    yield "images without objects or predictions", no_predictions(empty, masks=masks), empty
    yield "one image", perfect_predictions(images[:1], masks=masks), images[:1]
    crowded = truths(subject, crowds=True)
    yield "images with crowds", poor(subject, crowded), crowded


@rule("metric", "metric-methods", "a metric has `reset`, `update` and `compute`")
def has_methods(subject: Subject) -> None:
    """The built object has the three methods of `detkit.Metric`."""
    built = subject.build()
    missing = [name for name in ("reset", "update", "compute") if not callable(getattr(built, name, None))]
    if missing:
        raise Broken(f"a {type(built).__name__} without {', '.join(missing)}", "the methods of detkit.Metric")


@rule("metric", "metric-result", "`compute` gives a `MetricResult` with at least one scalar")
def gives_result(subject: Subject) -> None:
    """`compute()` returns a `detkit.MetricResult` whose `scalars` map names to `detkit.Scalar`: at least one. It works
    for whatever a training comes by: no predictions at all, images without objects, a single image, crowds, and false
    alarms where there is nothing."""
    metric = metric_of(subject)
    for what, predictions, images in kinds_of_work(subject):
        result = result_of(subject, metric, predictions, images, what)
        if not result.scalars:
            raise Broken(f"there is no scalar for {what}", "at least one")
        for name, scalar in result.scalars.items():
            if not isinstance(scalar, Scalar):
                raise Broken(f"the scalar {name!r} is a {type(scalar).__name__}", "a detkit.Scalar")


@rule("metric", "metric-finite", "a value that does not apply is None, never NaN")
def finite(subject: Subject) -> None:
    """Every value of a scalar, table, curve or threshold is a finite number, or None where it does not apply (a share
    of no objects, say). NaN and infinity are never written as numbers; -1 stands for no value nowhere."""
    from detkit.engine.results import plain_result

    usual_result(subject)
    metric = metric_of(subject)
    for what, predictions, images in kinds_of_work(subject):
        result = result_of(subject, metric, predictions, images, what)
        try:
            plain_result(result)
        except (ValueError, TypeError) as error:
            raise Broken(f"for {what}, {error}", "finite numbers, None where there is none") from error


@rule("metric", "metric-names", "the names of scalars are bare, and do not depend on the images")
def scalar_names(subject: Subject) -> None:
    """Names are bare quantities such as `ap50`: not empty, without "/" (the engine prefixes the metric's key) and
    without blanks. The same names are there whatever was measured, with the value None where it does not apply: columns
    of tables and the choice of the best epoch rely on it."""
    wanted = set(usual_result(subject).scalars)
    wrong = sorted(name for name in wanted if not name or "/" in name or name != "".join(name.split()))
    if wrong:
        raise Broken(f"a scalar is named {wrong[0]!r}", "a bare name")
    metric = metric_of(subject)
    for what, predictions, images in kinds_of_work(subject):
        found = set(result_of(subject, metric, predictions, images, what).scalars)
        if found != wanted:
            raise Broken(f"for {what}, {', '.join(sorted(found ^ wanted))} appear or are missing", "the same names")


@rule("metric", "metric-primary", "at most one scalar is primary, and it has a direction")
def one_primary(subject: Subject) -> None:
    """At most one scalar has `primary=True`: it selects the best checkpoint where the metric comes first. Its
    `higher_is_better` is True or False, the same one whatever was measured."""
    scalars = usual_result(subject).scalars
    primary = [name for name, scalar in scalars.items() if scalar.primary]
    if len(primary) > 1:
        raise Broken(f"{' and '.join(primary)} are primary", "one at most")
    if primary and not isinstance(scalars[primary[0]].higher_is_better, bool):
        raise Broken(f"{primary[0]} is primary and has no direction", "higher_is_better is True or False")


@rule("metric", "metric-perfect", "no predictions beat perfect ones")
def perfect_is_best(subject: Subject) -> None:
    """By the primary scalar, predictions that are exactly the objects (with the score 1) are at least as good as a
    detector's everyday work, and as no predictions; and better than one of them. Where it is a share (higher is better,
    no unit), perfect predictions have the value 1. Crowds that are not predicted do not count as missed."""
    primary = next((name for name, scalar in usual_result(subject).scalars.items() if scalar.primary), None)
    if primary is None:
        raise NotApplicable("it has no primary scalar")
    for crowds in (False, True):
        images, masks = truths(subject, crowds=crowds), with_masks(subject)
        metric = metric_of(subject)
        best = result_of(subject, metric, perfect_predictions(images, masks=masks), images, "perfect predictions")
        scalar = best.scalars[primary]
        if scalar.value is None:
            raise Broken(f"{primary} of perfect predictions is None", "a number")
        if scalar.higher_is_better and not scalar.unit and not math.isclose(scalar.value, 1.0, abs_tol=1e-6):
            with_ = " with crowds" if crowds else ""
            raise Broken(f"{primary} of perfect predictions{with_} is {scalar.value:.6g}", "1")
        others = []
        for what, predictions in (
            ("everyday work", poor(subject, images)),
            ("none", no_predictions(images, masks=masks)),
        ):
            value = result_of(subject, metric, predictions, images, what).scalars[primary].value
            if value is None:
                continue
            others.append(value)
            if (value > scalar.value) if scalar.higher_is_better else (value < scalar.value):
                raise Broken(
                    f"{primary} is {scalar.value:.6g} for perfect predictions, {value:.6g} for {what}", "no better"
                )
        if others and all(value == scalar.value for value in others):
            raise Broken(f"{primary} is {scalar.value:.6g} whatever is predicted", "perfect predictions are better")


@rule("metric", "metric-order", "the order of images does not matter")
def image_order(subject: Subject) -> None:
    """The same images in another order give the same scalars (but for the last bits of sums): over several devices they
    come as they come."""
    images = truths(subject)
    usual = numbers(usual_result(subject))
    predictions = poor(subject, images)
    metric = metric_of(subject)
    for what, order in (("backwards", slice(None, None, -1)), ("rotated", None)):
        given = predictions[order] if order else predictions[5:] + predictions[:5]
        of = images[order] if order else images[5:] + images[:5]
        found = numbers(result_of(subject, metric, given, of, f"the images {what}"))
        if text := differing(usual, found):
            raise Broken(f"with the images {what}, {text}", "the same numbers")


@rule("metric", "metric-updates", "one update with all images is as many with a few")
def many_updates(subject: Subject) -> None:
    """Updates add up: twelve images at once, one by one, or five at a time give the same scalars."""
    images = truths(subject)
    predictions = poor(subject, images)
    usual = numbers(usual_result(subject))
    for size in (1, 5):
        found = numbers(
            result_of(subject, metric_of(subject), predictions, images, f"{size} images an update", at_once=size)
        )
        if text := differing(usual, found):
            raise Broken(f"at once and with {size} images an update, {text}", "the same numbers")


@rule("metric", "metric-reset", "`reset` forgets all images")
def resets(subject: Subject) -> None:
    """After `reset`, a metric that has measured other images gives what a fresh one gives; and two metrics that were
    built share nothing."""
    images = truths(subject)
    predictions = poor(subject, images)
    fresh = numbers(result_of(subject, metric_of(subject), predictions[:6], images[:6], "six scenes"))
    used = metric_of(subject)
    result_of(subject, used, predictions, images, "twelve scenes")
    again = numbers(result_of(subject, used, predictions[:6], images[:6], "six scenes after twelve others"))
    if text := differing(fresh, again):
        raise Broken(f"fresh and after a reset, {text}", "the same numbers")
    other = metric_of(subject)
    with subject.doing("measuring with two at once"):
        used.reset()
        other.reset()
        used.update(predictions[:6], images[:6])
        other.update(predictions[6:], images[6:])
        both = numbers(used.compute())
    if text := differing(fresh, both):
        raise Broken(f"alone and beside another metric of the kind, {text}", "metrics that share nothing")


@rule("metric", "metric-compute-twice", "`compute` changes nothing")
def compute_twice(subject: Subject) -> None:
    """`compute` called twice gives the same numbers, and images can be added after it."""
    images = truths(subject)
    usual = numbers(usual_result(subject))
    predictions = poor(subject, images)
    metric = metric_of(subject)
    with subject.doing("computing twice"):
        metric.reset()
        metric.update(predictions[:6], images[:6])
        metric.compute()
        first = numbers(metric.compute())
        metric.update(predictions[6:], images[6:])
        whole = numbers(metric.compute())
    alone = numbers(result_of(subject, metric_of(subject), predictions[:6], images[:6], "six scenes"))
    if text := differing(alone, first) or differing(usual, whole):
        raise Broken(f"computed once and again, {text}", "the same numbers")


@rule("metric", "metric-inputs-untouched", "predictions and truths are not written to")
def inputs_untouched(subject: Subject) -> None:
    """Other metrics get the same arrays, and the record is written from them: a metric that sorts or rescales works on
    copies."""
    usual_result(subject)
    images = truths(subject)
    given, before = poor(subject, images), poor(subject, images)
    result_of(subject, metric_of(subject), given, images, "twelve scenes")
    for prediction, old in zip(given, before, strict=True):
        for name in ("boxes", "labels", "scores"):
            if not np.array_equal(getattr(prediction, name), getattr(old, name)):
                raise Broken(f"it changes the {name} of a prediction", "a copy is changed instead")
        if prediction.masks != old.masks:
            raise Broken("it changes the masks of a prediction", "a copy is changed instead")


@rule("metric", "metric-masks", "it works with masks and without them")
def masks_or_not(subject: Subject) -> None:
    """A metric that needs boxes only is given masks wherever dataset and model have them, and truths with masks beside
    predictions without them where the model gives none. One that needs masks is always given both."""
    usual_result(subject)
    images = truths(subject)
    metric = metric_of(subject)
    for masks in (True,) if with_masks(subject) else (True, False):
        what = f"predictions {'with' if masks else 'without'} masks"
        result_of(subject, metric, poor_predictions(images, masks=masks), images, what)
        result_of(subject, metric, no_predictions(images, masks=masks), images, f"no {what}")
    if not with_masks(subject):
        bare = truths_of(Scenes(IMAGES, class_names=subject.class_names, size=subject.size, masks=False))
        result_of(subject, metric, poor_predictions(bare), bare, "truths without masks")


@rule("metric", "metric-leaves-settings", "measuring changes nothing that belongs to the process")
def leaves_settings(subject: Subject) -> None:
    """It leaves the global generators, torch's threads, default dtype and gradient mode, the working directory and the
    environment as they were: evaluating more often must not change what is trained. What it draws, it draws from
    `context.generator()`."""
    usual_result(subject)
    images = truths(subject)
    metric, predictions = metric_of(subject), poor(subject, images)
    with left_alone("measuring", with_generators=True):
        result_of(subject, metric, predictions, images, "twelve scenes")
