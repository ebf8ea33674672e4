"""What a plugin states of the detkit that it needs, and whether this one fits.

A plugin may have two attributes at the top of its module:

    requires_detkit = ">=0.1,<0.3"  # releases that it works with: a PEP 440 specifier
    detkit_api = 1                  # the hook API that it was written for

They answer two questions. A plugin that uses a name which 0.2 brought states `requires_detkit = ">=0.2"`. Which later
release breaks it nobody can know beforehand, and an upper bound would be a guess; the number of the hook API rises when
a release breaks plugins, and only then.

The two are read from the source before the plugin is imported: one that needs a newer detkit would fail on its first
import of something new, with a message about that name and not about the version.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from detkit.hookspecs import HOOK_API, OLDEST_HOOK_API

REQUIRES = "requires_detkit"
API = "detkit_api"


@dataclass(frozen=True, slots=True)
class Stated:
    """One of the two attributes.

    Attributes:
        value: as it stands there; of the right type in a plugin that is right.
        line: of the file, counted from 1; None where it was read from the imported module.
    """

    value: object
    line: int | None = None

    @property
    def place(self) -> str:
        """' (line 3)', or nothing."""
        return f" (line {self.line})" if self.line else ""


def stated_in(source: str) -> dict[str, Stated]:
    """The two attributes in a module's source, where they are plain constants; the rest only an import can tell."""
    if REQUIRES not in source and API not in source:
        return {}
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # the import says it better
        return {}
    found = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Constant):
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name) and target.id in (REQUIRES, API):
                found[target.id] = Stated(node.value.value, node.lineno)
    return found


def stated_by(module: object) -> dict[str, Stated]:
    """The two attributes of something that has been imported."""
    return {name: Stated(getattr(module, name)) for name in (REQUIRES, API) if hasattr(module, name)}


def source_of_module(name: str) -> str:
    """The source of an installed module, without importing it or its packages; empty where there is none to read."""
    top, *inner = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
        for depth in range(len(inner)):
            if spec is None or spec.submodule_search_locations is None:
                return ""
            spec = PathFinder.find_spec(".".join([top, *inner[: depth + 1]]), list(spec.submodule_search_locations))
        if spec is None or spec.origin is None or not spec.has_location:
            return ""
        return source_of_file(Path(spec.origin))
    except (ImportError, ValueError):
        return ""


def source_of_file(file: Path) -> str:
    """The text of a Python file; empty where it cannot be read, which its import says better."""
    try:
        return file.read_text(encoding="utf-8") if file.suffix == ".py" else ""
    except (OSError, UnicodeDecodeError):
        return ""


def misfit(stated: Mapping[str, Stated], version: str, *, name: str, distribution: str) -> str:
    """Why this detkit is not the one that a plugin needs, and what to do; empty where it fits.

    Args:
        stated: of the two attributes those that the plugin has.
        version: of this detkit.
        name, distribution: the plugin's; no distribution for a file.
    """
    advice = _advice(name, distribution)
    if (requires := stated.get(REQUIRES)) and (complaint := _misfit_of_version(requires, version, advice)):
        return complaint
    if api := stated.get(API):
        return _misfit_of_api(api, version, advice)
    return ""


def _misfit_of_version(requires: Stated, version: str, advice: str) -> str:
    # Here: `detkit --help` has no need of it.
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import Version

    label = f"{REQUIRES} = {requires.value!r}{requires.place}"
    if not isinstance(requires.value, str) or not requires.value.strip():
        return f"{label} must be the text of a PEP 440 specifier, as '>=0.1,<0.3'"
    try:
        wanted = SpecifierSet(requires.value)
    except InvalidSpecifier:
        return f"{label} is no PEP 440 specifier; write it as '>=0.1,<0.3'"
    if wanted.contains(Version(version), prereleases=True):
        return ""
    return f"{label} does not admit detkit {version}, which is here; install detkit{wanted}, or {advice}"


def _misfit_of_api(api: Stated, version: str, advice: str) -> str:
    label = f"{API} = {api.value!r}{api.place}"
    if not isinstance(api.value, int) or isinstance(api.value, bool) or api.value < 1:
        return f"{label} must be the whole number of a hook API; that of detkit {version} is {HOOK_API}"
    if api.value > HOOK_API:
        return (
            f"{label} is newer than the hook API of detkit {version}, which is {HOOK_API}; install a newer detkit,"
            f" or {advice}"
        )
    if api.value < OLDEST_HOOK_API:
        return (
            f"{label} is older than what detkit {version} still loads, which is {OLDEST_HOOK_API} to {HOOK_API};"
            f" install an older detkit, or {advice}"
        )
    return ""


def _advice(name: str, distribution: str) -> str:
    if distribution:
        return f"a release of {distribution} that fits, or leave the plugin out with --no-plugin {name}"
    return "try the file with this detkit and then change what it states, or leave it out"
