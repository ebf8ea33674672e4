"""From what was asked, by a command or from Python, to an evaluation that is ready: of a run, or of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detkit.components import Messages
from detkit.errors import UserError
from detkit.evaluation.data import Part
from detkit.evaluation.writing import Job
from detkit.predict.finding import Checkpoint
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.resampling import FEWEST_RESAMPLES, RESAMPLES


def prepare(
    run: str | Path | RunRecord | ExperimentRecord | None,
    predictions: Path | None,
    ground_truth: Path | None,
    *,
    checkpoint: Checkpoint | None,
    dataset: Path | None,
    split: Part | None,
    device: str | None,
    batch_size: int | None,
    metrics: Sequence[str],
    metrics_from: Path | None,
    resamples: int | None,
    settings: Mapping[str, Any],
    messages: Messages,
) -> Job:
    """See `detkit.evaluate`; None stands for what was not said.

    Raises:
        UserError: what is asked does not go together, or cannot be done. ComponentError: a plugin failed.
    """
    if run is None and predictions is None and ground_truth is None:
        raise UserError("nothing to evaluate: name a run, or files with --predictions and --ground-truth")
    if run is not None and (predictions is not None or ground_truth is not None):
        raise UserError("a run is evaluated, or files (--predictions and --ground-truth): name one of the two")
    if isinstance(metrics, str):
        raise UserError(f"metrics are a list of names, as [{metrics!r}]; got the text {metrics!r}")
    if resamples is not None and resamples < FEWEST_RESAMPLES and resamples != 0:
        raise UserError(f"intervals need at least {FEWEST_RESAMPLES} resamples, not {resamples}; 0 leaves them out")
    if run is not None:
        from detkit.evaluation.recorded import RecordedRequest, prepare_recorded

        request = RecordedRequest(
            checkpoint=checkpoint or "best",
            dataset=dataset,
            split=split,
            metrics=metrics,
            metrics_from=metrics_from,
            resamples=resamples,
            settings=settings,
            device=device or "auto",
            batch_size=batch_size,
        )
        return prepare_recorded(run, request, messages)
    given = {"checkpoint": checkpoint, "dataset": dataset, "split": split, "device": device, "batch size": batch_size}
    foreign = [name for name, value in given.items() if value is not None]
    if foreign:
        raise UserError(f"{', '.join(foreign)}: these belong to a run; files hold what a model found already")
    if predictions is None or ground_truth is None:
        raise UserError("predictions are compared with a ground truth: name both, --predictions and --ground-truth")
    from detkit.evaluation.files import FilesRequest, prepare_files

    files = FilesRequest(
        predictions=predictions,
        ground_truth=ground_truth,
        metrics=metrics,
        metrics_from=metrics_from,
        resamples=RESAMPLES if resamples is None else resamples,
        settings=settings,
    )
    return prepare_files(files, messages)
