"""The little Markdown that pages are made of: escaped text, code, tables with the best value of a column in bold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from detkit.resampling import Interval

#: What Markdown, or HTML within it, would take for more than the character itself.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#~&])")

MISSING = "-"


def escape(text: str) -> str:
    """Plain text on one line, as it will be read."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """A name in code, whatever is in it; on one line."""
    line = " ".join(text.split())
    ticks = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}" if line else MISSING


def fenced(text: str, language: str) -> str:
    """A block of code; its fence is longer than any in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers.

    Attributes:
        title: in Markdown, with the unit. values: None where there is none. digits: behind the point.
        best: which value is shown in bold, where there are two or more; None: no value is the best.
        intervals: of the values, in their order; shown behind them where there is one.
    """

    title: str
    values: Sequence[float | None]
    digits: int = 3
    best: Literal["highest", "lowest"] | None = None
    intervals: Sequence[Interval | None] = ()

    def cells(self) -> list[str]:
        """The numbers as shown; values that look the same are bold together."""
        shown = [None if value is None else f"{value:.{self.digits}f}" for value in self.values]
        there = [value for value in self.values if value is not None]
        winner = None
        if self.best is not None and len(there) > 1:
            winner = f"{max(there) if self.best == 'highest' else min(there):.{self.digits}f}"
        cells = [MISSING if cell is None else f"**{cell}**" if cell == winner else cell for cell in shown]
        behind = [f" {escape(str(found))}" if found else "" for found in self.intervals] or [""] * len(cells)
        return [cell + more for cell, more in zip(cells, behind, strict=True)]


def number_table(first: str, names: Sequence[str], columns: Sequence[Column]) -> str:
    """A row a name; columns without any value are left out."""
    kept = [column for column in columns if any(value is not None for value in column.values)]
    cells = [column.cells() for column in kept]
    rows = [[name, *(column[number] for column in cells)] for number, name in enumerate(names)]
    return table([first, *(column.title for column in kept)], rows, right=len(kept))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: int = 0) -> str:
    """Args: header, rows: Markdown, where only the pipes are escaped here. right: so many last columns are numbers."""
    left = len(header) - right
    lines = [header, [":--"] * left + ["--:"] * right, *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
