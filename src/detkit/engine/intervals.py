"""Bootstrap intervals of the final figures, of every metric that can be resampled."""

from __future__ import annotations

from typing import Any

from detkit.engine.attribution import attributed
from detkit.engine.evaluation import Evaluation
from detkit.engine.run import Run
from detkit.errors import Interrupted
from detkit.resampling import LEVEL, METHOD, SEED, Interval, interval, resample

#: Of a rehearsal before training.
FEW_RESAMPLES = 2


def intervals_json(run: Run, evaluation: Evaluation, epoch: int) -> dict[str, Any]:
    """For the summary: `intervals`, by quantity, and `resampling`, how they came about; nothing without resamples.

    Raises:
        ComponentError: a metric's resampler failed or broke its contract. Interrupted: a stop was requested.
    """
    if not run.resamples:
        return {}
    found = measure_intervals(run, evaluation, run.resamples, epoch=epoch)
    return {
        "intervals": {
            name: None if ends is None else {"lower": ends.lower, "upper": ends.upper} for name, ends in found.items()
        },
        "resampling": {"method": METHOD, "level": LEVEL, "resamples": run.resamples, "seed": SEED},
    }


def rehearse_intervals(run: Run, evaluation: Evaluation) -> None:
    """Ask every resampler for a few draws: one that is broken is found now, not after the training.

    Raises:
        ComponentError: as `intervals_json`.
    """
    if run.resamples:
        measure_intervals(run, evaluation, FEW_RESAMPLES, epoch=0)


def measure_intervals(run: Run, evaluation: Evaluation, resamples: int, *, epoch: int) -> dict[str, Interval | None]:
    """By quantity, as `coco/ap`; None where the images do not allow one. Empty in processes beside the first."""
    ids = [prediction.image_id for prediction in evaluation.predictions]
    found: dict[str, Interval | None] = {}
    for key, result in evaluation.results.items():
        if result.resampler is None:
            continue
        show = _Progress(run, f"intervals of {key}", epoch, resamples)
        with attributed(run.metrics[key][0], "being resampled"):
            scalars = {name: scalar.value for name, scalar in result.scalars.items()}
            values = resample(result.resampler, scalars, ids, resamples=resamples, advance=show.advance)
        found |= {
            f"{key}/{name}": interval(column, estimate=scalars[name], images=len(ids))
            for name, column in values.items()
        }
    return found


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
