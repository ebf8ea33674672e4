"""What the writers of formats share: images into place under names that the format can hold, and what was lost."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor
from pathlib import Path, PurePosixPath
from typing import Any

from detkit import DataError, Dataset, ImageTransfer, Loss, Messages, Written
from detkit.data.file_dataset import image_ids
from detkit.data.images import read_header
from detkit.data.types import Annotation, ImageInfo

#: The splits in their order, with what other tools call them.
SPLITS: Mapping[str, str] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
#: Folders and files of images that are in no split, where there are splits.
REST = "rest"
#: So many images that cannot be read are named; more are counted.
LISTED = 20


class Ledger:
    """What is lost on the way into a format, by what it is and what becomes of it."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], str] = {}

    def add(self, what: str, text: str, example: str = "", count: int = 1) -> None:
        """Note a loss; those of the same words are counted together, the first example stands for all."""
        if count:
            self._counts[what, text] += count
            self._examples.setdefault((what, text), example)

    def losses(self) -> tuple[Loss, ...]:
        return tuple(
            Loss(what, count, text, self._examples[what, text]) for (what, text), count in self._counts.items()
        )


@dataclass(frozen=True, slots=True)
class Item:
    """One image to write.

    Attributes:
        index: in the dataset. info: its objects. split: "train", "validation", "test", or "" where it is in none.
        name: its path in the format's folder of images. redrawn: pixels are written, not the file.
    """

    index: int
    info: ImageInfo
    split: str
    name: str
    redrawn: bool

    @property
    def stem(self) -> str:
        return self.name.rsplit(".", 1)[0]


class Writing:
    """One dataset on its way into a folder.

    Args:
        flat: the format's names are file names, no paths, and their stems differ, for annotations are named by them.

    Attributes:
        items: the images, in the dataset's order. has_splits: the data brings splits. ledger: what is lost so far.

    Raises:
        DataError: an image or its objects cannot be read; names them.
    """

    def __init__(self, dataset: Dataset, transfer: ImageTransfer, messages: Messages, *, flat: bool) -> None:
        self.dataset = dataset
        self.transfer = transfer
        self.messages = messages
        self.ledger = Ledger()
        splits = _split_of(dataset, self.ledger)
        self.has_splits = bool(dataset.splits)
        infos = list(_infos(dataset, messages))
        turned = [info.path is not None and read_header(info.path, rotate=False).orientation != 1 for info in infos]
        redrawn = [flag or info.path is None for flag, info in zip(turned, infos, strict=True)]
        names = _names(infos, redrawn, flat=flat)
        self.items = [
            Item(index, info, splits.get(index, ""), name, again)
            for index, (info, name, again) in enumerate(zip(infos, names, redrawn, strict=True))
        ]
        for name, count in getattr(dataset, "unread", {}).items():
            self.ledger.add(name, "is not kept", count=count)
        for item, flag in zip(self.items, turned, strict=True):
            if flag:
                self.ledger.add("EXIF turns", "are gone: the image is written anew, as a PNG", item.info.label)
            if item.name != item.info.label and PurePosixPath(item.info.label).name != item.name:
                self.ledger.add("names of images", "are others", f"{item.info.label} is {item.name}")
            if self.has_splits and not item.split:
                self.ledger.add("images of no split", f"are in {REST}, or in no list", item.info.label)

    def place(self, item: Item, file: Path) -> None:
        """Put an image where the format wants it.

        Raises:
            DataError: it cannot be linked.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        if item.redrawn:
            _draw(self.dataset, item, file)
            return
        assert item.info.path is not None
        source = item.info.path.resolve()
        if self.transfer == "copy":
            shutil.copy2(source, file)
            return
        try:
            (os.symlink if self.transfer == "symlink" else os.link)(source, file)
        except OSError as error:
            raise DataError(f"{source} cannot be linked to {file} ({error.strerror}); copy the images") from error

    def each(self) -> Iterator[Item]:
        """The images, with a bar."""
        with self.messages.progress("Writing images", len(self.items)) as bar:
            for item in self.items:
                yield item
                bar.advance()

    def tell_ids(self) -> None:
        """Note the ids that the data states, for a format that has none; those made of names are made again."""
        stated = sum(image_ids([item.info.label]) != [item.info.image_id] for item in self.items)
        self.ledger.add("image ids", "are not kept: the name stands for the image", count=stated)

    def written(self, objects: int | None = None, **options: Any) -> Written:
        """What was written; by default every object was.

        Args:
            options: beside `root`, that reading it needs.
        """
        total = sum(len(item.info.annotations) for item in self.items)
        return Written(len(self.items), total if objects is None else objects, self.ledger.losses(), options)


def _split_of(dataset: Dataset, ledger: Ledger) -> dict[int, str]:
    """Index to split, the first where there are several."""
    found: dict[int, str] = {}
    for name, indices in (dataset.splits or {}).items():
        split = SPLITS.get(name)
        for index in indices if split else ():
            if found.setdefault(index, split or "") != split:
                ledger.add("splits", f"an image is in one only, not in {split} too", f"image {index}")
    return found


def _infos(dataset: Dataset, messages: Messages) -> Iterator[ImageInfo]:
    errors: list[str] = []
    with messages.progress("Reading images", len(dataset)) as bar:
        for index in range(len(dataset)):
            try:
                yield dataset.info(index)
            except DataError as error:
                errors.append(str(error))
            bar.advance()
    if errors:
        more = f"\n  and {len(errors) - LISTED} more" if len(errors) > LISTED else ""
        listed = "\n  ".join(errors[:LISTED])
        raise DataError(f"{len(errors)} images cannot be read; nothing was written:\n  {listed}{more}")


def _names(infos: Sequence[ImageInfo], redrawn: Sequence[bool], *, flat: bool) -> list[str]:
    """A name for each image, all different, also where upper and lower case are the same."""
    paths = [_path(info, again) for info, again in zip(infos, redrawn, strict=True)]
    if flat:
        short = [path.name for path in paths]
        alone = len({_key(name, flat) for name in short}) == len(short)
        wanted = short if alone else ["_".join(path.parts) for path in paths]
    else:
        wanted = [path.as_posix() for path in paths]
    taken: set[str] = set()
    names = []
    for name in wanted:
        stem, dot, ending = name.rpartition(".")
        number, own = 1, name
        while _key(own, flat) in taken:
            number += 1
            own = f"{stem}-{number}{dot}{ending}"
        taken.add(_key(own, flat))
        names.append(own)
    return names


def _key(name: str, flat: bool) -> str:
    return (name.rpartition(".")[0] if flat else name).casefold()


def _path(info: ImageInfo, redrawn: bool) -> PurePosixPath:
    """The image's name as a relative path with an image's ending."""
    parts = [part for part in info.label.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    path = PurePosixPath(*parts) if parts else PurePosixPath(f"{info.image_id}")
    ending = ".png" if redrawn or info.path is None else info.path.suffix
    if redrawn and info.path is None and "." not in path.name:
        return path.with_name(f"{path.name}{ending}")
    if not path.suffix or (info.path is not None and path.suffix.lower() != info.path.suffix.lower()):
        return path.with_name(f"{path.name}{ending}")
    return path.with_suffix(ending)


def _draw(dataset: Dataset, item: Item, file: Path) -> None:
    from PIL import Image

    pixels = dataset[item.index][0]
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(file)


def whole_pixels(box: Sequence[float]) -> tuple[float, float, float, float]:
    """The box with edges at whole pixels, each moved by half a pixel at most; as it is where it would lose its area."""
    x0, y0, x1, y1 = box
    # Halves go up on both sides: a box keeps its size where it lies between pixels.
    rounded = tuple(float(_rounded(value)) for value in box)
    flat = rounded[2] <= rounded[0] or rounded[3] <= rounded[1]
    if flat and x1 > x0 and y1 > y0:
        return (x0, y0, x1, y1)
    return (rounded[0], rounded[1], rounded[2], rounded[3])


def _rounded(value: float) -> int:
    return floor(value + 0.5)


def without_masks(item: Annotation, ledger: Ledger, where: str) -> Annotation:
    """The object without what a format of boxes cannot hold: its mask, or an area that is not its box's."""
    x0, y0, x1, y1 = item.box
    area = max(0.0, x1 - x0) * max(0.0, y1 - y0)
    if item.mask is not None:
        ledger.add("masks", "become boxes", where)
    elif abs(area - item.area) > 0.01 * max(area, 1.0):
        ledger.add("areas", "become those of boxes", where)
    return replace(item, mask=None, area=area)


def place_of(item: Item, annotation: Annotation, number: int) -> str:
    """An object, for people."""
    return f"{item.info.label}, {annotation.source or f'object {number}'}"
