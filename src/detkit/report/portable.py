"""What a page may show of a record: no folder of the machine, no name of a person in a path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

#: An absolute path within a text: with a drive, from the home folder, as a file URL, or of two parts or more. Not the
#: path of a web address, nor a fraction.
_PATH = re.compile(r"(?<![\w.:/\\~-])(?:file://|~|[A-Za-z]:|\\)?(?:[/\\][^\s/\\:'\"`<>|,;()\[\]]+){2,}[/\\]?")

#: Of the resolved spec, what changes no figure but may name an account.
LEFT_OUT = ("loggers",)


def portable_text(text: str, folders: Iterable[PurePath] = ()) -> str:
    """The text with absolute paths reduced to their last part.

    Args:
        folders: known ones, which are taken out whole: in a text, the end of a path with blanks cannot be seen.
    """
    for folder in sorted({str(folder) for folder in folders}, key=len, reverse=True):
        text = text.replace(f"{folder}/", "").replace(f"{folder}\\", "")
    return _PATH.sub(lambda found: _last(found.group()), text)


def portable(value: Any) -> Any:
    """Nested plain values with every absolute path reduced to its last part."""
    if isinstance(value, Mapping):
        return {key: portable(child) for key, child in value.items()}
    if isinstance(value, list):
        return [portable(child) for child in value]
    if isinstance(value, str):
        return _last(value) if _is_absolute(value) else portable_text(value)
    return value


def portable_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved spec as it can be shown to anybody: without paths of the machine, and without loggers."""
    return {key: portable(value) for key, value in spec.items() if key not in LEFT_OUT}


def _is_absolute(text: str) -> bool:
    """The whole value as a path, blanks and all: `portable_text` would end it at the first blank."""
    return text.startswith(("~", "file://")) or PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]
