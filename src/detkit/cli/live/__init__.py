"""The course of an experiment on the console: a table that lives on a terminal, lines elsewhere."""

from __future__ import annotations

from detkit.cli.live.display import ConsoleDisplay

__all__ = ["ConsoleDisplay"]
