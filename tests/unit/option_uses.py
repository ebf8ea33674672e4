"""Where the tests set options: read from their sources, without running anything.

A use is a key with a value, as tests write them: `{"lr": 0.1}`, `{"train.lr": 0.1}`, `TrainTable(lr=0.1)`, a line
`lr = 0.1` or `lr=0.1` of TOML in a text. It counts for an option where the file also names what the option belongs to
(the component, its options' class, the table), and where the value is another than the default. A value that only
running the test could tell (a parameter, a path of a temporary folder) counts as another one.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from detkit.components import PathBase

#: A value that the source does not tell.
UNKNOWN = object()
LINE = re.compile(r"(?<![\w.\"'-])([\w-]+(?:\.[\w-]+)*)[ ]?=[ ]?(?!=)(?=([^\n]*))")


@dataclass(frozen=True)
class Owner:
    """What has options.

    Attributes:
        title: for people. options: the model. names: one of which a file must hold for its uses to count.
    """

    title: str
    options: type[BaseModel]
    names: frozenset[str]


@dataclass(frozen=True)
class Source:
    """What one file sets: words in it, and key to values."""

    words: frozenset[str]
    uses: Mapping[str, tuple[Any, ...]]


def read_sources(files: Iterable[Path]) -> list[Source]:
    """The uses in Python files."""
    return sources({str(file): file.read_text(encoding="utf-8") for file in files})


def sources(texts: Mapping[str, str]) -> list[Source]:
    """As `read_sources`, of texts by their names."""
    trees = {name: ast.parse(text) for name, text in texts.items()}
    # Helpers that take any keywords, to pass them on as options: `voc(root, image_sets="Segmentation")`.
    helpers = {
        node.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.args.kwarg
    }
    found = []
    for name, tree in trees.items():
        uses: dict[str, list[Any]] = {}
        for key, value in _pairs(tree, helpers):
            uses.setdefault(key, []).append(value)
        words = frozenset(re.findall(r"\w[\w-]*", texts[name]))
        found.append(Source(words, {key: tuple(values) for key, values in uses.items()}))
    return found


def _pairs(tree: ast.AST, helpers: Collection[str]) -> Iterator[tuple[str, Any]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value.rsplit(".", 1)[-1], _value(value)
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            for keyword in node.keywords:
                if keyword.arg is not None:
                    yield f"{called}({keyword.arg})", _value(keyword.value)
                    if called in helpers:
                        yield keyword.arg, _value(keyword.value)
        elif isinstance(node, ast.JoinedStr):
            # f"lr = {rate}": the value is not told.
            parts = [str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values]
            yield from _of_text("".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _of_text(node.value)


def _of_text(text: str) -> Iterator[tuple[str, Any]]:
    for key, right in LINE.findall(text):
        if "\0" in right:
            yield key.rsplit(".", 1)[-1], UNKNOWN
            continue
        # What follows on the line may be of an inline table, `{ a = 1, b = 2 }`, or prose.
        for end in sorted({len(right), *(found.start() for found in re.finditer(r"[,} #]", right))}):
            try:
                yield key.rsplit(".", 1)[-1], tomllib.loads(f"x = {right[:end]}")["x"]
                break
            except tomllib.TOMLDecodeError:
                continue
        else:
            if re.fullmatch(r"[\w./-]+", right):  # --set models.fcos.backbone=resnet50_fpn
                yield key.rsplit(".", 1)[-1], right


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return UNKNOWN


def unused(owner: Owner, sources: Iterable[Source]) -> list[str]:
    """The options that no file sets to another value than their default."""
    near = [source for source in sources if source.words & owner.names]
    return sorted(_unused(owner.options, near, ""))


def _unused(options: type[BaseModel], near: list[Source], prefix: str) -> Iterator[str]:
    for name, known in options.model_fields.items():
        key = known.alias or name
        default = known.get_default(call_default_factory=True, validated_data={})
        values = [
            value
            for source in near
            for spelled in (key, f"{options.__name__}({name})")
            for value in source.uses.get(spelled, ())
        ]
        if isinstance(default, BaseModel):  # a table: its own options are what is used
            yield from _unused(type(default), near, f"{prefix}{key}.")
        elif not any(_is_another(options, name, value, default) for value in values):
            yield f"{prefix}{key}"


def _is_another(options: type[BaseModel], name: str, value: Any, default: Any) -> bool:
    """Whether a value is another than the default; one that the option does not take is none of it."""
    if value is UNKNOWN:
        return True
    try:
        given = options.__pydantic_validator__.validate_assignment(
            options.model_construct(), name, value, strict=False, context=PathBase(Path("/"))
        )
        value = getattr(given[0] if isinstance(given, tuple) else given, name)
    except Exception:  # noqa: BLE001 - a validator over the whole table may look at fields that are not there
        pass
    return default is PydanticUndefined or value != default
