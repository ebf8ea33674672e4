"""`detkit new`: what begins something, each a module with an attribute `command`, imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping

import click

from detkit.cli.lazy import LazyGroup

#: Command to its module and its line in `detkit new --help`, in that order.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "plugin": ("detkit.cli.new.plugin", "Write a plugin that works, with tests that pass and a run that uses it"),
    "spec": ("detkit.cli.new.spec", "Look at a folder of data, and write a spec for it"),
}


@click.command(
    "new",
    cls=LazyGroup,
    modules=COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.pass_context
def command(context: click.Context) -> None:
    """Begin something: a plugin of your own, or a spec for data that you have."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
