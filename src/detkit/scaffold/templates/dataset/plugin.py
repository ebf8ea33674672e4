"""A dataset for detkit: a folder of images, and a table that says where the objects are.

The table has a row for each object; an image without objects has one row without a box:

    image,class,x0,y0,x1,y1
    0001.png,disc,12,30,40,58
    0002.png,,,,,

Numbers are pixels: x0, y0 is the upper left corner, x1, y1 the lower right one.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detkit import BuildContext, DataError, DatasetComponent, OptionPath, Options, hookimpl
from detkit.data.file_dataset import FileDataset, ImageFile, Reading, image_ids
from detkit.data.types import Annotation
from pydantic import Field

requires_detkit = ">=0.1"  # another detkit says that the plugin does not fit, before it imports it
detkit_api = 1  # and so does one whose hooks are no longer those that it was written for

COLUMNS = ("image", "class", "x0", "y0", "x1", "y1")


class TableOptions(Options):
    """What a spec may say in [dataset]. The description of each option is shown by `detkit plugins show`."""

    root: OptionPath = Field(Path("data"), validate_default=True, description="the folder of the images and the table")
    table: str = Field("boxes.csv", min_length=1, description="the name of the table in that folder")


class TableDataset(FileDataset):
    """`FileDataset` reads images and makes targets. A format has to say one thing: the objects of an image."""

    def __init__(self, class_names: Sequence[str], files: Sequence[ImageFile], rows: Mapping[str, list[Row]]) -> None:
        super().__init__(class_names, files, reading=Reading())
        self._rows = rows

    def annotations(self, index: int, width: int, height: int) -> tuple[Annotation, ...]:
        """The objects of an image of that size, pixels."""
        return tuple(
            Annotation(
                label=self.class_names.index(row.name) + 1,  # labels begin at 1
                box=row.box,
                area=(row.box[2] - row.box[0]) * (row.box[3] - row.box[1]),
                source=row.place,  # messages about this object say it
            )
            for row in self._rows[self.files[index].name]
        )


class Row:
    """One object as the table states it."""

    def __init__(self, cells: Mapping[str, str], place: str) -> None:
        self.name = cells["class"].strip()
        self.place = place
        try:
            x0, y0, x1, y1 = (float(cells[column]) for column in COLUMNS[2:])
        except ValueError:
            raise DataError(
                f"{place}: a box is four numbers, not {[cells[column] for column in COLUMNS[2:]]}"
            ) from None
        if not self.name:
            raise DataError(f"{place}: the object has no class")
        self.box = (x0, y0, x1, y1)


# YOUR FORMAT HERE: read your files into the same two things, a list of images and the objects of each.
def read_table(file: Path) -> dict[str, list[Row]]:
    """Image name to its objects, in the order of the table."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
    reader = csv.DictReader(text.splitlines())
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"{file}:1: there is no column {missing[0]!r}; the first line must be {','.join(COLUMNS)}")
    rows: dict[str, list[Row]] = {}
    for cells in reader:
        place = f"{file.name} line {reader.line_num}"
        if any(cells[column] is None for column in COLUMNS):
            raise DataError(f"{place}: it has fewer columns than the first line")
        objects = rows.setdefault(cells["image"], [])
        if any(cells[column].strip() for column in COLUMNS[1:]):
            objects.append(Row(cells, place))
    return rows


def build(options: TableOptions, context: BuildContext) -> TableDataset:
    """What a run calls. Paths in options are absolute by now: they were relative to the spec."""
    rows = read_table(options.root / options.table)
    if not rows:
        raise DataError(f"{options.root / options.table} names no images")
    names = list(rows)
    files = [
        ImageFile(options.root / name, name, image_id)
        for name, image_id in zip(names, image_ids(names), strict=True)  # ids that stay when images are added
    ]
    for file in files:
        if not file.path.is_file():
            raise DataError(f"there is no image {file.path}, which {options.table} names")
    class_names = sorted({row.name for objects in rows.values() for row in objects})
    context.messages.info(f"{COMPONENT.name}: {len(files)} images of {', '.join(class_names)} in {options.root}")
    return TableDataset(class_names, files, rows)


COMPONENT = DatasetComponent(
    name="my_plugin",  # what a spec writes in `use`
    options=TableOptions,
    build=build,
    summary="a folder of images and a table of boxes",
)


@hookimpl
def detkit_datasets() -> list[DatasetComponent[Any]]:
    return [COMPONENT]
