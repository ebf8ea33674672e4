"""`detkit runs list`: experiments and their runs, newest first."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from detkit.cli.options import json_option
from detkit.cli.words import duration, figure, plural, size

if TYPE_CHECKING:
    from detkit.record.inventory import ExperimentEntry, Inventory, RunEntry

STATES = ("running", "finished", "interrupted", "failed", "pending", "pruned", "broken")
#: Columns that a narrow terminal has no room for, the least wanted first.
LEAST_WANTED = ("size", "took", "started", "epochs")
RIGHT = ("epochs", "took", "size")
#: A cause stands under the table, at most so long.
LONGEST_CAUSE = 300


@click.command("list")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--spec", type=click.Path(path_type=Path), metavar="SPEC", help="Look where the experiments of SPEC go.")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Only runs in this state; repeatable."
)
@click.option("--model", "models", multiple=True, metavar="NAME", help="Only runs of this model. Repeatable.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the newest N runs.")
@json_option
def command(
    folder: Path | None,
    spec: Path | None,
    states: tuple[str, ...],
    models: tuple[str, ...],
    limit: int | None,
    as_json: bool,
) -> None:
    """List the experiments in FOLDER and their runs, newest first; FOLDER is `runs` by default.

    It may be the folder of one experiment, too.
    """
    from detkit.cli.runs.places import output_folder
    from detkit.record.inventory import take_inventory

    if folder is not None and spec is not None:
        raise click.UsageError("FOLDER and --spec both say where to look: give one of them")
    inventory = take_inventory(output_folder(folder, spec))
    every = newest_first(inventory)
    chosen = [run for run in every if (not states or run.state in states) and (not models or run.model in models)]
    shown = chosen[:limit]
    if as_json:
        click.echo(json.dumps(_report(inventory, shown, len(chosen)), indent=2))
        return
    print_inventory(inventory, shown)
    click.echo(_total(inventory, every, chosen, shown))


def newest_first(inventory: Inventory) -> list[RunEntry]:
    """By when they started; those of one experiment that have not begun before the others of it, as they come next."""
    keyed = []
    for experiment in inventory.experiments:
        for number, run in enumerate(experiment.runs):
            begun = run.started if run.started is not None else experiment.created or 0.0
            keyed.append((begun, number, run))
    return [run for _, _, run in sorted(keyed, key=lambda entry: entry[:2], reverse=True)]


def _report(inventory: Inventory, shown: list[RunEntry], matching: int) -> dict[str, object]:
    return {
        "format_version": 1,
        "folder": str(inventory.folder),
        "experiments": [experiment.to_dict() for experiment in inventory.experiments],
        "runs": [run.to_dict() for run in shown],
        "matching": matching,
        "others": dict(inventory.others),
    }


def print_inventory(inventory: Inventory, shown: Sequence[RunEntry]) -> None:
    """The table of these runs, why some of them failed, and what of the folder is broken or no record."""
    from detkit.cli.console import plain_table, print_table

    if shown:
        columns = ["run", "state", "epochs", "best", "started", "took", "size"]
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
        rows = [dict(zip(columns, _cells(run, inventory), strict=True)) for run in shown]
        left_out = []
        for name in LEAST_WANTED:
            cells = [[row[column] for column in columns] for row in rows]
            if max(map(len, plain_table(columns, cells))) + len(columns) <= width:
                break
            columns.remove(name)
            left_out.append(name)
        print_table(columns, [[row[column] for column in columns] for row in rows], right=RIGHT)
        if left_out:
            click.echo(f"not shown for want of room: {', '.join(left_out)}")
    for run in shown:
        if run.cause:
            click.echo(f"{run.name} {run.state}: {run.cause[:LONGEST_CAUSE]}")
    for experiment in inventory.experiments:
        if experiment.broken:
            click.echo(f"{experiment.folder.name} broken: {experiment.broken}")
        elif not experiment.runs:
            click.echo(f"{experiment.folder.name}: no runs")
    for name, reason in inventory.others.items():
        click.echo(f"{name}: {reason}")


def _total(inventory: Inventory, every: list[RunEntry], chosen: list[RunEntry], shown: list[RunEntry]) -> str:
    whole: list[ExperimentEntry] = list(inventory.experiments)
    bytes_ = sum(experiment.size for experiment in whole)
    told = f"{plural(len(whole), 'experiment')}, {plural(len(every), 'run')}, {size(bytes_)} in {inventory.folder}"
    if len(chosen) != len(every):
        told += f"; {len(chosen)} as asked for"
    if len(shown) != len(chosen):
        told += f"; the newest {len(shown)} are shown"
    return told


def _cells(run: RunEntry, inventory: Inventory) -> list[str]:
    alone = len(inventory.experiments) == 1 and inventory.folder == run.experiment
    return [
        run.run_id if alone else run.name,
        run.state,
        f"{run.epochs_done}/{run.epochs}" if run.epochs else str(run.epochs_done),
        best_words(run),
        when(run.started),
        "-" if run.took_s is None else duration(run.took_s),
        size(run.size),
    ]


def best_words(run: RunEntry) -> str:
    """As "coco/ap 0.312 at 8"."""
    if run.best is None or run.quantity is None:
        return "-"
    return f"{run.quantity.name} {figure(run.best.value)} at {run.best.epoch}"


def when(seconds: float | None) -> str:
    """A local time, without the date's year where it is this one's."""
    if seconds is None:
        return "-"
    there, now = time.localtime(seconds), time.localtime()
    return time.strftime("%d %b %H:%M" if there.tm_year == now.tm_year else "%d %b %Y", there)
