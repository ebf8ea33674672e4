"""The trials of a search, as the page reads them: lists in the order of the parameters, no name as a key."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detkit.record.reader import ExperimentRecord
from detkit.record.search import ModelSearch, Trial
from detkit.report.portable import portable, portable_text
from detkit.search_space import Choices, Range


def trials_content(record: ExperimentRecord, folders: Sequence[Path]) -> dict[str, Any] | None:
    """What each model's search has tried so far; None without a search.

    Args:
        folders: what no page may name.

    Raises:
        RecordError: search.json is damaged.
    """
    search = record.search
    if search is None:
        return None
    return {
        "use": search.use,
        "objectives": [{"metric": one.metric, "direction": one.direction} for one in search.objectives],
        "models": [_model(found, folders) for found in search.models.values()],
    }


def _model(found: ModelSearch, folders: Sequence[Path]) -> dict[str, Any]:
    return {
        "model": found.model,
        "wanted": found.wanted,
        "parameters": [_parameter(key, parameter) for key, parameter in found.space.items()],
        "trials": [_trial(trial, found.space, folders) for trial in found.trials],
        "front": list(found.front),
        "best": found.best.number if found.best else None,
        "importances": [[key, share] for key, share in (found.importances or {}).items()],
        "importances_note": portable_text(found.importances_note, folders),
    }


def _parameter(key: str, parameter: Range | Choices) -> dict[str, Any]:
    if isinstance(parameter, Choices):
        return {"key": key, "kind": "choices", "choices": portable(list(parameter.values))}
    facts = {"low": parameter.low, "high": parameter.high, "log": parameter.log, "integer": parameter.integer}
    return {"key": key, "kind": "range", **facts}


def _trial(trial: Trial, space: Mapping[str, Range | Choices], folders: Sequence[Path]) -> dict[str, Any]:
    return {
        "number": trial.number,
        "values": portable([trial.values.get(key) for key in space]),
        "shares": [_share(parameter, trial.values.get(key)) for key, parameter in space.items()],
        "objectives": None if trial.objectives is None else [_finite(value) for value in trial.objectives],
        "state": trial.state,
        "reason": portable_text(trial.reason, folders),
        "runs": list(trial.runs),
    }


def _share(parameter: Range | Choices, value: Any) -> float | None:
    """How far along its axis a value lies, from 0 to 1; of choices by their place, since to the page, which shows
    only the last part of a path, two may look alike. None where the value is not of the parameter."""
    if parameter.complaint(value):
        return None
    if isinstance(parameter, Choices):
        places = [at for at, choice in enumerate(parameter.values) if choice == value and type(choice) is type(value)]
        places += [at for at, choice in enumerate(parameter.values) if choice == value]
        return places[0] / (len(parameter.values) - 1) if len(parameter.values) > 1 else 0.5
    number = float(value)
    if parameter.log:
        return math.log(number / parameter.low) / math.log(parameter.high / parameter.low)
    return (number - parameter.low) / (parameter.high - parameter.low)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
