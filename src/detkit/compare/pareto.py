"""Pareto fronts: the models of which no other is better in one of two quantities without being worse in the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detkit.compare.quantities import Quantity


@dataclass(frozen=True, slots=True)
class Front:
    """One front, by the numbers as they are: that two of them may not be told apart has no part in it.

    Attributes:
        name: as "speed". x, y: names of the two quantities.
        members: names of the models on it, by rising x. unknown: those that lack one of the two.
    """

    name: str
    x: str
    y: str
    members: tuple[str, ...]
    unknown: tuple[str, ...] = ()


def front(name: str, x: Quantity, y: Quantity, values: Mapping[str, tuple[float | None, float | None]]) -> Front:
    """Args: values: of each model, x and y; None where one is not known. Equal models are on it together."""
    known = {model: (a, b) for model, (a, b) in values.items() if a is not None and b is not None}
    turned = {model: (_worse(a, x), _worse(b, y)) for model, (a, b) in known.items()}
    members = [
        model
        for model, point in turned.items()
        if not any(_dominates(other, point) for rival, other in turned.items() if rival != model)
    ]
    members.sort(key=lambda model: known[model])
    return Front(name, x.name, y.name, tuple(members), tuple(model for model in values if model not in known))


def _worse(value: float, quantity: Quantity) -> float:
    """The value so that lower is better; where neither is, lower is taken for better, as of a cost."""
    return -value if quantity.higher_is_better else value


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)
