"""Does the callback keep detkit's contract, and stop when it should?"""

from __future__ import annotations

from typing import Any

import pytest
from detkit import BuildContext, CallbackComponent, UserError
from detkit.testing import CallbackConformance

from my_plugin import COMPONENT, Goal, GoalOptions


class TestContract(CallbackConformance):
    """All that detkit asks of a callback."""

    @pytest.fixture
    def component(self) -> CallbackComponent[Any]:
        return COMPONENT

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"metric": "train/epoch_loss", "better": "lower"}


def callback(**options: Any) -> Goal:
    built = COMPONENT.build(GoalOptions(**options), BuildContext())
    assert isinstance(built, Goal)
    return built


def stops(callback: Goal, values: list[float | None]) -> list[bool]:
    """After which of these values of coco/ap50, one an epoch, it says that the run should stop."""
    return [
        callback.should_stop(epoch=epoch, metrics={"coco/ap50": value}) is not None
        for epoch, value in enumerate(values, 1)
    ]


def test_it_stops_at_the_goal() -> None:
    assert stops(callback(goal=0.5), [0.1, None, 0.49, 0.5]) == [False, False, False, True]


def test_it_may_wait_for_several_epochs_one_after_another() -> None:
    assert stops(callback(goal=0.5, epochs=2), [0.6, 0.4, 0.6, 0.6]) == [False, False, False, True]


def test_lower_may_be_better() -> None:
    assert stops(callback(goal=1.0, better="lower"), [2.0, 1.0]) == [False, True]


def test_it_goes_on_from_a_checkpoint() -> None:
    before = callback(goal=0.5, epochs=2)
    stops(before, [0.6])
    after = callback(goal=0.5, epochs=2)
    after.load_state_dict(before.state_dict())
    assert stops(after, [0.6]) == [True]


def test_a_number_that_is_not_there_is_said() -> None:
    with pytest.raises(UserError, match="no number 'coco/ap51'; there are: coco/ap50"):
        stops(callback(metric="coco/ap51"), [0.1])
