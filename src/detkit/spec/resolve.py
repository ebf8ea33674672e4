"""A spec as plain values again, with nothing left to guess, and the origin of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from detkit.components import ModelComponent, Options
from detkit.spec.document import Document, Place
from detkit.spec.layers import layers
from detkit.spec.model import ExperimentSpec, ModelUse, Provenance, Use
from detkit.spec.scanner import KeyPath, format_key


def resolve(spec: ExperimentSpec, document: Document) -> ExperimentSpec:
    """The spec with `resolved` and `provenance` filled in.

    `resolved` states every default, every path in full and each model's own [train], [input] and [augment], which are
    what the shared ones and presets come to; those are therefore left out. So are values that are None: TOML has none.
    """
    resolved: dict[str, Any] = {
        "plugins": [str(file) for file in spec.plugin_files],
        "experiment": plain(spec.experiment),
        "dataset": _table(spec.dataset)
        | {"degenerate": spec.degenerate, "skip_checks": list(spec.skip_checks), "split": plain(spec.split)},
        "compute": plain(spec.compute),
        "training_step": _table(spec.training_step),
    }
    groups: Mapping[str, Mapping[str, Use]] = {
        "models": spec.models,
        "metrics": spec.metrics,
        "loggers": spec.loggers,
        "callbacks": spec.callbacks,
    }
    for group, uses in groups.items():
        resolved[group] = {key: _component_table(use) for key, use in uses.items()}
    if spec.search is not None:
        resolved["search"] = _table(spec.search.use) | spec.search.plain()
    provenance = {format_key(path): _origin(spec, document, path) for path, _ in leaves(resolved)}
    return replace(spec, resolved=resolved, provenance=provenance)


def plain(options: Options) -> dict[str, Any]:
    """Options as TOML can state them: paths and dates as text, None left out."""
    dumped = options.model_dump(mode="json", by_alias=True)
    return {key: _without_none(value) for key, value in dumped.items() if _can_be_stated(value)}


def leaves(values: Mapping[str, Any], path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every value that is not a table, with its path; arrays and empty tables are values."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*path, key))
        elif not isinstance(value, Mapping) or path:
            yield (*path, key), value


def _can_be_stated(value: Any) -> bool:
    """Whether TOML can: an array with a None in it can only be a default, which is left to be one."""
    if isinstance(value, list):
        return all(_can_be_stated(item) for item in value)
    return value is not None


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if _can_be_stated(item)}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value


def _table(use: Use) -> dict[str, Any]:
    return {"use": use.offered.component.name} | plain(use.options)


def _component_table(use: Use) -> dict[str, Any]:
    table = _table(use) | {"enabled": use.enabled}
    if isinstance(use, ModelUse):
        table |= {"train": plain(use.train), "input": plain(use.input)}
        if use.augment:
            table["augment"] = {key: _component_table(transform) for key, transform in use.augment.items()}
    return table


def _origin(spec: ExperimentSpec, document: Document, path: KeyPath) -> Provenance:
    if path[0] == "models" and len(path) == 4 and path[2] in ("train", "input"):
        return _layered_origin(spec.models[str(path[1])], document, path)
    if path[0] == "models" and path[2:3] == ("augment",) and document.get(path[:3]) is None:
        return stated_origin(document, path[2:])  # the shared ones
    return stated_origin(document, path)


def stated_origin(document: Document, path: KeyPath) -> Provenance:
    """Of a value that a document states, or that is a default."""
    value: Any = document.values
    for depth, part in enumerate(path):
        if not isinstance(value, Mapping):
            return provenance_of(document.place(path[:depth]))
        if part not in value:
            return Provenance("default")
        value = value[part]
    return provenance_of(document.place(path))


def _layered_origin(use: ModelUse, document: Document, path: KeyPath) -> Provenance:
    key = str(path[3])
    _, sources = layers(document, path[:2], str(path[2]))
    if key in sources:
        return provenance_of(document.place(sources[key]))
    component = use.offered.component
    if path[2] == "train" and isinstance(component, ModelComponent) and key in component.recipe(use.options):
        return Provenance("recipe", use.key)
    return Provenance("default")


def provenance_of(place: Place) -> Provenance:
    """Of what stands at a place."""
    return Provenance(place.origin, place.text or place.where, place.line)
