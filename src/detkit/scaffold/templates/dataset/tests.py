"""Does the dataset keep detkit's contract, and read what its table says?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from detkit import BuildContext, DataError, Dataset, DatasetComponent
from detkit.testing import DatasetConformance
from PIL import Image

from my_plugin import COMPONENT, TableOptions

HEADER = "image,class,x0,y0,x1,y1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of 48 x 32 pixels: with two objects, with none, with one."""
    for number in range(3):
        Image.new("RGB", (48, 32), (40 * number, 90, 120)).save(tmp_path / f"{number}.png")
    write(tmp_path, "0.png,disc,1,2,11,22\n0.png,box,20.5,4,30,14\n1.png,,,,,\n2.png,disc,0,0,48,32\n")
    return tmp_path


def write(folder: Path, rows: str) -> None:
    (folder / "boxes.csv").write_text(HEADER + rows, encoding="utf-8")


def opened(folder: Path) -> Dataset:
    return COMPONENT.build(TableOptions(root=folder), BuildContext())


class TestContract(DatasetConformance):
    """All that detkit asks of a dataset."""

    @pytest.fixture
    def component(self) -> DatasetComponent[Any]:
        return COMPONENT

    @pytest.fixture
    def options(self, folder: Path) -> Mapping[str, Any]:
        return {"root": str(folder)}


def test_it_holds_what_the_table_says(folder: Path) -> None:
    dataset = opened(folder)
    assert dataset.class_names == ("box", "disc")
    image, target = dataset[0]
    assert tuple(image.shape) == (3, 32, 48)
    assert target["boxes"].tolist() == [[1, 2, 11, 22], [20.5, 4, 30, 14]]
    assert target["labels"].tolist() == [2, 1]
    assert [len(dataset[index][1]["labels"]) for index in range(len(dataset))] == [2, 0, 1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("0.png,disc,1,2,wide,22\n", "boxes.csv line 2: a box is four numbers"),
        ("0.png,,1,2,11,22\n", "boxes.csv line 2: the object has no class"),
        ("0.png,disc,1\n", "line 2: it has fewer columns"),
        ("9.png,,,,,\n", r"there is no image .*9\.png"),
        ("", "names no images"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(folder: Path, rows: str, message: str) -> None:
    write(folder, rows)
    with pytest.raises(DataError, match=message):
        opened(folder)
