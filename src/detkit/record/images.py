"""The images of an experiment as its record has them: their objects, their files, and the copies that are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detkit.data.coco_form import read_ground_truth
from detkit.data.types import ImageInfo
from detkit.errors import RecordError
from detkit.record.files import read_json
from detkit.record.layout import ExperimentLayout
from detkit.record.splits import SplitName as SplitName  # it belongs to `RecordedImage`, too
from detkit.record.splits import read_folds, read_split_rows


@dataclass(frozen=True, slots=True)
class RecordedImage:
    """One image of the experiment's dataset.

    Attributes:
        truth: its size and objects as read; `truth.path` is the dataset's own file where there was one when the
            experiment was prepared. It may be gone since.
        split: what it is used for, by the run that was asked. An experiment with folds says "validation" of every image
            beside the test split: each is in that split of one fold.
        fold: which validates it; None without folds, and in the test split.
        copy: a JPEG in the record, not larger than `[experiment] image_size`; None where the record keeps none.
        copy_width, copy_height: of the copy, pixels; 0 without one.
    """

    truth: ImageInfo
    split: SplitName
    copy: Path | None = None
    copy_width: int = 0
    copy_height: int = 0
    fold: int | None = None


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


def read_images(layout: ExperimentLayout, fold: int | None = None) -> list[RecordedImage]:
    """All images, in the order of the dataset. In records of an older detkit they have neither files nor copies.

    Args:
        fold: that of the run whose splits are wanted.

    Raises:
        RecordError: a file of the record is missing or damaged.
    """
    try:
        infos, _ = read_ground_truth(read_json(layout.ground_truth))
        fold_of = read_folds(layout)
        split_of = _split_of(layout, fold if fold_of else None, fold_of)
        rows = read_json(layout.images)["images"] if layout.images.exists() else []
        by_id = {row["image_id"]: row for row in rows}
        images = [
            _image(info, split_of[info.image_id], by_id.get(info.image_id), layout.copies)
            for info in infos
            if info.image_id in split_of
        ]
        return [replace(image, fold=(fold_of or {}).get(image.truth.image_id)) for image in images]
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(
            f"{layout.images}, {layout.splits} and {layout.ground_truth} do not fit each other:"
            f" {type(error).__name__}: {error}"
        ) from error


def _split_of(layout: ExperimentLayout, fold: int | None, fold_of: Mapping[int, int] | None) -> dict[int, SplitName]:
    if fold_of is None or fold is not None:
        rows = read_split_rows(layout, fold)
        return {row["image_id"]: name for name, of_split in rows.items() for row in of_split}
    tested = read_split_rows(layout, 1)["test"]
    return {**dict.fromkeys(fold_of, "validation"), **{row["image_id"]: "test" for row in tested}}


def _image(info: ImageInfo, split: SplitName, row: dict[str, Any] | None, folder: Path) -> RecordedImage:
    if row is None:
        return RecordedImage(info, split)
    truth = replace(info, path=Path(row["file"]) if row["file"] else None)
    if not row["copy"]:
        return RecordedImage(truth, split)
    return RecordedImage(truth, split, folder / row["copy"], row["copy_width"], row["copy_height"])
