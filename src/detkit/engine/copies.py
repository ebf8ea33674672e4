"""Copies of the evaluated images in the record, to look at: made once, before the first run, for all readers."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from detkit.components import Dataset, Messages, Silent
from detkit.data.loading import fetch
from detkit.data.seeds import derive_seed, seeded
from detkit.engine.prepare import PreparedData
from detkit.errors import DataError, RecordError
from detkit.record.files import write_atomically, write_json
from detkit.record.images import RecordedImage, SplitName, images_content, read_images
from detkit.record.layout import ExperimentLayout

if TYPE_CHECKING:
    from PIL.Image import Image

#: Of the copies. At 90 no difference to the original is seen; detections are drawn on them, not made from them.
JPEG_QUALITY = 90
#: The longest side that libjpeg writes, pixels.
LONGEST_JPEG = 65_500
#: Progress is shown of so many images: fewer take a moment, and lines that tell of it would only be noise.
SHOWN_FROM = 20


def write_copies(
    layout: ExperimentLayout,
    data: PreparedData,
    *,
    keep: int,
    size: int,
    messages: Messages,
    evaluated: int | None = None,
) -> None:
    """Write images.json, and the copies that are not there yet; those that are there stay, even if `keep` is less now.

    Args:
        keep: of so many images of the validation split and so many of the test split, spread over each.
        size: the longest side that a copy may have, pixels; smaller images keep theirs.
        evaluated: only so many of the first images of a split are evaluated, in a rehearsal; None: all.

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
    wanted = {*spread(parts["validation"][:evaluated], keep), *spread(parts["test"][:evaluated], keep)}
    missing = {index for index in wanted if not _fits(there.get(data.infos[index].image_id), size)}
    images = []
    shown = messages if len(missing) >= SHOWN_FROM else Silent()
    with shown.progress("copying images into the record", len(missing), "images") as bar:
        for index in sorted(split_of):
            info = data.infos[index]
            image = RecordedImage(info, split_of[index])
            if index in missing:
                image = _with_copy(image, data.dataset, index, layout.copies, size)
                bar.advance()
            elif (known := there.get(info.image_id)) is not None:
                image = RecordedImage(info, image.split, known.copy, known.copy_width, known.copy_height)
            images.append(image)
    write_json(layout.images, images_content(images, layout.copies))


def _copies_there(layout: ExperimentLayout) -> dict[int, RecordedImage]:
    """By image id, of an earlier run's call: the data is the same, or the experiment would have been refused.

    What is damaged is made again: nothing else is lost with it. So is what was left where no run was begun, since then
    the data may have been another.
    """
    if not (layout.experiment.exists() and layout.images.exists()):
        return {}
    try:
        images = read_images(layout)
    except RecordError:
        return {}
    return {image.truth.image_id: image for image in images if image.copy and _has_content(image.copy)}


def _has_content(file: Path) -> bool:
    """A machine that lost its power may leave an empty file."""
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def _fits(known: RecordedImage | None, size: int) -> bool:
    """Whether the copy is what would be made now; `image_size` may have been changed since."""
    if known is None:
        return False
    return (known.copy_width, known.copy_height) == shrunk_size(known.truth.width, known.truth.height, size)


def spread(indices: Sequence[int], count: int) -> list[int]:
    """At most `count` of them, as evenly spread over their order as can be."""
    return list(indices) if len(indices) <= count else [indices[i * len(indices) // count] for i in range(count)]


def _with_copy(image: RecordedImage, dataset: Dataset, index: int, folder: Path, size: int) -> RecordedImage:
    picture = _picture(dataset, index)
    content = BytesIO()
    try:
        picture = shrunk(picture, size)
        picture.save(content, "JPEG", quality=JPEG_QUALITY)
    except (OSError, ValueError, MemoryError) as error:
        raise DataError(
            f"image {index} ({image.truth.label}), {picture.width} x {picture.height} pixels, cannot be copied into the"
            f" record: {type(error).__name__}: {error}; `keep_images = 0` in [experiment] makes no copies"
        ) from error
    file = folder / copy_name(image.truth.image_id)
    write_atomically(file, lambda stream: stream.write(content.getbuffer()), durable=False)
    return RecordedImage(image.truth, image.split, file, picture.width, picture.height)


def copy_name(image_id: int) -> str:
    """The file name of a copy: the id with at least six digits."""
    return f"{image_id:06d}.jpg"


def _picture(dataset: Dataset, index: int) -> Image:
    from torchvision.transforms.v2.functional import to_pil_image

    with seeded(derive_seed(0, "copied image", index)):  # a dataset may draw its images
        image, _ = fetch(dataset, index)
    if 0 in image.shape:
        height, width = image.shape[-2:]
        raise DataError(f"image {index} ({dataset.info(index).label}) has no pixels: it is {width} x {height}")
    picture: Image = to_pil_image(image)
    return picture


def shrunk(picture: Image, size: int) -> Image:
    """The picture with its longest side at most `size`, its proportions kept."""
    from PIL.Image import Resampling

    wanted = shrunk_size(picture.width, picture.height, size)
    return picture if wanted == picture.size else picture.resize(wanted, Resampling.LANCZOS)


def shrunk_size(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height, pixels, with the longer one at most `size`, and at most what a JPEG can have."""
    longest, size = max(width, height), min(size, LONGEST_JPEG)
    if longest <= size:
        return width, height
    return max(1, round(width * size / longest)), max(1, round(height * size / longest))
