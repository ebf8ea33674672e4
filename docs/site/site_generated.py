"""What pages have from the program itself: options of components, the help of commands, the public modules.

A page has a line `<!-- generated: NAME -->`; the site has in its place what NAME gives.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import click

import detkit
from detkit import errors
from detkit.cli.main import Commands
from detkit.plugins import OFFERS, Kind, Registry, collect
from detkit.spec.describe import describe

ROOT = Path(__file__).resolve().parents[2]
#: Pages of the Python interface; what none of them names is added to the second.
API_PAGES = (ROOT / "docs/reference/api.md", ROOT / "docs/reference/api-plugins.md")
#: Of the help: as many letters as a line of the site holds.
WIDTH = 78
MARK = re.compile(r"^<!-- generated: ([a-z_ ]+) -->$", re.MULTILINE)


def expanded(text: str) -> str:
    """The page with what its marks stand for.

    Raises:
        KeyError: a mark that means nothing.
    """
    return MARK.sub(lambda found: CONTENT[found.group(1)](), text)


def component_options(registry: Registry, kind: Kind) -> str:
    """A section for each component of a kind that an installation of detkit brings."""
    sections = []
    for name, offered in sorted(registry.components[kind].items()):
        component = offered.component
        said = f"{component.summary}. " if component.summary else ""
        rows = describe(component.options)
        sections.append(f"### {kind.replace('_', ' ')} `{name}`\n\n{said}From the plugin `{offered.plugin.name}`.\n")
        if rows:
            table = ["| Option | Type | Default | What it does |", "|---|---|---|---|"]
            table += [
                f"| `{row.name}` | {cell(row.type)} | {cell(code(row.default))} | {cell(row.description)} |"
                for row in rows
            ]
            sections.append("\n".join(table) + "\n")
        else:
            sections.append("No options.\n")
    return "\n".join(sections)


def code(default: str) -> str:
    """A default as one writes it; words that stand for no value as words."""
    return default if default in ("required", "none") else f"`{default}`"


def cell(text: str) -> str:
    """Text in a cell of a table: bars would end the cell, and `<` begin a tag."""
    plain = " ".join(text.split())
    pieces = re.split(r"(`[^`]*`)", plain)
    safe = [piece if piece.startswith("`") else re.sub(r"([<>*_\[\]])", r"\\\1", piece) for piece in pieces]
    return "".join(safe).replace("|", "\\|")


def command_help() -> str:
    """What `--help` prints, of the program and of every command."""
    group = Commands("detkit", help="Find the best object detector for your own images.")
    context = click.Context(group, info_name="detkit", terminal_width=WIDTH)
    return "\n".join(f"### `{path}`\n\n```text\n{text.rstrip()}\n```\n" for path, text in _helps(group, context))


def _helps(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    if context.parent is not None:
        yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                inner_context = click.Context(inner, info_name=name, parent=context)
                inner_context.terminal_width = WIDTH
                yield from _helps(inner, inner_context)


def error_tree() -> str:
    """The tree that stands in the docstring of `detkit.errors`, line for line."""
    first, _, tree = (errors.__doc__ or "").strip().partition("\n\n")
    return f"{first}\n\n```text\n{tree.rstrip()}\n```\n"


def record_files() -> str:
    """A section for each file of the record, from its JSON Schema."""
    schema = json.loads((ROOT / "docs/reference/record.schema.json").read_text(encoding="utf-8"))
    return "\n".join(
        "\n".join([f"## `{name}`\n", "| Key | Type | | What it is |", "|---|---|---|---|", *_keys(form, ""), ""])
        for name, form in schema["$defs"].items()
    )


def _keys(form: Mapping[str, Any], above: str) -> Iterator[str]:
    """Rows of an object's keys; those of objects in it below them."""
    if form.get("type") == "array":
        form, above = form["items"], f"{above}[]."
    required = form.get("required", ())
    for name, inner in form.get("properties", {}).items():
        kinds = inner["type"] if isinstance(inner["type"], list) else [inner["type"]]
        needed = "required" if name in required else ""
        yield f"| `{above}{name}` | {' or '.join(kinds)} | {needed} | {inner['description']} |"
        if "properties" in inner:
            yield from _keys(inner, f"{above}{name}.")
        elif "properties" in inner.get("items", {}):
            yield from _keys(inner["items"], f"{above}{name}[].")


def other_names() -> str:
    """The public names that the pages have not placed under a heading."""
    placed = "".join(page.read_text(encoding="utf-8") for page in API_PAGES)
    named = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)$", placed, re.MULTILINE)}
    rest = [name for name in detkit.__all__ if name not in named and not name.startswith("__")]
    return "\n".join(["## Others\n", *(f"::: detkit.{name}\n" for name in rest)]) if rest else ""


def public_modules() -> str:
    """A section for each module that plugins may import, as the test of the floors has them."""
    tree = ast.parse((ROOT / "tests/unit/test_floors.py").read_text(encoding="utf-8"))
    (names,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PUBLIC_MODULES"
    ]
    return "\n".join(f"::: {name}\n    options:\n      show_root_full_path: true\n" for name in names)


def _options_of(kind: Kind) -> Callable[[], str]:
    return lambda: component_options(collect(), kind)


#: What a mark may name.
CONTENT: Mapping[str, Callable[[], str]] = {
    "help": command_help,
    "error tree": error_tree,
    "record files": record_files,
    "other names": other_names,
    "public modules": public_modules,
    **{f"options {kind}": _options_of(cast(Any, kind)) for kind in OFFERS},
}
