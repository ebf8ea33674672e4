"""`detkit data show`: what a dataset looks like, in numbers and as a page."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detkit.cli.options import json_option, no_plugin_option
from detkit.cli.stopping import stoppable
from detkit.errors import Interrupted

if TYPE_CHECKING:
    from detkit.survey.collect import Collected
    from detkit.survey.counts import Counts
    from detkit.survey.page import Written
    from detkit.survey.source import Source


@click.command("show")
@click.argument("spec", required=False, type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a page with plots and images too.")
@click.option("--open", "open_it", is_flag=True, help="Open the page in the browser.")
@click.option("--images", type=click.IntRange(min=0), default=48, show_default=True, help="Images on the page.")
@click.option(
    "--size", type=click.IntRange(min=32), default=640, show_default=True, metavar="PX", help="Their longest side."
)
@click.option("--model", metavar="KEY", help="Whose augmentation and input size; the first enabled model by default.")
@click.option("--epoch", type=click.IntRange(min=1), default=1, show_default=True, help="First epoch to be shown.")
@click.option("--draws", type=click.IntRange(min=1), default=3, show_default=True, help="Epochs to be shown.")
@click.option("--run-seed", type=int, metavar="N", help="Seed of the run; by default the spec's first.")
@click.option("--fold", type=click.IntRange(min=1), metavar="N", help="Fold of the run; 1 by default.")
@click.option("--seed", type=int, default=0, metavar="N", help="Another number chooses other images.")
@click.option(
    "--max-mb", type=click.IntRange(min=8), default=30, show_default=True, metavar="MB", help="Largest page; fewer"
    " images are shown where they do not fit."
)  # fmt: skip
@click.option("--limit", type=click.IntRange(min=0), default=10, show_default=True, help="List so many broken images.")
@click.option("--from", "source", metavar="FORMAT", help="The format of --root, where there is no SPEC.")
@click.option("--root", type=click.Path(path_type=Path), help="The dataset's folder; its `root`.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a value. May be repeated.")
@no_plugin_option
@json_option
def command(
    spec: Path | None,
    html: Path | None,
    open_it: bool,
    images: int,
    size: int,
    model: str | None,
    epoch: int,
    draws: int,
    run_seed: int | None,
    fold: int | None,
    seed: int,
    max_mb: int,
    limit: int,
    source: str | None,
    root: Path | None,
    settings: tuple[str, ...],
    blocked: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show the [dataset] of SPEC: classes, splits, sizes; with --html also its images, before and after augmentation.

    Images are read from their headers alone, those on the page are decoded. Nothing of the data is changed.
    """
    from detkit.cli.console import RichMessages
    from detkit.survey.collect import collect_data
    from detkit.survey.counts import count

    _refuse_mixtures(spec, html, open_it, source, root)
    messages = RichMessages()
    shown = _source(spec, source, root, settings, blocked, whole=html is not None or model is not None, model=model)
    try:
        with stoppable():
            data = collect_data(shown, messages)
            counts = count(data, shown)
            written = None
            if html is not None:
                from detkit.survey.page import Wanted, write_page  # which imports torch

                wanted = Wanted(images, size, epoch, draws, run_seed, fold, seed, max_mb * 1_000_000)
                written = write_page(html, shown, data, counts, wanted, messages)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; no page was written" if html else "interrupted") from None
    if as_json:
        click.echo(json.dumps(_as_json(shown, data, counts, written), indent=2))
    else:
        _print(shown, data, counts, limit)
        _print_page(written)
    if open_it and written:
        import webbrowser

        webbrowser.open(written.file.absolute().as_uri())


def _refuse_mixtures(
    spec: Path | None, html: Path | None, open_it: bool, source: str | None, root: Path | None
) -> None:
    if (spec is None) == (source is None):
        raise click.UsageError("name a SPEC, or a folder with --from FORMAT --root PATH")
    if root is not None and source is None:
        raise click.UsageError("--root needs --from: in which format is the folder? A SPEC states its own root")
    if html is not None and html.is_dir():
        raise click.UsageError(f"--html {html} is a folder: name a file in it")
    if open_it and html is None:
        raise click.UsageError("--open opens the page of --html FILE: name one")


def _source(
    spec: Path | None,
    source: str | None,
    root: Path | None,
    settings: tuple[str, ...],
    blocked: tuple[str, ...],
    *,
    whole: bool,
    model: str | None,
) -> Source:
    """The whole spec where its models matter, and it has any; else its data alone."""
    from detkit.spec.overrides import parse_overrides
    from detkit.survey import source as sources

    changes: dict[str, Any] = {"dataset.use": source} if source is not None else {}
    if root is not None:
        changes["dataset.root"] = str(root)
    changes |= parse_overrides(settings)
    if spec is not None and whole and (model is not None or sources.has_models(spec)):
        from detkit.spec.loader import load_spec

        return sources.whole(load_spec(spec, set=changes, blocked=blocked), model)
    if model is not None:
        raise click.UsageError("--model names a model of a SPEC")
    return sources.data_of(spec, set=changes, blocked=blocked)


def _as_json(source: Source, data: Collected, counts: Counts, written: Written | None) -> dict[str, Any]:
    from detkit.record.layout import FORMAT_VERSION

    return {
        "format_version": FORMAT_VERSION,
        "dataset": source.use.key,
        "class_names": list(data.dataset.class_names),
        **counts.to_dict(),
        "undivided": data.undivided or None,
        "unreadable": [
            {"image": one.image, "file": None if one.file is None else str(one.file), "cause": one.cause}
            for one in data.unreadable.values()
        ],
        "page": written and written.to_dict(),
    }


def _print(source: Source, data: Collected, counts: Counts, limit: int) -> None:
    from detkit.cli.console import print_table
    from detkit.survey.terminal import tables

    many = len(data.dataset.class_names)
    total = counts.everything
    classes = f"{many} class{'es' * (many != 1)}"
    click.echo(f"{source.use.key}: {total.images} images, {total.objects} objects, {classes}")
    click.echo(_of_objects(counts))
    for heading, (columns, rows, right) in tables(counts, fill=_fill()):
        click.echo(f"\n{heading}")
        print_table(columns, rows, right=right)
    if data.undivided:
        click.echo(f"\nthere are no splits: {data.undivided}")
    _print_broken(source, data, counts, limit)


def _of_objects(counts: Counts) -> str:
    total, left = counts.everything, counts.left_out
    parts = [
        f"{counts.masks} of {total.objects} objects have masks" if counts.masks else "no object has a mask",
        f"{counts.crowds} crowd{'s' * (counts.crowds != 1)}" if counts.crowds else "",
        f"{left} object{'s' * (left != 1)} without area {'is' if left == 1 else 'are'} left out" if left else "",
    ]
    return "; ".join(part for part in parts if part)


def _fill() -> str:
    """Of what bars are made: a block, where the terminal can write it."""
    try:
        "\u2588\u2026".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "#"
    return "\u2588"


def _print_broken(source: Source, data: Collected, counts: Counts, limit: int) -> None:
    from detkit.data.file_dataset import printable

    many = counts.boxes_without_area
    if many:
        click.echo(f"\n{many} box{'es' * (many != 1)} without area or with NaN; {source.checked} says more")
    if not data.unreadable:
        return
    broken = len(data.unreadable)
    what = f"{broken} image{'s' * (broken != 1)} could not be read, and count in no size"
    click.echo(f"\n{what}; {source.checked} says more")
    for one in list(data.unreadable.values())[:limit]:
        told = one.cause if one.image in one.cause else f"{one.file or one.image}: {one.cause}"
        click.echo(printable(f"  {told}"))
    if len(data.unreadable) > limit:
        click.echo(f"  and {len(data.unreadable) - limit} more; --json lists them all")


def _print_page(written: Written | None) -> None:
    if written is None:
        return
    for note in written.notes:
        click.echo(note)
    click.echo(f"page: {written.file} ({written.bytes / 1e6:.1f} MB, {written.images} images)")
