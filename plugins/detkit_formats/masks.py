"""Datasets of pictures: a folder of images, and one of masks whose pixels are an object's number, 0 for none.

It is the form of Penn-Fudan, of many microscopy sets, and of PASCAL VOC's SegmentationObject. Boxes are those of the
masks. All objects are of one class, unless a JSON file maps them:

    {"classes": ["cat", "dog"], "objects": {"a.png": {"1": "cat", "2": "dog"}}}
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from detkit import BOXES_AND_MASKS, DataError, Dataset, Messages
from detkit.data.classes import chosen_classes, labels_by_name, unlisted
from detkit.data.coco import read_json
from detkit.data.faults import Fault, settle_faults
from detkit.data.file_dataset import (
    FileDataset,
    ImageFile,
    Reading,
    image_files_in,
    image_ids,
    is_file,
    missing_file,
    printable,
)
from detkit.data.images import read_ids
from detkit.data.remarks import Remark
from detkit.data.targets import instances
from detkit.data.types import Annotation
from detkit_formats import MasksOptions
from detkit_formats.common import LeaveOut, reading_of

IMAGE_FOLDERS = ("images", "PNGImages", "JPEGImages")
MASK_FOLDERS = ("masks", "PedMasks", "SegmentationObject")
#: How masks are named after their image, where no option says it; the first that fits any image is taken for all.
MASK_NAMES = (
    "{stem}.png",
    "{stem}_mask.png",
    "{stem}_instance.png",
    "{stem}-mask.png",
    "{name}.png",
    "{stem}.tif",
    "{stem}.PNG",
    "{stem}.tiff",
    "{stem}.TIF",
)
SPLITS: Mapping[str, Sequence[str]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "val"),
    "test": ("test",),
}
MAPPING = "objects.json"
#: The class of objects that nothing names.
DEFAULT_CLASS = "object"
#: Digits of an object's number: masks have up to 32 bits.
LONGEST_NUMBER = 10


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its mask; `split` is "" where there are none, `key` what the image is called."""

    split: str
    key: str
    image: Path
    mask: Path | None


def open_masks(options: MasksOptions, messages: Messages, leave_out: LeaveOut = None) -> Dataset:
    """Find images and masks; masks are read when they are needed.

    Raises:
        DataError: folders, masks or classes are missing; everything at once.
    """
    faults: list[Fault] = []
    pairs = _pairs(options, messages, faults)
    classes, mapping = _mapping(options, pairs, faults)
    names = chosen_classes(classes, options.classes, f"{options.root}: the classes")
    gone = settle_faults(faults, leave_out)
    pairs = [pair for pair in pairs if pair.image not in gone]
    keys = [pair.key for pair in pairs]
    files = [
        ImageFile(pair.image, pair.key, image_id, source=pair.mask)
        for pair, image_id in zip(pairs, image_ids(keys), strict=True)
    ]
    splits: dict[str, list[int]] = {}
    for index, pair in enumerate(pairs):
        if pair.split:
            splits.setdefault(pair.split, []).append(index)
    return Masks(names, files, pairs, mapping, options=options, reading=reading_of(options), splits=splits or None)


class Masks(FileDataset):
    """Args:
    pairs: each file's mask. mapping: image name to instance number to class name; None: all are of the first class.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        files: Sequence[ImageFile],
        pairs: Sequence[Pair],
        mapping: Mapping[str, Mapping[int, str]] | None,
        *,
        options: MasksOptions,
        reading: Reading,
        splits: Mapping[str, Sequence[int]] | None,
    ) -> None:
        super().__init__(class_names, files, reading=reading, provides=BOXES_AND_MASKS, splits=splits)
        self._pairs = tuple(pairs)
        self._mapping = mapping
        self._options = options
        self._labels = labels_by_name(class_names)

    def annotations(self, index: int, width: int, height: int) -> tuple[Annotation, ...]:
        """Decodes the mask, not the image."""
        pair = self._pairs[index]
        if pair.mask is None:
            return ()
        ids = read_ids(pair.mask, max_pixels=self.reading.max_pixels)
        if ids.shape != (height, width):
            raise DataError(
                f"{pair.mask}: is {ids.shape[1]} x {ids.shape[0]} pixels, its image {pair.image.name} {width} x"
                f" {height}; a mask must be of its image's size"
            )
        if self._options.void:
            ids = np.where(np.isin(ids, self._options.void), 0, ids)
        if ids.size and ids.min() < 0:
            raise DataError(f"{pair.mask}: holds {ids.min()}; numbers of objects are above 0, and 0 is no object")
        try:
            items = instances(ids)
        except ValueError as error:
            raise DataError(f"{pair.mask}: {error}") from None
        found = []
        for number, item in items.items():
            label = self._label(pair, number)
            if label is not None:
                found.append(replace(item, label=label, source=f"{printable(pair.mask.name)} object {number}"))
        return tuple(found)

    def _label(self, pair: Pair, number: int) -> int | None:
        """None where the object is left out."""
        if self._mapping is None:
            return 1
        name = self._mapping.get(pair.key, self._mapping.get(pair.image.name, {})).get(number)
        if name is None:
            raise DataError(f"{pair.mask}: the mapping names no class for its object {number}")
        if name not in self._labels:
            if self._options.unlisted == "drop":
                return None
            raise DataError(f"{pair.mask}, object {number}: {unlisted(name, self._labels)}")
        return self._labels[name]


# --- files -----------------------------------------------------------------------------------------------------------


def _pairs(options: MasksOptions, messages: Messages, faults: list[Fault]) -> list[Pair]:
    pairs = []
    for split, images, masks, prefix in _folders(options):
        files = image_files_in(images, recursive=False)
        if not files:
            raise DataError(f"{images}: holds no images")
        if not masks.is_dir():
            raise DataError(f"there is no folder {masks} of masks")
        pattern = _pattern(files, masks, options)
        for image in files:
            mask = masks / _filled(pattern, image)
            trouble = missing_file(mask)
            pairs.append(Pair(split, f"{prefix}{image.name}", image, None if trouble else mask))
            # What is there and is no file, as a link that leads nowhere, is a mask that somebody has lost.
            if trouble and (options.unlabelled == "error" or os.path.lexists(mask)):
                remedy = 'mask_name says how masks are named; unlabelled = "empty" takes such images as without objects'
                faults.append(Fault(mask, "", f"{trouble}, as the mask of {image.name}; {remedy}", "image", image))
        known = {masks / _filled(pattern, image) for image in files}
        strays = [file for file in image_files_in(masks, recursive=False) if file not in known]
        if strays and masks != images:
            text = f"{len(strays)} masks have no image ({strays[0]} is one)"
            messages.warning(Remark("label-file-without-image", text))
    if options.unlabelled == "leave_out":
        pairs = [pair for pair in pairs if pair.mask is not None]
    return pairs


def _folders(options: MasksOptions) -> list[tuple[str, Path, Path, str]]:
    """Split, folder of images, folder of masks, and what stands before the names of the images."""
    root = options.root
    if options.images is not None and options.masks is not None:
        return [("", options.images, options.masks, "")]
    found = [
        (split, images, masks, f"{name}/")
        for split, names in SPLITS.items()
        for name in names
        if (images := _one_of(root / name, IMAGE_FOLDERS)) and (masks := _one_of(root / name, MASK_FOLDERS))
    ]
    if found and found[0][0] == "train":
        return found
    own_images = options.images or _one_of(root, IMAGE_FOLDERS)
    own_masks = options.masks or _one_of(root, MASK_FOLDERS)
    if own_images is None or own_masks is None:
        what, names = ("images", IMAGE_FOLDERS) if own_images is None else ("masks", MASK_FOLDERS)
        raise DataError(f'{root}: holds no folder {" or ".join(names)}; name the folder: {what} = "..."')
    return [("", own_images, own_masks, "")]


def _one_of(root: Path, names: Sequence[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _pattern(images: Sequence[Path], masks: Path, options: MasksOptions) -> str:
    if options.mask_name is not None:
        try:
            _filled(options.mask_name, images[0])
        except (KeyError, IndexError, ValueError, AttributeError, TypeError):
            raise DataError(
                f"[dataset] mask_name is {options.mask_name!r}; it may hold {{stem}}, the image's name without its"
                " ending, and {name}, the whole of it"
            ) from None
        return options.mask_name
    fits = [pattern for pattern in MASK_NAMES if any(is_file(masks / _filled(pattern, image)) for image in images)]
    return fits[0] if fits else MASK_NAMES[0]


def _filled(pattern: str, image: Path) -> str:
    return pattern.format(stem=image.stem, name=image.name)


# --- classes ---------------------------------------------------------------------------------------------------------


def _mapping(
    options: MasksOptions, pairs: Sequence[Pair], faults: list[Fault]
) -> tuple[Sequence[str], Mapping[str, Mapping[int, str]] | None]:
    """The classes, and each object's; None for the latter where all are of one class."""
    file = options.mapping or options.root / MAPPING
    if options.mapping is None and not file.is_file():
        classes = options.classes or (DEFAULT_CLASS,)
        if len(classes) != 1:
            raise DataError(
                f"[dataset] classes names {len(classes)}, and nothing says which object is of which: give a mapping, a"
                ' JSON file {"objects": {"image.png": {"1": "class"}}}'
            )
        return classes, None
    content = read_json(file)
    objects = content.get("objects") if isinstance(content, dict) else None
    if not isinstance(objects, dict):
        raise DataError(f'{file}: must be {{"classes": [...], "objects": {{"image.png": {{"1": "class"}}}}}}')
    mapping = {name: _numbered(name, row, file, faults) for name, row in objects.items()}
    for pair in pairs:
        if pair.mask is not None and pair.key not in mapping and pair.image.name not in mapping:
            told = f"names no objects of {pair.key}; an image without any has {{}}"
            faults.append(Fault(file, "", told, "image", pair.image))
    found = sorted({name for row in mapping.values() for name in row.values()})
    listed = content.get("classes")
    if listed is None:
        return found, mapping
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise DataError(f"{file}: classes must be a list of names, not {listed!r:.60}")
    faults += (
        Fault(file, f"objects of class {name!r}", f"are not of one of its classes: {', '.join(listed)}")
        for name in found
        if name not in listed
    )
    return listed, mapping


def _numbered(image: str, row: Any, file: Path, faults: list[Fault]) -> dict[int, str]:
    if not isinstance(row, dict):
        faults.append(Fault(file, image, f'is {row!r:.40}; it must be {{"1": "class", ...}}'))
        return {}
    found = {}
    for number, name in row.items():
        if not number.isdecimal() or len(number) > LONGEST_NUMBER or not isinstance(name, str):
            faults.append(
                Fault(file, f"{image}, {number[:40]!r}", f"is {name!r:.40}; it must be a number and a class name")
            )
        elif int(number) in found:
            faults.append(Fault(file, f"{image}, {number!r}", f"is there twice, as {int(number)}"))
        else:
            found[int(number)] = name
    return found
