"""The trials of a search, for `run` and `show`: a table, what counts most, and the best values to be pasted."""

from __future__ import annotations

from collections.abc import Sequence

import click

from detkit.cli.console import print_table
from detkit.record.reader import ExperimentRecord
from detkit.record.search import ModelSearch, Search, Trial
from detkit.search_space import Objective, Value

#: The best first, then what says less and less.
ORDER = ("finished", "pruned", "running", "interrupted", "pending", "failed", "removed")


def print_search(record: ExperimentRecord) -> None:
    """What the search of an experiment has tried, on stdout; nothing without one."""
    search = record.search
    if search is None:
        return
    for found in search.models.values():
        _print_model(record, search, found)


def _print_model(record: ExperimentRecord, search: Search, found: ModelSearch) -> None:
    counts = {state: sum(trial.state == state for trial in found.trials) for state in ORDER}
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none begun"
    named = " and ".join(f"{objective.metric} ({objective.direction})" for objective in search.objectives)
    click.echo(f"search of {found.model} by {search.use} for {named} on the validation images")
    click.echo(f"{len(found.trials)} of {max(found.wanted, len(found.trials))} trials: {told}")
    metrics, keys = [objective.metric for objective in search.objectives], list(found.space)
    rows = [_cells(trial, found, search.objectives, keys) for trial in _ordered(found, search.objectives)]
    numbers = [key for key in keys if not any(isinstance(trial.values[key], str | bool) for trial in found.trials)]
    print_table(("trial", *metrics, *keys, "state"), rows, right=("trial", *metrics, *numbers))
    for line in _failures(found):
        click.echo(line)
    if found.importances:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in found.importances.items())
        click.echo(f"what counts for {metrics[0]}: {shares}")
    elif found.importances_note and len(keys) > 1:  # of one key nobody asks
        click.echo(f"which key counts most is not said: {found.importances_note}")
    _print_best(record, search, found)


def _failures(found: ModelSearch) -> list[str]:
    """Why trials failed or count for nothing, in full; what several failed of is said once."""
    numbers: dict[str, list[int]] = {}
    unrated: list[int] = []
    for trial in found.trials:
        if trial.state == "failed":
            numbers.setdefault(trial.reason, []).append(trial.number)
        elif trial.state == "finished" and trial.objectives is None:
            unrated.append(trial.number)
    lines = []
    for reason, trials in numbers.items():
        first, *rest = reason.splitlines() or ["no reason was recorded"]
        lines += [f"{_which(trials)} failed: {first}", *(f"  {line}" for line in rest)]
    return [*lines, *([f"{_which(unrated)} finished, and an objective has no value"] if unrated else [])]


def _which(trials: Sequence[int]) -> str:
    return f"trial{'s' * (len(trials) > 1)} {', '.join(map(str, trials))}"


def _ordered(found: ModelSearch, objectives: Sequence[Objective]) -> list[Trial]:
    """The best first; those without a value last."""
    sign = -1.0 if objectives[0].direction == "maximize" else 1.0

    def rank(trial: Trial) -> tuple[int, float, int]:
        value = sign * trial.objectives[0] if trial.objectives else float("inf")
        return ORDER.index(trial.state), value, trial.number

    return sorted(found.trials, key=rank)


def _cells(trial: Trial, found: ModelSearch, objectives: Sequence[Objective], keys: Sequence[str]) -> list[str]:
    values = trial.objectives or (None,) * len(objectives)
    mark = ""
    if trial.number in found.front:
        mark = ", best" if len(objectives) == 1 else ", none is better in both"
    return [
        str(trial.number),
        *("-" if value is None else f"{value:.4g}" for value in values),
        *(_shown(trial.values[key]) for key in keys),
        f"{trial.state}{mark}",
    ]


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _print_best(record: ExperimentRecord, search: Search, found: ModelSearch) -> None:
    """The best values as a spec has them; of a Pareto front those that are best in the first objective."""
    best = found.best
    if best is None or best.objectives is None:
        return
    from detkit.spec.trials import pasted

    given = ", ".join(
        f"{objective.metric} {value:.4g}" for objective, value in zip(search.objectives, best.objectives, strict=True)
    )
    of = "the best" if len(search.objectives) == 1 else f"the best for {search.objectives[0].metric}"
    click.echo(f"\n# {of} of {len(found.trials)} trials of {found.model}: trial {best.number}, {given}")
    click.echo(pasted(record.run(best.runs[0]).files.own_spec, found.model, best.values))
