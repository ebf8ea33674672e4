"""`detkit show`: an experiment from its record: the table, JSON, or a page in Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from detkit.cli.options import json_option
from detkit.errors import DetkitError, RecordError

if TYPE_CHECKING:
    from detkit.compare.leaderboard import Leaderboard
    from detkit.compare.paired import Pairs
    from detkit.record.reader import ExperimentRecord


@click.command("show")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--markdown", is_flag=True, help="Print a page in Markdown, fit to be published.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the page to FILE.")
@click.option("--pairs", is_flag=True, help="Say for each pair of finished runs whether they can be told apart.")
@json_option
def command(folder: Path, markdown: bool, output: Path | None, pairs: bool, as_json: bool) -> None:
    """Show the models of the experiment in FOLDER, the best first."""
    from detkit.cli.leaderboard import print_leaderboard
    from detkit.cli.pairs import print_pairs
    from detkit.cli.search import print_search
    from detkit.compare.leaderboard import make_leaderboard
    from detkit.record.reader import open_record

    if output is not None and not markdown:
        raise click.UsageError("--output writes the page of --markdown: add --markdown")
    if markdown and as_json:
        raise click.UsageError("--markdown prints a page, --json the table: choose one of them")
    if markdown and pairs:
        raise click.UsageError("--pairs goes with the table: leave out --markdown")
    record = open_record(folder)
    if markdown:
        from detkit.report.page import markdown_page

        _write(markdown_page(record), output)
        return
    board = make_leaderboard(record)
    if as_json:
        _print_json(record, board, pairs=pairs)
        return
    print_search(record)
    print_leaderboard(board)
    if pairs:
        print_pairs(_paired(record))
    click.echo(f"record: {record.folder}")


def _print_json(record: ExperimentRecord, board: Leaderboard, *, pairs: bool) -> None:
    """The table, whatever becomes of the pairs: an error in them is in it too."""
    report = {"folder": str(record.folder), **board.to_dict()}
    search = record.search
    report |= {} if search is None else {"search": search.to_dict()}
    try:
        report |= _paired(record).to_dict() if pairs else {}
    except DetkitError as error:
        report |= {"pairs": [], "pairs_note": str(error)}
        raise
    finally:
        click.echo(json.dumps(report, indent=2))


def _paired(record: ExperimentRecord) -> Pairs:
    from detkit.cli.console import RichMessages
    from detkit.compare.paired import paired_differences

    return paired_differences(record, messages=RichMessages())


def _write(page: str, output: Path | None) -> None:
    if output is None:
        click.echo(page, nl=False)
        return
    try:
        output.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise RecordError(f"{output} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {output}", err=True)
