"""Options in plain words, from pydantic's own JSON Schema of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from detkit.components import Options
from detkit.spec.explain import value_words

_TYPES = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "object": "table",
    "array": "array",
}
_FORMATS = {
    "path": "path",
    "file-path": "path of a file",
    "directory-path": "path of a folder",
    "date": "date",
    "date-time": "date and time",
    "time": "time",
    "duration": "duration",
}
_LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a component: its type and default in words ("required" where there is no default)."""

    name: str
    type: str
    default: str
    description: str

    def as_json(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return asdict(self)


def describe(options: type[Options]) -> list[Option]:
    """The options in the order in which they were declared; those of nested tables under dotted names."""
    schema = options.model_json_schema()
    return _rows(schema, schema.get("$defs", {}), "")


def type_words(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What a value may be: "whole number, at least 1", "one of 'sgd', 'adamw'", "array of text"."""
    schema = _resolved(schema, definitions)
    if "const" in schema:
        return value_words(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(map(value_words, schema['enum']))}"
    for union in ("anyOf", "oneOf"):
        if union in schema:
            members = [m for m in schema[union] if _resolved(m, definitions).get("type") != "null"]
            return " or ".join(dict.fromkeys(type_words(member, definitions) for member in members))
    if schema.get("type") == "array":
        return _array_words(schema, definitions)
    kind = str(schema.get("type", ""))
    words = _FORMATS.get(str(schema.get("format", "")), _TYPES.get(kind, "anything"))
    limits = [f"{text} {schema[name]:g}" for name, text in _LIMITS.items() if name in schema]
    if "pattern" in schema:
        limits.append(f"matching {schema['pattern']}")
    return ", ".join([words, *limits])


def _array_words(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "prefixItems" in schema:
        kinds = list(dict.fromkeys(type_words(item, definitions) for item in schema["prefixItems"]))
        return f"array of {len(schema['prefixItems'])}: {', '.join(kinds)}"
    if "items" in schema:
        return f"array of {type_words(schema['items'], definitions)}"
    return "array"


def _rows(schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str) -> list[Option]:
    rows: list[Option] = []
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        full = _resolved(field, definitions)
        inner = full.get("properties")
        default = "required" if name in required else _default_words(field.get("default"))
        words = ["deprecated"] if field.get("deprecated") else []
        words += [field["description"]] if field.get("description") else []
        rows.append(Option(f"{prefix}{name}", type_words(field, definitions), default, "; ".join(words)))
        if inner:
            rows += _rows(full, definitions, f"{prefix}{name}.")
    return rows


def _default_words(value: Any) -> str:
    return "none" if value is None else value_words(value)


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    return {**definitions[str(reference).rsplit("/", 1)[-1]], **{k: v for k, v in schema.items() if k != "$ref"}}
