"""What a search ranges over: what it refuses, which values a grid takes, which values belong to it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from detkit import Choices, Range, SearchSpace


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"low": 1, "high": 1}, "from a number to a higher one, not from 1 to 1"),
        ({"low": 0, "high": math.inf}, "from a number to a higher one"),
        ({"low": 0, "high": 1, "log": True}, "begins above 0, not at 0"),
        ({"low": 0.5, "high": 2, "integer": True}, "are whole: 0.5, 2"),
        ({"low": 0, "high": 2, "integer": True, "step": 0.5}, "are whole"),
        ({"low": 0, "high": 1, "step": 0}, "a step is above 0"),
        ({"low": 0, "high": 1, "step": 2}, "no longer than the range, not 2"),
        ({"low": 1, "high": 9, "step": 2, "log": True}, "neither with a logarithmic scale"),
        ({"low": 1, "high": 9, "step": 2, "points": 3}, "nor with `points`"),
        ({"low": 1, "high": 9, "points": 1}, "at least the two ends of a range, not 1 points"),
    ],
)
def test_a_range_that_makes_no_sense(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Range(**arguments)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [((), "nothing to choose from"), ((1, "a", 1), "1 stands twice"), ((1.0, math.nan), "nan cannot be chosen")],
)
def test_choices_that_make_no_sense(values: tuple[Any, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Choices(values)


def test_true_and_one_are_two_choices() -> None:
    choices = Choices((True, 1))
    assert choices.complaint(True) == choices.complaint(1) == ""
    assert Choices((True,)).complaint(1) == "is none of True"


def test_a_space_without_parameters() -> None:
    with pytest.raises(ValueError, match="at least one parameter"):
        SearchSpace({})


@pytest.mark.parametrize(
    ("parameter", "points", "grid"),
    [
        (Range(0, 1), 3, (0.0, 0.5, 1.0)),
        (Range(0, 1, points=2), 9, (0.0, 1.0)),
        (Range(0.1, 0.4, step=0.1), 2, (0.1, 0.2, 0.3, 0.4)),
        (Range(0, 1, step=0.4), 2, (0.0, 0.4, 0.8)),
        (Range(1e-5, 1e-1, log=True), 5, (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)),
        (Range(1, 4, integer=True), 10, (1, 2, 3, 4)),
        (Range(1, 100, integer=True, log=True), 3, (1, 10, 100)),
        (Range(1, 3, integer=True, log=True), 3, (1, 2, 3)),
        (Range(8, 32, integer=True, step=8), 2, (8, 16, 24, 32)),
    ],
)
def test_the_values_that_a_grid_takes(parameter: Range, points: int, grid: tuple[float, ...]) -> None:
    assert parameter.grid(points) == grid
    assert {type(value) for value in parameter.grid(points)} == {int if parameter.integer else float}
    assert [parameter.complaint(value) for value in grid] == [""] * len(grid)


def test_values_are_checked_all_at_once() -> None:
    space = SearchSpace(
        {
            "train.lr": Range(1e-4, 0.1, log=True),
            "train.batch_size": Range(1, 8, integer=True),
            "model": Choices(("a",)),
        }
    )
    space.check({"train.lr": 0.1, "train.batch_size": 8, "model": "a"})
    with pytest.raises(ValueError, match="there is no") as caught:
        space.check({"train.lr": 0.2, "train.batch_size": 2.5, "train.epochs": 3})
    assert str(caught.value) == (
        "model is missing; there is no train.epochs; train.lr = 0.2 is not between 0.0001 and 0.1;"
        " train.batch_size = 2.5 is no whole number"
    )
    with pytest.raises(ValueError, match=r"train.lr = True is no number; train.batch_size = '2' is no number"):
        space.check({"train.lr": True, "train.batch_size": "2", "model": "a"})
