"""Validation of one table against its options, with pydantic's errors in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json

from detkit.components import Options, PathBase
from detkit.errors import did_you_mean
from detkit.spec.scanner import KeyPath

O = TypeVar("O", bound=Options)  # noqa: E741 - as in detkit.components

#: What a value must be, by the type of pydantic's error: these can be joined with "or" where a union failed.
_NOUNS = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "path_type": "a path",
    "list_type": "an array",
    "tuple_type": "an array",
    "set_type": "an array",
    "frozen_set_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dataclass_type": "a table",
    "none_required": "left out",
    "date_type": "a date",
    "date_parsing": "a date",
    "date_from_datetime_parsing": "a date",
    "datetime_type": "a date and time",
    "datetime_parsing": "a date and time",
    "time_type": "a time",
    "time_parsing": "a time",
}

#: What a value of the right type must satisfy; the words in braces come from pydantic's context.
_CONDITIONS = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "finite_number": "must be finite",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must hold at least {min_length} value(s)",
    "too_long": "must hold at most {max_length} value(s)",
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong at one place of a table.

    Attributes:
        path: below the table; empty for the table as a whole. A key that is missing is named too.
        message: in plain words.
        wants_text: a value of another type stands where text is wanted.
    """

    path: KeyPath
    message: str
    wants_text: bool = False


def validate(options: type[O], values: Mapping[str, Any], base: PathBase) -> O | list[Complaint]:
    """The options that a table states, or everything that is wrong with it.

    Strict: "3" is no number and 1 is no bool; yet paths, tuples and dates, which TOML or JSON lacks, are read.

    Raises:
        Exception: whatever a validator of the options raises that pydantic does not catch.
    """
    text = to_json(_path_defaults(options) | dict(values), inf_nan_mode="constants")
    try:
        return options.model_validate_json(text, strict=True, context=base)
    except ValidationError as error:
        return list(_complaints(error.errors(include_url=False), values, options))


def _path_defaults(options: type[BaseModel]) -> dict[str, str]:
    """Defaults that are relative paths, as text: validated with the rest, they resolve like what a spec states."""
    return {
        info.alias or name: str(info.default)
        for name, info in options.model_fields.items()
        if isinstance(info.default, Path) and not info.default.is_absolute()
    }


def show(value: Any) -> str:
    """A value with its type in plain words, short enough for a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value}"
    if isinstance(value, str):
        return f'the text "{value}"' if len(value) <= 60 else f'the text "{value[:57]}..."'
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "an array"
    if isinstance(value, date | datetime | time):
        return f"the date or time {value}"
    return repr(value)


def _complaints(
    errors: Sequence[ErrorDetails], values: Mapping[str, Any], options: type[BaseModel]
) -> Iterator[Complaint]:
    grouped: dict[KeyPath, list[ErrorDetails]] = {}
    for error in errors:
        grouped.setdefault(_data_path(error, values), []).append(error)
    for path, group in grouped.items():
        yield _complaint(path, group, values, options)


def _data_path(error: ErrorDetails, values: Any) -> KeyPath:
    """pydantic's location without the names it gives to a union's members, which are no keys of the data."""
    path: KeyPath = ()
    for part in error["loc"]:
        if _holds(values, part):
            values = values[part]
        elif error["type"] != "missing" or isinstance(part, int) or part != error["loc"][-1]:
            continue
        path = (*path, part)
    return path


def _holds(values: Any, part: str | int) -> bool:
    if isinstance(values, Mapping):
        return part in values
    return isinstance(values, list) and isinstance(part, int) and part < len(values)


def _complaint(
    path: KeyPath, group: Sequence[ErrorDetails], values: Mapping[str, Any], options: type[BaseModel]
) -> Complaint:
    kinds = {error["type"] for error in group}
    if kinds == {"extra_forbidden"}:
        return Complaint(path, f"unknown key{did_you_mean(str(path[-1]), _names_at(options, path[:-1]))}")
    if kinds == {"missing"}:
        return _missing(path, group, values, options)
    conditions = [text for error in group if (text := _condition(error)) is not None]
    if conditions:
        return Complaint(path, conditions[0])
    nouns = list(dict.fromkeys(_noun(error) for error in group if error["type"] != "none_required"))
    value = _value_at(values, path)
    message = f"must be {' or '.join(nouns)}, not {show(value)}{_nearest(group, value)}"
    return Complaint(path, message, wants_text="string_type" in kinds)


def _missing(
    path: KeyPath, group: Sequence[ErrorDetails], values: Mapping[str, Any], options: type[BaseModel]
) -> Complaint:
    ends = [end for error in group if isinstance(end := error["loc"][-1], int)]
    if ends:
        return Complaint(path, f"must hold {max(ends) + 1} values, not {len(_value_at(values, path))}")
    description = _description_at(options, path)
    return Complaint(path, f"missing, and has no default{f': {description}' if description else ''}")


def _condition(error: ErrorDetails) -> str | None:
    """The condition that a value of the right type breaks, or None where the type is wrong."""
    context = error.get("ctx", {})
    kind = error["type"]
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", "")) or "is refused"
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}, which {show(error['input'])} does not"
    if kind in _CONDITIONS:
        limits = {name: f"{v:g}" if isinstance(v, float) else v for name, v in context.items()}
        return _CONDITIONS[kind].format(**limits)
    if kind in _NOUNS or kind in ("literal_error", "enum"):
        return None
    return re.sub(r"^Input should (?:be )?", "must be ", error["msg"])


def _noun(error: ErrorDetails) -> str:
    if error["type"] in ("literal_error", "enum"):
        expected = str(error.get("ctx", {}).get("expected", ""))
        return expected if " or " not in expected else f"one of {expected.replace(' or ', ', ')}"
    return _NOUNS[error["type"]]


def _nearest(group: Sequence[ErrorDetails], value: Any) -> str:
    if not isinstance(value, str):
        return ""
    choices = [
        choice
        for error in group
        if error["type"] in ("literal_error", "enum")
        for choice in re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", "")))
    ]
    hint = did_you_mean(value, choices)
    # All choices are in the message already.
    return hint if hint.startswith("; did you mean") else ""


def _value_at(values: Any, path: KeyPath) -> Any:
    for part in path:
        values = values[part]
    return values


# --- what the options say about a place ------------------------------------------------------------------------------


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that may stand where a field of this annotation does, or in its elements."""
    origin = get_origin(annotation)
    if isinstance(annotation, type) and origin is None:
        if issubclass(annotation, BaseModel):
            yield annotation
    elif origin is Annotated:
        yield from _models_in(get_args(annotation)[0])
    else:
        for argument in get_args(annotation):
            yield from _models_in(argument)


def _models_at(options: type[BaseModel], path: KeyPath) -> list[type[BaseModel]]:
    models = [options]
    for part in path:
        deeper: list[type[BaseModel]] = []
        for model in models:
            name = _field_name(model, part)
            if name is not None:
                deeper += _models_in(model.model_fields[name].annotation)
            else:  # an index, or a key of a plain table: the models are those of its elements
                deeper.append(model)
        models = deeper
    return models


def _field_name(model: type[BaseModel], key: str | int) -> str | None:
    for name, info in model.model_fields.items():
        if key in (name, info.alias):
            return name
    return None


def _names_at(options: type[BaseModel], path: KeyPath) -> list[str]:
    return [info.alias or name for model in _models_at(options, path) for name, info in model.model_fields.items()]


def _description_at(options: type[BaseModel], path: KeyPath) -> str:
    for model in _models_at(options, path[:-1]):
        name = _field_name(model, path[-1])
        if name is not None:
            return model.model_fields[name].description or ""
    return ""


# --- paths -----------------------------------------------------------------------------------------------------------


def path_base(options: type[BaseModel], folder: Path, folder_of: Iterable[tuple[KeyPath, str, Path]]) -> PathBase:
    """The folders of a table's relative paths.

    Args:
        options: of the table.
        folder: of the spec file.
        folder_of: path below the table, text and folder of each text that was not written in the spec file.
    """
    elsewhere: dict[tuple[str, str], Path] = {}
    for path, text, other in folder_of:
        for part in path:
            if isinstance(part, str):
                name = _field_name(options, part) or part
                elsewhere[(name, str(Path(text).expanduser()))] = other
    return PathBase(folder, elsewhere)
