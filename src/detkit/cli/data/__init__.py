"""`detkit data`: commands about datasets, each a module with an attribute `command`, imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

from detkit.errors import did_you_mean

#: Command to its module and its line in `detkit data --help`, in that order.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "check": ("detkit.cli.data.check", "Say everything that is wrong with the data of a spec, by file and object"),
    "show": ("detkit.cli.data.show", "Show classes, splits and sizes of a dataset, and its images on a page"),
    "convert": ("detkit.cli.data.convert", "Write a dataset in another format, and say what it lost"),
    "diff": ("detkit.cli.data.diff", "Say what differs between the data of two runs, experiments or specs"),
}


class DataCommands(click.Group):
    """Help needs only the commands' names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"no command {args[0]!r}{did_you_mean(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.command(
    "data",
    cls=DataCommands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.pass_context
def command(context: click.Context) -> None:
    """Look at data: what is wrong with it, what has changed in it; and write it in another format."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
