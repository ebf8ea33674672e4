"""The images of a report: what is looked at, and the ground truth on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from detkit.data.names import image_names
from detkit.errors import RecordError
from detkit.record.images import RecordedImage
from detkit.record.reader import ExperimentRecord
from detkit.report.arrays import packed


@dataclass(frozen=True, slots=True)
class Pictures:
    """The evaluated images, in the order of the dataset.

    Attributes:
        images: those of the validation and test splits. names: of each, below the folder that all share.
        class_names: the K foreground classes.
    """

    images: Sequence[RecordedImage]
    names: Sequence[str]
    class_names: Sequence[str]

    @property
    def positions(self) -> dict[int, int]:
        """Image id to its place."""
        return {image.truth.image_id: place for place, image in enumerate(self.images)}


def read_pictures(record: ExperimentRecord) -> Pictures:
    """Of a record whose data is prepared; without images before that.

    Raises:
        RecordError: a file of the record is damaged.
    """
    if not record.files.ground_truth.exists() or not record.files.splits.exists():
        return Pictures((), (), ())
    folder = record.files.copies.resolve()
    images = [_within(image, folder) for image in record.images()]
    names = image_names([image.truth for image in images])
    shown = [(image, name) for image, name in zip(images, names, strict=True) if image.split != "train"]
    class_names = record.fingerprint["class_names"] if record.files.fingerprint.exists() else ()
    return Pictures([image for image, _ in shown], [name for _, name in shown], class_names)


def verify_names(record: ExperimentRecord) -> None:
    """Runs have files in the report under their names.

    Raises:
        RecordError: a run has a name that leads elsewhere, as no run of detkit's own has.
    """
    for run in record.runs:
        if run.run_id in ("", ".", "..") or any(letter in run.run_id for letter in "/\\\0"):
            raise RecordError(
                f"{record.files.experiment} has a run named {run.run_id!r}: it leads out of the report's folder"
            )


def _within(image: RecordedImage, folder: Path) -> RecordedImage:
    """Without a copy that is gone, or lies elsewhere: a record may be anybody's, and its report is sent to others."""
    if image.copy is None or (image.copy.resolve().is_relative_to(folder) and image.copy.is_file()):
        return image
    return replace(image, copy=None, copy_width=0, copy_height=0)


def pictures_content(pictures: Pictures) -> dict[str, Any]:
    """Plain values: of I images with G objects `offsets` int32 [I + 1], `boxes` float64 [G, 4] (x, y, width, height),
    `labels`, `crowd`."""
    truths = [image.truth for image in pictures.images]
    objects = [item for truth in truths for item in truth.annotations]
    return {
        "ids": [truth.image_id for truth in truths],
        "names": list(pictures.names),
        "sizes": [[truth.width, truth.height] for truth in truths],
        "copies": [picture_file(image) for image in pictures.images],
        "splits": [image.split for image in pictures.images],
        "folds": [image.fold for image in pictures.images],
        "offsets": packed(np.r_[0, np.cumsum([len(truth.annotations) for truth in truths])], "<i4"),
        "boxes": packed(np.array([item.coco_box for item in objects]).reshape(-1, 4), "<f8"),
        "labels": packed(np.array([item.label for item in objects]), "<u2"),
        "crowd": packed(np.array([item.iscrowd for item in objects]), "|u1"),
        "masks": any(item.mask is not None for item in objects),
    }


def truth_masks(pictures: Pictures) -> list[str | None]:
    """The compressed run lengths of each object's mask."""
    objects = [item for image in pictures.images for item in image.truth.annotations]
    return [None if item.mask is None else item.mask["counts"] for item in objects]


def picture_file(image: RecordedImage) -> str | None:
    """Where an image lies in the report's folder; None where the record keeps no copy."""
    return f"images/{image.copy.name}" if image.copy is not None else None
