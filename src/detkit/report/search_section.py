"""The search of an experiment, as its page tells it: what was tried, what counts most, the best values."""

from __future__ import annotations

from collections.abc import Sequence

from detkit.errors import RecordError
from detkit.record.reader import ExperimentRecord
from detkit.record.search import ModelSearch, Search, Trial
from detkit.report.portable import portable_text
from detkit.report.say import private_folders_of, told
from detkit.report.text import MISSING, code, escape, fenced, table
from detkit.search_space import Objective, Value
from detkit.spec.trials import pasted


def search_section(record: ExperimentRecord) -> list[str]:
    """Nothing without a search.

    Raises:
        RecordError: search.json is damaged.
    """
    search = record.search
    if search is None:
        return []
    parts = ["## Search"]
    for found in search.models.values():
        parts += _of_model(record, search, found)
    return parts


def _of_model(record: ExperimentRecord, search: Search, found: ModelSearch) -> list[str]:
    named = " and ".join(f"{code(objective.metric)} ({objective.direction})" for objective in search.objectives)
    parts = [
        f"{len(found.trials)} of {found.wanted} trials of {code(found.model)} by {code(search.use)} for {named},"
        " measured on the validation images.",
    ]
    if found.trials:
        parts.append(_trials(found, search.objectives))
    if failed := [trial for trial in found.trials if trial.state == "failed"]:
        parts.append("\n".join(f"- trial {trial.number} failed: {told(record, trial.reason)}" for trial in failed))
    if found.importances:
        shares = ", ".join(f"{code(key)} {share:.0%}" for key, share in found.importances.items())
        parts.append(f"What counts for {code(search.objectives[0].metric)}: {shares}.")
    return [*parts, *_best(record, search, found)]


def _trials(found: ModelSearch, objectives: Sequence[Objective]) -> str:
    keys = list(found.space)
    header = ["state", "trial", *(code(objective.metric) for objective in objectives), *map(code, keys)]
    rows = [_cells(trial, found, len(objectives), keys) for trial in found.trials]
    return table(header, rows, right=len(header) - 1)


def _cells(trial: Trial, found: ModelSearch, objectives: int, keys: Sequence[str]) -> list[str]:
    best = ("best" if objectives == 1 else "none is better in both") if trial.number in found.front else ""
    values = trial.objectives or (None,) * objectives
    return [
        ", ".join(filter(None, (trial.state, best))),
        f"**{trial.number}**" if best else str(trial.number),
        *(MISSING if value is None else f"{value:.4g}" for value in values),
        *(_shown(trial.values[key]) for key in keys),
    ]


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _best(record: ExperimentRecord, search: Search, found: ModelSearch) -> list[str]:
    best = found.best
    if best is None:
        return []
    of = "" if len(search.objectives) == 1 else f" for {code(search.objectives[0].metric)}"
    try:
        values = pasted(record.run(best.runs[0]).files.own_spec, found.model, best.values)
    except RecordError:  # its run was removed: the table has the values
        return []
    return [f"The best{of}, trial {best.number}:", fenced(portable_text(values, private_folders_of(record)), "toml")]
