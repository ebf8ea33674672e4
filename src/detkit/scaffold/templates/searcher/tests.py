"""Does the searcher keep detkit's contract, and spread its trials?"""

from __future__ import annotations

import random
from typing import Any

import pytest
from detkit import BuildContext, Choices, Objective, Range, Searcher, SearcherComponent, SearchSpace
from detkit.testing import SearcherConformance

from my_plugin import COMPONENT, HypercubeOptions, planned

SPACE = SearchSpace(
    {
        "train.lr": Range(1e-4, 1e-1, log=True),
        "train.warmup_steps": Range(0, 100, integer=True),
        "train.batch_size": Choices((2, 4)),
    }
)


class TestContract(SearcherConformance):
    """All that detkit asks of a searcher."""

    @pytest.fixture
    def component(self) -> SearcherComponent[Any]:
        return COMPONENT


def begun(trials: int, state: dict[str, Any] | None = None) -> Searcher:
    searcher = COMPONENT.build(HypercubeOptions(seed=3), BuildContext())
    if state is not None:
        searcher.load_state_dict(state)  # type: ignore[attr-defined]  # a searcher may have it
    searcher.begin(SPACE, Objective("coco/ap", "maximize"), max_trials=trials)
    return searcher


def proposed(searcher: Searcher) -> list[dict[str, Any]]:
    found = []
    while (proposal := searcher.propose()) is not None:
        found.append(dict(proposal.values))
    return found


def test_every_slice_is_tried_once() -> None:
    trials = planned(SPACE, 6, random.Random(0))
    rates = sorted(float(trial["train.lr"]) for trial in trials)
    edges = [10 ** (-4 + 0.5 * number) for number in range(7)]
    assert all(low <= rate <= high for rate, low, high in zip(rates, edges, edges[1:], strict=False))
    assert sorted(trial["train.batch_size"] for trial in trials) == [2, 2, 2, 4, 4, 4]
    for trial in trials:
        SPACE.check(trial)


def test_there_are_as_many_trials_as_were_asked_for() -> None:
    assert len(proposed(begun(5))) == 5


def test_an_interrupted_search_goes_on() -> None:
    whole = proposed(begun(5))
    first = begun(5)
    for _ in range(2):
        first.propose()
    assert proposed(begun(5, first.state_dict())) == whole[2:]  # type: ignore[attr-defined]
