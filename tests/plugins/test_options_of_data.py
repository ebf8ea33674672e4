"""Options of the file formats that no other test sets: what each changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from detkit import DataError
from detkit_formats import COCO, CSV
from plugins.format_files import coco_json, opened, picture

HEADER = "image,class,xmin,ymin,xmax,ymax"


def table(root: Path, *lines: str) -> Path:
    (root / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root / "t.csv"


def read(**options: Any) -> Any:
    return opened(CSV, **options)


def test_coco_looks_for_the_images_of_each_split_in_its_own_folder(tmp_path: Path) -> None:
    files: dict[str, Any] = {
        "train_images": tmp_path / "train-pictures",
        "validation_images": tmp_path / "validation-pictures",
        "test_images": tmp_path / "test-pictures",
    }
    for number, split in enumerate(("train", "validation", "test"), start=1):
        box = {"image_id": number, "category_id": 1, "bbox": [1, 2, 10, 20]}
        image = {"id": number, "file_name": f"{number}.jpg"}
        files[split] = coco_json(tmp_path / f"{split}.json", [image], [box], pictures=tmp_path / f"{split}-pictures")
    dataset = opened(COCO, **files)
    assert {name: list(indices) for name, indices in (dataset.splits or {}).items()} == {
        "train": [0],
        "validation": [1],
        "test": [2],
    }
    assert [dataset.info(index).path for index in range(3)] == [
        tmp_path / f"{split}-pictures" / f"{number}.jpg"
        for number, split in enumerate(("train", "validation", "test"), start=1)
    ]
    for split in ("train", "validation", "test"):
        with pytest.raises(DataError):
            opened(COCO, **{**files, f"{split}_images": tmp_path / "nowhere"})


def test_a_delimiter_that_nobody_would_guess(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    file = table(tmp_path, HEADER.replace(",", "|"), "a.jpg|dog, small|1|2|11|12")
    dataset = read(file=file, delimiter="|")
    assert dataset.class_names == ("dog, small",)
    assert [item.box for item in dataset.info(0).annotations] == [(1, 2, 11, 12)]
    with pytest.raises(DataError, match=r"delimiter is '\|\|'; it must be one character"):
        read(file=file, delimiter="||")
    with pytest.raises(DataError):
        read(file=file, delimiter=";")


def test_boxes_of_a_picture_as_it_is_stored(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg", 40, 30, orientation=6)  # a quarter turn
    file = table(tmp_path, HEADER, "a.jpg,dog,1,2,11,12")
    shapes = {exif: tuple(read(file=file, exif=exif)[0][0].shape) for exif in ("apply", "ignore")}
    assert shapes == {"apply": (3, 40, 30), "ignore": (3, 30, 40)}


def test_a_size_that_is_stated_wrongly_may_be_disregarded(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg", 40, 30)
    file = table(tmp_path, f"{HEADER},width,height", "a.jpg,dog,1,2,11,12,400,300")
    with pytest.raises(DataError, match="400"):
        read(file=file).info(0)
    info = read(file=file, stated_size="ignore").info(0)
    assert (info.width, info.height, len(info.annotations)) == (40, 30, 1)
