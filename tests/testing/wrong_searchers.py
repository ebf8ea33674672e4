"""Wrong searchers: an honest random one, bent in one way each."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from detkit import BuildContext, Choices, Proposal, SearcherComponent
from testing.wrong_form import NoOptions, Wrong

WRONG: list[Wrong] = []


class Random:
    """Values at random, each trial of a seed of its own: honest, also for two objectives."""

    def __init__(self, context: BuildContext) -> None:
        self.seed, self.proposed, self.most = context.seed, 0, None
        self.space: Any = None

    def begin(self, space: Any, objective: Any, *, max_trials: Any) -> None:
        self.space, self.most = space, max_trials

    def begin_pareto(self, space: Any, objectives: Any, *, max_trials: Any) -> None:
        self.begin(space, objectives[0], max_trials=max_trials)

    def propose(self) -> Any:
        if self.most is not None and self.proposed >= self.most:
            return None
        self.proposed += 1
        return Proposal(self.number(), self.values(random.Random(f"{self.seed}/{self.proposed}")))

    def number(self) -> int:
        return self.proposed

    def values(self, draw: random.Random) -> dict[str, Any]:
        return {key: self.value(draw, parameter) for key, parameter in self.space.parameters.items()}

    def value(self, draw: random.Random, parameter: Any) -> Any:
        return draw.choice(parameter.values if isinstance(parameter, Choices) else parameter.grid(9))

    def tell(self, proposal: Any, value: Any, /) -> None: ...

    def tell_pareto(self, proposal: Any, values: Any, /) -> None: ...

    def close(self) -> None: ...

    def state_dict(self) -> Any:
        return {"proposed": self.proposed}

    def load_state_dict(self, state: Any, /) -> None:
        self.proposed = state["proposed"]


def component(make: Callable[[BuildContext], Any], pareto: bool = True, **more: Any) -> SearcherComponent[Any]:
    return SearcherComponent(
        "wrong", NoOptions, lambda _options, context: make(context), "at random", pareto=pareto, **more
    )


HONEST = component(Random)


def wrong(rule: str, fault: str, says: str, **more: Any) -> Callable[[type], type]:
    def added(cls: type) -> type:
        WRONG.append(Wrong(rule, fault, says, component(cls, **more)))
        return cls

    return added


@wrong("searcher-methods", "no end", "without close")
class NoClose:
    def __init__(self, _context: Any) -> None: ...
    def begin(self) -> None: ...
    def propose(self) -> None: ...
    def tell(self) -> None: ...


@wrong("searcher-space", "whole numbers as floats between", "is no whole number")
class Between(Random):
    def value(self, draw: random.Random, parameter: Any) -> Any:
        return super().value(draw, parameter) if isinstance(parameter, Choices) else parameter.low + 0.4


@wrong("searcher-space", "values beyond the range", "is not between")
class Beyond(Random):
    def value(self, draw: random.Random, parameter: Any) -> Any:
        return super().value(draw, parameter) if isinstance(parameter, Choices) else parameter.high * 2


@wrong("searcher-space", "a parameter left out", "is missing")
class LeftOut(Random):
    def values(self, draw: random.Random) -> dict[str, Any]:
        found = super().values(draw)
        del found["train.momentum"]
        return found


@wrong("searcher-space", "numpy's numbers", "float64")
class Numpy(Random):
    def value(self, draw: random.Random, parameter: Any) -> Any:
        found = super().value(draw, parameter)
        return np.float64(found) if isinstance(found, float) else found


@wrong("searcher-space", "nothing proposed", "proposes nothing")
class NothingAtAll(Random):
    def propose(self) -> Any:
        return None


@wrong("searcher-numbers", "trials from 0", "[0, 1, 2, 3]")
class FromNought(Random):
    def number(self) -> int:
        return self.proposed - 1


@wrong("searcher-several-out", "one at a time", "AssertionError")
class OneAtATime(Random):
    out = False

    def propose(self) -> Any:
        assert not self.out
        self.out = True
        return super().propose()

    def tell(self, proposal: Any, value: Any, /) -> None:
        self.out = False


@wrong("searcher-failed-trials", "no value is no number", "TypeError")
class BestSoFar(Random):
    best = 0.0

    def tell(self, proposal: Any, value: Any, /) -> None:
        self.best = max(self.best, value)


@wrong("searcher-end", "more than announced", "announces 2 trials", trials_in=lambda _options, _space: 2)
class More(Random):
    def begin(self, space: Any, objective: Any, *, max_trials: Any) -> None:
        super().begin(space, objective, max_trials=None)


@wrong("searcher-end", "the same again", "twice", trials_in=lambda _options, _space: 4)
class Same(Random):
    def value(self, draw: random.Random, parameter: Any) -> Any:
        return parameter.values[0] if isinstance(parameter, Choices) else parameter.grid(2)[0]


@wrong("searcher-end", "an end that is none", "after None", trials_in=lambda _options, _space: 2)
class Again(Random):
    def propose(self) -> Any:
        found = super().propose()
        if found is None:
            self.most = None
        return found


@wrong("searcher-deterministic", "a seed of its own", "and then")
class Unseeded(Random):
    def value(self, draw: random.Random, parameter: Any) -> Any:
        return super().value(random.Random(), parameter)


@wrong("searcher-state-round-trip", "numbers that begin anew", "is numbered 1")
class Anew(Random):
    def load_state_dict(self, state: Any, /) -> None: ...


@wrong("searcher-state-round-trip", "an object in the state", "its state")
class Unplain(Random):
    def state_dict(self) -> Any:
        return {"proposed": self.proposed, "told": {1, 2}}


@wrong("searcher-state-round-trip", "draws that begin anew", "after a resume it proposes")
class DrawsAnew(Random):
    def __init__(self, context: BuildContext) -> None:
        super().__init__(context)
        self.draw = random.Random(0)

    def value(self, draw: random.Random, parameter: Any) -> Any:
        return super().value(self.draw, parameter)


@wrong("searcher-told-again", "told once only", "AssertionError")
class ToldOnce(Random):
    def __init__(self, context: BuildContext) -> None:
        super().__init__(context)
        self.told: set[int] = set()

    def tell(self, proposal: Any, value: Any, /) -> None:
        assert proposal.number not in self.told
        self.told.add(proposal.number)


@wrong("searcher-directions", "the more the better", "KeyError")
class Maximize(Random):
    def begin(self, space: Any, objective: Any, *, max_trials: Any) -> None:
        super().begin(space, objective, max_trials=max_trials)
        {"maximize": 1}[objective.direction]


@wrong("searcher-close", "closing what is not there", "before begin")
class ClosesSpace(Random):
    def close(self) -> None:
        self.space.parameters.keys()


@wrong("searcher-pareto", "two objectives that nobody announced", "pareto = False", pareto=False)
class Unannounced(Random): ...


@wrong("searcher-pareto", "a trial without values", "TypeError")
class AllValues(Random):
    def tell_pareto(self, proposal: Any, values: Any, /) -> None:
        sum(values)


@wrong("searcher-leaves-settings", "the global generator", "random's global generator")
class Global(Random):
    def value(self, draw: random.Random, parameter: Any) -> Any:
        random.seed(0)
        return super().value(draw, parameter)
