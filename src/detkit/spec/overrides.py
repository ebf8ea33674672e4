"""What the command line changes in a spec: `--set`, `--enable-logger`, `--disable-logger`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any

import tomli

from detkit.errors import Problem, SpecError, did_you_mean
from detkit.spec.document import COMMAND_LINE, Document, Place
from detkit.spec.scanner import KeyPath, format_key
from detkit.spec.secrets import is_secret

COMMAND_LINE_RANK = 1_000_000


def parse_override(text: str) -> tuple[str, Any]:
    """Split `a.b=value`; the value is read as TOML, and taken as text where it is none.

    Raises:
        SpecError: there is no equals sign, or the key is not one as TOML writes them.
    """
    for at, character in enumerate(text):
        if character == "=" and key_path(text[:at]) is not None:
            return text[:at].strip(), _parse_value(text[at + 1 :])
    shown = text.partition("=")[0]
    message = f"--set takes KEY=VALUE with a dotted key, as --set train.epochs=3; got {shown!r}"
    raise SpecError([Problem(COMMAND_LINE, None, "", "", message)])


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """`parse_override` for several; the last one of a key wins.

    Raises:
        SpecError: naming all that cannot be read.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for text in texts:
        try:
            key, value = parse_override(text)
        except SpecError as error:
            problems += error.problems
        else:
            values.pop(key, None)  # its place in the order is that of the last one too
            values[key] = value
    if problems:
        raise SpecError(problems)
    return values


def apply_overrides(document: Document, changes: Mapping[str, Any], folder: Path) -> list[Problem]:
    """Lay the changes over a document; relative paths in them resolve against `folder`.

    A value of None takes the key out again: what the component, its recipe or detkit has as default applies.
    """
    problems: list[Problem] = []
    for key, value in changes.items():
        path = key_path(key)
        if path is None:
            problems.append(_problem((), f"{key!r} is not a dotted key as TOML writes them"))
            continue
        text = _shown(path, key, value)
        if path[0] == "extends":
            problems.append(_problem(path, f"a spec file states what it extends; it cannot be set (from {text})"))
        elif value is None:
            document.drop(path)
        elif not _is_plain(value):
            problems.append(_problem(path, f"a {type(value).__name__} cannot stand in a spec (from {text})"))
        else:
            place = Place("command line", COMMAND_LINE, None, folder, COMMAND_LINE_RANK, text)
            document.put(path, _plain(value), place)
    return problems


def switch_loggers(document: Document, enable: Sequence[str], disable: Sequence[str], folder: Path) -> list[Problem]:
    """Set `enabled` of loggers that the spec has."""
    table = document.get(("loggers",))
    known = list(table) if isinstance(table, Mapping) else []
    problems: list[Problem] = []
    for option, names, enabled in (("--enable-logger", enable, True), ("--disable-logger", disable, False)):
        for name in names:
            text = f"{option} {name}"
            if name not in known:
                there = did_you_mean(name, known) or "; it has none"
                problems.append(Problem(COMMAND_LINE, None, "", text, f"the spec has no logger {name!r}{there}"))
            elif not enabled and name in enable:
                problems.append(Problem(COMMAND_LINE, None, "", text, "it is to be enabled too; say only one"))
            elif isinstance(document.get(("loggers", name)), Mapping):
                place = Place("command line", COMMAND_LINE, None, folder, COMMAND_LINE_RANK, text)
                document.put(("loggers", name, "enabled"), enabled, place)
    return problems


def key_path(text: str) -> KeyPath | None:
    """A dotted key as TOML writes it, in its parts; None where it is none."""
    if not text.strip() or "\n" in text or "\r" in text:
        return None
    try:
        value: Any = tomli.loads(f"{text} = 0")
    except tomli.TOMLDecodeError:
        return None
    path: KeyPath = ()
    while isinstance(value, dict):
        # A comment or a header in the text would leave no key, or none with this value.
        if len(value) != 1:
            return None
        ((name, value),) = value.items()
        path = (*path, name)
    return path


def _parse_value(text: str) -> Any:
    try:
        parsed = tomli.loads(f"v = {text}")
    except tomli.TOMLDecodeError:
        return text
    # A line break in the text could have opened another key.
    return parsed["v"] if set(parsed) == {"v"} else text


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, str | bool | int | float | Path | date | time)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _shown(path: KeyPath, key: str, value: Any) -> str:
    """What was typed, near enough to recognise it; without the values of what looks like a secret."""
    if any(isinstance(part, str) and is_secret(part) for part in path):
        return f"--set {key}=..."
    shown = str(value).lower() if isinstance(value, bool) else "{...}" if isinstance(value, Mapping) else str(value)
    return f"--set {key}={shown if len(shown) <= 60 else shown[:57] + '...'}"


def _problem(path: KeyPath, message: str) -> Problem:
    key = str(path[-1]) if path else ""
    return Problem(COMMAND_LINE, None, format_key(path[:-1]), key, message)
