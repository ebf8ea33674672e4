"""What the commands that write datasets share: how images get there, and what was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from detkit.components import Written

images_option = click.option(
    "--images",
    type=click.Choice(["copy", "symlink", "hardlink"]),
    default="copy",
    help="How images get there; copy by default.",
)


def print_losses(heading: str, written: Written) -> None:
    """Say what was lost of a dataset.

    Args:
        heading: the line above it, as "voc cannot hold all of it:".
    """
    from detkit.cli.console import print_table

    if not written.losses:
        click.echo("nothing was lost")
        return
    click.echo(heading)
    rows = [(loss.what, str(loss.count), loss.text, loss.example) for loss in written.losses]
    print_table(("what", "how many", "what became of it", "the first"), rows, right=("how many",))
