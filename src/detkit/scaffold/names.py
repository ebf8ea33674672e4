"""Names that a new plugin may have."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from detkit.components import RESERVED_KEYS
from detkit.errors import UserError
from detkit.plugins import Registry
from detkit.scaffold.kinds import Scaffold

PATTERN = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
#: Longer ones would break the lines of the templates.
LONGEST = 32
#: What a name becomes where it begins with something else.
FALLBACK = "my_plugin"
#: Files of these names mean something else to pytest.
PYTEST_NAMES = ("conftest",)


def check_name(name: str, scaffold: Scaffold, registry: Registry, folder: Path, *, commands: frozenset[str]) -> None:
    """Refuse a name under which the plugin would not work, or would stop something else from working.

    Args:
        folder: where its module will be; a module that lies there is the plugin itself, of before.
        commands: what `detkit` has of its own.

    Raises:
        UserError: says why, and which name would do.
    """
    if not PATTERN.fullmatch(name):
        raise UserError(
            f"{name!r} is no name for a plugin: it becomes a Python file and a name in specs, so it must be small"
            f" letters, digits and single underscores, as {suggested(name)}"
        )
    if len(name) > LONGEST:
        raise UserError(f"{name!r} has {len(name)} letters, and a plugin's name at most {LONGEST}")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise UserError(f"{name!r} is a word of Python's own; as {name}_{scaffold.word} it would do")
    if name in PYTEST_NAMES or name.startswith("test_"):
        raise UserError(f"pytest would take {name}.py for tests; a plugin's name must be another")
    if name in RESERVED_KEYS:
        raise UserError(f"{name!r} is a key of specs that belongs to detkit; as {name}_{scaffold.word} it would do")
    _refuse_taken(name, scaffold, registry, commands)
    _refuse_shadowing(name, scaffold, folder)


def suggested(name: str) -> str:
    """The nearest name that has the form: My-Detector 2 becomes my_detector_2."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
    plain = re.sub(r"[^a-z0-9]+", "_", words).strip("_")
    plain = plain if plain[:1].isalpha() else f"{FALLBACK}_{plain}".rstrip("_")
    return plain[:LONGEST].rstrip("_")


def _refuse_taken(name: str, scaffold: Scaffold, registry: Registry, commands: frozenset[str]) -> None:
    if scaffold.kind is None:
        taken = registry.commands.get(name)
        if name in commands:
            raise UserError(f"detkit has a command {name!r} of its own; choose another name")
        if taken is not None and taken[1].name != name:
            raise UserError(f"there is a command {name!r} already, of {taken[1].title}; choose another name")
        return
    found = registry.components[scaffold.kind].get(name)
    if found is not None and found.plugin.name != name:
        raise UserError(
            f"there is a {scaffold.title} {name!r} already, of {found.plugin.title}, and two of one name cannot be used"
            f" together; choose another, as my_{name}"
        )


def _refuse_shadowing(name: str, scaffold: Scaffold, folder: Path) -> None:
    """A file that is called as an importable module is imported in its place, or never."""
    other = (
        f"as {name}_{scaffold.word} it would do" if not name.endswith(scaffold.word) else f"as my_{name} it would do"
    )
    if name in sys.stdlib_module_names or name in sys.builtin_module_names:
        raise UserError(f"{name!r} is a module of Python itself, which {name}.py would hide; {other}")
    try:
        found = find_spec(name)
    except (ImportError, ValueError):  # ValueError: a module that was loaded without one
        found = None
    if found is None or _lies_in(found.origin, [*(found.submodule_search_locations or ())], folder):
        return
    where = found.origin or next(iter(found.submodule_search_locations or ()), "")
    raise UserError(f"a module {name!r} can be imported already ({where}), and {name}.py would hide it; {other}")


def _lies_in(origin: str | None, locations: list[str], folder: Path) -> bool:
    inside = folder.resolve()
    places = [origin] if origin else locations
    return any(Path(place).resolve().is_relative_to(inside) for place in places)
