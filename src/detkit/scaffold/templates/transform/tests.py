"""Does the transform keep detkit's contract, and change what it should?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from detkit import BuildContext, Draw, TransformComponent
from detkit.data.types import Target
from detkit.testing import TransformConformance
from torchvision import tv_tensors

from my_plugin import COMPONENT, EraseOptions, without_hidden


class TestContract(TransformConformance):
    """All that detkit asks of a transform."""

    @pytest.fixture
    def component(self) -> TransformComponent[Any]:
        return COMPONENT


def target(*boxes: tuple[float, float, float, float]) -> Target:
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    form = tv_tensors.BoundingBoxFormat.XYXY
    return {
        "boxes": tv_tensors.BoundingBoxes(corners, format=form, canvas_size=(40, 60)),
        "labels": torch.arange(1, len(boxes) + 1),
        "image_id": 7,
        "area": (corners[:, 2:] - corners[:, :2]).prod(dim=1),
        "iscrowd": torch.zeros(len(boxes), dtype=torch.bool),
    }


def changed(seed: int, **options: Any) -> torch.Tensor:
    """Which pixels of a white image of 60 x 40 are painted over, bool [40, 60]."""
    image = tv_tensors.Image(torch.full((3, 40, 60), 255, dtype=torch.uint8))
    draw = Draw(torch.Generator().manual_seed(seed), range(1), lambda _index: (image, target()))
    transform = COMPONENT.build(EraseOptions(**options), BuildContext())
    painted, _ = transform(image, target(), draw)
    assert bool((image == 255).all()), "what a transform is given must not be written to"
    different: torch.Tensor = (painted != image).any(dim=0).as_subclass(torch.Tensor)
    return different


def test_one_rectangle_is_painted_and_not_too_large() -> None:
    for seed in range(20):
        place = changed(seed, probability=1.0, largest=0.5)
        rows, columns = int(place.any(dim=1).sum()), int(place.any(dim=0).sum())
        assert int(place.sum()) == rows * columns
        assert rows <= 20
        assert columns <= 30


def test_it_can_be_told_to_do_nothing() -> None:
    assert not bool(changed(0, probability=0.0).any())


def test_what_is_hidden_is_left_out_in_all_fields() -> None:
    left = without_hidden(target((0, 0, 10, 10), (30, 0, 50, 20)), (0, 0, 40, 20), most=0.8)
    assert left["boxes"].tolist() == [[30, 0, 50, 20]]  # half of it is to be seen
    assert isinstance(left["boxes"], tv_tensors.BoundingBoxes)
    assert [left[field].tolist() for field in ("labels", "area", "iscrowd")] == [[2], [400], [False]]
    assert left["image_id"] == 7
