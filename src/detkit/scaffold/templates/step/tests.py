"""Does the training step keep detkit's contract, and weigh as it is told?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from detkit import BuildContext, TrainingStep, TrainingStepComponent
from detkit.data.types import Batch
from detkit.testing import TrainingStepConformance
from torch import Tensor, nn

from my_plugin import COMPONENT, WeightedOptions

BATCH = Batch(images=[], targets=[])


class TestContract(TrainingStepConformance):
    """All that detkit asks of a training step."""

    @pytest.fixture
    def component(self) -> TrainingStepComponent[Any]:
        return COMPONENT


class TwoLosses(nn.Module):
    """Stands for a detector."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, images: Any, targets: Any) -> dict[str, Tensor]:
        return {"loss_boxes": self.one * 3, "loss_classes": self.one * 5}


def step(**options: Any) -> TrainingStep:
    return COMPONENT.build(WeightedOptions(**options), BuildContext())


def values(step: TrainingStep) -> dict[str, float]:
    return {name: loss.item() for name, loss in step(TwoLosses(), BATCH).items()}


def test_a_loss_is_weighted_and_the_others_are_not() -> None:
    assert values(step(weights={"loss_boxes": 2.0})) == {"loss_boxes": 6, "loss_classes": 5}


def test_a_weight_rises() -> None:
    rising = step(weights={"loss_boxes": 3.0}, rise_steps=2)
    assert [values(rising)["loss_boxes"] for _ in range(4)] == [3, 6, 9, 9]


def test_the_validation_loss_is_no_step() -> None:
    rising = step(weights={"loss_boxes": 3.0}, rise_steps=2)
    with torch.no_grad():
        values(rising)
    assert values(rising)["loss_boxes"] == 3


def test_a_loss_that_is_not_there_is_said() -> None:
    with pytest.raises(ValueError, match="no loss 'loss_box'; its losses are loss_boxes, loss_classes"):
        values(step(weights={"loss_box": 2.0}))
