"""The dataset of a Penn-Fudan folder: instance-id masks to boxes, RLE masks and targets."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError
from torchvision import tv_tensors

from detkit import BOXES_AND_MASKS, DataError, Dataset
from detkit.data.targets import decode_masks, encode_masks
from detkit.data.types import Annotation, ImageInfo, Target
from detkit_pennfudan.files import IMAGES, MASKS

ADDED_OBJECTS = "added-object-list.txt"

#: What Pillow raises for files that cannot be read, are cut, or are not what they claim to be.
PILLOW_ERRORS = (OSError, SyntaxError, ValueError, struct.error, PillowImage.DecompressionBombError)


class PennFudan(Dataset):
    """Images in the order of their names; image_id is the index. Every pedestrian has label 1, a box and a mask.

    Args:
        folder: holds PNGImages and PedMasks.
        paper_objects: leave out the objects that `added-object-list.txt` names.

    Raises:
        DataError: there are no images, an image has no mask, or the list of added objects cannot be read.
    """

    class_names = ("pedestrian",)
    provides = BOXES_AND_MASKS

    def __init__(self, folder: Path, *, paper_objects: bool = False) -> None:
        self.folder = folder
        self._images = _image_files(folder)
        self._masks = _mask_files(folder, self._images)
        self._left_out = _added_objects(folder / ADDED_OBJECTS) if paper_objects else frozenset()
        self._infos: dict[int, ImageInfo] = {}

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int, /) -> tuple[tv_tensors.Image, Target]:
        info = self.info(index)
        pixels = torch.from_numpy(_decode(self._images[info.image_id], "RGB"))
        return tv_tensors.Image(pixels.permute(2, 0, 1).contiguous()), _target(info)

    def info(self, index: int) -> ImageInfo:
        """Decodes the mask, not the image; what it found is kept.

        Raises:
            DataError: the mask does not decode, or does not fit its image.
        """
        index = range(len(self))[index]
        if index not in self._infos:
            self._infos[index] = self._read_info(index)
        return self._infos[index]

    def _read_info(self, index: int) -> ImageInfo:
        image, mask = self._images[index], self._masks[index]
        width, height = _size(image)
        ids = _decode(mask)
        if ids.ndim != 2:
            raise DataError(f"{mask}: has {ids.shape[2]} channels; a mask has one, with 0 or a pedestrian's number")
        if ids.shape != (height, width):
            raise DataError(
                f"{mask}: is {ids.shape[1]} x {ids.shape[0]} pixels, its image {image.name} {width} x {height};"
                " a mask must be of its image's size"
            )
        found = instances(ids)
        annotations = tuple(found[number] for number in found if (image.name, number) not in self._left_out)
        return ImageInfo(index, image, width, height, annotations)


def instances(ids: NDArray[np.integer]) -> dict[int, Annotation]:
    """The pedestrians of an id mask, by their numbers, which ascend and may leave some out.

    Boxes include the far edges: a single pixel is one pixel wide and high.

    Args:
        ids: [H, W], 0 for the background.
    """
    height, width = ids.shape
    numbers = [int(number) for number in np.unique(ids) if number > 0]
    masks = np.equal(ids[None], np.array(numbers, dtype=ids.dtype).reshape(-1, 1, 1))
    columns, rows = masks.any(axis=1), masks.any(axis=2)
    x0, y0 = columns.argmax(axis=1), rows.argmax(axis=1)
    x1, y1 = width - columns[:, ::-1].argmax(axis=1), height - rows[:, ::-1].argmax(axis=1)
    boxes = np.stack([x0, y0, x1, y1], axis=1).astype(np.float64).tolist()
    areas = np.count_nonzero(masks, axis=(1, 2)).tolist()
    rles = encode_masks(masks.view(np.uint8))
    return {
        number: Annotation(label=1, box=tuple(box), area=float(area), mask=rle, source=f"object {number}")
        for number, box, area, rle in zip(numbers, boxes, areas, rles, strict=True)
    }


def _target(info: ImageInfo) -> Target:
    objects = info.annotations
    masks = decode_masks([item.mask for item in objects if item.mask], info.height, info.width)
    boxes = torch.tensor([item.box for item in objects], dtype=torch.float32).reshape(-1, 4)
    size = (info.height, info.width)
    return Target(
        boxes=tv_tensors.BoundingBoxes(boxes, format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=size),
        labels=torch.tensor([item.label for item in objects], dtype=torch.int64),
        image_id=info.image_id,
        area=torch.tensor([item.area for item in objects], dtype=torch.float32),
        iscrowd=torch.zeros(len(objects), dtype=torch.bool),
        masks=tv_tensors.Mask(torch.from_numpy(masks)),
    )


# --- files -----------------------------------------------------------------------------------------------------------


def _image_files(folder: Path) -> list[Path]:
    images = sorted((folder / IMAGES).glob("[!.]*.png"))
    if not images:
        raise DataError(f"{folder / IMAGES}: holds no PNG images")
    return images


def _mask_files(folder: Path, images: list[Path]) -> list[Path]:
    masks = [folder / MASKS / f"{image.stem}_mask.png" for image in images]
    missing = [mask for mask in masks if not mask.is_file()]
    if missing:
        others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(f"{missing[0]}: is missing{others}; every image in {IMAGES} needs its mask in {MASKS}")
    return masks


def _added_objects(file: Path) -> frozenset[tuple[str, int]]:
    """The (image file name, object number) pairs that the release added to the paper's."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{file}: cannot be read ({error}); objects = "paper" needs it, objects = "all" not') from error
    pairs = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, item = line.strip().rpartition("\t")
        if not name or not item.isdecimal():
            raise DataError(f"{file}:{number}: {line!r} is not an image name, a tab and an object number")
        pairs.add((name, int(item)))
    return frozenset(pairs)


def _size(file: Path) -> tuple[int, int]:
    """Width and height from the file's header."""
    try:
        with PillowImage.open(file) as image:
            return image.size
    except PILLOW_ERRORS as error:
        raise _undecodable(file, error) from error


def _decode(file: Path, mode: str | None = None) -> NDArray[np.uint8]:
    """Pixels as stored, or converted to a mode of Pillow's: [H, W] or [H, W, channels]."""
    try:
        with PillowImage.open(file) as image:
            return np.array(image.convert(mode) if mode else image)
    except PILLOW_ERRORS as error:
        raise _undecodable(file, error) from error


def _undecodable(file: Path, error: Exception) -> DataError:
    # Pillow's own text for a file of another kind repeats the path.
    reason = "no image of a known format" if isinstance(error, UnidentifiedImageError) else str(error)
    return DataError(f"{file}: cannot be read as an image ({reason}); replace it, or remove it and its counterpart")
