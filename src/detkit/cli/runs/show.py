"""`detkit runs show`: all that is recorded of a run, or the runs of an experiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from detkit.cli.options import json_option

if TYPE_CHECKING:
    from detkit.cli.runs.places import Named


@click.command("show")
@click.argument("name", metavar="RUN")
@click.option("--in", "folder", type=click.Path(path_type=Path), metavar="FOLDER", help="Where the name is looked up.")
@click.option("--spec", type=click.Path(path_type=Path), metavar="SPEC", help="Look it up where SPEC's output is.")
@json_option
def command(name: str, folder: Path | None, spec: Path | None, as_json: bool) -> None:
    """Show state, figures, costs, recipe, origin and files of RUN, and how to go on.

    RUN is a path, or any beginning of a name that only one has. Of an experiment its runs are listed.
    """
    from detkit.cli.runs.places import find_named, output_folder

    named = find_named(name, output_folder(folder, spec))
    if named.run_id is None:
        _show_experiment(named, as_json)
    else:
        _show_run(named, named.run_id, as_json)


def _show_run(named: Named, run_id: str, as_json: bool) -> None:
    from detkit.cli.runs.facts import facts_of, sections
    from detkit.record.inventory import SHAPES, runs_aside
    from detkit.record.reader import ExperimentRecord

    try:
        listed = {run.run_id: run for run in ExperimentRecord(named.experiment).runs}
    except SHAPES:
        listed = {}
    run = listed.get(run_id) or next(run for run in runs_aside(named.experiment, set(listed)) if run.run_id == run_id)
    facts = facts_of(run, aside=run_id not in listed)
    if as_json:
        click.echo(json.dumps(facts.to_dict(), indent=2))
        return
    for number, (title, lines) in enumerate(sections(facts)):
        if number:
            click.echo("")
        if title:
            click.echo(f"{title}:")
        _print_lines(lines, indent="  " if title else "")


def _print_lines(lines: list[tuple[str, str]], indent: str) -> None:
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        click.echo(f"{indent}{name.ljust(width)}  {value}")


def _show_experiment(named: Named, as_json: bool) -> None:
    from detkit.cli.runs.list import print_inventory, when
    from detkit.cli.words import size
    from detkit.record.inventory import Inventory, experiment_entry

    entry = experiment_entry(named.experiment)
    if as_json:
        runs = [run.to_dict() for run in entry.runs]
        click.echo(json.dumps({"format_version": 1, **entry.to_dict(), "runs": runs}, indent=2))
        return
    lines = [("experiment", entry.name or named.experiment.name), ("folder", str(entry.folder))]
    lines += [("state", "running")] if entry.running else []
    lines += [("created", when(entry.created)), ("size", f"{size(entry.size)}, of which shared {size(entry.shared)}")]
    _print_lines(lines, indent="")
    click.echo("")
    print_inventory(Inventory(named.experiment, (entry,), {}), list(entry.runs))
