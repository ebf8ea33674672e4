"""A JSON Schema (2020-12) of specs, for completion and checks in editors.

Editors' TOML tools (Taplo) follow `properties`, `additionalProperties`, `oneOf`, `anyOf` and `$ref`, but not
`if`/`then`: hence the form. What depends on several keys stays with `detkit check`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from detkit.checks.catalogue import CHECKS
from detkit.components import NAME_PATTERN, Component
from detkit.plugins import Kind, Registry
from detkit.spec.augment import DEFAULT_PRESET, PRESETS
from detkit.spec.loader import DEFAULT_TRAINING_STEP, GROUPS
from detkit.spec.model import ComputeTable, ExperimentTable, InputTable, SplitTable, TrainTable
from detkit.spec.search_table import RangeTable, SearchTable

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]

_SUMMARIES = {
    "model": "the detectors to compare; one run per model and seed",
    "transform": "how training images are changed, in the order of the tables",
    "metric": "what is measured; the first enabled one selects the best checkpoint",
    "logger": "where runs are reported, beside the record",
    "callback": "what may act on a run while it goes on",
}


def spec_schema(registry: Registry, *, partial: bool = False) -> Schema:
    """The schema of a spec that uses the registry's components.

    Args:
        partial: nothing is required: for files that extend another, or are extended.
    """
    writer = _Writer(registry, partial)
    properties: Schema = {
        "extends": {"type": "string", "description": "a TOML file whose tables this one completes and overrides"},
        "plugins": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Python files with further components, relative to this file",
        },
        "experiment": writer.table(ExperimentTable, "experiment", required=()),
        "dataset": writer.alternatives("dataset", None),
        "input": {"$ref": "#/$defs/input", "description": "the size to which all models resize"},
        "compute": writer.table(ComputeTable, "compute"),
        "train": {"$ref": "#/$defs/train", "description": "what all models share in training"},
        "training_step": writer.alternatives("training_step", DEFAULT_TRAINING_STEP),
        "search": {**writer.alternatives("searcher", None), "description": "trials of values, to find better ones"},
        **{group: writer.group(kind) for group, kind in GROUPS.items() if kind != "transform"},
        "augment": {"$ref": "#/$defs/augment", "description": _SUMMARIES["transform"]},
    }
    schema: Schema = {
        "$schema": DIALECT,
        "title": "detkit spec",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "$defs": writer.definitions,
    }
    if not partial:
        schema["anyOf"] = [{"required": ["dataset", "models"]}, {"required": ["extends"]}]
    return schema


class _Writer:
    def __init__(self, registry: Registry, partial: bool) -> None:
        self.registry = registry
        self.partial = partial
        self.definitions: Schema = {}
        for name, options in (("train", TrainTable), ("input", InputTable), ("split", SplitTable)):
            self.definitions[name] = self.table(options, name)
        self.definitions["augment"] = self.group("transform")
        self.definitions["augment"]["properties"]["preset"] = {
            "enum": list(PRESETS),
            "default": DEFAULT_PRESET,
            "description": "transforms that come first; tables of their names change their options",
        }
        for kind, offers in registry.components.items():
            for offered in offers.values():
                self._define(kind, offered.component)

    def table(self, options: type[BaseModel], name: str, *, required: tuple[str, ...] | None = None) -> Schema:
        """Options as a schema; their nested definitions go to the shared ones, under `name`."""
        schema = options.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
        for inner, definition in schema.pop("$defs", {}).items():
            self.definitions[f"{name}.{inner}"] = self._tidy(definition)
        schema = self._tidy(schema)
        if required is not None:
            schema["required"] = list(required)
        if not schema.get("required"):
            schema.pop("required", None)
        return schema

    def _tidy(self, schema: Schema) -> Schema:
        """Without what only pydantic wants: titles made from names, and defaults of null, which TOML lacks."""
        tidy = {key: value for key, value in schema.items() if key != "title"}
        if self.partial:
            tidy.pop("required", None)
        if "properties" in tidy:
            tidy["properties"] = {name: self._tidy_field(value) for name, value in tidy["properties"].items()}
        return tidy

    def _tidy_field(self, schema: Schema) -> Schema:
        dull = {"title"} | ({"default"} if schema.get("default", 0) is None else set())
        tidy = {key: value for key, value in schema.items() if key not in dull}
        members = [member for member in tidy.get("anyOf", ()) if member != {"type": "null"}]
        if len(members) == 1:
            return {**members[0], **{key: value for key, value in tidy.items() if key != "anyOf"}}
        return {**tidy, "anyOf": members} if members else tidy

    def _define(self, kind: Kind, component: Component[Any, Any]) -> None:
        """Two definitions a component: one that must state `use`, one where the table's name may do."""
        schema = self.table(component.options, _definition(kind, component.name))
        host: Schema = {"use": {"const": component.name, "type": "string", "description": component.summary}}
        if kind in GROUPS.values():
            host["enabled"] = {"type": "boolean", "default": True, "description": "whether it is built at all"}
        if kind == "model":
            host["train"] = {"$ref": "#/$defs/train", "description": "[train] for this model alone"}
            host["input"] = {"$ref": "#/$defs/input", "description": "[input] for this model alone"}
            host["augment"] = {"$ref": "#/$defs/augment", "description": "[augment] for this model alone"}
        if kind == "dataset":
            host["split"] = {"$ref": "#/$defs/split", "description": "how the images are divided"}
            host["degenerate"] = {
                "enum": ["error", "drop", "clip"],
                "default": "error",
                "description": "what to do with boxes without area",
            }
            host["skip_checks"] = {
                "type": "array",
                "items": {"enum": [check.id for check in CHECKS if not check.vital]},
                "default": [],
                "description": "checks of data that are left out before training and by `detkit data check`",
            }
        if kind == "searcher":
            host |= self._search()
            required = {"required": [*schema.get("required", ()), *(() if self.partial else ("space",))]}
            schema |= required if required["required"] else {}
        name = _definition(kind, component.name)
        description = {"description": component.summary} if component.summary else {}
        properties = {"properties": host | schema.get("properties", {}), "additionalProperties": False}
        self.definitions[name] = schema | properties | description
        reference = {"$ref": f"#/$defs/{name}"}
        self.definitions[f"{name}.use"] = reference if self.partial else {"allOf": [reference], "required": ["use"]}

    def _search(self) -> Schema:
        """The host's keys of [search]."""
        properties: Schema = self.table(SearchTable, "search")["properties"]
        values: Schema = {
            "anyOf": [
                {"type": "array", "items": {"type": ["string", "number", "boolean"]}, "minItems": 1},
                {"$ref": "#/$defs/search.range"},
                {"type": "object", "additionalProperties": {"$ref": "#/$defs/search.values"}},
            ]
        }
        self.definitions["search.range"] = {**self.table(RangeTable, "search.range"), "additionalProperties": False}
        self.definitions["search.values"] = values
        space = {"type": "object", "additionalProperties": {"$ref": "#/$defs/search.values"}, "minProperties": 1}
        return {**properties, "space": {**space, "description": properties["space"]["description"]}}

    def alternatives(self, kind: Kind, default: str | None) -> Schema:
        """A table that is one of a kind's components, named by `use`."""
        names = self.registry.names(kind)
        members = [{"$ref": f"#/$defs/{_definition(kind, name)}{'' if name == default else '.use'}"} for name in names]
        return {"type": "object", "anyOf": members} if members else {"type": "object"}

    def group(self, kind: Kind) -> Schema:
        """[models] and its like: tables named after a component may leave `use` out, others state it."""
        names = self.registry.names(kind)
        stated = self.alternatives(kind, None)
        properties: Mapping[str, Schema] = {
            name: {
                "anyOf": [
                    {"$ref": f"#/$defs/{_definition(kind, name)}"},
                    *({"$ref": f"#/$defs/{_definition(kind, other)}.use"} for other in names if other != name),
                ]
            }
            for name in names
        }
        return {
            "type": "object",
            "description": _SUMMARIES[kind],
            "propertyNames": {"pattern": f"^{NAME_PATTERN.pattern}$"},
            "properties": dict(properties),
            "additionalProperties": stated,
        }


def _definition(kind: Kind, name: str) -> str:
    return f"{kind}.{name}"
