"""A plugin for tests: a metric that is a mean over images, whose bootstrap is known; or is broken in one way.

An image's value is the highest score in it, 0 where nothing was found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from detkit import BuildContext, MetricComponent, MetricResult, Options, Scalar, Table, hookimpl
from detkit.data.types import ImageInfo, Prediction

Fault = Literal["", "raises", "nan", "unknown", "other", "no resampler"]


class ConfidentOptions(Options):
    fault: Fault = Field("", description="what is wrong with the resampler")
    gain: float = Field(1.0, description="what every value is multiplied by")
    lower_is_better: bool = Field(False, description="say so")


class Confident:
    """The mean over images of the highest score."""

    def __init__(self, options: ConfidentOptions) -> None:
        self._options = options
        self._highest: dict[int, float] = {}

    def reset(self) -> None:
        self._highest = {}

    def update(self, predictions: Sequence[Prediction], truths: Sequence[ImageInfo]) -> None:
        for prediction in predictions:
            highest = float(prediction.scores.max(initial=0.0))
            self._highest[prediction.image_id] = self._options.gain * highest

    def compute(self) -> MetricResult:
        mean = self._means(dict.fromkeys(self._highest, 1.0))["mean"]
        better = not self._options.lower_is_better
        scalars = {"mean": Scalar(mean, higher_is_better=better, primary=True), "images": Scalar(len(self._highest))}
        rows = (("confident", mean, len(self._highest)), ("nothing", None, 0))
        printed = Table(("what", "mean", "images"), rows, title="How confident it is", printed=True)
        tables = {"all": printed, "not_printed": Table(("what",), (("secret",),))}
        return MetricResult(scalars, tables, resampler=self._resampler())

    def _resampler(self) -> Any:
        return None if self._options.fault == "no resampler" else self._resampled

    def _resampled(self, weights: Mapping[int, float]) -> dict[str, float | None]:
        match self._options.fault:
            case "raises":
                raise ZeroDivisionError("a resampler's own fault")
            case "nan":
                return {"mean": math.nan}
            case "unknown":
                return {"maen": 0.5}
            case "other":
                return {"mean": 123.0}
        return self._means(weights)

    def _means(self, weights: Mapping[int, float]) -> dict[str, float | None]:
        total = sum(weights[image_id] for image_id in self._highest)
        values = sum(weights[image_id] * value for image_id, value in self._highest.items())
        return {"mean": values / total if total else None}


def build(options: ConfidentOptions, context: BuildContext) -> Confident:
    return Confident(options)


CONFIDENT = MetricComponent("confident", ConfidentOptions, build)


@hookimpl
def detkit_metrics() -> list[MetricComponent[Any]]:
    return [CONFIDENT]
