"""`detkit data diff`: which images, objects and classes differ between two states of a dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detkit.cli.options import json_option, no_plugin_option

if TYPE_CHECKING:
    from detkit.data.differences import DataState, Differences, ImageChange, ObjectChange


@click.command("diff")
@click.argument("before", metavar="A", type=click.Path(path_type=Path))
@click.argument("after", metavar="B", type=click.Path(path_type=Path))
@click.option("--limit", type=click.IntRange(min=0), default=10, show_default=True, help="List so many of each kind.")
@no_plugin_option
@json_option
def command(before: Path, after: Path, limit: int, blocked: tuple[str, ...], as_json: bool) -> int:
    """Say what must be done to the data of A to make it that of B.

    A and B are runs, experiments or specs. Of a spec the data is read as it is now, of a record it is what was trained
    on. Exit code 1 where they differ.
    """
    from detkit.cli.console import RichMessages
    from detkit.compare.data import data_state
    from detkit.data.differences import compare

    messages = RichMessages()
    a, b = (data_state(path, messages, blocked=blocked) for path in (before, after))
    found = compare(a, b)
    if as_json:
        click.echo(json.dumps(_as_json(a, b, found), indent=2))
    else:
        _print(a, b, found, limit)
    return 1 if found else 0


def _as_json(a: DataState, b: DataState, found: Differences) -> dict[str, Any]:
    from dataclasses import asdict

    return {"same": not found, "a": _described(a), "b": _described(b), **asdict(found)}


def _described(state: DataState) -> dict[str, Any]:
    objects = sum(len(image.info.annotations) for image in state.images)
    return {"name": state.title, "images": len(state.images), "objects": objects}


def _print(a: DataState, b: DataState, found: Differences, limit: int) -> None:
    from detkit.cli.console import print_table

    rows = [(name, *map(str, list(_described(state).values())[1:])) for name, state in ((a.title, a), (b.title, b))]
    print_table(("data", "images", "objects"), rows, right=("images", "objects"))
    for note in found.notes:
        click.echo(note)
    if not found:
        click.echo("all that is compared is the same" if found.notes else "the data is the same")
        return
    counts = _counts(found)
    click.echo("")
    print_table(("difference", "count"), [(name, str(count)) for name, count in counts], right=("count",))
    for line in _class_lines(found):
        click.echo(line)
    _list("added images", found.added, limit)
    _list("removed images", found.removed, limit)
    _list("changed images", [_image_lines(change) for change in found.changed], limit)


def _counts(found: Differences) -> list[tuple[str, int]]:
    """What there is of each kind, without what there is none of."""
    objects = [change for image in found.changed for change in image.objects]
    classes = found.classes
    named = [
        ("images added", len(found.added)),
        ("images removed", len(found.removed)),
        ("images renamed", sum(change.new_name is not None for change in found.changed)),
        ("images with other bytes", sum(change.content for change in found.changed)),
        ("images of another size", sum(change.size is not None for change in found.changed)),
        ("images in another split", sum(change.split is not None for change in found.changed)),
        ("images with other objects", sum(bool(change.objects) for change in found.changed)),
        *(
            (f"objects {text}", sum(kind in change.changes for change in objects))
            for kind, text in (
                ("added", "added"),
                ("removed", "removed"),
                ("class", "of another class"),
                ("box", "with another box"),
                ("mask", "with another mask"),
                ("area", "with another area"),
                ("crowd", "with another crowd flag"),
            )
        ),
        ("classes added", len(classes.added)),
        ("classes removed", len(classes.removed)),
        ("classes renamed", len(classes.renamed)),
        ("classes in another order", int(classes.reordered)),
    ]
    return [(name, count) for name, count in named if count]


def _class_lines(found: Differences) -> Iterator[str]:
    classes = found.classes
    if classes.added:
        yield f"added classes: {', '.join(classes.added)}"
    if classes.removed:
        yield f"removed classes: {', '.join(classes.removed)}"
    if classes.renamed:
        yield f"renamed classes: {', '.join(f'{one} to {other}' for one, other in classes.renamed)}"
    if classes.reordered:
        yield "the classes of both have other numbers: they are compared by name"


def _list(title: str, lines: Sequence[str], limit: int) -> None:
    if not lines or not limit:
        return
    click.echo(f"\n{title}:")
    for line in lines[:limit]:
        click.echo(f"  {line}")
    if len(lines) > limit:
        click.echo(f"  and {len(lines) - limit} more; --limit {len(lines)} or --json lists them all")


def _image_lines(change: ImageChange) -> str:
    """What is otherwise of an image, with a line an object."""
    said = []
    if change.new_name is not None:
        said.append(f"now {change.new_name}")
    if change.content:
        said.append("other bytes")
    if change.size is not None:
        (width, height), (new_width, new_height) = change.size
        said.append(f"{width} x {height} before, {new_width} x {new_height} now")
    if change.split is not None:
        said.append(f"{change.split[0]} before, {change.split[1]} now")
    if change.objects:
        said.append(f"{len(change.objects)} object{'s' * (len(change.objects) > 1)}")
    objects = "".join(f"\n    {_object_line(item)}" for item in change.objects)
    return f"{change.name}: {'; '.join(said)}{objects}"


def _object_line(change: ObjectChange) -> str:
    before, after = change.before, change.after
    if before is None or after is None:
        return f"{change.changes[0]}: {_object(before or after or {})}"
    same = "class" not in change.changes and "box" not in change.changes
    whole = _object(before) if same else f"{_object(before)} before, {_object(after)} now"
    return f"{', '.join(change.changes)}: {whole}"


def _object(item: Any) -> str:
    return f"{item['class']} ({', '.join(f'{value:g}' for value in item['box'])})"
