"""A spec file with the files it extends: merged values, and the place from which each of them came."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli

from detkit.errors import Problem, SpecError
from detkit.spec.model import Origin
from detkit.spec.scanner import KeyPath, scan

COMMAND_LINE = "command line"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key was written.

    Attributes:
        origin: which layer.
        where: the file as messages name it, or "command line".
        line: counted from 1; None for the command line.
        folder: against which a relative path written here resolves, absolute.
        rank: orders problems: the spec's own file is 0, the files it extends follow, the command line is last.
        text: what was typed, for the command line.
    """

    origin: Origin
    where: str
    line: int | None
    folder: Path
    rank: int
    text: str = ""


@dataclass(slots=True)
class Document:
    """Nested plain values of all layers together, and the place of every key and array element.

    Attributes:
        root: the place of the spec file as a whole.
        extends: whether other files lie beneath it.
    """

    root: Place
    extends: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)

    def place(self, path: KeyPath) -> Place:
        """The place of a key, else of the nearest table around it that was written down, else of the file."""
        for length in range(len(path), 0, -1):
            found = self.places.get(path[:length])
            if found is not None:
                return found
        return self.root

    def get(self, path: KeyPath) -> Any:
        """The value at a path of names; None where there is none."""
        value: Any = self.values
        for part in path:
            if not isinstance(value, Mapping) or part not in value:
                return None
            value = value[part]
        return value

    def put(self, path: KeyPath, value: Any, place: Place) -> None:
        """Set one value; tables merge, everything else replaces; tables on the way are made."""
        table = self.values
        for depth, part in enumerate(path[:-1], start=1):
            assert isinstance(part, str)
            if not isinstance(table.get(part), dict):
                table[part] = {}
                self._forget(path[:depth])
            self.places.setdefault(path[:depth], place)
            table = table[part]
        name = path[-1]
        assert isinstance(name, str)
        if isinstance(value, dict):
            if not isinstance(table.get(name), dict):
                table[name] = {}
                self._forget(path)
            self.places[path] = place
            for key, item in value.items():
                self.put((*path, key), item, place)
        else:
            self._forget(path)
            table[name] = value
            self.places[path] = place

    def drop(self, path: KeyPath) -> None:
        """Take a value out, with what is known of it. Its path may lead through arrays."""
        holder: Any = self.values
        for part in path[:-1]:
            if isinstance(holder, Mapping):
                holder = holder.get(part)
            elif isinstance(holder, list) and isinstance(part, int):
                holder = holder[part]
        if isinstance(holder, dict):
            holder.pop(path[-1], None)
            self._forget(path)

    def _forget(self, path: KeyPath) -> None:
        for known in [known for known in self.places if known[: len(path)] == path]:
            del self.places[known]


def read_document(path: Path) -> Document:
    """Read a spec file and, one after another, the files that `extends` leads to; the nearer file wins.

    Raises:
        SpecError: a file is missing, unreadable or no TOML, or `extends` is wrong or goes in a circle.
    """
    chain: list[Document] = []
    seen: list[Path] = []
    shown = path
    stated_at: Problem | None = None
    while True:
        document = _read_one(shown, rank=len(chain), stated_at=stated_at)
        chain.append(document)
        seen.append(_identity(shown))
        base = document.values.pop("extends", None)
        if base is None:
            break
        if not isinstance(base, str) or not base.strip():
            raise SpecError([_extends_problem(document, f"must be the path of one TOML file, not {base!r}")])
        shown = shown.parent / Path(base).expanduser()
        stated_at = _extends_problem(document, f"there is no file {shown}")
        if _identity(shown) in seen:
            circle = " -> ".join([*(d.root.where for d in chain), str(shown)])
            raise SpecError([_extends_problem(document, f"goes round in a circle: {circle}")])
    return _merge(chain)


def _identity(path: Path) -> Path:
    return path.expanduser().resolve()


def _extends_problem(document: Document, message: str) -> Problem:
    place = document.place(("extends",))
    return Problem(place.where, place.line, "", "extends", message)


def _read_one(path: Path, *, rank: int, stated_at: Problem | None) -> Document:
    text = _read_text(path, stated_at)
    try:
        values = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise SpecError([_syntax_problem(path, text, str(error))]) from None
    origin: Origin = "base file" if rank else "spec"
    root = Place(origin, str(path), None, path.expanduser().parent.resolve(), rank)
    places = {key: Place(origin, root.where, line, root.folder, rank) for key, line in scan(text).items()}
    return Document(root, values=values, places=places)


def _read_text(path: Path, stated_at: Problem | None) -> str:
    try:
        # Some editors write a byte order mark, which TOML does not know.
        return path.expanduser().read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise SpecError([stated_at or Problem(path, None, "", "", "there is no such file")]) from None
    except IsADirectoryError:
        raise SpecError([Problem(path, None, "", "", "is a folder; name the TOML file in it")]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        message = f"not UTF-8 text (byte {error.object[error.start]:#04x}); save the file as UTF-8"
        raise SpecError([Problem(path, line, "", "", message)]) from None
    except OSError as error:
        raise SpecError([Problem(path, None, "", "", f"cannot be read: {error.strerror}")]) from None


def _syntax_problem(path: Path, text: str, message: str) -> Problem:
    found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if found is None:
        return Problem(path, None, "", "", f"not valid TOML: {message}")
    what = message[: found.start()]
    if found.group(1) is None:
        last = text.rstrip().count("\n") + 1
        return Problem(path, last, "", "", f"not valid TOML: {what} (at the end of the file)")
    return Problem(path, int(found.group(1)), "", "", f"not valid TOML: {what} (column {found.group(2)})")


def _merge(chain: list[Document]) -> Document:
    merged = Document(chain[0].root, extends=len(chain) > 1)
    for document in reversed(chain):
        _lay_over(merged, document, (), document.values)
    return merged


def _lay_over(merged: Document, document: Document, path: KeyPath, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        here = (*path, key)
        if isinstance(value, dict):
            merged.put(here, {}, document.place(here))
            _lay_over(merged, document, here, value)
        else:
            merged.put(here, value, document.place(here))
            # Elements of arrays have lines of their own.
            below = {known: place for known, place in document.places.items() if known[: len(here)] == here}
            merged.places.update(below)
