"""`detkit report`: the pages of an experiment, from its record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detkit.cli.options import json_option

if TYPE_CHECKING:
    from detkit.record.reader import ExperimentRecord

#: Of a page in one file, megabytes: what most mail servers take.
DEFAULT_LIMIT_MB = 25


@click.command("report")
@click.argument("experiment", required=False, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Write it there, not into EXPERIMENT.")
@click.option("--single-file", type=click.Path(path_type=Path), metavar="FILE", help="One page that holds everything.")
@click.option(
    "--limit-mb",
    type=click.FloatRange(min=8, max=100_000),
    default=DEFAULT_LIMIT_MB,
    show_default=True,
    help="The most that the single file may hold.",
)
@click.option("--open", "open_page", is_flag=True, help="Open it in the browser.")
@json_option
def command(
    experiment: Path | None,
    output: Path | None,
    single_file: Path | None,
    limit_mb: float,
    open_page: bool,
    as_json: bool,
) -> None:
    """Write the report of EXPERIMENT as pages that open without a server.

    EXPERIMENT is its folder; by default the newest one in `runs`. The report is brought up to date: only what is new
    is written.
    """
    from detkit.cli.console import RichMessages
    from detkit.cli.words import size
    from detkit.report.folder import write_report
    from detkit.report.single import write_single_file

    if single_file is not None and output is not None:
        raise click.UsageError("--single-file writes a page, --output a folder: choose one of them")
    if limit_mb != limit_mb:  # "nan" passes for a number in every range
        raise click.UsageError("--limit-mb is not a number")
    record = chosen(experiment)
    written: dict[str, Any]
    if single_file is not None:
        single = write_single_file(record, single_file, limit_bytes=int(limit_mb * 1e6), messages=RichMessages())
        page, written, note = single.page, single.to_dict(), single.left_out
        said = f"wrote {page} ({size(single.bytes)})"
    else:
        report = write_report(record, output, messages=RichMessages())
        page, written, note = report.page, report.to_dict(), ""
        said = f"report: {page} ({size(report.bytes)}, {len(report.written)} files written)"
    for trouble in written.get("troubles", ()):
        click.echo(f"warning: left out: {trouble}", err=True)
    if as_json:
        click.echo(json.dumps({"experiment": str(record.folder), **written}, indent=2))
    else:
        click.echo(said)
        if note:
            click.echo(note)
    if open_page:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


def chosen(folder: Path | None) -> ExperimentRecord:
    """The experiment in that folder; without one the newest below `runs`, which is said.

    Raises:
        RecordError: there is none.
    """
    from detkit.errors import RecordError
    from detkit.record.reader import open_record

    if folder is not None:
        return open_record(folder)
    found = list(Path("runs").glob("*/experiment.json"))
    if not found:
        raise RecordError("there is no experiment in runs/ here: name the folder of one, as runs/quickstart")
    newest = max(found, key=lambda file: file.stat().st_mtime).parent
    click.echo(f"the newest experiment in runs/ is {newest.name}", err=True)
    return open_record(newest)
