"""`detkit show`: the table of an experiment, from its record."""

from __future__ import annotations

import json
from pathlib import Path

import click

from detkit.cli.options import json_option


@click.command("show")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def command(folder: Path, as_json: bool) -> None:
    """Show the models of the experiment in FOLDER, the best first."""
    from detkit.cli.leaderboard import print_leaderboard
    from detkit.compare.leaderboard import make_leaderboard
    from detkit.record.reader import open_record

    record = open_record(folder)
    board = make_leaderboard(record)
    if as_json:
        click.echo(json.dumps({"folder": str(record.folder), **board.to_dict()}, indent=2))
        return
    print_leaderboard(board)
    click.echo(f"record: {record.folder}")
