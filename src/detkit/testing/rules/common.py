"""What holds for components of every kind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from detkit.components import Options
from detkit.errors import UserError
from detkit.testing.rule import KINDS, Broken, CannotBuild, NotApplicable, rule, told
from detkit.testing.subject import Subject
from detkit.testing.surroundings import left_alone

#: What an import of a plugin may not bring along: it takes seconds, also of `detkit --help`.
HEAVY = ("torch", "torchvision", "tensorflow", "comet_ml", "transformers", "optuna")
IMPORT_TIMEOUT_S = 120


@rule(KINDS, "component-builds", "`build` makes the component from valid options")
def builds(subject: Subject) -> None:
    """`component.build(options, context)` returns what its kind asks for, each time a new one. Where something is
    missing that the user can give (a file, a key, a network), it raises a `UserError`, such as `DataError` or
    `WeightsError`, that says what; whatever else it raises is a break of this rule. The kit builds offline, on the CPU,
    for the two classes "disc" and "block"; a model that can only tell one class refuses more with a `UserError`."""
    try:
        first = subject.build()
    except CannotBuild as error:
        if not subject.build_failure:
            raise
        raise Broken(f"building it raises {subject.build_failure}", "it builds, or raises a UserError") from error
    if first is None:
        raise Broken("`build` returned None", "it returns what it built")


@rule(KINDS, "component-options-described", "every option has a description")
def options_described(subject: Subject) -> None:
    """Each field of the options has `Field(description=...)`: `detkit plugins show`, the editor's completion and the
    documentation print it. Fields of nested tables have one too."""
    from detkit.spec.describe import describe

    bare = [option.name for option in describe(subject.component.options) if not option.description.strip()]
    if bare:
        raise Broken(f"no description of {', '.join(bare)}", "Field(..., description=...) for each of them")


@rule(KINDS, "component-summary", "the component has a summary of one line")
def has_summary(subject: Subject) -> None:
    """`summary` is one line of plain text, not empty: `detkit plugins show` prints it."""
    summary = subject.component.summary
    if not isinstance(summary, str) or not summary.strip():
        raise Broken("the summary is empty", "one line that says what it is")
    if "\n" in summary:
        raise Broken(f"the summary has {len(summary.splitlines())} lines", "one line")


@rule(KINDS, "component-options-round-trip", "options can be written into a spec and read back")
def options_round_trip(subject: Subject) -> None:
    """The resolved spec is written into the record, and a run is built from what is read back. So the options as JSON
    (`model_dump(mode="json")`) validate again, and are equal to what they were: no validator makes a value that it
    would not take."""
    options = subject.options
    from detkit.components import PathBase
    from detkit.spec.complaints import validate

    with subject.doing("writing the options as JSON"):
        plain = options.model_dump(mode="json")
        again = validate(
            type(options), {key: value for key, value in plain.items() if value is not None}, PathBase(subject.folder)
        )
    if not isinstance(again, Options):
        wrong = "; ".join(f"{'.'.join(map(str, each.path)) or 'the table'}: {each.message}" for each in again)
        raise Broken(f"what was written is refused when it is read: {wrong}", "it is read as what it was")
    if again != options:
        after = again.model_dump(mode="json")
        changed = sorted(key for key in plain if plain[key] != after.get(key))
        raise Broken(f"read back, {', '.join(changed)} differ", "the same values")


@rule(KINDS, "component-check", "`check` agrees with `build`, and refuses with a UserError only")
def check_agrees(subject: Subject) -> None:
    """`check(options, context)`, where there is one, returns None for what can be built. It refuses what cannot with a
    `UserError` that says what is missing; `detkit check --deep` prints it. Anything else that it raises would be taken
    for a fault of the plugin."""
    check = subject.component.check
    if check is None:
        raise NotApplicable("it has no `check`")
    subject.build()
    try:
        check(subject.options, subject.context())
    except UserError as error:
        raise Broken(f"`check` refuses what `build` takes: {error}", "it returns None where the build works") from error
    except Exception as error:
        raise Broken(f"`check` raises {told(error)}", "None, or a UserError") from error


@rule(KINDS, "component-leaves-settings", "building it changes nothing that belongs to the process")
def build_leaves_alone(subject: Subject) -> None:
    """Building changes nothing that belongs to the whole process: torch's threads, default dtype and gradient mode, the
    working directory, variables of the environment that are there or that torch reads (a library may set its own). The
    global generators may move: the engine seeds them for the build. Several runs in one process, and the engine beside
    them, rely on it."""
    with left_alone("building it", with_generators=False):
        subject.build()


@rule(KINDS, "component-import-light", "importing the plugin imports nothing heavy", advice=True)
def import_light(subject: Subject) -> None:
    """`detkit --help`, `detkit check` and the editor's completion import every installed plugin. One that imports torch
    at its top makes each of them seconds slower: heavy imports belong inside `build`. Bundled plugins must keep this;
    for others, and for plugin files that only their own specs name, it is advice."""
    if subject.file is not None:
        raise NotApplicable("a plugin file is imported by the specs that name it alone")
    if not subject.module:
        raise NotApplicable("the kit was not told which module offers it")
    heavy = imported_with(subject.module)
    if heavy:
        raise Broken(
            f"importing {subject.module} imports {', '.join(heavy)}", "imports inside `build`, where they are needed"
        )


@lru_cache(maxsize=64)
def imported_with(module: str) -> tuple[str, ...]:
    """The heavy libraries that a module imports when it is imported, in a fresh interpreter.

    Raises:
        NotApplicable: it cannot be imported by itself.
    """
    code = (
        f"import importlib, sys; importlib.import_module({module!r});"
        f" print('heavy:', *(n for n in {HEAVY!r} if n in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise NotApplicable(f"{module} cannot be imported by itself: {lines[-1] if lines else done.returncode}")
    return tuple(done.stdout.rpartition("heavy:")[2].split())


def capabilities(subject: Subject, name: str) -> frozenset[str]:
    """What `needs`, `gives` or `may_provide` say under the options.

    Raises:
        Broken: it is no set of capabilities.
    """
    function: Callable[[Options], Any] = getattr(subject.component, name)
    with subject.doing(f"`{name}`"):
        found = function(subject.options)
    if not isinstance(found, frozenset) or "boxes" not in found or not found <= {"boxes", "masks"}:
        raise Broken(f"`{name}` gives {found!r}", "detkit.BOXES or detkit.BOXES_AND_MASKS")
    return found


def plain_values(values: Any, place: str = "") -> str:
    """Where something is not plain (None, bool, number, text, list, table); empty where all is."""
    if values is None or type(values) in (bool, int, float, str):
        return ""
    if isinstance(values, Mapping):
        wrong = [f"{place} has the key {key!r}" for key in values if not isinstance(key, str)]
        return next(
            (w for w in [*wrong, *(plain_values(v, f"{place}.{k}".strip(".")) for k, v in values.items())] if w), ""
        )
    if isinstance(values, list | tuple):
        return next((w for i, v in enumerate(values) if (w := plain_values(v, f"{place}[{i}]"))), "")
    return f"{place or 'it'} is a {type(values).__name__}"
