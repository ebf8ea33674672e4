"""Copies of the evaluated images in the record, to look at: made once, before the first run, for all readers."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from detkit.components import Dataset, Messages
from detkit.data.loading import fetch
from detkit.data.seeds import derive_seed, seeded
from detkit.engine.prepare import PreparedData
from detkit.record.files import write_atomically, write_json
from detkit.record.images import RecordedImage, SplitName, images_content, read_images
from detkit.record.layout import ExperimentLayout

if TYPE_CHECKING:
    from PIL.Image import Image

#: Of the copies. At 90 no difference to the original is seen; detections are drawn on them, not made from them.
JPEG_QUALITY = 90


def write_copies(layout: ExperimentLayout, data: PreparedData, *, keep: int, size: int, messages: Messages) -> None:
    """Write images.json, and the copies that are not there yet.

    Args:
        keep: at most so many images of the validation split and so many of the test split, spread over each.
        size: the longest side that a copy may have, pixels; smaller images keep theirs.

    Raises:
        DataError: an image cannot be read. RecordError: the disk is full, or the folder cannot be written.
    """
    there = _copies_there(layout)
    parts: dict[SplitName, Sequence[int]] = {
        "train": data.splits.train,
        "validation": data.splits.validation,
        "test": data.splits.test,
    }
    split_of: dict[int, SplitName] = {index: name for name, part in parts.items() for index in part}
    kept = {*spread(data.splits.validation, keep), *spread(data.splits.test, keep)}
    missing = {index for index in kept if data.infos[index].image_id not in there}
    images = []
    with messages.progress("copying images into the record", len(missing), "images") as bar:
        for index, info in enumerate(data.infos):
            if index not in split_of:
                continue
            image = RecordedImage(info, split_of[index])
            if index in missing:
                image = _with_copy(image, data.dataset, index, layout.copies, size)
                bar.advance()
            elif index in kept:
                known = there[info.image_id]
                image = RecordedImage(info, image.split, known.copy, known.copy_width, known.copy_height)
            images.append(image)
    write_json(layout.images, images_content(images, layout.copies))


def _copies_there(layout: ExperimentLayout) -> dict[int, RecordedImage]:
    """By image id, of an earlier call: the data is the same, or the experiment would have been refused."""
    if not layout.images.exists():
        return {}
    return {image.truth.image_id: image for image in read_images(layout) if image.copy and image.copy.is_file()}


def spread(indices: Sequence[int], count: int) -> list[int]:
    """At most `count` of them, as evenly spread over their order as can be."""
    return list(indices) if len(indices) <= count else [indices[i * len(indices) // count] for i in range(count)]


def _with_copy(image: RecordedImage, dataset: Dataset, index: int, folder: Path, size: int) -> RecordedImage:
    picture = shrunk(_picture(dataset, index), size)
    content = BytesIO()
    picture.save(content, "JPEG", quality=JPEG_QUALITY)
    file = folder / f"{image.truth.image_id:06d}.jpg"
    write_atomically(file, lambda stream: stream.write(content.getbuffer()), durable=False)
    return RecordedImage(image.truth, image.split, file, picture.width, picture.height)


def _picture(dataset: Dataset, index: int) -> Image:
    from torchvision.transforms.v2.functional import to_pil_image

    with seeded(derive_seed(0, "copied image", index)):  # a dataset may draw its images
        image, _ = fetch(dataset, index)
    picture: Image = to_pil_image(image)
    return picture


def shrunk(picture: Image, size: int) -> Image:
    """The picture with its longest side at most `size`, its proportions kept."""
    from PIL.Image import Resampling

    longest = max(picture.width, picture.height)
    if longest <= size:
        return picture
    width, height = (max(1, round(side * size / longest)) for side in (picture.width, picture.height))
    return picture.resize((width, height), Resampling.LANCZOS)
