"""Small images with random objects, as hypothesis or a number draws them, and a dataset of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors

from detkit import BOXES, BOXES_AND_MASKS, Dataset
from detkit.data.types import Target

CLASSES = ("bolt", "nut", "pin")


def drawn_sample(index: int, *, masks: bool, tight: bool = True) -> tuple[tv_tensors.Image, Target]:
    """Image `index`: 17 to 60 pixels a side, none to four objects, every fifth object a crowd.

    Where `tight` is false the boxes are three pixels wider than their masks at each side that has room.
    """
    numbers = np.random.RandomState(index)
    height, width = (int(side) for side in numbers.randint(17, 60, 2))
    count = int(numbers.randint(0, 5))
    pixels = torch.from_numpy(numbers.randint(0, 256, (3, height, width), dtype=np.uint8))
    drawn = np.zeros((count, height, width), dtype=np.uint8)
    boxes = np.zeros((count, 4), dtype=np.float32)
    for number in range(count):
        w, h = numbers.randint(4, width // 2 + 1), numbers.randint(4, height // 2 + 1)
        x, y = numbers.randint(0, width - w + 1), numbers.randint(0, height - h + 1)
        rows, columns = np.mgrid[0:height, 0:width]
        ellipse = ((columns - x - w / 2 + 0.5) / (w / 2)) ** 2 + ((rows - y - h / 2 + 0.5) / (h / 2)) ** 2 <= 1.0
        drawn[number] = ellipse
        there = np.nonzero(ellipse)
        boxes[number] = [there[1].min(), there[0].min(), there[1].max() + 1, there[0].max() + 1]
        if not tight:
            boxes[number] = np.clip(boxes[number] + [-3, -3, 3, 3], 0, [width, height, width, height])
    sides = boxes[:, 2:] - boxes[:, :2]
    target: dict[str, Any] = {
        "boxes": tv_tensors.BoundingBoxes(
            torch.from_numpy(boxes), format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=(height, width)
        ),
        "labels": torch.from_numpy(numbers.randint(1, len(CLASSES) + 1, count)).to(torch.int64),
        "image_id": 100 + index,
        "area": torch.from_numpy(drawn.sum((1, 2)).astype(np.float32) if masks else sides.prod(axis=1)),
        "iscrowd": torch.from_numpy(numbers.randint(0, 5, count) == 0),
    }
    if masks:
        target["masks"] = tv_tensors.Mask(torch.from_numpy(drawn))
    return tv_tensors.Image(pixels), target  # type: ignore[return-value]  # the keys of a target


class Drawn(Dataset):
    """Images of `drawn_sample`."""

    class_names: tuple[str, ...] = CLASSES

    def __init__(self, count: int = 12, *, masks: bool = True, tight: bool = True) -> None:
        self._count, self._masks, self._tight = count, masks, tight
        self.provides = BOXES_AND_MASKS if masks else BOXES

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> tuple[tv_tensors.Image, Target]:
        return drawn_sample(range(self._count)[index], masks=self._masks, tight=self._tight)
