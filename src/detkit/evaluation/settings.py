"""What `--set` changes, by the table that it changes; a key that would change nothing is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detkit.errors import UserError


def by_table(settings: Mapping[str, Any], tables: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The changes of each table.

    Args:
        settings: dotted keys to values. tables: the names of those that count.

    Raises:
        UserError: a key is of another table.
    """
    changes: dict[str, dict[str, Any]] = {table: {} for table in tables}
    for key, value in settings.items():
        table = key.partition(".")[0].strip().strip("\"'")
        if table not in changes:
            raise UserError(f"--set {key}: it would change nothing here; what counts are keys of {_listed(tables)}")
        changes[table][key] = value
    return changes


def refuse_other_models(settings: Mapping[str, Any], model: str) -> None:
    """Let through what changes how the run's model is built, and nothing else of [models].

    Raises:
        UserError: a key is of another model, or says how to train.
    """
    for key in settings:
        parts = [part.strip().strip("\"'") for part in key.split(".")]
        if parts[1:2] != [model]:
            raise UserError(f"--set {key}: the run's model is models.{model}")
        if parts[2:3] == ["train"]:
            raise UserError(f"--set {key}: nothing is trained here; --batch-size says how many images are a batch")


def as_texts(settings: Mapping[str, Any]) -> list[str]:
    """As they are typed, near enough to read them again."""
    return [f"{key}={value}" for key, value in settings.items()]


def _listed(tables: Sequence[str]) -> str:
    return ", ".join(f"[{table}]" for table in tables)
