"""`detkit data convert`: a dataset into another format, with a report of what that cannot hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detkit.cli.data.writing import images_option, print_losses
from detkit.cli.options import json_option, no_plugin_option
from detkit.cli.stopping import stoppable
from detkit.errors import Interrupted

if TYPE_CHECKING:
    from detkit.components import ImageTransfer
    from detkit.engine.converting import Converted


@click.command("convert")
@click.argument("paths", nargs=-1, required=True, metavar="[SPEC] OUTPUT", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, metavar="FORMAT", help="coco, voc, yolo, csv, masks, or a plugin's.")
@click.option("--from", "source", metavar="FORMAT", help="The format of --root, where there is no SPEC.")
@click.option("--root", type=click.Path(path_type=Path), help="The dataset's folder; its `root`.")
@images_option
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the dataset, as dataset.masks=off. May be repeated.",
)
@no_plugin_option
@json_option
def command(
    paths: tuple[Path, ...],
    target: str,
    source: str | None,
    root: Path | None,
    images: ImageTransfer,
    settings: tuple[str, ...],
    blocked: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write a dataset into the new folder OUTPUT in another format.

    The dataset is the [dataset] of SPEC, or what --from and --root name. Nothing is overwritten, and where something
    goes wrong there is no OUTPUT. What the format cannot hold is listed.
    """
    from detkit.cli.console import RichMessages
    from detkit.engine.converting import convert
    from detkit.spec.parts import load_dataset

    spec, output = _paths(paths, source, root)
    use, registry = load_dataset(spec, set=_settings(source, root, settings), blocked=blocked)
    folder = spec.parent if spec else Path()
    try:
        with stoppable():
            done = convert(use, registry, target, output, transfer=images, spec_folder=folder, messages=RichMessages())
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; there is no {output}") from None
    if as_json:
        from detkit.record.layout import FORMAT_VERSION

        click.echo(json.dumps({"format_version": FORMAT_VERSION, **done.to_dict()}, indent=2))
    else:
        _print(done)


def _paths(paths: tuple[Path, ...], source: str | None, root: Path | None) -> tuple[Path | None, Path]:
    """SPEC, where there is none None, and OUTPUT."""
    if source is None and root is not None:
        raise click.UsageError("--root needs --from: in which format is the folder? A SPEC states its own root")
    if source is not None and len(paths) != 1:
        raise click.UsageError("with --from there is no SPEC: name OUTPUT alone")
    if source is None and len(paths) != 2:
        raise click.UsageError("name SPEC and OUTPUT, or OUTPUT alone with --from and --root")
    return (paths[0] if source is None else None), paths[-1]


def _settings(source: str | None, root: Path | None, settings: tuple[str, ...]) -> dict[str, Any]:
    from detkit.spec.overrides import parse_overrides

    named: dict[str, Any] = {"dataset.use": source} if source is not None else {}
    if root is not None:
        named["dataset.root"] = str(root)
    return {**named, **parse_overrides(settings)}


def _print(done: Converted) -> None:
    written = done.written
    splits = "".join(f", {name} {count}" for name, count in done.splits.items())
    click.echo(f"{done.source} to {done.target}: {written.images} images, {written.objects} objects{splits}")
    click.echo(f"classes: {', '.join(done.class_names)}")
    print_losses(f"{done.target} cannot hold all of it:", written)
    click.echo(f"dataset: {done.folder}")
