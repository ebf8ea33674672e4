"""Boxes without area, treated as the spec wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from detkit.components import Dataset
from detkit.data.types import ImageInfo, Target

if TYPE_CHECKING:
    from torchvision.tv_tensors import Image

Degenerate = Literal["error", "drop", "clip"]


def has_area(box: Sequence[float]) -> bool:
    """Whether (x0, y0, x1, y1) is wider and higher than 0; False where one of them is NaN."""
    return box[2] > box[0] and box[3] > box[1]


def short_box(box: Sequence[float]) -> str:
    """A box for people."""
    return "(" + ", ".join(f"{value:g}" for value in box) + ")"


def _clip(box: Sequence[float], width: int, height: int) -> tuple[float, float, float, float]:
    x0, x1 = (min(max(value, 0.0), float(width)) for value in (box[0], box[2]))
    y0, y1 = (min(max(value, 0.0), float(height)) for value in (box[1], box[3]))
    return x0, y0, x1, y1


def cleaned(info: ImageInfo, degenerate: Degenerate) -> ImageInfo:
    """The image as it is trained on: under "drop" and "clip" without boxes that have no area, under "error" as it is.

    Under "clip" boxes are clipped to the image first.
    """
    if degenerate == "error":
        return info
    annotations = info.annotations
    if degenerate == "clip":
        annotations = tuple(replace(item, box=_clip(item.box, info.width, info.height)) for item in annotations)
    return replace(info, annotations=tuple(item for item in annotations if has_area(item.box)))


class CleanDataset(Dataset):
    """A dataset whose targets hold no box without area; under "clip", boxes are clipped to the image first."""

    def __init__(self, dataset: Dataset, degenerate: Degenerate) -> None:
        self._dataset = dataset
        self._degenerate = degenerate
        self.class_names = dataset.class_names
        self.provides = dataset.provides
        self.splits = dataset.splits

    def __len__(self) -> int:
        return len(self._dataset)

    def info(self, index: int) -> ImageInfo:
        return cleaned(self._dataset.info(index), self._degenerate)

    def __getitem__(self, index: int, /) -> tuple[Image, Target]:
        import torch

        image, target = self._dataset[index]
        boxes = target["boxes"]
        if self._degenerate == "clip":
            height, width = image.shape[-2:]
            limits = torch.tensor([width, height, width, height], dtype=boxes.dtype)
            boxes = torch.minimum(boxes.clamp(min=0), limits)
        keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        cleaned: Target = {
            **target,
            "boxes": _like(boxes[keep], target["boxes"]),
            "labels": target["labels"][keep],
            "area": target["area"][keep],
            "iscrowd": target["iscrowd"][keep],
        }
        if "masks" in target:
            cleaned["masks"] = _like(target["masks"][keep], target["masks"])
        return image, cleaned


def _like(value: object, original: object) -> object:
    from torchvision.tv_tensors import wrap

    return wrap(value, like=original)
