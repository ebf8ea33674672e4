"""The searchers `grid` and `random`: which values they try, and that the same ones come again."""

from __future__ import annotations

from typing import Any

import pytest

from detkit import BuildContext, Choices, Objective, ParetoSearcher, Range, SearchSpace
from detkit.components import Stateful
from detkit_basics import GRID, RANDOM

AP = Objective("coco/ap", "maximize")
SPACE = SearchSpace(
    {
        "train.lr": Range(1e-4, 1e-2, log=True),
        "train.batch_size": Choices((2, 4)),
        "train.epochs": Range(1, 9, integer=True),
    }
)


def begun(
    component: Any, space: SearchSpace, *, trials: int | None = None, seed: int = 1, state: Any = None, **options: Any
) -> Any:
    searcher = component.build(component.options(**options), BuildContext(seed=seed))
    if state is not None:
        searcher.load_state_dict(state)
    searcher.begin(space, AP, max_trials=trials)
    return searcher


def values(searcher: Any) -> list[dict[str, Any]]:
    return [dict(proposal.values) for proposal in iter(searcher.propose, None)]


def test_a_grid_is_every_combination_the_last_key_changing_first() -> None:
    found = values(begun(GRID, SPACE))
    assert GRID.trials_in(GRID.options(), SPACE) == len(found) == 18
    assert [list(row.values()) for row in found[:4]] == [[1e-4, 2, 1], [1e-4, 2, 5], [1e-4, 2, 9], [1e-4, 4, 1]]
    assert list(found[-1].values()) == [1e-2, 4, 9]
    assert values(begun(GRID, SPACE, trials=4)) == found[:4]
    own = SearchSpace({"a": Range(0, 1, step=0.25), "b": Range(0, 1, points=2), "c": Range(0, 1)})
    assert GRID.trials_in(GRID.options(points=4), own) == 5 * 2 * 4


def test_random_values_depend_on_the_seed_alone() -> None:
    found = values(begun(RANDOM, SPACE, trials=30))
    assert found == values(begun(RANDOM, SPACE, trials=30))
    assert found != values(begun(RANDOM, SPACE, trials=30, seed=2))
    assert values(begun(RANDOM, SPACE, trials=30, seed=7)) == values(begun(RANDOM, SPACE, trials=30, seed=7))
    assert values(begun(RANDOM, SPACE, trials=40))[:30] == found
    for row in found:
        SPACE.check(row)
    assert {type(row["train.epochs"]) for row in found} == {int}
    below = sum(row["train.lr"] < 1e-3 for row in found)
    assert 8 <= below <= 22  # half of them, on a logarithmic scale


def test_whole_numbers_at_the_ends_are_as_likely_as_others() -> None:
    searcher = begun(RANDOM, SearchSpace({"n": Range(1, 4, integer=True), "x": Range(0, 1)}), trials=400)
    counts = [sum(row["n"] == number for row in values(searcher)) for number in (1,)]
    assert 70 <= counts[0] <= 130


def test_random_tries_nothing_twice_and_is_over_when_all_is_tried() -> None:
    space = SearchSpace({"a": Choices((True, 1, "1")), "b": Range(0, 1, step=0.5)})
    found = values(begun(RANDOM, space))
    assert len(found) == 9
    assert len({tuple(map(repr, row.values())) for row in found}) == 9


@pytest.mark.parametrize("component", [GRID, RANDOM], ids=["grid", "random"])
def test_they_go_on_where_they_were(component: Any) -> None:
    whole = values(begun(component, SPACE, trials=8))
    first = begun(component, SPACE, trials=8)
    assert all(isinstance(first, protocol) for protocol in (Stateful, ParetoSearcher))
    before = [first.propose() for _ in range(3)]
    first.tell(before[0], 0.5)
    rest = begun(component, SPACE, trials=8, state=first.state_dict())
    proposals = list(iter(rest.propose, None))
    assert [proposal.number for proposal in [*before, *proposals]] == list(range(1, 9))
    assert [proposal.values for proposal in [*before, *proposals]] == whole
