"""`detkit run`: train, evaluate and compare every model of a spec."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import click

from detkit.cli.options import SpecOptions, json_option, load, spec_options

if TYPE_CHECKING:
    from detkit.cli.main import Settings
    from detkit.engine.smoke import SmokeReport
    from detkit.record.reader import ExperimentRecord, RunRecord
    from detkit.spec.model import ExperimentSpec


@click.command("run")
@click.argument("spec", type=click.Path(path_type=Path))
@spec_options
@click.option("--resume", is_flag=True, help="Go on with runs that did not finish, exactly where they were.")
@click.option("--extend", is_flag=True, help="Allow more epochs than the record has.")
@click.option("--name", metavar="NAME", help="Record it under another name.")
@click.option("--fresh", is_flag=True, help="Start afresh in a numbered folder where the name is taken.")
@click.option("--no-report", is_flag=True, help="Write no report; `detkit report` writes it later.")
@click.option("--smoke", is_flag=True, help="Rehearse: two batches of every model; estimate time and disk space.")
@json_option
@click.pass_obj
def command(
    program: Settings,
    /,
    spec: Path,
    resume: bool,
    extend: bool,
    name: str | None,
    fresh: bool,
    no_report: bool,
    smoke: bool,
    as_json: bool,
    **options: Unpack[SpecOptions],
) -> int:
    """Train every model of SPEC, evaluate it, and compare them all.

    Run again, it adds what is new in the spec and leaves finished runs alone. Exit code 1 if a run failed.
    """
    if resume and fresh:
        raise click.UsageError("--resume goes on where a run was, --fresh begins a new one: choose one of them")
    if name:
        options["settings"] = (*options["settings"], f"experiment.name={json.dumps(name)}")
    loaded: ExperimentSpec = load(spec, options)
    if smoke:
        return _smoke(loaded, as_json)
    return _run(loaded, resume, extend, fresh, not no_report, as_json, program.debug)


def _run(
    spec: ExperimentSpec, resume: bool, extend: bool, fresh: bool, report: bool, as_json: bool, debug: bool
) -> int:
    from detkit.api import run_spec
    from detkit.cli.closing import closing_lines
    from detkit.cli.leaderboard import print_leaderboard
    from detkit.cli.live import ConsoleDisplay
    from detkit.cli.search import print_search
    from detkit.compare.leaderboard import make_leaderboard
    from detkit.engine.rerun import wanted_runs
    from detkit.report.folder import report_folder

    record: ExperimentRecord = run_spec(
        spec,
        resume=resume,
        extend=extend,
        fresh=fresh,
        report=report,
        display=ConsoleDisplay(lines_on_stdout=not as_json),
    )
    page = report_folder(record) / "index.html"
    board = make_leaderboard(record)
    wanted = {run.run_id for run in wanted_runs(spec)}
    failed = [run for run in record.runs if run.run_id in wanted and run.state == "failed"]
    search = record.search
    # A trial may fail; a search in which all do has found nothing.
    fruitless = [found.model for found in search.models.values() if found.best is None] if search else []
    if as_json:
        runs = [{"run_id": run.run_id, "state": run.state, "failure": _told(run)} for run in record.runs]
        content: dict[str, Any] = {"folder": str(record.folder), "runs": runs, "leaderboard": board.to_dict()}
        content["comparison"] = (record.leaderboard or {}).get("comparison")
        if search is not None:
            content["search"] = search.to_dict()
        if page.exists():
            content["report"] = str(page)
        click.echo(json.dumps(content, indent=2))
    else:
        print_search(record)
        print_leaderboard(board)
        _warn_of_trouble(record)
        for line in closing_lines(record, board):
            click.echo(line)
    for run in failed:
        click.echo(f"details of {run.run_id}: {run.files.console}", err=True)
        if debug:
            click.echo(str((run.failure or {}).get("traceback", "")), err=True)
    for model in fruitless:
        click.echo(f"the search of {model} has found nothing: no trial has finished with a value", err=True)
    return 1 if failed or fruitless else 0


def _warn_of_trouble(record: ExperimentRecord) -> None:
    """Why there is no sentence about who won, where there could be one."""
    compared = (record.leaderboard or {}).get("comparison") or {}
    if trouble := compared.get("trouble"):
        click.echo(f"warning: the models could not be compared: {trouble}", err=True)


def _told(run: RunRecord) -> dict[str, Any] | None:
    """A failure without its traceback, which is in the record."""
    failure = run.failure
    return {key: value for key, value in failure.items() if key != "traceback"} if failure else None


def _smoke(spec: ExperimentSpec, as_json: bool) -> int:
    from detkit.cli.live import ConsoleDisplay
    from detkit.engine.smoke import smoke

    report = smoke(spec, ConsoleDisplay(lines_on_stdout=not as_json))
    if as_json:
        click.echo(json.dumps({"ok": report.ok, "seconds": report.seconds, **asdict(report)}, indent=2))
    else:
        _print_smoke(report)
    return 0 if report.ok else 1


def _print_smoke(report: SmokeReport) -> None:
    from detkit.cli.console import print_table
    from detkit.cli.words import duration, size

    rows = [
        (
            estimate.model,
            "-" if estimate.failure else duration(estimate.seconds),
            "-" if estimate.failure else size(estimate.disk_bytes),
            "-" if estimate.failure else size(estimate.peak_memory_bytes),
            estimate.failure or "ok",
        )
        for estimate in report.estimates
    ]
    print_table(("model", "time", "disk", "memory", "rehearsal"), rows, right=("time", "disk", "memory"))
    for key, trouble in report.failed_loggers.items():
        click.echo(f"logger {key}: {trouble}")
    click.echo(f"estimated for the whole: {duration(report.seconds)}, {size(report.disk_bytes)} on disk")
