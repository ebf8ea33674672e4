"""Which runs can be told apart, for `show --pairs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from detkit.compare.paired import Pairs


def print_pairs(pairs: Pairs) -> None:
    """A sentence a pair, and once what must be said of them all; a line where there are none. On stdout."""
    if pairs.note:
        click.echo(f"pairs {pairs.note}" if pairs.differences else f"pairs: none, for {pairs.note}")
    for pair in pairs.differences:
        click.echo(str(pair))
    for warning in dict.fromkeys(warning for pair in pairs.differences for warning in pair.warnings):
        click.echo(f"of these pairs: {warning}")
