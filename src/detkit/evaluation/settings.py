"""What `--set` changes, by the table that it changes; a key that would change nothing is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
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
        UserError: a key is of another model, or says how to train, or whether to.
    """
    for key, path, _ in _values(settings):
        if path[1:2] != (model,):
            raise UserError(f"--set {key}: the run's model is models.{model}")
        if path[2:3] == ("train",):
            raise UserError(f"--set {key}: nothing is trained here; --batch-size says how many images are a batch")
        if path[2:3] == ("enabled",):
            raise UserError(f"--set {key}: the run's model is evaluated in any case")


def refuse_split(settings: Mapping[str, Any], why: str) -> None:
    """Let no key of [dataset.split] through.

    Args:
        why: it would change nothing.

    Raises:
        UserError: there is one.
    """
    for key, path, _ in _values(settings):
        if path[1:2] == ("split",):
            raise UserError(f"--set {key}: it would change nothing here: {why}")


def refuse_idle_metrics(settings: Mapping[str, Any], used: Collection[str]) -> None:
    """Let through what changes a metric that is evaluated with, or leaves one out.

    Args:
        used: the keys of those that are evaluated with.

    Raises:
        UserError: a key is of another metric.
    """
    for key, path, value in _values(settings):
        left_out = (path[2:], value) in (((), None), (("enabled",), False))
        if len(path) > 1 and path[1] not in used and not left_out:
            raise UserError(
                f"--set {key}: it would change nothing here: the evaluation is with {', '.join(used) or 'no metric'};"
                f" --metric names those to evaluate with, as --metric {path[1]}"
            )


def as_texts(settings: Mapping[str, Any]) -> list[str]:
    """As they are typed, near enough to read them again."""
    return [f"{key}={value}" for key, value in settings.items()]


def _values(settings: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Each single value: the key that was given, its path, and itself; a key may stand for a table of values."""
    for key, value in settings.items():
        path = tuple(part.strip().strip("\"'") for part in key.split("."))
        if isinstance(value, Mapping) and value:
            yield from ((key, (*path, *inner), item) for _, inner, item in _values(value))
        else:
            yield key, path, value


def _listed(tables: Sequence[str]) -> str:
    return ", ".join(f"[{table}]" for table in tables)
