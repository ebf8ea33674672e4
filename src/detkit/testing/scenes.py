"""Drawn scenes for tests: images with known objects, batches of them, and predictions that are right, or nearly so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors

from detkit.components import BOXES, BOXES_AND_MASKS, Dataset
from detkit.data.loading import to_device
from detkit.data.targets import encode_masks, info_from_target
from detkit.data.types import RLE, Batch, ImageInfo, Prediction, Target

#: Objects of each image, over and over: some images have none.
OBJECTS = (2, 1, 0, 3)
#: An object's sides, as shares of the quarter of the image that it lies in.
SHARES = (0.5, 0.85)
#: Image ids are neither rising from 0 nor without gaps, as those of real data.
FIRST_ID, ID_STEP = 1007, 13


class Scenes(Dataset):
    """Bright discs (classes 1, 3, ...) and blocks (classes 2, 4, ...) on dark noise; the same on every machine.

    Every fourth image has no object; sizes differ from image to image; no two objects touch. Boxes are the extents of
    the masks, in whole pixels.

    Args:
        images: how many.
        class_names: in the order of their labels.
        size: height and width of the first image, pixels; every other one is turned, or a little smaller.
        masks: whether targets hold masks.
        crowds: whether the last of three objects is a crowd.
        objects: how many objects images have, over and over.
    """

    def __init__(
        self,
        images: int = 8,
        *,
        class_names: Sequence[str] = ("disc", "block"),
        size: tuple[int, int] = (96, 128),
        masks: bool = True,
        crowds: bool = False,
        objects: Sequence[int] = OBJECTS,
    ) -> None:
        self.class_names = tuple(class_names)
        self.provides = BOXES_AND_MASKS if masks else BOXES
        self._images, self._size, self._masks, self._crowds, self._objects = images, size, masks, crowds, tuple(objects)

    def __len__(self) -> int:
        return self._images

    def __getitem__(self, index: int, /) -> tuple[tv_tensors.Image, Target]:
        """The uint8 image [3, H, W] and its target."""
        index = range(self._images)[index]
        draw = np.random.default_rng(index)
        height, width = self._size_of(index)
        pixels = draw.integers(0, 40, (height, width, 3), dtype=np.uint8)
        masks, labels = [], []
        quarters = draw.permutation(4)
        for place in range(self._objects[index % len(self._objects)]):
            label = 1 + (index + place) % len(self.class_names)
            mask = _object(draw, int(quarters[place % 4]), height, width, round_=bool(label % 2))
            colour = np.array([255, 255, 170 + 80 * (label % 2)]) - draw.integers(0, 20, 3)
            pixels[mask] = colour
            masks.append(mask)
            labels.append(label)
        return tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1).contiguous()), self._target(
            index, np.array(masks, dtype=np.uint8).reshape(-1, height, width), labels
        )

    def info(self, index: int) -> ImageInfo:
        """Of the target, under a name."""
        index = range(self._images)[index]
        return replace(info_from_target(*self[index]), name=f"scene {index}")

    def _size_of(self, index: int) -> tuple[int, int]:
        height, width = self._size
        return [(height, width), (width, height), (height - 7, width - 3)][index % 3]

    def _target(self, index: int, masks: NDArray[np.uint8], labels: list[int]) -> Target:
        height, width = masks.shape[1:]
        boxes = torch.tensor([_extent(mask) for mask in masks], dtype=torch.float32).reshape(-1, 4)
        crowd = torch.zeros(len(labels), dtype=torch.bool)
        if self._crowds and len(labels) >= 3:
            crowd[-1] = True
        target: Target = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(height, width)),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "image_id": FIRST_ID + ID_STEP * ((index * 5) % self._images if self._images % 5 else index),
            "area": torch.tensor([int(mask.sum()) for mask in masks], dtype=torch.float32),
            "iscrowd": crowd,
        }
        if self._masks:
            target["masks"] = tv_tensors.Mask(torch.from_numpy(masks))
        else:
            sides = boxes[:, 2:] - boxes[:, :2]
            target["area"] = sides.prod(dim=1)
        return target


def _object(draw: np.random.Generator, quarter: int, height: int, width: int, *, round_: bool) -> NDArray[np.bool_]:
    """A mask in one quarter of the image."""
    rows, columns = height // 2, width // 2
    h, w = (int(side * draw.uniform(*SHARES)) for side in (rows, columns))
    y = quarter // 2 * rows + int(draw.integers(1, rows - h))
    x = quarter % 2 * columns + int(draw.integers(1, columns - w))
    mask = np.zeros((height, width), dtype=bool)
    if not round_:
        mask[y : y + h, x : x + w] = True
        return mask
    grid = np.mgrid[:h, :w] + 0.5
    inside = ((grid[0] - h / 2) / (h / 2)) ** 2 + ((grid[1] - w / 2) / (w / 2)) ** 2 <= 1
    mask[y : y + h, x : x + w] = inside
    return mask


def _extent(mask: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def scene_batch(dataset: Dataset, indices: Iterable[int], device: str = "cpu") -> Batch:
    """A batch as the engine makes it: float32 images in 0..1, plain tensors, without crowds.

    Args:
        dataset: any. indices: into it. device: as torch names it.
    """
    samples = [dataset[index] for index in indices]
    return to_device([image for image, _ in samples], [target for _, target in samples], torch.device(device))


def truths_of(dataset: Dataset) -> list[ImageInfo]:
    """The ground truth of every image, as metrics get it."""
    return [dataset.info(index) for index in range(len(dataset))]


def perfect_predictions(truths: Sequence[ImageInfo], *, masks: bool = False) -> list[Prediction]:
    """Every object that is no crowd, exactly where it is, with the score 1.

    Args:
        masks: whether the predictions hold the truths' masks.
    """
    return [_prediction(truth, 1.0, 0.0, masks=masks) for truth in truths]


def poor_predictions(truths: Sequence[ImageInfo], *, masks: bool = False, seed: int = 0) -> list[Prediction]:
    """A detector's everyday work: objects missed, moved or of the wrong class, some found twice, and false alarms.

    Args:
        masks: whether the predictions hold masks: the truths' own. seed: draws others.
    """
    found = []
    for number, truth in enumerate(truths):
        draw = np.random.default_rng((seed, number))
        best = _prediction(truth, 1.0, 0.05, masks=masks, draw=draw)
        keep = [int(place) for place in np.flatnonzero(draw.random(len(best)) < 0.7)]
        extra = 1 + int(draw.integers(2))
        corner = draw.uniform(0, 0.6, (extra, 2)) * (truth.width, truth.height)
        boxes = np.concatenate([best.boxes[keep], np.concatenate([corner, corner + 12], axis=1)]).astype(np.float32)
        labels = np.concatenate([best.labels[keep], draw.integers(1, 2, extra)]).astype(np.int64)
        scores = draw.uniform(0.05, 0.95, len(labels)).astype(np.float32)
        rles = None
        if masks and best.masks is not None:
            rles = [best.masks[place] for place in keep] + _boxes_as_masks(boxes[len(keep) :], truth)
        found.append(Prediction(truth.image_id, boxes, labels, scores, rles))
    return found


def no_predictions(truths: Sequence[ImageInfo], *, masks: bool = False) -> list[Prediction]:
    """Nothing found anywhere, as a model gives it in its first steps.

    Args:
        masks: whether the predictions are those of a model that gives masks.
    """
    return [
        Prediction(
            truth.image_id,
            np.zeros((0, 4), dtype=np.float32),
            np.zeros(0, dtype=np.int64),
            np.zeros(0, dtype=np.float32),
            [] if masks else None,
        )
        for truth in truths
    ]


def _prediction(
    truth: ImageInfo, score: float, spread: float, *, masks: bool, draw: np.random.Generator | None = None
) -> Prediction:
    items = [item for item in truth.annotations if not item.iscrowd]
    boxes = np.array([item.box for item in items], dtype=np.float32).reshape(-1, 4)
    if draw is not None and len(boxes):
        sides = (boxes[:, 2:] - boxes[:, :2]).repeat(2, axis=1)
        boxes = boxes + (draw.normal(size=boxes.shape) * spread * sides).astype(np.float32)
        boxes = np.clip(boxes, 0, [truth.width, truth.height] * 2).astype(np.float32)
    return Prediction(
        truth.image_id,
        boxes,
        np.array([item.label for item in items], dtype=np.int64),
        np.full(len(items), score, dtype=np.float32),
        [item.mask for item in items if item.mask is not None] if masks else None,
    )


def _boxes_as_masks(boxes: NDArray[np.float32], truth: ImageInfo) -> list[RLE]:
    masks = np.zeros((len(boxes), truth.height, truth.width), dtype=np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int).tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    return encode_masks(masks)
