"""A curve in one line of characters, and bars; both also in ASCII."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters that an encoding has.

    Attributes:
        levels: from low to high. full, half, empty: of a bar. ellipsis: for what was cut off.
    """

    levels: str
    full: str
    half: str
    empty: str
    ellipsis: str


UNICODE = Glyphs(levels="▁▂▃▄▅▆▇█", full="━", half="╸", empty="─", ellipsis="…")
ASCII = Glyphs(levels="_.-=+*#@", full="#", half="", empty=".", ellipsis="..")


def glyphs_of(encoding: str) -> Glyphs:
    """Those for a stream of this encoding: Unicode's only where all of it can be written."""
    return UNICODE if encoding.lower().replace("_", "-").startswith(("utf", "u8", "cp65001")) else ASCII


def sparkline(values: Sequence[float], width: int, low: float, high: float, glyphs: Glyphs = UNICODE) -> str:
    """One character a value; of more values than `width` each character shows the last one of its share.

    Args:
        low, high: the values of the lowest and the highest level; outside ones are drawn as these.
    """
    count = min(len(values), max(width, 0))
    shown = [values[(index + 1) * len(values) // count - 1] for index in range(count)]
    top = len(glyphs.levels) - 1
    span = high - low
    return "".join(
        glyphs.levels[top // 2 if span <= 0 else min(top, max(0, round((value - low) / span * top)))] for value in shown
    )


def bar(width: int, share: float, glyphs: Glyphs = UNICODE) -> tuple[str, str]:
    """A bar of `width` characters as its filled and its empty part.

    Args:
        share: what is done, 0 to 1.
    """
    halves = int(min(1.0, max(0.0, share)) * width * 2)
    filled = glyphs.full * (halves // 2) + (glyphs.half if halves % 2 else "")
    return filled, glyphs.empty * (width - len(filled))
