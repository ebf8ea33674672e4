"""The dataset of a Penn-Fudan folder: instance-id masks to boxes, RLE masks and targets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torchvision.tv_tensors import Image

from detkit import BOXES_AND_MASKS, DataError
from detkit.data.file_dataset import FileDataset, ImageFile, Reading
from detkit.data.images import UnreadableImage, read_ids
from detkit.data.targets import instances
from detkit.data.types import Annotation, ImageInfo, Target
from detkit_pennfudan.files import IMAGES, MASKS

ADDED_OBJECTS = "added-object-list.txt"

__all__ = ["PennFudan", "instances"]


class PennFudan(FileDataset):
    """Images in the order of their names; image_id is the index. Every pedestrian has label 1, a box and a mask.

    Args:
        folder: holds PNGImages and PedMasks.
        paper_objects: leave out the objects that `added-object-list.txt` names.

    Raises:
        DataError: there are no images, an image has no mask, or the list of added objects cannot be read.
    """

    def __init__(self, folder: Path, *, paper_objects: bool = False) -> None:
        self.folder = folder
        images = _image_files(folder)
        files = [ImageFile(image, image.name, index) for index, image in enumerate(images)]
        super().__init__(("pedestrian",), files, reading=Reading(), provides=BOXES_AND_MASKS)
        self._masks = _mask_files(folder, images)
        self._left_out = _added_objects(folder / ADDED_OBJECTS) if paper_objects else frozenset()

    def __getitem__(self, index: int, /) -> tuple[Image, Target]:
        with _both_or_none():
            return super().__getitem__(index)

    def info(self, index: int) -> ImageInfo:
        """Decodes the mask, not the image; what it found is kept.

        Raises:
            DataError: the mask does not decode, or does not fit its image.
        """
        with _both_or_none():
            return super().info(index)

    def annotations(self, index: int, width: int, height: int) -> tuple[Annotation, ...]:
        image, mask = self.files[index].path, self._masks[index]
        ids = read_ids(mask)
        if ids.shape != (height, width):
            raise DataError(
                f"{mask}: is {ids.shape[1]} x {ids.shape[0]} pixels, its image {image.name} {width} x {height};"
                " a mask must be of its image's size"
            )
        found = instances(ids)
        return tuple(found[number] for number in found if (image.name, number) not in self._left_out)


@contextmanager
def _both_or_none() -> Iterator[None]:
    """What cannot be read told with its remedy: an image without its mask, or a mask without its image, is a fault."""
    try:
        yield
    except UnreadableImage as error:
        if error.trouble == "values":
            raise
        raise DataError(
            f"{error.file}: cannot be read as an image ({error.cause}); replace it, or remove it and its counterpart"
        ) from error


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
