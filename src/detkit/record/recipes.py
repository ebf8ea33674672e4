"""What differs between the recipes of runs: the parts of the spec that decide their numbers, as dotted keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: Of a recipe's key that a run does not have.
ABSENT = "-"


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys to values; a list is one value."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def differences(recipes: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The keys in which not all recipes agree, each with its value in every one of them.

    Args:
        recipes: as run.json has them under `spec`. A key that one lacks has `ABSENT` there.
    """
    tables = [flat(recipe) for recipe in recipes]
    keys = list(dict.fromkeys(key for table in tables for key in table))
    rows = {key: [table.get(key, ABSENT) for table in tables] for key in keys}
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values[1:])}
