"""Long streams in few points: what a plot can show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

#: So many points a run and curve; a screen has hardly more columns of pixels.
MOST_POINTS = 600


def thinned(rows: Iterable[Mapping[str, Any]], x: str, names: Iterable[str] | None = None) -> dict[str, Any]:
    """The means over equal parts of a stream.

    Args:
        rows: in their order. x: the key of the axis. names: the keys that are wanted; None: all numbers of the rows.

    Returns:
        `x`: list of P values, the last of each part; `series`: key to list of P means, None where a part has no finite
        value; `rows`: how many there were. P is at most `MOST_POINTS`.
    """
    kept = list(rows)
    wanted = list(names) if names is not None else _numbers(kept, x)
    edges = np.linspace(0, len(kept), min(len(kept), MOST_POINTS) + 1).round().astype(int).tolist()
    parts = [kept[begin:end] for begin, end in pairwise(edges)]
    series = {name: [_mean(row.get(name) for row in part) for part in parts] for name in wanted}
    return {
        "x": [part[-1][x] for part in parts],
        "series": {name: values for name, values in series.items() if any(value is not None for value in values)},
        "rows": len(kept),
    }


def _numbers(rows: Iterable[Mapping[str, Any]], x: str) -> list[str]:
    names: dict[str, None] = {}
    for row in rows:
        names |= {key: None for key, value in row.items() if key != x and _is_number(value)}
    return list(names)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _mean(values: Iterable[Any]) -> float | None:
    there = [float(value) for value in values if _is_number(value)]
    return sum(there) / len(there) if there else None
