"""A rehearsal: every run through a few batches, an evaluation, a checkpoint, all loggers; what the whole will cost."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import tomli_w

from detkit.engine.display import Display
from detkit.engine.experiment import run_experiment
from detkit.engine.launch import failure_of
from detkit.engine.limits import Limits
from detkit.record.files import read_json
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.record.splits import SplitName, read_split_rows
from detkit.spec.loader import load_spec
from detkit.spec.model import ExperimentSpec

LIMITS = Limits(train_steps=2, evaluation_images=2, folds=1)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one model, over all its seeds and folds. The first step warms up, so the second one is the measure."""

    model: str
    seconds: float
    disk_bytes: int
    peak_memory_bytes: int
    failure: str = ""


@dataclass(frozen=True, slots=True)
class SmokeReport:
    """What a rehearsal found."""

    estimates: tuple[Estimate, ...]
    failed_loggers: Mapping[str, str]

    @property
    def ok(self) -> bool:
        return not self.failed_loggers and not any(estimate.failure for estimate in self.estimates)

    @property
    def seconds(self) -> float:
        return sum(estimate.seconds for estimate in self.estimates)

    @property
    def disk_bytes(self) -> int:
        return sum(estimate.disk_bytes for estimate in self.estimates)


def smoke(spec: ExperimentSpec, display: Display) -> SmokeReport:
    """Rehearse the first seed (and fold) of every model in a temporary folder, which is removed.

    Raises:
        UserError: as `run_experiment`.
    """
    with tempfile.TemporaryDirectory(prefix="detkit-smoke-") as folder:
        rehearsal = _rehearsal(spec, Path(folder))
        record = run_experiment(rehearsal, display, limits=LIMITS)
        fold = None if spec.split.folds is None else 1
        split_sizes = {name: len(rows) for name, rows in read_split_rows(record.files, fold).items()}
        estimates = tuple(_estimate(spec, run, split_sizes) for run in record.runs)
        return SmokeReport(estimates, _failed_loggers(record))


def _rehearsal(spec: ExperimentSpec, folder: Path) -> ExperimentSpec:
    """The spec with one epoch, one seed and a folder of its own."""
    file = folder / "spec.toml"
    with file.open("wb") as stream:
        tomli_w.dump(spec.resolved, stream)
    changes: dict[str, object] = {"experiment.output": str(folder), "experiment.seeds": [spec.experiment.seeds[0]]}
    changes["search"] = None  # of a trial, what the tables say is rehearsed
    for key in spec.models:
        # What counts in epochs does not fit into one.
        changes |= {f"models.{key}.train.epochs": 1}
        changes |= {f"models.{key}.train.{counted}": None for counted in ("warmup_epochs", "unfreeze_epochs")}
    rehearsal = load_spec(file, set=changes, blocked=spec.blocked)
    # What messages name is the user's file and command line: the copy is gone when they are read.
    return replace(rehearsal, path=spec.path, provenance=spec.provenance)


def _estimate(spec: ExperimentSpec, run: RunRecord, split_sizes: Mapping[SplitName, int]) -> Estimate:
    if run.state != "finished":
        return Estimate(run.model, 0.0, 0, 0, failure=str(failure_of(run)["message"]))
    train, runs = spec.models[run.model].train, len(spec.experiment.seeds) * (spec.split.folds or 1)
    if spec.search is not None and run.model in spec.search.models:
        runs *= spec.search.trials(run.model)
    summary = run.summary or {}
    step_s = [row["measured"]["step_s"] for row in run.steps()][-1]
    epoch_s = [row["measured"]["evaluation_s"] for row in run.epochs()]
    evaluation_s = statistics.fmean(epoch_s) / summary["scored"]["images"]
    steps = -(-split_sizes["train"] // (train.batch_size * train.accumulate))
    evaluations = -(-train.epochs // train.eval_every_epochs)
    scored = split_sizes["test"] or split_sizes["validation"]
    seconds = train.epochs * steps * step_s + evaluation_s * (evaluations * split_sizes["validation"] + scored)
    files = run.files
    checkpoints = files.last.stat().st_size + files.best.stat().st_size
    predictions = sum(file.stat().st_size for file in (files.folder / "predictions").iterdir())
    per_image = predictions / (2 * summary["scored"]["images"])
    disk = checkpoints + per_image * evaluations * split_sizes["validation"]
    return Estimate(run.model, runs * seconds, int(runs * disk), summary["measured"]["peak_memory_bytes"])


def _failed_loggers(record: ExperimentRecord) -> dict[str, str]:
    failed: dict[str, str] = {}
    for run in record.runs:
        if run.files.loggers.exists():
            states = read_json(run.files.loggers)["loggers"]
            failed |= {key: state["trouble"] for key, state in states.items() if not state["complete"]}
    return failed
