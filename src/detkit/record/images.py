"""The images of an experiment as its record has them: their objects, their files, and the copies that are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from detkit.data.coco_form import read_ground_truth
from detkit.data.types import ImageInfo
from detkit.errors import RecordError
from detkit.record.files import read_json
from detkit.record.layout import ExperimentLayout

SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class RecordedImage:
    """One image of the experiment's dataset.

    Attributes:
        truth: its size and objects as read; `truth.path` is the dataset's own file where there was one when the
            experiment was prepared. It may be gone since.
        split: what it is used for.
        copy: a JPEG in the record, not larger than `[experiment] image_size`; None where the record keeps none.
        copy_width, copy_height: of the copy, pixels; 0 without one.
    """

    truth: ImageInfo
    split: SplitName
    copy: Path | None = None
    copy_width: int = 0
    copy_height: int = 0


def images_content(images: Sequence[RecordedImage], folder: Path) -> dict[str, Any]:
    """Plain values of images.json; objects and splits have files of their own.

    Args:
        folder: of the copies.
    """
    return {
        "images": [
            {
                "image_id": image.truth.image_id,
                # Absolute: a record is read from other working directories than the one that its run was begun in.
                "file": str(image.truth.path.absolute()) if image.truth.path else None,
                "copy": image.copy.relative_to(folder).as_posix() if image.copy else None,
                "copy_width": image.copy_width,
                "copy_height": image.copy_height,
            }
            for image in images
        ]
    }


def read_images(layout: ExperimentLayout) -> list[RecordedImage]:
    """All images, in the order of the dataset. In records of an older detkit they have neither files nor copies.

    Raises:
        RecordError: a file of the record is missing or damaged.
    """
    try:
        infos, _ = read_ground_truth(read_json(layout.ground_truth))
        splits = read_json(layout.splits)
        names: tuple[SplitName, ...] = ("train", "validation", "test")
        split_of = {row["image_id"]: name for name in names for row in splits[name]}
        rows = read_json(layout.images)["images"] if layout.images.exists() else []
        by_id = {row["image_id"]: row for row in rows}
        return [
            _image(info, split_of[info.image_id], by_id.get(info.image_id), layout.copies)
            for info in infos
            if info.image_id in split_of
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(
            f"{layout.images}, {layout.splits} and {layout.ground_truth} do not fit each other:"
            f" {type(error).__name__}: {error}"
        ) from error


def _image(info: ImageInfo, split: SplitName, row: dict[str, Any] | None, folder: Path) -> RecordedImage:
    if row is None:
        return RecordedImage(info, split)
    truth = replace(info, path=Path(row["file"]) if row["file"] else None)
    if not row["copy"]:
        return RecordedImage(truth, split)
    return RecordedImage(truth, split, folder / row["copy"], row["copy_width"], row["copy_height"])
