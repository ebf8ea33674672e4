"""The embedded dataset: drawn street scenes as a `Dataset`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors

from detkit import BOXES_AND_MASKS, Dataset
from detkit.data.targets import encode_masks
from detkit.data.types import Annotation, ImageInfo, Target
from detkit_basics import SyntheticOptions
from detkit_basics.scenes import Scene, draw_scene

#: Scenes are kept in memory as long as all of them take no more than this.
CACHE_LIMIT_BYTES = 256 * 2**20


class Synthetic(Dataset):
    """Image i depends on the seed, i, the size and the ranges of the options, and on nothing else."""

    class_names = ("pedestrian",)
    provides = BOXES_AND_MASKS

    def __init__(self, options: SyntheticOptions) -> None:
        self._options = options
        self._scenes: dict[int, Scene] = {}
        # Three colours and one owner a pixel.
        self._keep = options.images * options.width * options.height * 4 <= CACHE_LIMIT_BYTES

    def __len__(self) -> int:
        return self._options.images

    def __getitem__(self, index: int, /) -> tuple[tv_tensors.Image, Target]:
        index = range(len(self))[index]
        scene = self._scene(index)
        image = torch.from_numpy(scene.pixels).permute(2, 0, 1).contiguous()
        masks = _masks(scene)
        boxes = torch.tensor(_boxes(masks), dtype=torch.float32).reshape(-1, 4)
        size = (self._options.height, self._options.width)
        target = Target(
            boxes=tv_tensors.BoundingBoxes(boxes, format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=size),
            labels=torch.ones(len(masks), dtype=torch.int64),
            image_id=index,
            area=torch.from_numpy(masks.sum(axis=(1, 2), dtype=np.float32)),
            iscrowd=torch.zeros(len(masks), dtype=torch.bool),
            masks=tv_tensors.Mask(torch.from_numpy(masks)),
        )
        return tv_tensors.Image(image), target

    def info(self, index: int) -> ImageInfo:
        index = range(len(self))[index]
        masks = _masks(self._scene(index))
        annotations = tuple(
            Annotation(label=1, box=box, area=float(mask.sum()), mask=rle, source=f"object {number}")
            for number, (box, mask, rle) in enumerate(zip(_boxes(masks), masks, encode_masks(masks), strict=True), 1)
        )
        return ImageInfo(index, None, self._options.width, self._options.height, annotations, name=f"scene {index}")

    def _scene(self, index: int) -> Scene:
        scene = self._scenes.get(index)
        if scene is None:
            o = self._options
            scene = draw_scene(o.seed, index, o.width, o.height, objects=o.objects, distractors=o.distractors)
            if self._keep:
                self._scenes[index] = scene
        return scene


def _masks(scene: Scene) -> NDArray[np.uint8]:
    """uint8 [N, H, W]: the visible part of each pedestrian."""
    numbers = np.arange(1, scene.pedestrians + 1, dtype=np.uint8)
    return np.equal(scene.owners, numbers[:, None, None]).view(np.uint8)


def _boxes(masks: NDArray[np.uint8]) -> list[tuple[float, float, float, float]]:
    """(x0, y0, x1, y1) around each mask, the far edges included."""
    boxes = []
    for mask in masks:
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        boxes.append((float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)))
    return boxes
