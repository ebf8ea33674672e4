"""Draws of the final figures, of every metric that can be resampled, and the intervals that come from them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from detkit.engine.attribution import attributed
from detkit.engine.evaluation import Evaluation
from detkit.engine.run import Run
from detkit.errors import Interrupted
from detkit.figures import MetricResult, Number
from detkit.record.summary import intervals_content
from detkit.resampling import Interval, interval, resample
from detkit.spec.model import Use

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Of a rehearsal before training.
FEW_RESAMPLES = 2


def intervals_json(run: Run, evaluation: Evaluation, epoch: int) -> dict[str, Any]:
    """For the summary: `intervals`, by quantity, and `resampling`, how they came about; nothing without resamples.

    The draws go into the record too: comparisons of runs need them.

    Raises:
        ComponentError: a metric's resampler failed or broke its contract. Interrupted: a stop was requested.
        RecordError: the file cannot be written.
    """
    if not run.resamples:
        return {}
    columns = measure_draws(run, evaluation, run.resamples, epoch=epoch)
    numbers = _numbers(evaluation.results)
    run.recorder.draws(columns, {name: numbers[name] for name in columns})
    return intervals_content(_intervals(evaluation.results, columns, len(evaluation.predictions)), run.resamples)


def rehearse_intervals(run: Run, evaluation: Evaluation) -> None:
    """Ask every resampler for a few draws: one that is broken is found now, not after the training.

    Raises:
        ComponentError: as `intervals_json`.
    """
    if run.resamples:
        measure_draws(run, evaluation, FEW_RESAMPLES, epoch=0)


def measure_draws(run: Run, evaluation: Evaluation, resamples: int, *, epoch: int) -> dict[str, NDArray[np.float64]]:
    """By quantity, as `coco/ap`: float64 [resamples]. Empty in processes beside the first."""
    ids = [prediction.image_id for prediction in evaluation.predictions]
    found: dict[str, NDArray[np.float64]] = {}
    for key, result in evaluation.results.items():
        show = _Progress(run, f"intervals of {key}", epoch, resamples)
        found |= _draws(run.metrics[key][0], key, result, ids, resamples=resamples, advance=show.advance)
    return found


def resampled_intervals(
    use: Use,
    key: str,
    result: MetricResult,
    image_ids: Collection[int],
    *,
    resamples: int,
    advance: Callable[[], object],
) -> dict[str, Interval | None]:
    """Of one metric, by quantity, as `coco/ap`; none where it cannot be resampled.

    Args:
        use, key: the metric. image_ids: of all images behind its result. advance: called after each draw.

    Raises:
        ComponentError: the metric's resampler failed or broke its contract.
    """
    columns = _draws(use, key, result, image_ids, resamples=resamples, advance=advance)
    return _intervals({key: result}, columns, len(image_ids))


def _draws(
    use: Use,
    key: str,
    result: MetricResult,
    image_ids: Collection[int],
    *,
    resamples: int,
    advance: Callable[[], object],
) -> dict[str, NDArray[np.float64]]:
    if result.resampler is None:
        return {}
    with attributed(use, "being resampled"):
        scalars = {name: scalar.value for name, scalar in result.scalars.items()}
        values = resample(result.resampler, scalars, image_ids, resamples=resamples, advance=advance)
    return {f"{key}/{name}": column for name, column in values.items()}


def _intervals(
    results: Mapping[str, MetricResult], columns: Mapping[str, NDArray[np.float64]], images: int
) -> dict[str, Interval | None]:
    """None where the images do not allow one."""
    numbers = _numbers(results)
    return {name: interval(column, estimate=numbers[name], images=images) for name, column in columns.items()}


def _numbers(results: Mapping[str, MetricResult]) -> dict[str, Number]:
    return {f"{key}/{name}": one.value for key, result in results.items() for name, one in result.scalars.items()}


class _Progress:
    """Says how many draws are done, and looks whether to stop."""

    def __init__(self, run: Run, phase: str, epoch: int, total: int) -> None:
        self._run = run
        self._phase = phase
        self._epoch = epoch
        self._total = total
        self._done = 0

    def advance(self) -> None:
        if self._run.stop and self._run.fabric.world_size == 1:
            raise Interrupted("stopped while the images were drawn for intervals")
        epochs = self._run.info.epochs
        self._run.recorder.progress(
            phase=self._phase, epoch=self._epoch, epochs=epochs, done=self._done, total=self._total
        )
        self._done += 1
