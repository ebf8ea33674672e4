"""Running a spec again: what is kept, added, resumed, extended, or refused because it would change a run's numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from detkit.errors import RecordError
from detkit.record.layout import ExperimentLayout, run_id
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.spec.model import ExperimentSpec

#: "restart" puts a failed run's folder aside and starts it over.
Action = Literal["keep", "start", "restart", "resume", "extend"]

#: Of `[dataset]`, what changes nothing in the data.
HARMLESS_DATASET_KEYS = ("skip_checks",)
#: Of `[compute]`, what can change a number; the rest changes how fast it comes.
COMPUTE_KEYS = ("device", "devices", "precision", "threads")
#: Of a model's `[train]`, what only says when to save.
HARMLESS_TRAIN_KEYS = ("checkpoint_every_steps",)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run that the spec asks for, and what is to be done about it."""

    record: RunRecord
    action: Action


def wanted_runs(spec: ExperimentSpec, folds: int | None = None) -> list[RunRecord]:
    """Every run of the spec, in its order: models outside, then folds, seeds inside. Without those of a search.

    Args:
        folds: only so many of the first.
    """
    searched = spec.search.models if spec.search is not None else ()
    numbers = [None] if spec.split.folds is None else range(1, spec.split.folds + 1)[:folds]
    return [
        RunRecord(spec.record_folder, run_id(model.key, seed, fold), model.key, seed, fold)
        for model in spec.models.values()
        if model.enabled and model.key not in searched
        for fold in numbers
        for seed in spec.experiment.seeds
    ]


def plan_runs(spec: ExperimentSpec, *, resume: bool, extend: bool, folds: int | None = None) -> list[PlannedRun]:
    """Every run of the spec with its action, in the order of `wanted_runs`.

    Args:
        folds: only so many of the first.

    Raises:
        RecordError: a change in the spec would change the numbers of a run that is there; or a run was cut short and
            nobody said what to do about it.
    """
    folder = spec.record_folder
    planned = []
    wanted = wanted_runs(spec, folds)
    changes = _changed_splits(spec, {record.run_id for record in wanted})
    unfinished: list[RunRecord] = []
    for record in wanted:
        model, state = spec.models[record.model], record.state
        if state == "pending":
            planned.append(PlannedRun(record, "start"))
            continue
        if state == "running":
            raise RecordError(f"{record.run_id} is still running in another process; try again when that has ended")
        changed = list(_changes(record.facts["spec"], run_spec(spec, model.key)))
        epochs = record.facts["spec"]["model"]["train"]["epochs"]
        if state == "failed" and changed:
            planned.append(PlannedRun(record, "restart"))  # it has no figures that a change could alter
            continue
        longer = model.train.epochs > epochs and state == "finished"
        if extend and longer:
            changed = [change for change in changed if not change.startswith("model.train.epochs:")]
        changes += [_named(change, model.key) for change in changed]
        if state != "finished" and not resume:
            unfinished.append(record)
        action: Action = "extend" if extend and longer else "keep" if state == "finished" else "resume"
        planned.append(PlannedRun(record, action))
    if changes:
        raise RecordError(_refusal(folder, sorted(set(changes))))
    if unfinished:
        listed = ", ".join(map(str, unfinished))
        raise RecordError(
            f"{folder} holds runs that did not finish: {listed}; go on with --resume, or start afresh with --name NEW"
        )
    return planned


def _changed_splits(spec: ExperimentSpec, wanted: Collection[str]) -> list[str]:
    """What is otherwise in [dataset.split] than for recorded runs that are not wanted now: their names may show it.

    Runs of one experiment share its splits: `fcos-fold1-seed1` has no place beside `fcos-seed1`.
    """
    layout = ExperimentLayout(spec.record_folder)
    if not layout.experiment.exists():
        return []
    now = _json_ready(spec.resolved["dataset"]["split"])
    found: list[str] = []
    for run in ExperimentRecord(layout.folder).runs:
        if run.run_id not in wanted and run.state not in ("pending", "failed"):
            before = run.facts["spec"]["dataset"].get("split", {})
            found += _changes(before, now, "dataset.split.")
    return found


def run_spec(spec: ExperimentSpec, model: str) -> dict[str, Any]:
    """The part of the resolved spec that decides a run's numbers, apart from its seed."""
    resolved = spec.resolved
    metrics = [key for key, use in spec.metrics.items() if use.enabled]
    train = {key: value for key, value in resolved["models"][model]["train"].items() if key not in HARMLESS_TRAIN_KEYS}
    table = {key: value for key, value in resolved["models"][model].items() if key != "augment"}
    augment = [key for key, use in spec.models[model].augment.items() if use.enabled]
    decisive = {
        "dataset": {key: value for key, value in resolved["dataset"].items() if key not in HARMLESS_DATASET_KEYS},
        "model": {**table, "train": train},
        **_augment_in_order(resolved["models"][model].get("augment", {}), augment),
        "training_step": resolved["training_step"],
        "metrics": {key: resolved["metrics"][key] for key in metrics},
        "metrics_in_order": metrics,  # the first one selects
        "callbacks": {key: resolved["callbacks"][key] for key, use in spec.callbacks.items() if use.enabled},
        "compute": {key: resolved["compute"].get(key) for key in COMPUTE_KEYS},
    }
    return {key: _json_ready(value) for key, value in decisive.items()}


def _augment_in_order(tables: Mapping[str, Any], enabled: Sequence[str]) -> dict[str, Any]:
    """Of what is applied, the order counts as much as the options. Nothing where nothing is applied."""
    return {"augment": {key: tables[key] for key in enabled}, "augment_in_order": list(enabled)} if enabled else {}


def changes_of(run: RunRecord, now: Mapping[str, Any], model: str) -> list[str]:
    """What is otherwise in a spec than when the run was begun, as people are told it.

    Args:
        now: see `run_spec`.
    """
    return [_named(change, model) for change in _changes(run.facts["spec"], now)]


def _json_ready(value: Any) -> Any:
    """Infinity, which TOML has (`clip_norm = inf`) and JSON has not, as text."""
    if isinstance(value, Mapping):
        return {key: _json_ready(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_ready(child) for child in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in sorted(old.keys() | new.keys()):
        name = f"{prefix}{key}"
        before, now = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from _changes(before, now, f"{name}.")
        elif before != now:
            yield f"{name}: {before!r} before, {now!r} now"


def _named(change: str, model: str) -> str:
    """The key as the spec has it."""
    return change.replace("model.", f"models.{model}.", 1) if change.startswith("model.") else change


def _refusal(folder: Path, changes: list[str]) -> str:
    extend = any(".train.epochs:" in change for change in changes)
    hint = "; --extend gives finished runs more epochs" if extend else ""
    listed = "\n  ".join(changes)
    return (
        f"{folder} holds runs whose numbers these changes would alter:\n  {listed}\n"
        f"put the values back, or start afresh with --name NEW or --fresh{hint}"
    )


def free_name(spec: ExperimentSpec) -> str:
    """The experiment's name if nothing is recorded under it, else the first free one of NAME-2, NAME-3, ..."""
    name, number = spec.experiment.name, 1
    while ExperimentLayout(spec.experiment.output / name).experiment.exists():
        number += 1
        name = f"{spec.experiment.name}-{number}"
    return name


def merged_runs(wanted: Sequence[RunRecord], existing: ExperimentRecord | None) -> list[RunRecord]:
    """The runs of the record: those there were, in their order, and the new ones."""
    runs = {run.run_id: run for run in (existing.runs if existing else [])}
    for run in wanted:
        runs.setdefault(run.run_id, run)
    return list(runs.values())
