"""What metrics say of predictions, as plain values under the names that the record has for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detkit.components import Metric, Thresholded
from detkit.data.types import ImageInfo, Prediction
from detkit.engine.attribution import attributed
from detkit.engine.results import plain_result
from detkit.errors import ComponentError
from detkit.figures import MetricResult, Scalar
from detkit.spec.model import Use


def measure(
    use: Use,
    metric: Metric,
    predictions: Sequence[Prediction],
    truths: Sequence[ImageInfo],
    *,
    thresholds: Mapping[str, float] | None = None,
) -> MetricResult:
    """The result of one metric.

    Args:
        use: the metric's component. predictions, truths: aligned, of the same images.
        thresholds: what the metric chose on other images, for metrics that are `Thresholded`; None: it chose nothing.

    Raises:
        ComponentError: the metric failed, or what it computed is no result, or holds a number that is not finite.
    """
    with attributed(use, "measuring"):
        metric.reset()
        if thresholds is not None and isinstance(metric, Thresholded):
            metric.use_thresholds(thresholds)
        metric.update(predictions, truths)
        result = metric.compute()
    if not isinstance(result, MetricResult):
        raise ComponentError(f"{use.title} computed a {type(result).__name__}; it must be a detkit.MetricResult")
    with attributed(use, "giving its result"):
        return plain_result(result)


def named_scalars(results: Mapping[str, MetricResult]) -> dict[str, Scalar]:
    """Every number as `key/quantity`, in the order of the metrics.

    Args:
        results: by the metric's key in the spec.
    """
    return {f"{key}/{name}": scalar for key, result in results.items() for name, scalar in result.scalars.items()}


def primary_of(scalars: Mapping[str, Scalar]) -> str:
    """The first number that is primary; empty where none is."""
    return next((name for name, scalar in scalars.items() if scalar.primary), "")


def directions(scalars: Mapping[str, Scalar]) -> dict[str, bool]:
    """Quantity to whether higher is better, for those of which one is."""
    return {name: scalar.higher_is_better for name, scalar in scalars.items() if scalar.higher_is_better is not None}
