"""`detkit runs rm`: remove runs, whole experiments, or only checkpoints; it says first what, and asks."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from detkit.cli.options import json_option
from detkit.cli.words import plural, size
from detkit.errors import RecordError

if TYPE_CHECKING:
    from detkit.cli.runs.places import Named
    from detkit.record.reader import ExperimentRecord
    from detkit.record.removal import Removal


@click.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@click.option("--in", "folder", type=click.Path(path_type=Path), metavar="FOLDER", help="Where names are looked up.")
@click.option("--spec", type=click.Path(path_type=Path), metavar="SPEC", help="Look names up where SPEC's output is.")
@click.option("--checkpoints", is_flag=True, help="Remove only checkpoints of finished runs, all but the best.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and how large it is.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(
    names: tuple[str, ...],
    folder: Path | None,
    spec: Path | None,
    checkpoints: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Remove RUN from disk: runs or whole experiments, by path or by any beginning of a name that only one has.

    Nothing is removed that is running, and nothing that detkit has not written: it is named, and stays.
    """
    from detkit.cli.runs.places import find_named, output_folder
    from detkit.record.removal import remove

    asks = sys.stdin.isatty() and sys.stderr.isatty() and not as_json
    if not (yes or dry_run or asks):
        raise click.UsageError("nobody can be asked here: add --yes to remove, or --dry-run to see what that would be")
    output = output_folder(folder, spec)
    named = list(dict.fromkeys(find_named(name, output) for name in names))
    skipped: list[str] = []
    removals = _plan_checkpoints(named, skipped) if checkpoints else _plan(named)
    if not as_json:
        _show(removals, skipped)
    if dry_run or not any(removal.paths for removal in removals):
        done = False
    elif yes or click.confirm(f"remove {_amount(removals)} for good?", err=True):
        remove(removals)
        notes = [] if checkpoints else _mend(removals)
        done = True
    else:
        click.echo("nothing was removed", err=True)
        return 1
    if as_json:
        click.echo(json.dumps(_report(removals, skipped, done), indent=2))
    elif done:
        click.echo(f"removed {_amount(removals)}")
        for note in notes:
            click.echo(note)
    return 0


def _plan(named: Sequence[Named]) -> list[Removal]:
    """A run of an experiment that is named too goes with it."""
    from detkit.record.removal import plan_experiment, plan_run

    whole = {one.experiment for one in named if one.run_id is None}
    removals: list[Removal] = []
    for one in named:
        if one.run_id is None:
            removals += plan_experiment(one.experiment)
        elif one.experiment not in whole:
            removals.append(plan_run(one.experiment, one.run_id))
    return removals


def _plan_checkpoints(named: Sequence[Named], skipped: list[str]) -> list[Removal]:
    """Of an experiment those runs that have finished; the others are told. A run that is named must have finished."""
    from detkit.record.reader import open_record
    from detkit.record.removal import plan_checkpoints

    removals: dict[Path, Removal] = {}
    for one in named:
        if one.run_id is not None:
            removals[one.folder] = plan_checkpoints(one.experiment, one.run_id)
            continue
        for run in open_record(one.experiment).runs:
            try:
                removals[run.files.folder] = plan_checkpoints(one.experiment, run.run_id)
            except RecordError as error:
                skipped.append(str(error))
    return list(removals.values())


def _show(removals: Sequence[Removal], skipped: Sequence[str]) -> None:
    """One line a run, what stays, and the sum."""
    from detkit.cli.console import print_table

    rows = [(_what(removal), size(removal.size), str(removal.folder)) for removal in removals if removal.paths]
    if rows:
        print_table(("what", "size", "folder"), rows, right=("size",))
    for removal in removals:
        for link in removal.links:
            click.echo(f"{link} is a link: it goes, what it leads to stays")
        for path in removal.kept:
            click.echo(f"{path} stays: detkit has not written it")
    for reason in skipped:
        click.echo(f"left out: {reason}")
    if any(removal.checkpoints_only for removal in removals):
        click.echo("without them these runs cannot be given more epochs (--extend); predict and eval use the best one")
    click.echo(f"in all: {_amount(removals)}")


def _what(removal: Removal) -> str:
    if removal.checkpoints_only:
        return f"{removal.name}: {', '.join(path.name for path in removal.paths)}"
    return f"{removal.name}: what its runs share" if removal.run_id is None else removal.name


def _amount(removals: Sequence[Removal]) -> str:
    total = size(sum(removal.size for removal in removals))
    if any(removal.checkpoints_only for removal in removals):
        return f"{plural(sum(len(removal.paths) for removal in removals), 'checkpoint')}, {total}"
    runs = sum(removal.run_id is not None for removal in removals)
    experiments = len(removals) - runs
    parts = [plural(experiments, "experiment")] if experiments else []
    return ", ".join([*parts, plural(runs, "run"), total])


def _mend(removals: Sequence[Removal]) -> list[str]:
    """Make the tables of experiments that have lost runs anew; returns what is left to say."""
    from detkit.compare.writing import write_leaderboard
    from detkit.record.reader import ExperimentRecord

    notes = []
    whole = {removal.experiment for removal in removals if removal.run_id is None}
    for experiment in dict.fromkeys(removal.experiment for removal in removals if removal.experiment not in whole):
        record = ExperimentRecord(experiment)
        try:
            if record.files.leaderboard.exists():
                write_leaderboard(record)
        except (RecordError, KeyError, TypeError) as error:  # another run of it is broken
            record.files.leaderboard.unlink(missing_ok=True)
            notes.append(f"{record.files.leaderboard} was removed: it cannot be made anew: {error}")
        notes += _of_search(record, [removal for removal in removals if removal.experiment == experiment])
        if (experiment / "report" / "index.html").exists():
            notes.append(f"the report still shows what was removed, until: detkit report {experiment}")
    return notes


def _of_search(record: ExperimentRecord, removals: Sequence[Removal]) -> list[str]:
    """What has become of trials whose runs were removed."""
    try:
        trials = record.trials()
    except RecordError as error:
        return [str(error)]
    gone = {removal.run_id for removal in removals}
    notes = []
    for trial in trials:
        name = f"trial {trial.number} of {trial.model}"
        if gone.isdisjoint(trial.runs):
            continue
        if trial.state == "removed":
            notes.append(f"{name} stays in the table of the search as removed, and no other takes its place")
        elif trial.state in ("failed", "pending", "interrupted"):
            notes.append(f"{name} had not finished: the next detkit run tries its values again")
    return notes


def _report(removals: Sequence[Removal], skipped: Sequence[str], done: bool) -> dict[str, object]:
    return {
        "format_version": 1,
        "removed": done,
        "bytes": sum(removal.size for removal in removals),
        "removals": [removal.to_dict() for removal in removals],
        "left_out": list(skipped),
    }
