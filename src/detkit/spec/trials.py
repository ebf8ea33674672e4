"""The spec of one trial: that of the experiment, with the trial's values. And whether all values make such a spec."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli
import tomli_w

from detkit.errors import Problem, RecordError, SpecError, did_you_mean
from detkit.search_space import Choices, Range, Value
from detkit.spec.document import Document, Place
from detkit.spec.explain import value_words
from detkit.spec.loader import SpecReader
from detkit.spec.model import ExperimentSpec
from detkit.spec.overrides import key_path
from detkit.spec.resolve import leaves, provenance_of, stated_origin
from detkit.spec.scanner import KeyPath, format_key
from detkit.spec.search import SHARED, Parameter, SearchUse


def trial_spec(spec: ExperimentSpec, model: str, values: Mapping[str, Value]) -> ExperimentSpec:
    """The experiment's spec with the values of a trial of one model, and without the search.

    Args:
        spec: with a search. values: by the keys of `SearchUse.of_model`.

    Raises:
        SpecError: the values do not go together.
    """
    assert spec.search is not None
    parameters = spec.search.of_model(model)
    return _read(spec, model, [(parameters[key], value) for key, value in values.items()])


def _read(
    spec: ExperimentSpec, model: str, changes: list[tuple[Parameter, Value]], *, named: bool = True
) -> ExperimentSpec:
    """Args: named: whether what is wrong with a value names it too."""
    document = _base(spec, model)
    for parameter, value in changes:
        path = parameter.path_of(model)
        assert path is not None
        text = f"the trial's {parameter.key} = {value_words(value)}" if named else ""
        document.put(path, value, _place(spec, text, parameter.folder))
    reader = SpecReader(document, spec.path, [])
    return reader.experiment(spec.registry, spec.plugin_files, spec.blocked)


def _place(spec: ExperimentSpec, text: str = "", folder: Path | None = None) -> Place:
    """Args: folder: of what was not written in the spec file itself."""
    foreign = folder is not None and folder != spec.folder
    return Place("spec", str(spec.path), None, folder or spec.folder, int(foreign), text)


def _base(spec: ExperimentSpec, model: str) -> Document:
    """What all trials of a model share. Its recipe is asked anew: it may depend on what is searched."""
    values = deepcopy({key: value for key, value in spec.resolved.items() if key != "search"})
    document = Document(_place(spec), values=values)
    for path in recipe_paths(spec, model):
        document.drop(path)
    return document


def recipe_paths(spec: ExperimentSpec, model: str) -> list[KeyPath]:
    """The values of `resolved` that the model's recipe gave."""
    return [
        path
        for path, _ in leaves(spec.resolved)
        if path[:2] == ("models", model) and spec.provenance[format_key(path)].origin == "recipe"
    ]


def recorded_values(spec: ExperimentSpec) -> dict[str, Any]:
    """The resolved spec as a record keeps it: read again, it gives the same trials.

    Values from recipes of searched models are left out: written down, they would be the user's, and stay the same
    whatever else a trial changes.
    """
    document = Document(_place(spec), values=deepcopy(dict(spec.resolved)))
    for model in spec.search.models if spec.search is not None else ():
        for path in recipe_paths(spec, model):
            document.drop(path)
    return document.values


def pasted(file: Path, model: str, values: Mapping[str, Value]) -> str:
    """The values of a trial as TOML that can be pasted into a spec, and does there what the trial did.

    All of it stands in the model's own tables, which win over shared ones; its table of transforms as a whole, since
    that replaces the shared one as a whole.

    Args:
        file: the resolved spec of the trial.

    Raises:
        RecordError: it cannot be read.
    """
    document: dict[str, Any] = {}
    for key, value in values.items():
        path = key_path(key) or ()
        path = ("models", model, *path) if path[0] in SHARED else path
        if path[2:3] == ("augment",):
            path, value = path[:3], _resolved_augment(file, model)
        table = document
        for part in path[:-1]:
            table = table.setdefault(str(part), {})
        table[str(path[-1])] = value
    return tomli_w.dumps(document)


def _resolved_augment(file: Path, model: str) -> Any:
    try:
        return tomli.loads(file.read_text(encoding="utf-8"))["models"][model]["augment"]
    except (OSError, KeyError, tomli.TOMLDecodeError) as error:
        raise RecordError(f"{file} cannot be read: {error}") from error


# --- the check -------------------------------------------------------------------------------------------------------


def checked_search(spec: ExperimentSpec, reader: SpecReader) -> ExperimentSpec:
    """The spec, when each value of its search has been tried in the place of the one that it stands for.

    Raises:
        SpecError: values that a key does not take, each with its line.
    """
    search = spec.search
    assert search is not None
    checked = {key: _checked(spec, reader, search, parameter) for key, parameter in search.parameters.items()}
    if problems := reader.all_problems():
        raise SpecError(problems)
    search = replace(search, parameters=checked)
    resolved = {**spec.resolved, "search": {**spec.resolved["search"], **search.plain()}}
    provenance = {key: origin for key, origin in spec.provenance.items() if not key.startswith("search.")}
    for path, _ in leaves({"search": resolved["search"]}):
        of_space = path[1] == "space" and len(path) > 2
        provenance[format_key(path)] = (
            provenance_of(reader.document.place(checked[str(path[2])].place))
            if of_space
            else stated_origin(reader.document, path)
        )
    return replace(spec, search=search, resolved=resolved, provenance=provenance)


def _checked(spec: ExperimentSpec, reader: SpecReader, search: SearchUse, parameter: Parameter) -> Parameter:
    """The parameter, its values as the key takes them; what it does not take is noted."""
    model = next((model for model in search.models if parameter.key in search.of_model(model)), None)
    if model is None:
        reader.problem(parameter.place, "concerns none of the models that are searched")
        return parameter
    path = parameter.path_of(model)
    assert path is not None
    holder = _at(spec.resolved, path[:-1])
    if not isinstance(holder, Mapping):
        reader.problem(parameter.place, _no_table(spec, parameter.path, path))
        return parameter
    alone = len(search.of_model(model)) == 1
    try:
        if isinstance(parameter.values, Choices):
            return _checked_choices(spec, reader, model, parameter, parameter.values, alone)
        return _checked_range(spec, reader, model, parameter, parameter.values, alone)
    except ValueError as error:
        reader.problem(parameter.place, str(error))
        return parameter


def _checked_choices(
    spec: ExperimentSpec, reader: SpecReader, model: str, parameter: Parameter, choices: Choices, alone: bool
) -> Parameter:
    taken = []
    tried = [_tried(spec, model, parameter, value, alone) for value in choices.values]
    if len(tried) > 1 and isinstance(tried[0], str) and all(found == tried[0] for found in tried):
        reader.problem(parameter.place, tried[0])  # of the key, not of its values
        return parameter
    for index, (value, found) in enumerate(zip(choices.values, tried, strict=True)):
        if isinstance(found, str):
            reader.problem((*parameter.place, index), found)
        elif found is not None and isinstance(value, str):
            # A relative path, in full: the record's own copy of the spec lies in another folder.
            resolved = _at(found.resolved, parameter.path_of(model) or ())
            value = resolved if isinstance(resolved, str) else value
        taken.append(value)
    return replace(parameter, values=Choices(tuple(taken)))


def _checked_range(
    spec: ExperimentSpec, reader: SpecReader, model: str, parameter: Parameter, values: Range, alone: bool
) -> Parameter:
    complaints = [_tried(spec, model, parameter, value, alone) for value in (values.low, values.high)]
    low, high = complaints
    if isinstance(low, str) and low == high:
        reader.problem(parameter.place, low)
        return parameter
    for name, found in zip(("low", "high"), complaints, strict=True):
        if isinstance(found, str):
            reader.problem((*parameter.place, name), found)
    if values.integer or any(isinstance(found, str) for found in complaints):
        return parameter
    between = values.low + (values.high - values.low) / 2
    between += 0.5 if float(between).is_integer() and values.high - values.low >= 1 else 0
    found = _tried(spec, model, parameter, between, alone)
    if not isinstance(found, str):
        return replace(parameter, inferred=False)
    if parameter.inferred:
        return replace(parameter, values=replace(values, integer=True), inferred=False)
    reader.problem(parameter.place, f"{between} lies in the range, and {found}")
    return parameter


def _tried(
    spec: ExperimentSpec, model: str, parameter: Parameter, value: Value, alone: bool
) -> ExperimentSpec | str | None:
    """The spec with this value alone; or what is wrong with the value; None where other values could make it right.

    Args:
        alone: there are no others.
    """
    path = parameter.path_of(model)
    assert path is not None
    try:
        return _read(spec, model, [(parameter, value)], named=False)
    except SpecError as error:
        own = [problem for problem in error.problems if _is_of(problem, path)]
        for problem in own or (error.problems if alone else ()):
            place = "" if _is_of(problem, path) else f"[{problem.table}] {problem.key}: ".replace(" : ", ": ")
            return f"{place}{problem.message}"
    return None


def _is_of(problem: Problem, path: KeyPath) -> bool:
    return problem.table == format_key(path[:-1]) and problem.key == path[-1]


def _no_table(spec: ExperimentSpec, written: KeyPath, path: KeyPath) -> str:
    """Why a key leads nowhere: the first table on its way that is not there."""
    depth = next(depth for depth in range(1, len(path)) if not isinstance(_at(spec.resolved, path[:depth]), Mapping))
    above = _at(spec.resolved, path[: depth - 1])
    tables = [key for key, value in above.items() if isinstance(value, Mapping)]
    shown = written[: len(written) - (len(path) - depth)]
    return f"the spec has no [{format_key(shown)}]{did_you_mean(str(path[depth - 1]), tables)}"


def _at(values: Any, path: KeyPath) -> Any:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return None
        values = values[part]
    return values
