"""Datasets in tables: a row an object, with its image, class and box; a row without a box is an image without objects.

There is no standard. Columns are found by the names that tools give them (TensorFlow's object detection tutorials,
Open Images, VoTT, Roboflow, Kaggle), or are named by options.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from detkit import BOXES, DataError, Dataset, Messages
from detkit.data.boxes import BoxFormat, convert_boxes
from detkit.data.classes import chosen_classes, labels_by_name, unlisted
from detkit.data.faults import Fault, settle_faults
from detkit.data.file_dataset import FileDataset, ImageFile, Reading, files_ending, image_ids, is_there, missing_images
from detkit.data.types import Annotation
from detkit_formats import CsvOptions
from detkit_formats.common import (
    FARTHEST_PX,
    LeaveOut,
    plain_number,
    reading_of,
    refuse_not_text,
    repeated_files,
    stated_size,
    tell_left_out,
    tell_unnamed,
)

SPLITS = ("train", "validation", "test")
#: Names of columns in lower case, without spaces, hyphens and underscores; the first that is there counts.
IMAGE_NAMES = ("image", "filename", "file", "imagename", "imagepath", "imagefile", "path", "filepath", "imageid")
CLASS_NAMES = ("class", "label", "classname", "labelname", "category", "categoryname", "name")
SPLIT_NAMES = ("split", "subset", "set")
WIDTH_NAMES, HEIGHT_NAMES = ("imagewidth", "width"), ("imageheight", "height")
#: Columns of boxes and what they are.
BOX_NAMES: Sequence[tuple[tuple[str, str, str, str], BoxFormat]] = (
    (("xmin", "ymin", "xmax", "ymax"), "pascal_voc"),
    (("bboxxmin", "bboxymin", "bboxxmax", "bboxymax"), "pascal_voc"),
    (("x0", "y0", "x1", "y1"), "pascal_voc"),
    (("x1", "y1", "x2", "y2"), "pascal_voc"),
    (("left", "top", "right", "bottom"), "pascal_voc"),
    (("bboxx", "bboxy", "bboxwidth", "bboxheight"), "coco"),
    (("x", "y", "width", "height"), "coco"),
    (("x", "y", "w", "h"), "coco"),
    (("left", "top", "width", "height"), "coco"),
    (("cx", "cy", "w", "h"), "yolo"),
    (("cx", "cy", "width", "height"), "yolo"),
    (("xcenter", "ycenter", "width", "height"), "yolo"),
)
SPLIT_VALUES = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "test": "test"}
SPLIT_VALUES |= {"validation": "validation", "testing": "test"}
SPLIT_VALUES |= {"rest": ""}  # images of no split, as they are written
#: How many bytes are looked at to find what stands between columns.
SNIFFED = 1 << 16
#: How far a share may lie outside 0..1: tools round.
SLACK = 0.01


class Reader(Protocol):
    """csv.reader's, which has no name to import. `line_num` is from 1."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...


@dataclass(frozen=True, slots=True)
class Columns:
    """The places of columns in a row; `box` in the order of `format`; None for those that are not there.

    `only` is the class of all objects where there is no column of classes.
    """

    image: int
    name: int | None
    only: str
    box: tuple[int, int, int, int]
    format: BoxFormat
    split: int | None
    size: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Row:
    """An object: its line from 1, class and four numbers."""

    file: Path
    line: int
    name: str
    box: tuple[float, float, float, float]


@dataclass(slots=True)
class Listed:
    """An image of a table: where it was named first, its objects, and the format of their boxes."""

    file: Path
    line: int
    split: str
    format: BoxFormat
    size: tuple[int, int] | None
    rows: list[Row] = field(default_factory=list)


def open_csv(options: CsvOptions, messages: Messages, leave_out: LeaveOut = None) -> Dataset:
    """Read all tables.

    Raises:
        DataError: a table or image is missing, or something in a table is wrong; everything at once.
    """
    parts = _parts(options)
    faults: list[Fault] = []
    images: dict[tuple[Path, str], Listed] = {}
    for split, file in parts:
        before = len(images), len(faults)
        _read(file, split, options, images, faults, messages)
        if (len(images), len(faults)) == before:
            raise DataError(f"{file}: no images are there: the table has no rows" + f" to {split}" * bool(split))
    rows = [row for listed in images.values() for row in listed.rows]
    names = _classes(options, rows, parts[0][1])
    if options.unlisted == "error":
        faults += (
            Fault(row.file, f"line {row.line}", unlisted(row.name, names)) for row in rows if row.name not in names
        )
    settle_faults(faults, leave_out)
    tell_left_out(messages, sum(row.name not in names for row in rows), len(rows))
    files = _files(images, options)
    gone = settle_faults([*missing_images(files), *repeated_files(files)], leave_out)
    images = {key: listed for (key, listed), file in zip(images.items(), files, strict=True) if file.path not in gone}
    files = [file for file in files if file.path not in gone]
    tell_unnamed(files, messages, "a row with a name and no box takes an image without objects in")
    return Tables(names, files, list(images.values()), reading=reading_of(options), splits=_splits(images))


class Tables(FileDataset):
    """Args: listed: what the tables say of each file."""

    def __init__(
        self,
        class_names: Sequence[str],
        files: Sequence[ImageFile],
        listed: Sequence[Listed],
        *,
        reading: Reading,
        splits: Mapping[str, Sequence[int]] | None,
    ) -> None:
        super().__init__(class_names, files, reading=reading, provides=BOXES, splits=splits)
        self._listed = tuple(listed)
        self._labels = labels_by_name(class_names)

    def annotations(self, index: int, width: int, height: int) -> tuple[Annotation, ...]:
        listed = self._listed[index]
        rows = [row for row in listed.rows if row.name in self._labels]
        corners = convert_boxes([row.box for row in rows], from_=listed.format, to="pascal_voc", size=(height, width))
        return tuple(
            Annotation(
                label=self._labels[row.name],
                box=(x0, y0, x1, y1),
                area=max(0.0, x1 - x0) * max(0.0, y1 - y0),
                source=f"{row.file.name} line {row.line}",
                bbox=row.box if listed.format == "coco" else None,
            )
            for row, (x0, y0, x1, y1) in zip(rows, corners.tolist(), strict=True)
        )


# --- tables ---


def _parts(options: CsvOptions) -> list[tuple[str, Path]]:
    """Each table with its split, "" for one that holds all."""
    if options.file is not None:
        return [("", options.file)]
    named = [(split, file) for split in SPLITS if (file := getattr(options, split)) is not None]
    if named:
        return named
    assert options.root is not None
    if not options.root.is_dir():
        raise DataError(f"there is no folder {options.root}")
    tables = files_ending(options.root, ".csv")
    found = {split: file for file in reversed(tables) if (split := SPLIT_VALUES.get(file.stem.lower())) is not None}
    if "train" in found:
        return [(split, found[split]) for split in SPLITS if split in found]
    if len(tables) == 1:
        return [("", tables[0])]
    there = f"it holds {', '.join(file.name for file in tables[:5])}" if tables else "it holds no CSV file"
    raise DataError(f'{options.root}: which table is meant? {there}; name it: file = "...csv"')


# --- a table ---------------------------------------------------------------------------------------------------------


def _read(
    file: Path,
    split: str,
    options: CsvOptions,
    images: dict[tuple[Path, str], Listed],
    faults: list[Fault],
    messages: Messages,
) -> None:
    """Add a table's images and objects; what is wrong with its rows is added to the faults."""
    text = _text(file)
    # Strict: a quote that is not closed must not swallow rows.
    reader = csv.reader(io.StringIO(text), delimiter=_delimiter(text, options, file), strict=True)
    header = next(_rows(reader, file, faults), [])
    if not header:
        return
    columns = _columns(header, options, file)
    folder = options.images or (file.parent / "images" if (file.parent / "images").is_dir() else file.parent)
    own: list[tuple[str, Row]] = []
    for cells in _rows(reader, file, faults):
        line = reader.line_num
        if len(cells) != len(header):
            told = f"has {len(cells)} columns, the first line {len(header)}"
            faults.append(Fault(file, f"line {line}", told, "object"))
            continue
        name = cells[columns.image].strip()
        if not name:
            told = f"its {header[columns.image]!r} is empty: which image is meant?"
            faults.append(Fault(file, f"line {line}", told, "object"))
            continue
        part = _split(cells, columns, split)
        if part is None:
            stated = cells[columns.split or 0]
            faults.append(Fault(file, f"line {line}", f"its split is {stated!r}; it must be train, validation or test"))
            continue
        size = stated_size(*(cells[place] for place in columns.size)) if columns.size else None
        if isinstance(size, str):
            if options.stated_size == "check":
                faults.append(Fault(file, f"line {line}", size, "object"))
            size = None
        listed = images.setdefault((folder, name), Listed(file, line, part, columns.format, size))
        if size != listed.size and options.stated_size == "check":
            told = f"says that {name} is {_by(size)} pixels, and line {listed.line} {_by(listed.size)}"
            faults.append(Fault(file, f"line {line}", told, "object"))
        if listed.split != part:
            other = f"{listed.file.name} line {listed.line}"
            faults.append(Fault(file, f"line {line}", f"{name} is in {part}, and in {listed.split} ({other})"))
        row = _row(file, line, cells, header, columns)
        if isinstance(row, Row):
            listed.rows.append(row)
            own.append((name, row))
        elif row:
            faults.append(Fault(file, f"line {line}", row, "object"))
    _as_shares(file, options, columns, own, images, folder, messages)


def _rows(reader: Reader, file: Path, faults: list[Fault]) -> Iterator[list[str]]:
    """The rows that are not blank, up to the first that cannot be parsed, which is a fault."""
    try:
        yield from (cells for cells in reader if any(cell.strip() for cell in cells))
    except csv.Error as error:
        told = f"is no row of a table: {error}; is a quote not closed?"
        faults.append(Fault(file, f"line {max(reader.line_num, 1)}", told))


def _by(size: tuple[int, int] | None) -> str:
    return "of no size" if size is None else f"{size[0]} x {size[1]}"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"there is no file {file}") from None
    except IsADirectoryError:
        raise DataError(f"{file} is a folder, not a table") from None
    except (OSError, ValueError) as error:  # ValueError: no UTF-8
        raise refuse_not_text(file, error) from None


def _delimiter(text: str, options: CsvOptions, file: Path) -> str:
    if options.delimiter != "auto":
        if len(options.delimiter) != 1:
            raise DataError(f'[dataset] delimiter is {options.delimiter!r}; it must be one character, or "auto"')
        return options.delimiter
    if not text.strip():
        raise DataError(f"{file} is empty")
    first = text.lstrip().splitlines()[0]
    return max(",;\t", key=first.count)


def _columns(header: Sequence[str], options: CsvOptions, file: Path) -> Columns:
    """Where what is.

    Raises:
        DataError: a column that was named is not there, or none is found.
    """
    plain = [cell.strip().lower().replace("_", "").replace(" ", "").replace("-", "") for cell in header]
    listed = ", ".join(header)

    def named(option: str, name: str) -> int:
        stripped = [cell.strip() for cell in header]
        if name not in stripped:
            raise DataError(f"{file}: there is no column {name!r}, which {option} names; there are: {listed}")
        return stripped.index(name)

    def found(names: Sequence[str]) -> int | None:
        return next((plain.index(name) for name in names if name in plain), None)

    image = named("image_column", options.image_column) if options.image_column else found(IMAGE_NAMES)
    if image is None:
        raise DataError(f"{file}: which column names the image? Set image_column; there are: {listed}")
    box, layout = _box_columns(
        plain, options, named, f"{file}: which columns are the box? Set box_columns and box_format; there are: {listed}"
    )
    name = named("class_column", options.class_column) if options.class_column else found(CLASS_NAMES)
    if name is None and (options.classes is None or len(options.classes) != 1):
        raise DataError(
            f"{file}: which column is the class? Set class_column, or classes to the one class of all objects;"
            f" there are: {listed}"
        )
    split = named("split_column", options.split_column) if options.split_column else found(SPLIT_NAMES)
    width, height = found(WIDTH_NAMES), found(HEIGHT_NAMES)
    only = options.classes[0] if name is None and options.classes else ""
    size = (width, height) if width is not None and height is not None and not {width, height} & set(box) else None
    for place in (image, name, split, *box, *(size or ())):
        if place is not None and [cell.strip() for cell in header].count(header[place].strip()) > 1:
            raise DataError(f"{file}: several columns are named {header[place].strip()!r}: which is meant? Rename one")
    return Columns(image, name, only, box, layout, split, size)


def _box_columns(
    plain: Sequence[str], options: CsvOptions, named: object, complaint: str
) -> tuple[tuple[int, int, int, int], BoxFormat]:
    if options.box_columns is not None:
        assert callable(named)
        places = tuple(named("box_columns", name) for name in options.box_columns)
        return (places[0], places[1], places[2], places[3]), (
            "pascal_voc" if options.box_format == "auto" else options.box_format
        )
    for names, layout in BOX_NAMES:
        if all(name in plain for name in names):
            places = tuple(plain.index(name) for name in names)
            own = layout if options.box_format == "auto" else options.box_format
            return (places[0], places[1], places[2], places[3]), own
    raise DataError(complaint)


def _split(cells: Sequence[str], columns: Columns, split: str) -> str | None:
    if split or columns.split is None:
        return split
    return SPLIT_VALUES.get(cells[columns.split].strip().lower())


def _row(file: Path, line: int, cells: Sequence[str], header: Sequence[str], columns: Columns) -> Row | str:
    """The object of a row; "" where it states none; what is wrong with it else."""
    texts = [cells[place].strip() for place in columns.box]
    name = cells[columns.name].strip() if columns.name is not None else columns.only
    if not any(texts):
        return f"is of class {name!r} and has no box" if name and columns.name is not None else ""
    values = []
    for place, text in zip(columns.box, texts, strict=True):
        value = plain_number(text)
        column = header[place].strip()
        if value is None or abs(value) > FARTHEST_PX:
            what = f"is {text[:40]!r}; it must be a number" if text else "is empty; a box has four numbers, or none"
            return f"its {column!r} {what}{' of pixels' * (value is not None)}"
        if columns.format in ("yolo", "albumentations") and not -SLACK <= value <= 1 + SLACK:
            return (
                f"its {column!r} is {text}, which is not in 0..1: these columns are taken as shares of the image's"
                " width and height; box_format says what they are else"
            )
        values.append(value)
    if not name and columns.name is not None:
        return f"its {header[columns.name].strip()!r} is empty: of which class is the object?"
    return Row(file, line, name, (values[0], values[1], values[2], values[3]))


def _as_shares(
    file: Path,
    options: CsvOptions,
    columns: Columns,
    own: Sequence[tuple[str, Row]],
    images: Mapping[tuple[Path, str], Listed],
    folder: Path,
    messages: Messages,
) -> None:
    """Corners none of which is above 1 are shares: no table has only boxes of a single pixel."""
    if options.box_format != "auto" or columns.format != "pascal_voc" or not own:
        return
    if all(0 <= value <= 1 for _, row in own for value in row.box):
        messages.info(
            f'{file}: no number of a box is above 1: they are taken as shares (box_format = "albumentations")'
        )
        for name, _ in own:
            images[folder, name].format = "albumentations"


# --- images and classes ----------------------------------------------------------------------------------------------


def _classes(options: CsvOptions, rows: Sequence[Row], file: Path) -> tuple[str, ...]:
    """As given; else by the alphabet, numbers by their size."""
    found = {row.name for row in rows}
    numbers = all(name.isdecimal() for name in found)
    order = sorted(found, key=lambda name: (int(name) if numbers else 0, name))
    return chosen_classes(order, options.classes, f"{file}: the classes")


def _files(images: Mapping[tuple[Path, str], Listed], options: CsvOptions) -> list[ImageFile]:
    paths = [_path(folder, name) for folder, name in images]
    own = [name for _, name in images]
    names = own if len(set(own)) == len(own) else [f"{folder.name}/{name}" for folder, name in images]
    check = options.stated_size == "check"
    return [
        ImageFile(path, name, image_id, listed.size if check else None, listed.file)
        for path, name, image_id, listed in zip(paths, names, image_ids(names), images.values(), strict=True)
    ]


def _path(folder: Path, name: str) -> Path:
    """A name may be a path, one of another machine, or lack its ending, as Open Images' ids do."""
    path = folder / name.replace("\\", "/")
    if not is_there(path):
        beside = folder / path.name
        endings = [folder / f"{name}{ending}" for ending in (".jpg", ".jpeg", ".png")]
        return next((one for one in (beside, *endings) if is_there(one)), path)
    return path


def _splits(images: Mapping[tuple[Path, str], Listed]) -> dict[str, list[int]] | None:
    splits: dict[str, list[int]] = {}
    for index, listed in enumerate(images.values()):
        if listed.split:
            splits.setdefault(listed.split, []).append(index)
    return splits or None
