"""`detkit data`: commands about datasets, each a module with an attribute `command`, imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping

import click

from detkit.cli.lazy import LazyGroup

#: Command to its module and its line in `detkit data --help`, in that order.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "check": ("detkit.cli.data.check", "Say everything that is wrong with the data of a spec, by file and object"),
    "show": ("detkit.cli.data.show", "Show classes, splits and sizes of a dataset, and its images on a page"),
    "convert": ("detkit.cli.data.convert", "Write a dataset in another format, and say what it lost"),
    "diff": ("detkit.cli.data.diff", "Say what differs between the data of two runs, experiments or specs"),
}


@click.command(
    "data",
    cls=LazyGroup,
    modules=COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.pass_context
def command(context: click.Context) -> None:
    """Look at data: what is wrong with it, what has changed in it; and write it in another format."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
