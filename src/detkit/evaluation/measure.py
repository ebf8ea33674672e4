"""Metrics, built from a spec's [metrics], over predictions and their ground truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from detkit.components import BuildContext, Messages, Metric
from detkit.data.types import ImageInfo, Prediction
from detkit.engine.attribution import attributed
from detkit.engine.intervals import resampled_intervals
from detkit.engine.measuring import measure
from detkit.errors import UserError
from detkit.figures import MetricResult
from detkit.resampling import Interval
from detkit.spec.model import Use

Metrics = Mapping[str, tuple[Use, Metric]]


@dataclass(frozen=True, slots=True)
class Measured:
    """What metrics say.

    Attributes:
        results: by the metric's key.
        intervals: quantity, as `coco/ap`, to its interval over the images; None where they do not allow one.
        resamples: how many draws those are from.
    """

    results: Mapping[str, MetricResult]
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)
    resamples: int = 0


def build_metrics(uses: Mapping[str, Use], context: Callable[[Use], BuildContext]) -> Metrics:
    """Check and build metrics.

    Args:
        context: in which a metric is built.

    Raises:
        UserError: there is none, or one cannot work here. ComponentError: one cannot be built.
    """
    if not uses:
        raise UserError("there is no metric to evaluate with; name one with --metric, as --metric coco")
    metrics = {}
    for key, use in uses.items():
        component = use.offered.component
        if component.check is not None:
            with attributed(use, "checking its options"):
                component.check(use.options, context(use))
        with attributed(use, "being built"):
            metrics[key] = (use, component.build(use.options, context(use)))
    return metrics


def measure_all(
    metrics: Metrics,
    predictions: Sequence[Prediction],
    truths: Sequence[ImageInfo],
    *,
    resamples: int,
    messages: Messages,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
) -> Measured:
    """Let every metric compare predictions with their ground truth.

    Args:
        predictions, truths: aligned, of the same images.
        resamples: draws of the images for intervals; 0 for none.
        thresholds: what the metrics chose on other images, by their keys.

    Raises:
        ComponentError: a metric failed or broke its contract.
    """
    chosen = thresholds or {}
    results = {
        key: measure(use, metric, predictions, truths, thresholds=chosen.get(key))
        for key, (use, metric) in metrics.items()
    }
    intervals: dict[str, Interval | None] = {}
    ids = [truth.image_id for truth in truths]
    for key, result in results.items():
        if resamples and result.resampler is not None:
            with messages.progress(f"intervals of {key}", resamples, "draws") as progress:
                intervals |= resampled_intervals(
                    metrics[key][0], key, result, ids, resamples=resamples, advance=progress.advance
                )
    return Measured(results, intervals, resamples if intervals else 0)
