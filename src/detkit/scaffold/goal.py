"""What is to be best, as `detkit compare --best` reads it, before there are numbers."""

from __future__ import annotations

from detkit.compare.expression import Name, Rule, read_rule


def read_goal(text: str) -> Rule:
    """The rule, of whatever names: which there are is known when runs have ended.

    Raises:
        ExpressionError: it cannot be read; shows the place.
    """
    return read_rule(text, lambda name: Name(name, name))
