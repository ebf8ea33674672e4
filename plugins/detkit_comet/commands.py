"""`detkit comet`: what one does with Comet beside logging runs. Each command's module is imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

#: Command to its module, which has an attribute `command`, and its line in `detkit comet --help`.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "upload": ("detkit_comet.upload", "Send recorded runs to Comet, whether or not they were logged there"),
    "views": ("detkit_comet.views", "Save the views of a project to a file; apply them to another"),
}


class LazyGroup(click.Group):
    """Help needs only the names of the commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.command("comet", cls=LazyGroup)
def comet() -> None:
    """Work with Comet beside the runs' own reports."""
