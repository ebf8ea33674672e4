"""The searchers that need nothing else: every combination, and values at random. What trials gave changes nothing."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from detkit import Choices, Objective, Proposal, Range, SearchSpace

Values = dict[str, bool | int | float | str]

#: So often in a row values that were tried before are drawn again, before the search is over.
MOST_REPEATS = 1000


class Blind:
    """A searcher, of one objective or of several, that goes through values whatever the trials give.

    The state is how many were proposed: which they are is a function of the space (and a seed), and of nothing else.
    """

    def __init__(self) -> None:
        self._proposed = 0
        self._values: Iterator[Values] = iter(())

    def begin(self, space: SearchSpace, objective: Objective, *, max_trials: int | None) -> None:
        self.begin_pareto(space, (objective,), max_trials=max_trials)

    def begin_pareto(self, space: SearchSpace, objectives: Sequence[Objective], *, max_trials: int | None) -> None:
        self._values = itertools.islice(self.values(space), self._proposed, max_trials)

    def values(self, space: SearchSpace) -> Iterator[Values]:
        """What is tried, from the first trial on."""
        raise NotImplementedError  # each searcher has its own

    def propose(self) -> Proposal | None:
        values = next(self._values, None)
        if values is None:
            return None
        self._proposed += 1
        return Proposal(self._proposed, values)

    def tell(self, proposal: Proposal, value: float | None, /) -> None:
        """Changes nothing."""

    def tell_pareto(self, proposal: Proposal, values: Sequence[float] | None, /) -> None:
        """Changes nothing."""

    def close(self) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"proposed": self._proposed}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        self._proposed = int(state["proposed"])


class GridSearcher(Blind):
    """Every combination, the values of the last parameter changing first."""

    def __init__(self, points: int) -> None:
        """Args: points: how many values of a range that does not say."""
        super().__init__()
        self._points = points

    def values(self, space: SearchSpace) -> Iterator[Values]:
        axes = space.axes(self._points)
        for taken in itertools.product(*axes.values()):
            yield dict(zip(axes, taken, strict=True))


class RandomSearcher(Blind):
    """Independent draws, each of a seed of its own; none twice. Over where no others are found any more."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def values(self, space: SearchSpace) -> Iterator[Values]:
        seen: set[tuple[Any, ...]] = set()
        repeats = 0
        for number in itertools.count():
            draw = random.Random(f"{self._seed}/{number}")
            values = {key: drawn(parameter, draw) for key, parameter in space.parameters.items()}
            known = tuple((type(value), value) for value in values.values())  # to Python True is 1
            if known in seen:
                repeats += 1
                if repeats == MOST_REPEATS:
                    return
                continue
            repeats = 0
            seen.add(known)
            yield values


def drawn(parameter: Range | Choices, draw: random.Random) -> bool | int | float | str:
    """One value, each as likely as another; on a logarithmic scale each order of magnitude."""
    share = draw.random()  # which is the same on every machine, and in every version of Python
    if isinstance(parameter, Choices) or parameter.step is not None:
        values = parameter.values if isinstance(parameter, Choices) else parameter.grid(2)
        return values[int(share * len(values))]
    # Each whole number has a share of the same width, those at the ends too.
    half = 0.5 if parameter.integer else 0.0
    low, high = parameter.low - half, parameter.high + half
    value = low * (high / low) ** share if parameter.log else low + (high - low) * share
    rounded = round(value) if parameter.integer else float(f"{value:.6g}")
    return min(max(rounded, parameter.low), parameter.high)


def grid_size(space: SearchSpace, points: int) -> int:
    """How many combinations a grid has."""
    return math.prod(len(values) for values in space.axes(points).values())
