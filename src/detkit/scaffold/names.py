"""Names that a new plugin may have."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from detkit.components import RESERVED_KEYS
from detkit.errors import UserError
from detkit.plugins import Plugin, Registry
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
    _refuse_taken(name, scaffold, registry, folder, commands)
    _refuse_shadowing(name, scaffold, folder)


def suggested(name: str) -> str:
    """The nearest name that has the form: My-Detector 2 becomes my_detector_2."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
    plain = re.sub(r"[^a-z0-9]+", "_", words).strip("_")
    plain = plain if plain[:1].isalpha() else f"{FALLBACK}_{plain}".rstrip("_")
    return plain[:LONGEST].rstrip("_")


def _refuse_taken(name: str, scaffold: Scaffold, registry: Registry, folder: Path, commands: frozenset[str]) -> None:
    if scaffold.kind is None and name in commands:
        raise UserError(f"detkit has a command {name!r} of its own; choose another name")
    taken: Plugin | None = None
    if scaffold.kind is None:
        taken = registry.commands[name][1] if name in registry.commands else None
    elif name in registry.components[scaffold.kind]:
        taken = registry.components[scaffold.kind][name].plugin
    if taken is not None and not _module_lies_in(taken.source, folder):
        raise UserError(
            f"there is a {scaffold.title} {name!r} already, of {taken.title}, and two of one name cannot be used"
            f" together; choose another, as my_{name}"
        )
    named = next((plugin for plugin in registry.plugins if plugin.name == name), None)
    if named is not None and not _module_lies_in(named.source, folder):
        raise UserError(f"there is a plugin {name!r} already ({named.title}); choose another name, as my_{name}")


def _refuse_shadowing(name: str, scaffold: Scaffold, folder: Path) -> None:
    """A file that is called as an importable module is imported in its place, or never."""
    other = (
        f"as {name}_{scaffold.word} it would do" if not name.endswith(scaffold.word) else f"as my_{name} it would do"
    )
    if name in sys.stdlib_module_names or name in sys.builtin_module_names:
        raise UserError(f"{name!r} is a module of Python itself, which {name}.py would hide; {other}")
    places = _places(name)
    if places and not _module_lies_in(name, folder):
        raise UserError(
            f"a module {name!r} can be imported already ({places[0]}), and {name}.py would hide it; {other}"
        )


def _module_lies_in(module: str, folder: Path) -> bool:
    """Whether it is the one that is written anew."""
    inside = folder.resolve()
    return any(Path(place).resolve().is_relative_to(inside) for place in _places(module))


def _places(module: str) -> list[str]:
    """The file of a module, which is not imported; none where there is no such module."""
    try:
        found = find_spec(module)
    except (ImportError, ValueError):  # ValueError: a module that was loaded without a spec
        return []
    # A folder that is no package is none either: a file of its name is found before it.
    return [found.origin] if found is not None and found.origin else []
