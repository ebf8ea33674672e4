"""What a search ranges over, what it looks for, and what it tries: plain values between the host and a searcher."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

#: A value of a parameter, as a spec writes it.
Value = bool | int | float | str
#: A range that has more values than that is as good as one without a step, and would fill the memory.
MOST_POINTS = 100_000


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
        log: whether each order of magnitude counts alike, as for learning rates; `low` is then above 0.
        integer: whether only whole numbers are meant; the ends are whole then.
        step: the distance of neighbours, counted from `low`; None where any number between the ends will do.
        points: how many values a grid takes from the range, the ends among them; None leaves it to the searcher.

    Raises:
        ValueError: it makes no sense; says why.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False
    step: float | None = None
    points: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"a range goes from a number to a higher one, not from {self.low} to {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a range on a logarithmic scale begins above 0, not at {self.low}")
        if self.integer and not all(float(number).is_integer() for number in (self.low, self.high, self.step or 1)):
            raise ValueError(f"the ends and the step of a range of whole numbers are whole: {self.low}, {self.high}")
        if self.step is not None and not (0 < self.step <= self.high - self.low):
            raise ValueError(f"a step is above 0 and no longer than the range, not {self.step}")
        if self.step is not None and (self.log or self.points is not None):
            raise ValueError("a step goes neither with a logarithmic scale nor with `points`")
        if self.step is not None and (self.high - self.low) / self.step > MOST_POINTS:
            raise ValueError(f"more than {MOST_POINTS:,} values: leave the step out, or make it larger")
        if self.points is not None and self.points < 2:
            raise ValueError(f"a grid takes at least the two ends of a range, not {self.points} points")
        if self.points is not None and self.points > MOST_POINTS:
            raise ValueError(f"a grid takes at most {MOST_POINTS:,} points of a range, not {self.points:,}")

    def grid(self, points: int) -> tuple[int | float, ...]:
        """The values that a grid tries, in order, each once.

        Args:
            points: how many, 2 or more, where the range itself does not say; fewer where there are no more.
        """
        if self.step is not None:
            # Steps that should end at `high` may miss it by a rounding error.
            count = math.floor((self.high - self.low) / self.step * (1 + 1e-12)) + 1
            return self._plain(self.low + index * self.step for index in range(count))
        count = self.points or points
        if self.integer:
            count = min(count, int(self.high - self.low) + 1)
        shares = [index / (count - 1) for index in range(count)]
        if self.log:
            inner = [self.low * (self.high / self.low) ** share for share in shares[1:-1]]
        else:
            inner = [self.low + (self.high - self.low) * share for share in shares[1:-1]]
        return self._plain([self.low, *inner, self.high])

    def _plain(self, numbers: Iterable[float]) -> tuple[int | float, ...]:
        # Twelve digits: 0.3 and not 0.30000000000000004, which nobody would have written.
        rounded = (round(number) if self.integer else float(f"{number:.12g}") for number in numbers)
        return tuple(dict.fromkeys(min(max(number, self.low), self.high) for number in rounded))

    def complaint(self, value: object) -> str:
        """Why the value is not of the range; empty where it is."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return "is no number"
        if self.integer and not float(value).is_integer():
            return "is no whole number"
        if not self.low <= value <= self.high:
            return f"is not between {self.low} and {self.high}"
        return ""


@dataclass(frozen=True, slots=True)
class Choices:
    """One of some values, without an order.

    Raises:
        ValueError: there is none, one stands twice, or one is not finite.
    """

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("there is nothing to choose from")
        for index, value in enumerate(self.values):
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{value} cannot be chosen")
            if any(_same(value, other) for other in self.values[:index]):
                raise ValueError(f"{value!r} stands twice among the choices")

    def complaint(self, value: object) -> str:
        """Why the value is none of the choices; empty where it is."""
        if any(_same(value, choice) for choice in self.values):
            return ""
        return f"is none of {', '.join(map(repr, self.values))}"


def _same(value: object, other: object) -> bool:
    # To Python True equals 1, to a spec it does not.
    return value == other and isinstance(value, bool) == isinstance(other, bool)


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The parameters of a search: dotted key of the spec (`train.lr`) to what it may be.

    Raises:
        ValueError: there are none.
    """

    parameters: Mapping[str, Range | Choices]

    def __post_init__(self) -> None:
        if not self.parameters:
            raise ValueError("a search needs at least one parameter")

    def axes(self, points: int) -> dict[str, tuple[Value, ...]]:
        """The values that a grid tries of each parameter, in order.

        Args:
            points: how many of a range that does not say.
        """
        return {
            key: parameter.values if isinstance(parameter, Choices) else parameter.grid(points)
            for key, parameter in self.parameters.items()
        }

    def check(self, values: Mapping[str, object]) -> None:
        """Look whether the values name exactly the parameters, each within its bounds.

        Raises:
            ValueError: they do not; says which and why.
        """
        wrong = [f"{key} is missing" for key in self.parameters if key not in values]
        wrong += [f"there is no {key}" for key in values if key not in self.parameters]
        for key, parameter in self.parameters.items():
            if key in values and (complaint := parameter.complaint(values[key])):
                wrong.append(f"{key} = {values[key]!r} {complaint}")
        if wrong:
            raise ValueError("; ".join(wrong))


@dataclass(frozen=True, slots=True)
class Objective:
    """What a search improves.

    Attributes:
        metric: its name in the record, as `coco/ap`.
        direction: whether more of it is better.
    """

    metric: str
    direction: Literal["minimize", "maximize"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """Values to try.

    Attributes:
        number: of the trial, counted from 1.
        values: each parameter of the space to its value.
        about: what the searcher wants kept with the trial, in plain values: it goes into the trial's record, to its
            loggers, and back to the searcher with `tell`.
    """

    number: int
    values: Mapping[str, Value]
    about: Mapping[str, Any] = field(default_factory=dict)
