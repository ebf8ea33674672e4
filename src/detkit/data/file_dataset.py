"""What datasets of image files have in common: sizes from headers, pixels, targets; a format says where objects are."""

from __future__ import annotations

import errno
import hashlib
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from detkit.components import BOXES, Capabilities, Dataset
from detkit.data.faults import Fault
from detkit.data.images import ENDINGS, Cut, Exif, Header, decode, is_large, read_header
from detkit.data.types import Annotation, ImageInfo, Target
from detkit.errors import DataError

if TYPE_CHECKING:
    from torchvision.tv_tensors import Image

#: Bits of an image id: any JSON reader, also a browser's, holds it exactly; two of a million names hardly ever clash.
ID_BITS = 48


@dataclass(frozen=True, slots=True)
class Reading:
    """How image files are read.

    Attributes:
        exif: "apply": boxes are of the picture turned upright; "ignore": of the pixels as they are stored.
        cut: what to do with a JPEG that ends too early.
        max_pixels: larger pictures are refused; None: what Pillow takes for safe.
    """

    exif: Exif = "ignore"
    cut: Cut = "error"
    max_pixels: int | None = None

    @property
    def rotate(self) -> bool:
        """Whether pictures are turned upright as their EXIF says."""
        return self.exif == "apply"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of a dataset.

    Attributes:
        path: the file. name: what people call it; unique in the dataset. image_id: unique in the dataset.
        stated: (width, height) that the annotations claim, pixels; None where they claim none.
        source: the file with the annotations, for people; None where there is none.
    """

    path: Path
    name: str
    image_id: int
    stated: tuple[int, int] | None = None
    source: Path | None = None


class FileDataset(Dataset):
    """Images in files. A format's class gives the list of them, and each one's objects.

    Args:
        class_names: the K classes in order. files: the images in order. reading: how they are read.
        provides: what targets hold. splits: that the data brings, as name to indices.
        unread: what the files state beside and no annotation holds, as "truncated flags", to how many there are.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        files: Sequence[ImageFile],
        *,
        reading: Reading,
        provides: Capabilities = BOXES,
        splits: Mapping[str, Sequence[int]] | None = None,
        unread: Mapping[str, int] | None = None,
    ) -> None:
        self.unread = dict(unread or {})
        self.class_names = tuple(class_names)
        self.provides = provides
        self.splits = splits
        self.files = tuple(files)
        self.reading = reading
        self._infos: list[ImageInfo | None] = [None] * len(self.files)
        self._headers: dict[int, Header] = {}

    @abstractmethod
    def annotations(self, index: int, width: int, height: int) -> tuple[Annotation, ...]:
        """The objects of an image of this size, pixels; without decoding the image.

        Raises:
            DataError: they cannot be read; names the file and the object.
        """

    def __len__(self) -> int:
        return len(self.files)

    def info(self, index: int) -> ImageInfo:
        """From the file's header, and kept.

        Raises:
            DataError: the image is missing, no image, too large, or not of the size that its annotations claim. That
                it is cut shows when it is decoded; see `detkit.data.images.Header`.
        """
        index = range(len(self))[index]
        info = self._infos[index]
        if info is None:
            info = self._infos[index] = self._read_info(index)
        return info

    def header(self, index: int) -> Header:
        """What the file says of itself; no file is read again whose `info` was asked for.

        Raises:
            UnreadableImage: as for `info`.
        """
        index = range(len(self))[index]
        if index not in self._headers:
            self._headers[index] = sized_header(self.files[index].path, self.reading)
        return self._headers[index]

    def _read_info(self, index: int) -> ImageInfo:
        file = self.files[index]
        header = self._headers[index] = sized_header(file.path, self.reading)
        refuse_other_size(file, header, self.reading)
        annotations = self.annotations(index, header.width, header.height)
        return ImageInfo(file.image_id, file.path, header.width, header.height, annotations, printable(file.name))

    def __getitem__(self, index: int, /) -> tuple[Image, Target]:
        """The uint8 `tv_tensors.Image` [3, H, W] and its target."""
        from torchvision.tv_tensors import Image

        from detkit.data.targets import target_of

        info = self.info(index)
        assert info.path is not None
        reading = self.reading
        pixels = decode(info.path, rotate=reading.rotate, cut=reading.cut, max_pixels=reading.max_pixels)
        return Image(pixels), target_of(info, masks="masks" in self.provides)


def sized_header(file: Path, reading: Reading) -> Header:
    """A file's header, of an image that `decode` would not refuse for its size.

    Raises:
        UnreadableImage: it has none, or the image is too large.
    """
    header = read_header(file, rotate=reading.rotate)
    limit = reading.max_pixels
    if is_large(header.width, header.height, limit):
        decode(file, rotate=reading.rotate, max_pixels=limit)  # which says so before it decodes
    return header


def refuse_other_size(file: ImageFile, header: Header, reading: Reading) -> None:
    """Refuse an image that is not of the size that its annotations claim: their boxes are of another picture.

    Raises:
        DataError: it is of another size; says so where EXIF's turn explains it.
    """
    size = (header.width, header.height)
    if file.stated is None or file.stated == size:
        return
    told = (
        f"{file.source}: says that {file.name} is {file.stated[0]} x {file.stated[1]} pixels;"
        f" {file.path} is {size[0]} x {size[1]}"
    )
    if header.turned and file.stated == size[::-1]:
        other, what = ("ignore", "as stored") if reading.rotate else ("apply", "turned upright")
        raise DataError(f'{told}. Its EXIF data turns it: set exif = "{other}" in [dataset] to take images {what}')
    raise DataError(
        f"{told}: was the image made smaller or replaced? Its boxes do not fit it; bring the right one back, or set"
        ' stated_size = "ignore" in [dataset] to take the file\'s size and the boxes as they are'
    )


# --- lists of files --------------------------------------------------------------------------------------------------


def image_ids(names: Iterable[str]) -> list[int]:
    """An id for each name, that depends on nothing but the name: it stays when others are added or left out.

    Raises:
        DataError: a name is there twice.
    """
    names = list(names)
    ids = [
        int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:6], "big") for name in names
    ]
    seen: set[int] = set()
    for name, own in zip(names, ids, strict=True):
        if own in seen:
            raise DataError(f"the image {name} is in the dataset twice")
        seen.add(own)
    return ids


def image_files_in(folder: Path, *, recursive: bool = True) -> list[Path]:
    """The images in a folder, in the order of their paths. Hidden files and folders are left out; links are followed.

    Raises:
        DataError: it is no folder, or cannot be read.
    """
    return sorted(_walk(folder, recursive), key=lambda path: path.parts)


def _walk(folder: Path, recursive: bool) -> Iterator[Path]:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    seen: set[str] = set()  # links to folders may lead in a circle
    for current, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        here = Path(current)
        seen.add(os.path.realpath(here))
        folders[:] = [
            name
            for name in sorted(folders)
            if recursive and not name.startswith(".") and os.path.realpath(here / name) not in seen
        ]
        yield from (here / name for name in files if not name.startswith(".") and is_image(name))


def is_image(name: str) -> bool:
    """Whether a file of this name counts as an image, by its ending."""
    return os.path.splitext(name)[1].lower() in ENDINGS


def _refuse(error: OSError) -> None:
    raise DataError(f"the folder {error.filename} cannot be read: {error.strerror}") from error


def files_ending(folder: Path, *endings: str) -> list[Path]:
    """The files right inside a folder with one of these endings, in upper or lower case, sorted; no hidden ones.

    Args:
        endings: in lower case, with their dot.
    """
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(file for file in found if file.suffix.lower() in endings and not file.name.startswith("."))


def images_by_stem(folder: Path) -> dict[str, list[Path]]:
    """The images right inside a folder by their names without endings; empty where there is no folder."""
    found: dict[str, list[Path]] = {}
    if folder.is_dir():
        for file in image_files_in(folder, recursive=False):
            found.setdefault(file.stem, []).append(file)
    return found


def printable(name: str) -> str:
    """A file's name as text that can be written: systems allow names of bytes that are no text."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder; no for names that no system takes, as ones of a thousand letters."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether there is such a file; as `is_there`."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def missing_file(file: Path) -> str:
    """What is wrong with a path that should be a file; empty where it is one."""
    try:
        return "" if file.is_file() else _not_a_file(file)
    except (OSError, ValueError) as error:
        return f"cannot be looked at ({getattr(error, 'strerror', None) or error})"


def _not_a_file(file: Path) -> str:
    if file.is_symlink():
        return f"is a link to {os.readlink(file)}, which {_of_link(file)}; bring that back, or remove the link"
    return "is a folder, not a file" if file.is_dir() else "does not exist"


def _of_link(file: Path) -> str:
    try:
        file.stat()
    except OSError as error:
        return "does not exist" if error.errno != errno.ELOOP else "leads in a circle"
    return "is no file"


def missing_images(files: Iterable[ImageFile]) -> list[Fault]:
    """A fault of each image that is not there."""
    return [
        Fault(file.source, "", f"its image {file.path} {trouble}", "image", file.path)
        if file.source
        else Fault(file.path, "", trouble, "image")
        for file in files
        if (trouble := missing_file(file.path))
    ]
