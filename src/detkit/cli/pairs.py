"""Which runs can be told apart, for `show --pairs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from detkit.compare.paired import PairedDifference


def print_pairs(pairs: Sequence[PairedDifference]) -> None:
    """A sentence a pair, and once what must be said of them all. On stdout."""
    if not pairs:
        click.echo("pairs: none, for fewer than two runs have finished")
    for pair in pairs:
        click.echo(str(pair))
    for warning in dict.fromkeys(warning for pair in pairs for warning in pair.warnings):
        click.echo(f"of these pairs: {warning}")
