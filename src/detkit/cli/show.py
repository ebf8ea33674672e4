"""`detkit show`: an experiment from its record: the table, JSON, or a page in Markdown."""

from __future__ import annotations

import json
from pathlib import Path

import click

from detkit.cli.options import json_option
from detkit.errors import RecordError


@click.command("show")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--markdown", is_flag=True, help="Print a page in Markdown, fit to be published.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the page to FILE.")
@json_option
def command(folder: Path, markdown: bool, output: Path | None, as_json: bool) -> None:
    """Show the models of the experiment in FOLDER, the best first."""
    from detkit.cli.leaderboard import print_leaderboard
    from detkit.cli.search import print_search
    from detkit.compare.leaderboard import make_leaderboard
    from detkit.record.reader import open_record

    if output is not None and not markdown:
        raise click.UsageError("--output writes the page of --markdown: add --markdown")
    if markdown and as_json:
        raise click.UsageError("--markdown prints a page, --json the table: choose one of them")
    record = open_record(folder)
    if markdown:
        from detkit.report.page import markdown_page

        _write(markdown_page(record), output)
        return
    board = make_leaderboard(record)
    if as_json:
        search = {} if record.search is None else {"search": record.search.to_dict()}
        click.echo(json.dumps({"folder": str(record.folder), **board.to_dict(), **search}, indent=2))
        return
    print_search(record)
    print_leaderboard(board)
    click.echo(f"record: {record.folder}")


def _write(page: str, output: Path | None) -> None:
    if output is None:
        click.echo(page, nl=False)
        return
    try:
        output.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise RecordError(f"{output} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {output}", err=True)
