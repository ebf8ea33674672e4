"""The objects of a JSON list as columns of numbers, and everything that is wrong with them.

A column is checked as a whole, and its rows are looked at one by one only where something is wrong: half a million
detections take a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detkit.errors import DataError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
# numpy's type of a reduction along an axis.
Flags = NDArray[np.bool_] | np.bool_

#: So many faults are listed; more are counted.
LISTED = 20
#: So much of a wrong value is shown.
SHOWN = 40

#: JSON's types in a person's words.
WORDS = {
    bool: "true or false",
    int: "an integer",
    float: "a number with a fraction",
    str: "text",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


class Faults:
    """What is wrong with one file.

    Args:
        file: as people named it. listed: of so many faults the texts are made.
    """

    def __init__(self, file: Path, listed: int = LISTED) -> None:
        self._file = file
        self._limit = listed
        self._listed: list[tuple[str, int, str]] = []
        self._count = 0

    def add(self, place: str, indices: Iterable[int], text: Callable[[int], str]) -> None:
        """Note a fault for each index into the list at a place; a text is made only for those that are listed."""
        for index in indices:
            self._count += 1
            if len(self._listed) < self._limit:
                self._listed.append((place, index, text(index)))

    def texts(self) -> list[str]:
        """Each that is listed, with its entry, in the order of the file."""
        return [text for _, _, text in sorted(self._listed)]

    def raise_any(self) -> None:
        """End here if there is any fault.

        Raises:
            DataError: names the file and lists the faults.
        """
        if not self._count:
            return
        more = f"\n  and {self._count - self._limit} more" if self._count > self._limit else ""
        what = "a fault" if self._count == 1 else f"{self._count} faults"
        listed = "\n  ".join(self.texts())
        raise DataError(f"{self._file} has {what} (entries are counted from 0):\n  {listed}{more}")


class Rows:
    """A list of JSON objects of one kind.

    Every method that gives a column gives a value for each row, some plain one where the row's own is at fault. A row
    that has a fault is not looked at again: its other faults may follow from it.

    Args:
        rows: N values as JSON has them.
        place: how messages name one, before its index: "annotations", or "" for the list that is the whole file.
        named_by: the keys that tell people which one it is.
        faults: where everything that is wrong is noted.

    Attributes:
        good: bool [N], which rows have no fault so far.
    """

    def __init__(self, rows: Sequence[Any], place: str, named_by: Sequence[str], faults: Faults) -> None:
        self._place = place
        self._named_by = named_by
        self._faults = faults
        self._rows: list[dict[str, Any]] = [row if isinstance(row, dict) else {} for row in rows]
        self.good = np.ones(len(rows), dtype=np.bool_)
        if set(map(type, rows)) - {dict}:
            bad = np.array([type(row) is not dict for row in rows])
            self.refuse(bad, lambda index: f"is {shown(rows[index])}; it must be an object")

    def __len__(self) -> int:
        return len(self._rows)

    def refuse(self, bad: Flags, text: Callable[[int], str]) -> None:
        """Note a fault of each row that is bad and has none yet.

        Args:
            bad: bool [N]. text: for an index, what follows the row's name.
        """
        new = bad & self.good
        self._faults.add(self._place, np.flatnonzero(new).tolist(), lambda index: f"{self._name(index)} {text(index)}")
        self.good &= ~new

    def values(self, key: str, *types: type, optional: bool = False) -> list[Any]:
        """The values of a key, of these types; None where the row has none, which is null too.

        Args:
            optional: a row without it has no fault.
        """
        values = [row.get(key) for row in self._rows]
        allowed = {*types, type(None)} if optional else set(types)
        if not set(map(type, values)) <= allowed:
            bad = np.array([type(value) not in allowed for value in values])
            wanted = "a number" if set(types) == {int, float} else " or ".join(WORDS[kind] for kind in types)
            self.refuse(
                bad,
                lambda index: (
                    f"has no {key!r}"
                    if key not in self._rows[index]
                    else f"has {key!r} {shown(values[index])}; it must be {wanted}"
                ),
            )
            values = [None if wrong else value for value, wrong in zip(values, bad.tolist(), strict=True)]
        return values

    def integers(self, key: str) -> Integers:
        """int64 [N]."""
        values = self.values(key, int)
        try:
            return np.array([0 if value is None else value for value in values], dtype=np.int64)
        except OverflowError:
            bad = np.array([value is not None and not -(2**63) <= value < 2**63 for value in values])
            self.refuse(bad, lambda index: f"has {key!r} {shown(values[index])}, which is more than 64 bits hold")
            fitting = [0 if wrong else value or 0 for value, wrong in zip(values, bad.tolist(), strict=True)]
            return np.array(fitting, dtype=np.int64)

    def numbers(self, key: str, *, optional: bool = False) -> Floats:
        """float64 [N], finite; NaN where a row has none and need not."""
        values = self.values(key, int, float, optional=optional)
        there = np.array([value is not None for value in values], dtype=np.bool_)
        column = floats([np.nan if value is None else value for value in values])
        self.refuse(there & ~np.isfinite(column), lambda index: f"has {key!r} {column[index]}; it must be finite")
        return column

    def boxes(self, key: str, *, optional: bool = False) -> tuple[Floats, Flags]:
        """Boxes of finite x, y, width, height and area, no side negative.

        Returns:
            float64 [N, 4], and bool [N], which rows have one: an empty list is none.
        """
        values = self.values(key, list, optional=optional)
        there = np.array([bool(value) for value in values], dtype=np.bool_)
        if not optional:
            self.refuse(~there, lambda index: f"has an empty {key!r}; it must be [x, y, width, height]")
        boxes = self._four_numbers(key, [value or [0, 0, 0, 0] for value in values])
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            far = boxes[:, :2] + boxes[:, 2:]
            areas = boxes[:, 2] * boxes[:, 3]
        self.refuse(
            ~(np.isfinite(boxes) & np.isfinite(np.tile(far, 2))).all(axis=1),
            lambda index: f"has {key!r} {shown(values[index])}; its numbers, and its far corner, must be finite",
        )
        self.refuse(
            (boxes[:, 2:] < 0).any(axis=1),
            lambda index: (
                f"has {key!r} {shown(values[index])} of negative width or height; it is [x, y, width, height],"
                " with x and y of the upper left corner"
            ),
        )
        self.refuse(
            ~np.isfinite(areas),
            lambda index: f"has {key!r} {shown(values[index])}, which is too large: its area is not finite",
        )
        return boxes, there

    def _four_numbers(self, key: str, values: list[list[Any]]) -> Floats:
        kinds = set(map(type, chain.from_iterable(values)))
        if set(map(len, values)) - {4} or kinds - {int, float}:
            bad = np.array([len(box) != 4 or bool(set(map(type, box)) - {int, float}) for box in values])
            self.refuse(bad, lambda index: f"has {key!r} {shown(values[index])}; it must be four numbers")
            values = [[0, 0, 0, 0] if wrong else box for box, wrong in zip(values, bad.tolist(), strict=True)]
        return floats(list(chain.from_iterable(values))).reshape(-1, 4)

    def refuse_repeated(self, key: str, ids: Integers) -> None:
        """Note a fault of each row whose id an earlier one has."""
        good = np.flatnonzero(self.good)
        _, first, which = np.unique(ids[good], return_index=True, return_inverse=True)
        earlier = np.arange(len(self))
        earlier[good] = good[first[which]]
        self.refuse(
            earlier != np.arange(len(self)),
            lambda index: f"has the {key} of {self._place}[{earlier[index]}] too; ids must differ",
        )

    def positions(self, key: str, known: Integers, what: str) -> Integers:
        """Where the ids under a key stand among the known ones; a fault of each row whose id does not.

        Args:
            known: distinct. what: they are ids of, in the plural.

        Returns:
            int64 [N]; 0 for rows with a fault.
        """
        ids = self.integers(key)
        order = np.argsort(known, kind="stable")
        places = np.searchsorted(known, ids, sorter=order).clip(max=max(len(known) - 1, 0))
        found = order[places] if len(known) else np.zeros(len(ids), np.int64)
        bad = known[found] != ids if len(known) else np.ones(len(ids), np.bool_)
        self.refuse(bad, lambda index: f"has {key!r} {ids[index]}, which is none of the {len(known)} {what}")
        return np.where(bad, 0, found)

    def _name(self, index: int) -> str:
        row = self._rows[index]
        ids = ", ".join(f"{key} {shown(row[key])}" for key in self._named_by if row.get(key) is not None)
        place = f"{self._place}[{index}]" if self._place else f"entry {index}"
        return f"{place} ({ids})" if ids else place


def floats(values: Sequence[Any]) -> Floats:
    """float64 [N] of Python's numbers; infinite where an integer is larger than any float."""
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        return np.array([_as_float(value) for value in values], dtype=np.float64)


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def shown(value: Any) -> str:
    """A value as people see it in the file, cut where it is long."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
