"""A search as its record keeps it: what was tried, what each trial gave, and which were the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from detkit.errors import RecordError
from detkit.record.files import read_json
from detkit.search_space import Choices, Objective, Range, Value

if TYPE_CHECKING:
    from detkit.record.reader import RunRecord

TrialState = Literal["pending", "running", "finished", "failed", "interrupted", "pruned", "removed"]


@dataclass(frozen=True, slots=True)
class Trial:
    """Values that were tried for one model.

    Attributes:
        number: counted from 1, for each model. values: key of the spec to its value.
        state: of its runs together; only finished ones can be the best. Removed: it had finished or was pruned, and
            a run of it is no longer there; what it gave is still known.
        objectives: what it gave on the validation images, in the order of the search's objectives, a mean over its
            runs; of a pruned one what it had when it was stopped. None: it has not ended, has failed or has no value.
        runs: the ids of its runs: one a seed (and fold).
        reason: why it failed, or was stopped; empty otherwise.
        about: what the searcher wanted kept with it.
    """

    model: str
    number: int
    values: Mapping[str, Value]
    state: TrialState
    objectives: tuple[float, ...] | None = None
    runs: tuple[str, ...] = ()
    reason: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelSearch:
    """The trials of one model.

    Attributes:
        space: key of the spec to what it may be. wanted: how many trials there are to be.
        trials: in the order in which they were proposed.
        front: numbers of those that no other beats in all objectives, the best of the first objective first. With one
            objective: of the best.
        importances: key to its share of what the values make of the first objective, all together 1; None where they
            cannot be told, which `importances_note` explains.
    """

    model: str
    space: Mapping[str, Range | Choices]
    wanted: int
    trials: tuple[Trial, ...]
    front: tuple[int, ...] = ()
    importances: Mapping[str, float] | None = None
    importances_note: str = ""

    @property
    def best(self) -> Trial | None:
        """The finished trial with the best value of the first objective; None until there is one."""
        return next((trial for trial in self.trials if trial.number in self.front[:1]), None)

    @property
    def chosen(self) -> int | None:
        """The number of the trial that stands for the model: the best one, else the latest that is there."""
        best = self.best
        there = [trial for trial in self.trials if trial.state != "removed"]
        return best.number if best else there[-1].number if there else None


@dataclass(frozen=True, slots=True)
class Search:
    """The search of an experiment.

    Attributes:
        use: the searcher. options: its own. objectives: what is improved, on the validation images.
        models: key to its trials.
    """

    use: str
    options: Mapping[str, Any]
    objectives: tuple[Objective, ...]
    models: Mapping[str, ModelSearch]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, with the number of each model's `best` trial."""
        content = asdict(self)
        for model, found in self.models.items():
            content["models"][model]["best"] = found.best.number if found.best else None
        return content


def read_search(file: Path, state_of: Callable[[str], TrialState]) -> Search:
    """The search of search.json; of trials that are out, the state is that of their runs.

    Args:
        state_of: a run's id to its state.

    Raises:
        RecordError: the file is missing or damaged.
    """
    content = read_json(file)
    try:
        objectives = tuple(Objective(**row) for row in content["objectives"])
        models = {model: _model(model, row, state_of, objectives) for model, row in content["models"].items()}
        return Search(content["use"], content["options"], objectives, models)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise RecordError(f"{file} is damaged: {what}") from error


def _model(
    model: str, row: Mapping[str, Any], state_of: Callable[[str], TrialState], objectives: Sequence[Objective]
) -> ModelSearch:
    trials = tuple(_trial(model, trial, state_of) for trial in row["trials"])
    return ModelSearch(
        model=model,
        space={key: space_of_plain(value) for key, value in row["space"].items()},
        wanted=row["wanted"],
        trials=trials,
        front=tuple(trial.number for trial in pareto_front(trials, objectives)),
        importances=row.get("importances"),
        importances_note=row.get("importances_note", ""),
    )


def _trial(model: str, row: Mapping[str, Any], state_of: Callable[[str], TrialState]) -> Trial:
    state = row["state"]
    if state in ("finished", "pruned"):
        state = "removed" if is_removed(row, state_of) else state
    elif state == "running":
        states = [state_of(run) for run in row["runs"]]
        # One that is done waits for the others, or for its values to be read.
        state = "running" if "running" in states else "interrupted" if set(states) - {"pending"} else "pending"
    found = row["objectives"]
    return Trial(
        model=model,
        number=row["number"],
        values=row["values"],
        state=state,
        objectives=None if found is None else tuple(found),
        runs=tuple(row["runs"]),
        reason=row["reason"],
        about=row["about"],
    )


def is_removed(row: Mapping[str, Any], state_of: Callable[[str], str]) -> bool:
    """Whether a trial of search.json that ran has lost a run; a pruned one may never have begun all of them."""
    states = [state_of(run) for run in row["runs"]]
    return "pending" in states if row["state"] == "finished" else set(states) <= {"pending"}


def space_of_plain(value: Any) -> Range | Choices:
    """A parameter as search.json and specs state it: a list of values, or a range as a table."""
    return Choices(tuple(value)) if isinstance(value, list) else Range(**value)


# --- which is the best -----------------------------------------------------------------------------------------------


def pareto_front(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """The finished trials that no other beats: at least as good in every objective, and better in one.

    Returns:
        The best of the first objective first; of equal ones the earlier, which alone is kept where all are equal.
    """
    rated = [(_signed(trial.objectives, objectives), trial) for trial in trials if trial.state == "finished"]
    rated = [(values, trial) for values, trial in rated if values]
    front: list[tuple[tuple[float, ...], Trial]] = []
    for values, trial in sorted(rated, key=lambda pair: (pair[0], pair[1].number)):
        if not any(all(a <= b for a, b in zip(other, values, strict=True)) for other, _ in front):
            front.append((values, trial))
    return [trial for _, trial in front]


def _signed(values: tuple[float, ...] | None, objectives: Sequence[Objective]) -> tuple[float, ...]:
    """So that less is better; empty where there is none."""
    return tuple(
        -value if objective.direction == "maximize" else value
        for value, objective in zip(values or (), objectives if values else (), strict=True)
    )


# --- what a run gave -------------------------------------------------------------------------------------------------


def objective_values(run: RunRecord) -> dict[str, float | None]:
    """See `RunRecord.objective_values`."""
    objectives = [Objective(**row) for row in run.facts.get("trial", {}).get("objectives", ())]
    summary = run.summary
    if summary is not None:
        selected = next(row for row in run.epochs() if row["epoch"] == summary["selected"]["epoch"])
        there = {**_costs(summary), **selected["values"]}
        return {objective.metric: there.get(objective.metric) for objective in objectives}
    found: dict[str, float | None] = dict.fromkeys(objective.metric for objective in objectives)
    if run.pruned is not None:
        for objective in objectives:
            values = [value for row in run.epochs() if (value := row["values"].get(objective.metric)) is not None]
            better = max if objective.direction == "maximize" else min
            found[objective.metric] = better(values, default=None)
    return found


def _costs(summary: Mapping[str, Any]) -> dict[str, float | None]:
    costs = summary.get("costs", {})
    measured = summary["measured"]
    return {
        **{name: value for name, value in {**costs, **costs.get("measured", {})}.items() if _is_number(value)},
        "parameters": summary["parameters"],
        "peak_memory_bytes": measured["peak_memory_bytes"],
        "train_s": measured["train_s"],
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
