"""Comet's Optimizer, as far as its client needs it: grid and random are computed from the posted configuration.

What the real server proposes for `bayes` is its own secret; here it is random.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from plugins.comet_received import Request

#: The server's own values, and so the keys that a configuration may leave out.
DEFAULTS = {"maxCombo": 0, "gridSize": 3, "minSampleSize": 100, "retryLimit": 20, "retryAssignLimit": 0, "seed": 1}


@dataclass
class OptimizerStub:
    """Answers the requests below `/optimizer/`; an entry of `Stub.extra`.

    Attributes:
        searches: id to the posted configuration.
        updates: what was told of trials, in order.
        busy: the next so many requests for values are answered 503.
        proposes: parameters that are proposed whatever was asked for.
    """

    searches: dict[str, dict[str, Any]] = field(default_factory=dict)
    updates: list[dict[str, Any]] = field(default_factory=list)
    busy: int = 0
    proposes: dict[str, Any] = field(default_factory=dict)
    _values: dict[str, Iterator[dict[str, Any]]] = field(default_factory=dict)
    _given: dict[str, int] = field(default_factory=dict)
    _over: set[str] = field(default_factory=set)

    def __call__(self, request: Request) -> tuple[int, Any] | None:
        if not request.path.startswith("/optimizer/"):
            return None
        end = request.path.removeprefix("/optimizer/")
        if end == "spec":
            grids = request.query["algorithmName"] != "bayes"
            return 200, [
                {"name": name, "default": value} for name, value in DEFAULTS.items() if grids or name != "gridSize"
            ]
        if end == "create":
            return 200, self._create(request.body)
        if end == "update":
            self.updates.append(request.body)
            return 200, {"code": 200}
        search = request.query["id"]
        if search not in self.searches:
            return 200, {"code": 404, "message": f"no optimizer {search}"}
        if end == "status":
            state = "completed" if search in self._over else "running"
            more = {"id": search, "name": search, "status": state, "version": "1.0.0"}
            return 200, {**self.searches[search], **more}
        if end == "next":
            return self._next(search)
        return 404, {}

    def _create(self, posted: dict[str, Any]) -> dict[str, Any]:
        for name, declared in posted["parameters"].items():
            if "." in name or declared["type"] not in ("float", "integer", "discrete", "categorical"):
                return {"code": 400, "message": f"bad parameter {name}"}
            if declared["type"] == "categorical" and not all(isinstance(value, str) for value in declared["values"]):
                return {"code": 400, "message": f"{name}: categories are texts"}
        search = f"search{len(self.searches) + 1}"
        self.searches[search] = posted
        self._values[search] = proposals(posted)
        self._given[search] = 0
        return {"code": 200, "id": search}

    def _next(self, search: str) -> tuple[int, Any]:
        if self.busy:
            self.busy -= 1
            return 503, {}
        values = next(self._values[search], None)
        if values is None:
            self._over.add(search)
            return 200, {"code": 404, "message": "no more combinations"}
        self._given[search] += 1
        count = self._given[search]
        assignment = {"pid": f"pid{count}", "trial": 1, "count": count, "parameters": values | self.proposes}
        return 200, {"code": 200, "parameters": assignment}


def proposals(posted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is tried for a configuration, in order."""
    spec, parameters = posted["spec"], posted["parameters"]
    if posted["algorithm"] == "grid":
        axes = [axis(declared, spec["gridSize"]) for declared in parameters.values()]
        combinations: Iterator[dict[str, Any]] = (
            dict(zip(parameters, taken, strict=True)) for taken in itertools.product(*axes)
        )
    else:
        numbers = random.Random(spec["seed"])
        combinations = (
            {name: sample(declared, numbers) for name, declared in parameters.items()} for _ in itertools.count()
        )
    return itertools.islice(combinations, spec["maxCombo"] or None)


def axis(declared: dict[str, Any], size: int) -> list[Any]:
    if "values" in declared:
        return list(declared["values"])
    return [at(declared, index / (size - 1)) for index in range(size)]


def sample(declared: dict[str, Any], numbers: random.Random) -> Any:
    return numbers.choice(declared["values"]) if "values" in declared else at(declared, numbers.random())


def at(declared: dict[str, Any], share: float) -> float:
    """The value at a share of the way from the lowest to the highest; a float, also of whole numbers."""
    low, high = declared["min"], declared["max"]
    logarithmic = declared["scalingType"] == "loguniform"
    value = low * (high / low) ** share if logarithmic else low + (high - low) * share
    return float(round(value)) if declared["type"] == "integer" else float(value)
