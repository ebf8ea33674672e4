"""A searcher for detkit: a Latin hypercube, which spreads few trials evenly over every parameter.

With N trials each range is cut into N slices, and each slice is tried once (McKay, Beckman, Conover 1979). Values drawn
at random leave gaps and make heaps.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from detkit import (
    BuildContext,
    Choices,
    Objective,
    Options,
    Proposal,
    Range,
    SearcherComponent,
    SearchSpace,
    hookimpl,
)
from pydantic import Field

requires_detkit = ">=0.1"  # another detkit says that the plugin does not fit, before it imports it
detkit_api = 1  # and so does one whose hooks are no longer those that it was written for

Value = bool | int | float | str


class HypercubeOptions(Options):
    """What a spec may say in [search], beside what belongs to detkit. `detkit plugins show` prints the descriptions."""

    seed: int | None = Field(None, ge=0, description="draws other values; by default it follows the first run's seed")


class Hypercube:
    """Asked for one trial after another; what those gave changes nothing about what is tried next."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._proposed = 0
        self._trials: list[dict[str, Value]] = []

    def begin(self, space: SearchSpace, objective: Objective, *, max_trials: int | None) -> None:
        """The first call: the space has the parameters by name; `max_trials` is [search] trials."""
        # YOUR PLAN HERE. One that learns would keep what `tell` says, and decide in `propose`.
        self._trials = planned(space, max_trials or 20, random.Random(self._seed))

    def propose(self) -> Proposal | None:
        """The next trial; None where there is none left."""
        if self._proposed >= len(self._trials):
            return None
        self._proposed += 1
        return Proposal(self._proposed, self._trials[self._proposed - 1])

    def tell(self, proposal: Proposal, value: float | None, /) -> None:
        """What a trial gave; None where it failed."""

    def close(self) -> None:
        """The last call."""

    # With these two an interrupted search goes on where it was: detkit saves the state, and loads it before `begin`.

    def state_dict(self) -> dict[str, Any]:
        return {"proposed": self._proposed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._proposed = int(state["proposed"])


def planned(space: SearchSpace, count: int, draw: random.Random) -> list[dict[str, Value]]:
    """So many trials; in each parameter every slice comes once, in an order of its own."""
    columns: dict[str, list[Value]] = {}
    for name, parameter in space.parameters.items():
        slices = list(range(count))
        draw.shuffle(slices)
        columns[name] = [value_at((number + draw.random()) / count, parameter) for number in slices]
    return [{name: values[trial] for name, values in columns.items()} for trial in range(count)]


def value_at(share: float, parameter: Range | Choices) -> Value:
    """The value at a share, 0 to below 1, of the way through a parameter."""
    if isinstance(parameter, Choices):
        return parameter.values[int(share * len(parameter.values))]
    if parameter.step is not None:
        steps = parameter.grid(2)
        return steps[int(share * len(steps))]
    low, high = parameter.low, parameter.high
    if parameter.integer:  # each whole number has a share of the same width
        low, high = low - 0.5, high + 0.5
    value = math.exp(math.log(low) + share * math.log(high / low)) if parameter.log else low + share * (high - low)
    rounded = round(value) if parameter.integer else float(f"{value:.6g}")
    return min(max(rounded, parameter.low), parameter.high)


def build(options: HypercubeOptions, context: BuildContext) -> Hypercube:
    """What a search calls."""
    context.messages.info(f"{COMPONENT.name}: a Latin hypercube")
    return Hypercube(context.seed if options.seed is None else options.seed)


COMPONENT = SearcherComponent(
    name="my_plugin",  # what a spec writes in `use`
    options=HypercubeOptions,
    build=build,
    summary="a Latin hypercube: few trials, spread evenly",
)


@hookimpl
def detkit_searchers() -> list[SearcherComponent[Any]]:
    return [COMPONENT]
