"""Images, or groups of them, dealt out to parts so that each part gets its share of everything that they hold.

The order is that of iterative stratification (Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label
Data", ECML PKDD 2011): the rarest label first, while there is still a choice for it. Each unit goes to the part that is
least full of what the unit holds, by the highest-averages rule of Sainte-Laguë, which favours neither large parts nor
small ones; rare labels weigh more. All sums are of exact integers or rounded once, so that every machine decides alike.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """What stays together.

    Attributes:
        members: indices of its images.
        order: decides between units that are alike: a hash, so that it does not depend on how the data is listed.
        holds: label to how much of it the unit holds, beside images.
    """

    members: tuple[int, ...]
    order: bytes
    holds: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.members)


def apportion(units: Sequence[Unit], targets: Sequence[int], *, meet: bool = True) -> list[list[Unit]]:
    """Deal out all units.

    Args:
        targets: images wanted in each part, each at least 1; together all there are.
        meet: bring the parts as near to the targets as whole units allow, even where it costs some balance; else the
            targets are only the shares in which things are dealt out.

    Returns:
        The units of each part. No part is empty where there are as many units as parts.
    """
    dealer = _Dealer(units, targets)
    for unit in _in_order(units):
        dealer.deal(unit)
    parts = dealer.parts
    _fill_empty(parts)
    if meet:
        _come_nearer(parts, targets)
    return parts


class _Dealer:
    """Gives each unit to the part that is least full of what it holds."""

    def __init__(self, units: Sequence[Unit], targets: Sequence[int]) -> None:
        self.parts: list[list[Unit]] = [[] for _ in targets]
        self._targets = targets
        self._totals: dict[str, int] = defaultdict(int)
        for unit in units:
            for label, amount in _quantities(unit):
                self._totals[label] += amount
        self._have: list[dict[str, int]] = [defaultdict(int) for _ in targets]
        # Single images meet every target exactly; of groups none could be refused for want of room.
        self._exact = all(unit.size == 1 for unit in units)

    def deal(self, unit: Unit) -> None:
        quantities = _quantities(unit)
        chosen = min(
            (
                number
                for number, target in enumerate(self._targets)
                if not self._exact or self._have[number][""] < target
            ),
            key=lambda number: (self._fullness(number, quantities), self._fill(number), number),
        )
        self.parts[chosen].append(unit)
        for label, amount in quantities:
            self._have[chosen][label] += amount

    def _fullness(self, number: int, quantities: Sequence[tuple[str, int]]) -> float:
        """How full the part is, half of the unit included, of all that the unit holds; rare things count more."""
        have, target = self._have[number], self._targets[number]
        return math.fsum(
            amount * (2 * have[label] + amount) / (self._totals[label] ** 2 * target) for label, amount in quantities
        )

    def _fill(self, number: int) -> float:
        return self._have[number][""] / self._targets[number]


def _quantities(unit: Unit) -> list[tuple[str, int]]:
    """All that a unit holds; "" stands for its images."""
    return [("", unit.size), *((label, amount) for label, amount in unit.holds.items() if amount)]


def _in_order(units: Sequence[Unit]) -> list[Unit]:
    """Rarest label first, large amounts before small; units of one order of magnitude by their hash."""
    by_label: dict[str, list[Unit]] = defaultdict(list)
    left: dict[str, int] = defaultdict(int)
    for unit in units:
        for label, amount in unit.holds.items():
            if amount:
                by_label[label].append(unit)
                left[label] += amount
    done: set[bytes] = set()
    ordered: list[Unit] = []

    def take(some: Sequence[Unit], label: str) -> None:
        fresh = [unit for unit in some if unit.order not in done]
        fresh.sort(key=lambda unit: (-unit.holds.get(label, unit.size).bit_length(), unit.order))
        for unit in fresh:
            done.add(unit.order)
            ordered.append(unit)
            for held, amount in unit.holds.items():
                left[held] -= amount

    while remaining := [label for label, amount in left.items() if amount > 0]:
        rarest = min(remaining, key=lambda label: (left[label], label))
        take(by_label[rarest], rarest)
    take(units, "")
    return ordered


def _fill_empty(parts: Sequence[list[Unit]]) -> None:
    """Give an empty part the smallest unit of the part that has the most of them."""
    for part in parts:
        if not part:
            giver = max(parts, key=len)
            if len(giver) > 1:
                smallest = min(giver, key=lambda unit: (unit.size, unit.order))
                giver.remove(smallest)
                part.append(smallest)


def _come_nearer(parts: Sequence[list[Unit]], targets: Sequence[int]) -> None:
    """Bring each part but the last nearer to its target, by exchanging a few units with the last one.

    The last part is that of training, which takes what is left.
    """
    rest = parts[-1]
    for part, target in zip(parts[:-1], targets, strict=False):
        while missing := target - sum(unit.size for unit in part):
            exchange = _best_exchange(part, rest, missing)
            if exchange is None:
                break
            given, taken = exchange
            part[:] = [unit for unit in part if unit not in taken] + given
            rest[:] = [unit for unit in rest if unit not in given] + taken


def _best_exchange(part: list[Unit], rest: list[Unit], missing: int) -> tuple[list[Unit], list[Unit]] | None:
    """At most two units each way, so that less is missing than before; None where nothing helps."""
    ours, theirs = _handfuls(part), _handfuls(rest)
    sizes = sorted(theirs)
    best, found = abs(missing), None
    for size, taken in sorted(ours.items()):
        place = bisect_left(sizes, missing + size)
        for other in sizes[max(place - 1, 0) : place + 1]:
            given = theirs[other]
            left = len(part) - len(taken) + len(given), len(rest) - len(given) + len(taken)
            if all(left) and abs(missing + size - other) < best:
                best, found = abs(missing + size - other), (given, taken)
    return found


def _handfuls(units: Sequence[Unit]) -> dict[int, list[Unit]]:
    """No, one or two units for every size that so many come to, as few as can be; those of the lowest hashes."""
    by_size: dict[int, list[Unit]] = defaultdict(list)
    for unit in sorted(units, key=lambda unit: unit.order):
        if len(by_size[unit.size]) < 2:
            by_size[unit.size].append(unit)
    few = [unit for size in sorted(by_size) for unit in by_size[size]]
    found: dict[int, list[Unit]] = {0: []}
    for unit in few:
        found.setdefault(unit.size, [unit])
    for one, other in combinations(few, 2):
        found.setdefault(one.size + other.size, [one, other])
    return found
