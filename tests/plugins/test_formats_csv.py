"""Datasets in tables: small ones made here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from detkit import BOXES, DataError
from detkit.data.faults import DataFaults
from detkit_formats import CSV
from plugins.format_files import Told, opened, picture


def table(root: Path, text: str, name: str = "t.csv", images: tuple[str, ...] = ("a.jpg", "b.jpg")) -> Path:
    for image in images:
        picture(root / "images" / image)
    (root / name).write_text(text, encoding="utf-8")
    return root / name


def read(told: Told | None = None, **options: Any) -> Any:
    return opened(CSV, told, **options)


def boxes(dataset: Any, index: int = 0) -> list[tuple[float, ...]]:
    return [item.box for item in dataset.info(index).annotations]


TENSORFLOW = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


def test_the_columns_of_tensorflows_tutorials(tmp_path: Path) -> None:
    text = TENSORFLOW + 'a.jpg,40,30,dog,1.25,2,11,12\nb.jpg,40,30,,,,,\na.jpg,40,30,"big cat",5,5,5,9\n'
    dataset = read(file=table(tmp_path, text))
    assert (len(dataset), dataset.class_names, dataset.provides, dataset.splits) == (2, ("big cat", "dog"), BOXES, None)
    info = dataset.info(0)
    assert info.label == "a.jpg"
    assert [(item.label, item.box, item.source) for item in info.annotations] == [
        (2, (1.25, 2, 11, 12), "t.csv line 2"),
        (1, (5, 5, 5, 9), "t.csv line 4"),
    ]
    assert dataset.info(1).annotations == ()  # a row without a box
    assert dataset[0][0].shape == (3, 30, 40)


@pytest.mark.parametrize(
    ("header", "row", "box"),
    [
        ("image;label;x;y;w;h", "a.jpg;dog;1;2;10;20", (1, 2, 11, 22)),
        ("Image Path\tCategory\tx1\ty1\tx2\ty2", "a.jpg\tdog\t1\t2\t11\t22", (1, 2, 11, 22)),
        ("ImageID,LabelName,XMin,XMax,YMin,YMax", "a,dog,0.25,0.5,0.1,0.6", (10, 3, 20, 18)),
        ("image,class,cx,cy,w,h", "a.jpg,dog,0.5,0.5,0.5,0.2", (10, 12, 30, 18)),
        (
            "class,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height",
            "dog,1,2,3,4,a.jpg,40,30",
            (1, 2, 4, 6),
        ),
    ],
)
def test_columns_are_found_by_their_names(tmp_path: Path, header: str, row: str, box: tuple[float, ...]) -> None:
    dataset = read(file=table(tmp_path, f"{header}\n{row}\n"))
    assert boxes(dataset) == [pytest.approx(box)]
    assert dataset.class_names == ("dog",)


def test_shares_are_told(tmp_path: Path) -> None:
    told = Told()
    file = table(tmp_path, "image,class,xmin,ymin,xmax,ymax\na.jpg,dog,0.25,0.1,1,1\n")
    assert boxes(read(told, file=file)) == [(10, 3, 40, 30)]
    assert any("taken as shares" in line for line in told.lines)
    assert boxes(read(file=file, box_format="pascal_voc")) == [(0.25, 0.1, 1, 1)]


def test_columns_of_other_names_and_one_class(tmp_path: Path) -> None:
    file = table(tmp_path, "foto,a,b,c,d\na.jpg,1,2,10,20\n")
    options: dict[str, Any] = {"image_column": "foto", "box_columns": ["a", "b", "c", "d"], "box_format": "coco"}
    assert boxes(read(file=file, classes=["tree"], **options)) == [(1, 2, 11, 22)]
    for missing, complaint in (
        ("image_column", "which column names the image. Set image_column; there are: foto, a, b, c, d"),
        ("box_columns", "which columns are the box. Set box_columns"),
    ):
        with pytest.raises(DataError, match=complaint):
            read(file=file, classes=["tree"], **{key: value for key, value in options.items() if key != missing})
    with pytest.raises(DataError, match="which column is the class"):
        read(file=file, **options)
    with pytest.raises(DataError, match="there is no column 'name', which class_column names; there are: foto"):
        read(file=file, class_column="name", **options)


def test_splits_by_a_column_or_by_tables(tmp_path: Path) -> None:
    header = "image,class,xmin,ymin,xmax,ymax"
    one = table(tmp_path, f"{header},split\na.jpg,dog,1,2,3,4,train\nb.jpg,dog,1,2,3,4,Valid\n")
    assert read(file=one).splits == {"train": [0], "validation": [1]}
    table(tmp_path, f"{header},split\na.jpg,dog,1,2,3,4,train\na.jpg,dog,1,2,3,4,val\nb.jpg,dog,1,2,3,4,later\n")
    with pytest.raises(DataFaults) as caught:
        read(file=one)
    assert [(fault.place, fault.text) for fault in caught.value.faults] == [
        ("line 3", "a.jpg is in validation, and in train (t.csv line 2)"),
        ("line 4", "its split is 'later'; it must be train, validation or test"),
    ]
    rows = {"train.csv": "a.jpg,dog,1,2,3,4", "test.csv": "b.jpg,cat,1,2,3,4"}
    for name, row in rows.items():
        table(tmp_path, f"{header}\n{row}\n", name)
    dataset = read(train=tmp_path / "train.csv", test=tmp_path / "test.csv")
    assert (dataset.splits, dataset.class_names) == ({"train": [0], "test": [1]}, ("cat", "dog"))
    assert read(root=tmp_path).splits == {"train": [0], "test": [1]}
    with pytest.raises(ValidationError, match="test is given and train is not"):
        CSV.options(test=tmp_path / "test.csv")
    with pytest.raises(ValidationError, match="no table is named"):
        CSV.options()


def test_tables_are_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"which table is meant\? it holds no CSV file; name it: file = "):
        read(root=tmp_path)
    table(tmp_path, TENSORFLOW + "a.jpg,40,30,dog,1,2,3,4\n", "one.csv")
    assert len(read(root=tmp_path)) == 1
    table(tmp_path, TENSORFLOW, "two.csv")
    with pytest.raises(DataError, match=r"it holds one\.csv, two\.csv; name it"):
        read(root=tmp_path)


def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    rows = "".join(f"a.jpg,{name},1,2,3,4\n" for name in (10, 9, 2))
    assert read(file=table(tmp_path, f"image,class,x1,y1,x2,y2\n{rows}")).class_names == ("2", "9", "10")


def test_images_in_no_row_are_told(tmp_path: Path) -> None:
    told = Told()
    read(told, file=table(tmp_path, "image,class,x1,y1,x2,y2\na.jpg,dog,1,2,3,4\n"))
    assert any(re.search(r"an image is beside those .* not in it \(.*b\.jpg\)", line) for line in told.lines)


def test_everything_that_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    lines = {
        "a.jpg,40,30,dog,1,2,three,4": "its 'xmax' is 'three'; it must be a number",
        "a.jpg,40,30,dog,1,2,,4": "its 'xmax' is empty; a box has four numbers, or none",
        "a.jpg,40,30,dog,1,2,inf,4": "its 'xmax' is 'inf'",
        "a.jpg,40,30,,1,2,3,4": "its 'class' is empty",
        "a.jpg,40,30,dog,,,,": "is of class 'dog' and has no box",
        ",40,30,dog,1,2,3,4": "its 'filename' is empty",
        "a.jpg,40,30,dog,1,2": "has 6 columns, the first line 8",
        "c.jpg,40,30,dog,1,2,3,4": "",
    }
    file = table(tmp_path, TENSORFLOW + "a.jpg,40,30,dog,1,2,3,4\n" + "\n".join(lines))
    with pytest.raises(DataFaults) as caught:
        read(file=file)
    faults = {fault.place: fault.text for fault in caught.value.faults}
    wanted = {f"line {number}": text for number, text in enumerate(lines.values(), 3) if text}
    assert faults.keys() == wanted.keys()
    for place, text in wanted.items():
        assert text in faults[place]
    table(tmp_path, TENSORFLOW + "c.jpg,40,30,dog,1,2,3,4\n")
    with pytest.raises(DataFaults, match=r"t\.csv: its image .*c\.jpg does not exist"):
        read(file=file)


def test_classes_sizes_and_empty_tables(tmp_path: Path) -> None:
    file = table(tmp_path, TENSORFLOW + "a.jpg,80,60,dog,1,2,3,4\n")
    with pytest.raises(DataFaults, match="line 2: is of class 'dog', which is not in"):
        read(file=file, classes=["cat"])
    with pytest.raises(DataError, match=r"t\.csv: says that a\.jpg is 80 x 60 pixels"):
        read(file=file).info(0)
    table(tmp_path, TENSORFLOW + "a.jpg,40,30,Background,1,2,3,4\n")
    with pytest.raises(DataError, match="The background is no class here"):
        read(file=file)
    table(tmp_path, TENSORFLOW)
    with pytest.raises(DataError, match="the table has no rows"):
        read(file=file)
    table(tmp_path, "")
    with pytest.raises(DataError, match=r"t\.csv is empty"):
        read(file=file)
    file.write_bytes(b"caf\xe9,\n")
    with pytest.raises(DataError, match=r"t\.csv is no UTF-8 text \(byte 3\)"):
        read(file=file)
