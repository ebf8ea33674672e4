"""Does the detector keep detkit's contract, and can it learn?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from detkit import BuildContext, ModelComponent
from detkit.testing import ModelConformance

from my_plugin import COMPONENT


class TestContract(ModelConformance):
    """All that detkit asks of a detector."""

    @pytest.fixture
    def component(self) -> ModelComponent[Any]:
        return COMPONENT


def test_it_learns_one_image_by_heart() -> None:
    torch.manual_seed(0)
    context = BuildContext(class_names=("disc", "box"), min_size=64, max_size=64)
    model = COMPONENT.build(COMPONENT.options(), context)
    image = torch.full((3, 64, 64), 0.2)
    image[:, 8:40, 16:56] = 0.9
    box = torch.tensor([[16.0, 8.0, 56.0, 40.0]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    for _ in range(100):
        losses = model([image], [{"boxes": box, "labels": torch.tensor([2])}])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        (found,) = model([image])
    assert int(found["labels"][0]) == 2
    assert float(found["scores"][0]) > 0.5
    assert torch.allclose(found["boxes"][:1], box, atol=4)
