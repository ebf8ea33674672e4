"""What must hold of a dataset before anything is trained on it, and boxes without area as the spec wants them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from detkit.components import Dataset
from detkit.data.types import Annotation, ImageInfo, Target
from detkit.errors import DataError

if TYPE_CHECKING:
    from torchvision.tv_tensors import Image

Degenerate = Literal["error", "drop", "clip"]

#: So many findings are listed; more are counted.
LISTED = 10


def checked_infos(dataset: Dataset, degenerate: Degenerate) -> list[ImageInfo]:
    """The ground truth of every image, checked.

    Raises:
        DataError: no images, no classes, ids that repeat, labels out of range, boxes that are not numbers, masks of
            another size than their image, and, under "error", boxes without area. All findings at once, each with its
            image and object.
    """
    if not len(dataset):
        raise DataError("the dataset has no images")
    if not dataset.class_names:
        raise DataError("the dataset has no classes")
    names = dataset.class_names
    if len(set(names)) < len(names) or not all(name.strip() for name in names):
        raise DataError(f"class names must differ and not be empty; they are: {', '.join(map(repr, names))}")
    infos = [_info(dataset, index) for index in range(len(dataset))]
    findings = [*_repeated_ids(infos)]
    for info in infos:
        for number, annotation in enumerate(info.annotations):
            name = f"{info.label}, {annotation.source or f'object {number}'}"
            findings += (f"{name}: {text}" for text in _faults(annotation, info, dataset.class_names))
            if degenerate == "error" and not has_area(annotation.box):
                findings.append(
                    f"{name}: box {short_box(annotation.box)} has no area;"
                    ' [dataset] degenerate = "drop" leaves such objects out, "clip" clips boxes to the image first'
                )
    if findings:
        listed = "\n  ".join(findings[:LISTED])
        more = f"\n  and {len(findings) - LISTED} more" if len(findings) > LISTED else ""
        raise DataError(f"the dataset has {len(findings)} faults:\n  {listed}{more}")
    return infos if degenerate == "error" else [_cleaned(info, degenerate) for info in infos]


def _info(dataset: Dataset, index: int) -> ImageInfo:
    from detkit.errors import DetkitError

    try:
        return dataset.info(index)
    except DetkitError:
        raise
    except Exception as error:  # the dataset is foreign code: say which image it stumbled over
        raise DataError(f"image {index} of the dataset cannot be read: {type(error).__name__}: {error}") from error


def _repeated_ids(infos: Sequence[ImageInfo]) -> list[str]:
    seen: dict[int, ImageInfo] = {}
    findings = []
    for info in infos:
        if info.image_id in seen:
            findings.append(f"{info.label}: image id {info.image_id} is that of {seen[info.image_id].label} too")
        seen[info.image_id] = info
    return findings


def _faults(annotation: Annotation, info: ImageInfo, class_names: Sequence[str]) -> list[str]:
    faults = []
    if not 1 <= annotation.label <= len(class_names):
        names = ", ".join(f"{number} {name}" for number, name in enumerate(class_names, 1))
        faults.append(f"label {annotation.label} is out of range; the classes are {names}")
    if not all(math.isfinite(value) for value in annotation.box):
        faults.append(f"box {short_box(annotation.box)} is not of finite numbers")
    if annotation.mask is not None and annotation.mask["size"] != [info.height, info.width]:
        height, width = annotation.mask["size"]
        faults.append(f"mask of {width}x{height} pixels does not fit the image of {info.width}x{info.height}")
    return faults


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


def _cleaned(info: ImageInfo, degenerate: Degenerate) -> ImageInfo:
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
        return _cleaned(self._dataset.info(index), self._degenerate)

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
