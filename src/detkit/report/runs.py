"""The runs of an experiment as a page shows them: what they have, as far as they have come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from detkit.record.reader import ExperimentRecord, RunRecord, RunState
from detkit.record.summary import scored_intervals
from detkit.resampling import Interval

#: Beside the primary quantity, of the same metric, by the last part of the name: what people ask for first.
COMPANIONS = ("ap50", "mask_ap", "mask_ap50", "map_50", "mask_map", "mask_map_50")

LOSS = "validation/loss"


@dataclass(frozen=True, slots=True)
class ShownRun:
    """One run.

    Attributes:
        facts: run.json; empty before the run has begun. summary: of a finished run, else empty. cause: why it failed.
        epochs: the rows of metrics.jsonl. fold: None in an experiment without folds.
    """

    run_id: str
    model: str
    seed: int
    state: RunState
    facts: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    cause: str = ""
    epochs: Sequence[Mapping[str, Any]] = ()
    fold: int | None = None

    @property
    def spec(self) -> Mapping[str, Any]:
        """The part of the resolved spec that decides the run's numbers."""
        spec: Mapping[str, Any] = self.facts.get("spec", {})
        return spec

    @property
    def train(self) -> Mapping[str, Any]:
        """Its recipe."""
        train: Mapping[str, Any] = self.spec.get("model", {}).get("train", {})
        return train

    @property
    def costs(self) -> dict[str, Any]:
        """Those of the summary in one mapping, measured or not; empty where it has none."""
        costs = self.summary.get("costs", {})
        return {**costs, **costs.get("measured", {})}

    @property
    def measured(self) -> Mapping[str, Any]:
        measured: Mapping[str, Any] = self.summary.get("measured", {})
        return measured

    @property
    def intervals(self) -> dict[str, Interval]:
        """Of the final figures, by their names in the summary."""
        return scored_intervals(self.summary) if self.summary else {}

    @property
    def selected_epoch(self) -> int | None:
        return self.summary["selected"]["epoch"] if self.summary else None

    @property
    def selected_by(self) -> str:
        """The quantity that selected, as in metrics.jsonl; empty where none did."""
        return str(self.summary["selected"]["by"]) if self.summary else ""

    @property
    def last_epoch(self) -> int | None:
        """The last one that was evaluated."""
        evaluated = [row["epoch"] for row in self.epochs if any(is_figure(name) for name in row["values"])]
        return evaluated[-1] if evaluated else None

    def value(self, epoch: int | None, name: str) -> float | None:
        """Of a quantity on the validation images; None where the epoch has none."""
        found: list[float | None] = [row["values"].get(name) for row in self.epochs if row["epoch"] == epoch]
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class ShownRuns:
    """All runs, and what they are compared by.

    Attributes:
        primary: the quantity that orders the models, as in metrics.jsonl; empty where none does.
        higher_is_better: of a quantity, where it is known: a summary says so.
    """

    runs: Sequence[ShownRun]
    primary: str
    higher_is_better: Mapping[str, bool]

    @property
    def quantities(self) -> list[str]:
        """The primary one, its companions in the order in which people ask for them, and what else has selected."""
        names = {name for run in self.runs for row in run.epochs for name in row["values"]}
        metric = self.primary.rpartition("/")[0]
        wanted = [self.primary, *(f"{metric}/{name}" for name in COMPANIONS)]
        wanted += [run.selected_by for run in self.runs]
        return [name for name in dict.fromkeys(wanted) if name in names]

    @property
    def finished(self) -> list[ShownRun]:
        return [run for run in self.runs if run.summary]

    @property
    def folded(self) -> bool:
        """Whether runs validate on the images of several folds, so that no value in a column of all is the best."""
        return any(run.fold is not None for run in self.runs)

    def label(self, run: ShownRun) -> str:
        """The model's key where it has one run, else the run's own name."""
        return run.model if sum(other.model == run.model for other in self.runs) == 1 else run.run_id


def is_figure(name: str) -> bool:
    """Whether a quantity of metrics.jsonl comes from an evaluation."""
    return not name.startswith("train/")


def in_metrics(name: str) -> str:
    """A quantity of a summary under its name in metrics.jsonl: losses have another."""
    return f"validation/{name.removeprefix('loss/')}" if name.startswith("loss/") else name


def read_runs(record: ExperimentRecord) -> ShownRuns:
    """What the record has now; a run may still be going."""
    runs = [_shown(run) for run in record.compared]
    summaries = [run.summary for run in runs if run.summary]
    better = {in_metrics(name): bool(higher) for s in summaries for name, higher in s["higher_is_better"].items()}
    return ShownRuns(runs, in_metrics(str(summaries[0]["primary"])) if summaries else _guessed(runs), better)


def _guessed(runs: Sequence[ShownRun]) -> str:
    """Before any run has ended: the first figure of the first metric, which is the primary one of bundled metrics."""
    names = [name for run in runs for row in run.epochs for name in row["values"] if is_figure(name)]
    of_metrics = [name for name in names if not name.startswith("validation/")]
    return of_metrics[0] if of_metrics else LOSS if LOSS in names else ""


def _shown(run: RunRecord) -> ShownRun:
    state = run.state
    return ShownRun(
        run_id=run.run_id,
        model=run.model,
        seed=run.seed,
        state=state,
        facts=run.facts if run.files.run.exists() else {},
        summary=run.summary or {},
        cause=str((run.failure or {}).get("message", "")) if state == "failed" else "",
        epochs=run.epochs(),
        fold=run.fold,
    )
