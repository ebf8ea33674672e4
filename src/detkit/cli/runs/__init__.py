"""`detkit runs`: what is in the output folder, each command a module, imported when it is used."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import click

from detkit.cli.lazy import LazyGroup

#: Command to its module and its line in `detkit runs --help`, in that order.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "list": ("detkit.cli.runs.list", "List experiments and runs: state, best value, time, size"),
    "show": ("detkit.cli.runs.show", "Show all that is recorded of a run, and how to go on"),
    "rm": ("detkit.cli.runs.rm", "Remove runs, experiments, or only checkpoints"),
}


@click.command(
    "runs",
    cls=LazyGroup,
    modules=COMMANDS,
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
