"""A final figure of a finished run, and its values in draws of the images, from the record alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from detkit.components import Messages
from detkit.engine.attribution import attributed
from detkit.engine.measuring import measure
from detkit.engine.prepare import build_context
from detkit.errors import RecordError, did_you_mean
from detkit.figures import MetricResult
from detkit.record.reader import RunRecord
from detkit.record.scored import ScoredImages, read_scored
from detkit.resampling import resample
from detkit.spec.model import ExperimentSpec, Use
from detkit.spec.recorded import recorded_spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: By how much, relatively, a figure may differ from its summary: sums end otherwise in the last bits on other machines.
SAME_FIGURE = 1e-9


class NotResampled(RecordError):
    """The quantity has neither intervals nor paired differences: another of the same runs may have them."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a run, and what it was computed of.

    Attributes:
        quantity: as `coco/ap`. value: in the summary. higher_is_better: None where neither is.
        same_images: whether the images that give it also selected the epoch.
        thresholds: what the metric had chosen on other images; None where it was given nothing.
        scored: these images. spec: of the run's experiment. use: the metric in it.
    """

    run: RunRecord
    quantity: str
    value: float
    higher_is_better: bool | None
    same_images: bool
    thresholds: Mapping[str, float] | None
    scored: ScoredImages
    spec: ExperimentSpec
    use: Use

    @property
    def metric(self) -> dict[str, Any]:
        """What the metric is, with all its options, for comparing it with another run's."""
        return {"use": self.use.offered.component.name, **self.use.options.model_dump(mode="json")}


def find_figure(run: RunRecord, quantity: str | None = None) -> Figure:
    """A figure of a finished run; by default its primary one.

    Raises:
        NotResampled: it is none of a metric. RecordError: the run has not finished, has no such figure, or the record
            is damaged.
    """
    summary = run.summary
    if summary is None:
        raise RecordError(f"{run}: only a finished run has figures")
    quantity = quantity or str(summary["primary"])
    values = summary["scored"]["values"]
    if quantity not in values:
        raise RecordError(f"{run.run_id} has no figure {quantity!r}{did_you_mean(quantity, values)}")
    if values[quantity] is None:
        raise RecordError(f"{quantity} of {run.run_id} has no value on these images")
    spec = recorded_spec(run)
    key = quantity.partition("/")[0]
    if key not in spec.metrics:
        raise NotResampled(f"{quantity} of {run.run_id} is no number of a metric{did_you_mean(key, spec.metrics)}")
    return Figure(
        run=run,
        quantity=quantity,
        value=float(values[quantity]),
        higher_is_better=summary["higher_is_better"].get(quantity),
        same_images=bool(summary["scored"]["same_images"]),
        thresholds=summary["scored"].get("thresholds", {}).get(key),
        scored=read_scored(run),
        spec=spec,
        use=spec.metrics[key],
    )


def draw_figure(
    figure: Figure, *, resamples: int, seed: int, messages: Messages, advance: Callable[[], object]
) -> NDArray[np.float64]:
    """Its values in the draws: float64 [resamples], NaN where it has none.

    Args:
        messages: of the metric, which is built again. advance: called after each draw.

    Raises:
        NotResampled: the metric does not resample it. RecordError: the metric gives another value now than the summary
            has, by more than `SAME_FIGURE`.
        ComponentError: it failed or broke its contract.
    """
    result = _measured_again(figure, messages)
    scalars = {name: scalar.value for name, scalar in result.scalars.items()}
    name = figure.quantity.partition("/")[2]
    value = scalars.get(name)
    if value is None or not math.isclose(value, figure.value, rel_tol=SAME_FIGURE):
        raise RecordError(
            f"{figure.run.run_id} in {figure.run.experiment} does not reproduce: computed from its predictions,"
            f" {figure.quantity} is {value}, and in its summary {figure.value}; a file of the record has"
            " changed since, or the metric computes otherwise now"
        )
    title = figure.use.title
    if result.resampler is None:
        raise NotResampled(f"{title} gives no resampler: its numbers have neither intervals nor paired differences")
    ids = figure.scored.image_ids
    with attributed(figure.use, "being resampled"):
        columns = resample(result.resampler, scalars, ids, resamples=resamples, seed=seed, advance=advance)
    if name not in columns:
        raise NotResampled(f"{title} does not resample {name}{did_you_mean(name, columns)}")
    return columns[name]


def _measured_again(figure: Figure, messages: Messages) -> MetricResult:
    run, spec, scored = figure.run, figure.spec, figure.scored
    context = build_context(
        spec,
        figure.use,
        messages=messages,
        class_names=scored.class_names,
        input_size=spec.models[run.model].input if run.model in spec.models else None,
        seed=run.seed,
        run_id=run.run_id,
        run_folder=run.files.folder,
    )
    with attributed(figure.use, "being built"):
        metric = figure.use.offered.component.build(figure.use.options, context)
    return measure(figure.use, metric, scored.predictions, scored.truths, thresholds=figure.thresholds)
