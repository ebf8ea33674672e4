"""The options that a spec sets and that are going to be removed."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from detkit.deprecation import warn_once_at
from detkit.errors import Problem
from detkit.spec.model import ExperimentSpec, Provenance
from detkit.spec.scanner import KeyPath, format_key


def deprecated_options(spec: ExperimentSpec) -> list[Problem]:
    """Where the user's own files and command line set options that are deprecated, in the order of the tables.

    What nobody wrote, a default or a model's recipe, is no concern of the user's. A value of a shared table, as
    `[train]`, is told once, however many models it holds for.
    """
    found: dict[tuple[str, int | None, str], Problem] = {}
    for table, options in _tables(spec):
        for path, text in _deprecated(options, table):
            for origin in _origins(spec, path):
                if origin.origin not in ("default", "recipe", "preset"):
                    where = origin.where or origin.origin
                    place = (origin.where, origin.line, str(path[-1]))
                    # No table: a value of [train] is found in that of each model.
                    found.setdefault(place, Problem(where, origin.line, "", str(path[-1]), text))
                    break
    return list(found.values())


def warn_of_deprecated_options(spec: ExperimentSpec) -> None:
    """Python's way of telling them: a warning each, once in a process, at the line of the spec."""
    for problem in deprecated_options(spec):
        warn_once_at(str(problem), str(problem.where), problem.line or 1)


def _tables(spec: ExperimentSpec) -> Iterator[tuple[KeyPath, BaseModel]]:
    yield ("experiment",), spec.experiment
    yield ("dataset",), spec.dataset.options
    yield ("dataset", "split"), spec.split
    yield ("compute",), spec.compute
    yield ("training_step",), spec.training_step.options
    for key, model in spec.models.items():
        yield ("models", key), model.options
        yield ("models", key, "train"), model.train
        yield ("models", key, "input"), model.input
        for name, transform in model.augment.items():
            yield ("models", key, "augment", name), transform.options
    groups = {"metrics": spec.metrics, "loggers": spec.loggers, "callbacks": spec.callbacks}
    for group, uses in groups.items():
        for key, use in uses.items():
            yield (group, key), use.options
    if spec.search is not None:
        yield ("search",), spec.search.use.options
        yield ("search",), spec.search.table


def _origins(spec: ExperimentSpec, path: KeyPath) -> Iterator[Provenance]:
    """Of a value, or of all that stands in it where it is a table."""
    key = format_key(path)
    return (origin for name, origin in spec.provenance.items() if name == key or name.startswith(f"{key}."))


def _deprecated(options: BaseModel, table: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """The deprecated fields of a table and of the tables in it, with what is said of them."""
    for name, known in type(options).model_fields.items():
        key = known.alias or name
        if known.deprecation_message:
            yield (*table, key), known.deprecation_message
        # Not getattr: pydantic warns of every reading of a deprecated field, and nobody reads it here.
        value = options.__dict__.get(name)
        if isinstance(value, BaseModel):
            yield from _deprecated(value, (*table, key))
