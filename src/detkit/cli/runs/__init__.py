"""`detkit runs`: what is in the output folder, each command a module, imported when it is used."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module

import click

from detkit.errors import did_you_mean

#: Command to its module and its line in `detkit runs --help`, in that order.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "list": ("detkit.cli.runs.list", "List experiments and runs: state, best value, time, size"),
    "show": ("detkit.cli.runs.show", "Show all that is recorded of a run, and how to go on"),
    "rm": ("detkit.cli.runs.rm", "Remove runs, experiments, or only checkpoints"),
}


class RunsCommands(click.Group):
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
    "runs",
    cls=RunsCommands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.pass_context
def command(context: click.Context) -> None:
    """Look at what experiments have left on disk, and clear it away."""
    from detkit.cli.console import tolerate

    tolerate(sys.stdout)
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
