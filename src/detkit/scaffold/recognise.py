"""In which format a folder of data is, by looking at its files. Nothing is opened that need not be."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from detkit.data.file_dataset import files_ending, is_image
from detkit.errors import DataError

SPLIT_FOLDERS = ("train", "valid", "val", "validation", "test")
#: Of a file so much is looked at, from its beginning and from its end.
LOOKED_AT_BYTES = 1 << 20
#: So many label files, tables or entries of a folder are looked at.
LOOKED_AT_FILES = 20
#: Folders of images and folders of pictures of masks, as `[dataset] use = "masks"` looks for them.
IMAGE_FOLDERS = ("images", "PNGImages", "JPEGImages")
MASK_FOLDERS = ("masks", "PedMasks", "SegmentationObject")
PENN_FUDAN_IMAGE = re.compile(r"(Fudan|Penn)Ped\d{5}\.png")
#: What columns of boxes are called, without case and signs: x, y and two more.
BOX_COLUMNS = (
    {"xmin", "ymin", "xmax", "ymax"},
    {"bboxxmin", "bboxymin", "bboxxmax", "bboxymax"},
    {"x0", "y0", "x1", "y1"},
    {"x1", "y1", "x2", "y2"},
    {"left", "top", "right", "bottom"},
    {"bboxx", "bboxy", "bboxwidth", "bboxheight"},
    {"x", "y", "width", "height"},
    {"x", "y", "w", "h"},
    {"cx", "cy", "w", "h"},
    {"cx", "cy", "width", "height"},
    {"xcenter", "ycenter", "width", "height"},
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A format that a folder may be in.

    Attributes:
        use: the dataset's component. place: the folder, or the file.
        key: the option that names it, as "root". why: what was seen.
    """

    use: str
    place: Path
    why: str
    key: str = "root"
    options: Mapping[str, Any] = field(default_factory=dict)


def recognise(place: Path) -> list[Candidate]:
    """All formats that a folder, or a file of annotations, may be in; those of folders in it where it is in none.

    Raises:
        DataError: there is no such place, or it cannot be read.
    """
    if not place.exists():
        near = place.parent if place.parent.is_dir() else None
        raise DataError(f"there is no folder {place}{_held(near) if near else ''}")
    try:
        if place.is_file():
            return _of_file(place)
        found = _of_folder(place)
        if found:
            return found
        inside = sorted(one for one in place.iterdir() if one.is_dir() and not one.name.startswith("."))
        return [candidate for folder in inside[:LOOKED_AT_FILES] for candidate in _of_folder(folder)]
    except OSError as error:
        raise DataError(f"{error.filename or place} cannot be read: {error.strerror}") from error


def _held(folder: Path) -> str:
    try:
        names = sorted(one.name for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    except OSError:
        return ""
    return f"; {folder} holds {', '.join(names[:8])}" if names else ""


def described(place: Path) -> str:
    """What a folder holds, in a few words, for somebody whose data was not recognised."""
    if place.is_file():
        return f"{place.name} is a file"
    names = sorted(one.name + "/" * one.is_dir() for one in place.iterdir() if not one.name.startswith("."))
    more = f" and {len(names) - LOOKED_AT_FILES} more" if len(names) > LOOKED_AT_FILES else ""
    return f"it holds {', '.join(names[:LOOKED_AT_FILES])}{more}" if names else "it is empty"


def _of_file(file: Path) -> list[Candidate]:
    ending = file.suffix.lower()
    if ending == ".json" and _is_coco(file):
        return [Candidate("coco", file, "a JSON file with images, annotations and categories", "annotations")]
    if ending in (".yaml", ".yml") and _is_yolo_yaml(file):
        return [Candidate("yolo", file, "a YAML file that names training images and classes", "data")]
    if ending == ".csv" and (columns := _box_columns(file)):
        return [Candidate("csv", file, f"a table with the columns {columns}", "file")]
    return []


def _of_folder(folder: Path) -> list[Candidate]:
    if (penn_fudan := _penn_fudan(folder)) is not None:
        return [penn_fudan]
    looks: tuple[Callable[[Path], str], ...] = (_coco, _voc, _yolo, _csv, _masks)
    return [Candidate(look.__name__.strip("_"), folder, why) for look in looks if (why := look(folder))]


# --- each format: why a folder is in it, or nothing ------------------------------------------------------------------


def _penn_fudan(folder: Path) -> Candidate | None:
    """The released dataset, by the names of its images; another folder of that form is one of masks."""
    for inner in (folder / "PennFudanPed", folder):
        images = inner / "PNGImages"
        if images.is_dir() and (inner / "PedMasks").is_dir():
            names = [file.name for file in islice(images.iterdir(), LOOKED_AT_FILES)]
            if names and all(PENN_FUDAN_IMAGE.fullmatch(name) for name in names):
                return Candidate("penn_fudan", folder, f"{inner.name} holds PNGImages and PedMasks of its names")
    return None


def _coco(folder: Path) -> str:
    for place in (folder, folder / "annotations", *(folder / split for split in SPLIT_FOLDERS)):
        files = [file for file in files_ending(place, ".json")[:LOOKED_AT_FILES] if _is_coco(file)]
        if files:
            return f"{_below(files[0], folder)} has images, annotations and categories"
    return ""


def _voc(folder: Path) -> str:
    for root in (folder, *(folder / split for split in SPLIT_FOLDERS)):
        for place in (root / "Annotations", root):
            files = files_ending(place, ".xml")
            if any(b"<annotation" in _edges(file) for file in files[:LOOKED_AT_FILES]):
                return f"{_below(place, folder)} holds {len(files)} XML files of <annotation>"
    return ""


def _yolo(folder: Path) -> str:
    for file in files_ending(folder, ".yaml", ".yml")[:LOOKED_AT_FILES]:
        if _is_yolo_yaml(file):
            return f"{file.name} names training images and classes"
    for root in (folder, *(folder / split for split in SPLIT_FOLDERS)):
        for place in (root / "labels", *(root / "labels" / split for split in SPLIT_FOLDERS), root):
            files = [file for file in files_ending(place, ".txt") if "classes" not in file.name][:LOOKED_AT_FILES]
            labels = [file for file in files if _is_yolo_label(file)]
            # Lists and notes lie beside labels; labels do not lie beside many notes.
            if len(labels) > sum(_is_other_text(file) for file in files):
                return f"{_below(labels[0], folder)} has lines of a class number and shares of the image"
    return ""


def _csv(folder: Path) -> str:
    for file in files_ending(folder, ".csv")[:LOOKED_AT_FILES]:
        if columns := _box_columns(file):
            return f"{file.name} is a table with the columns {columns}"
    return ""


def _masks(folder: Path) -> str:
    if (folder / "Annotations").is_dir():
        return ""  # VOC's, whose reader takes the masks too
    for root in (folder, *(folder / split for split in SPLIT_FOLDERS)):
        images = next((root / name for name in IMAGE_FOLDERS if (root / name).is_dir()), None)
        masks = next((root / name for name in MASK_FOLDERS if (root / name).is_dir()), None)
        if images and masks and _holds_images(images) and _holds_images(masks):
            return f"{_below(images, folder)} holds images, and {_below(masks, folder)} pictures beside them"
    return ""


# --- looks at files --------------------------------------------------------------------------------------------------


def _is_coco(file: Path) -> bool:
    """Two of its lists are named: between the two ends of a large file the third may not be seen."""
    text = _edges(file)
    named = sum(f'"{key}"'.encode() in text for key in ("images", "annotations", "categories"))
    return text.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" and named > 1


def _is_yolo_yaml(file: Path) -> bool:
    text = _edges(file)
    return all(re.search(rb"^(%s)\s*:" % key, text, re.MULTILINE) for key in (b"train", b"names"))


def _is_yolo_label(file: Path) -> bool:
    return any(True for _ in _label_lines(file)) and not _is_other_text(file)


def _is_other_text(file: Path) -> bool:
    """Whether it holds a line that is no label; an empty file does not."""
    for words in _label_lines(file):
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            return True
        if len(numbers) < 5 or not numbers[0].is_integer() or any(not -0.1 <= value <= 1.1 for value in numbers[1:]):
            return True
    return False


def _label_lines(file: Path) -> Iterator[list[str]]:
    lines = _edges(file).decode("utf-8", errors="replace").splitlines()[:LOOKED_AT_FILES]
    return (line.split() for line in lines if line.strip())


def _box_columns(file: Path) -> str:
    """The columns of a table that has those of a box; nothing where it has not."""
    first = _edges(file).decode("utf-8-sig", errors="replace").lstrip().split("\n", 1)[0].strip()
    delimiter = max(",;\t", key=first.count)
    try:
        header = next(csv.reader([first], delimiter=delimiter), [])
    except csv.Error:
        return ""
    plain = {re.sub(r"[_ -]", "", cell.strip().lower()) for cell in header}
    return ", ".join(cell.strip() for cell in header) if any(names <= plain for names in BOX_COLUMNS) else ""


def _holds_images(folder: Path) -> bool:
    return any(is_image(file.name) for file in islice(folder.iterdir(), LOOKED_AT_FILES))


def _edges(file: Path) -> bytes:
    """The beginning and the end of a file; nothing of one that cannot be read, which its reader will say better."""
    try:
        with file.open("rb") as stream:
            first = stream.read(LOOKED_AT_BYTES)
            size = stream.seek(0, 2)
            if size <= 2 * LOOKED_AT_BYTES:
                stream.seek(len(first))
                return first + stream.read()
            stream.seek(size - LOOKED_AT_BYTES)
            return first + stream.read()
    except OSError:
        return b""


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path != folder else folder.name or str(folder)
