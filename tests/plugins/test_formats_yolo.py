"""Datasets in YOLO's form: small folders made here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from detkit import BOXES, BOXES_AND_MASKS, DataError
from detkit.data.faults import DataFaults
from detkit_formats import YOLO
from plugins.format_files import Told, opened, picture

POLYGON = "1 0.1 0.1 0.6 0.1 0.6 0.6 0.1 0.6"


def yolo(told: Told | None = None, **options: Any) -> Any:
    return opened(YOLO, told, **options)


def labelled(folder: Path, name: str, text: str | None, *, labels: Path | None = None, **options: Any) -> Path:
    """A picture in folder, its labels where YOLO looks for them."""
    file = picture(folder / f"{name}.jpg", **options)
    where = labels or Path(*("labels" if part == "images" else part for part in folder.parts))
    if text is not None:
        where.mkdir(parents=True, exist_ok=True)
        (where / f"{name}.txt").write_text(text, encoding="utf-8")
    return file


def yaml(root: Path, text: str, name: str = "data.yaml") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")
    return root / name


def usual(root: Path) -> Path:
    labelled(root / "images/train", "a", "0 0.5 0.5 0.5 0.2\n\n1 0.25 0.5 0.125 1\n")
    labelled(root / "images/train", "b é 1", "")
    labelled(root / "images/val", "c", None)
    return yaml(root, "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n")


# --- what is read ----------------------------------------------------------------------------------------------------


def test_boxes_classes_and_splits_of_a_yaml_file(tmp_path: Path) -> None:
    told = Told()
    dataset = yolo(told, data=usual(tmp_path))
    assert (dataset.class_names, dataset.provides) == (("cat", "dog"), BOXES)
    assert dataset.splits == {"train": [0, 1], "validation": [2]}
    info = dataset.info(0)
    assert info.label == "train/a.jpg"
    assert [(item.label, item.box, item.source) for item in info.annotations] == [
        (1, (10, 12, 30, 18), "a.txt line 1"),
        (2, (7.5, 0, 12.5, 30), "a.txt line 3"),
    ]
    assert info.annotations[0].area == 120
    assert dataset[0][1]["boxes"].tolist() == [[10, 12, 30, 18], [7.5, 0, 12.5, 30]]
    assert [len(dataset.info(index).annotations) for index in range(3)] == [2, 0, 0]
    assert any("1 of 3 images have no label file" in line and "are without objects" in line for line in told.lines)
    assert yolo(root=tmp_path).splits == dataset.splits


def test_images_without_labels_by_option(tmp_path: Path) -> None:
    data = usual(tmp_path)
    assert len(yolo(data=data, unlabelled="leave_out")) == 2
    with pytest.raises(DataFaults, match=r"labels/val/c\.txt: does not exist, as the label file of .*c\.jpg"):
        yolo(data=data, unlabelled="error")


def test_polygons_are_masks_where_all_objects_are(tmp_path: Path) -> None:
    labelled(tmp_path / "images", "a", f"{POLYGON}\n")
    labelled(tmp_path / "images", "b", "")
    dataset = yolo(data=yaml(tmp_path, "train: images\nnames: [cat, dog]\n"))
    assert dataset.provides == BOXES_AND_MASKS
    (item,) = dataset.info(0).annotations
    assert item.box == (4, 3, 24, 18)
    assert item.area == 20 * 15
    assert dataset[0][1]["masks"].sum() == 20 * 15
    assert dataset[1][1]["masks"].shape == (0, 30, 40)
    assert yolo(data=tmp_path / "data.yaml", masks="off").provides == BOXES
    labelled(tmp_path / "images", "c", "0 0.5 0.5 0.5 0.2\n")
    told = Told()
    mixed = yolo(told, data=tmp_path / "data.yaml")
    assert mixed.provides == BOXES
    assert mixed.info(0).annotations[0].box == (4, 3, 24, 18)
    assert any(re.search(r"1 of 2 objects are polygons, .*c\.txt, line 1 is one", line) for line in told.lines)


def test_shares_are_of_the_upright_image(tmp_path: Path) -> None:
    labelled(tmp_path / "images", "a", "0 0.5 0.5 1 1\n", orientation=6)
    data = yaml(tmp_path, "train: images\nnames: [cat]\n")
    assert yolo(data=data).info(0).annotations[0].box == (0, 0, 30, 40)
    assert yolo(data=data)[0][0].shape == (3, 40, 30)
    assert yolo(data=data, exif="ignore").info(0).annotations[0].box == (0, 0, 40, 30)


# --- layouts ---------------------------------------------------------------------------------------------------------


def test_paths_of_an_export_that_lead_out_of_it(tmp_path: Path) -> None:
    labelled(tmp_path / "train/images", "a", "0 0.5 0.5 0.5 0.5\n")
    labelled(tmp_path / "valid/images", "b", "1 0.5 0.5 0.5 0.5\n")
    text = "train: ../train/images\nval: ../valid/images\ntest: ''\nnc: 2\nnames: ['cat', 'dog']\n"
    dataset = yolo(data=yaml(tmp_path, text))
    assert dataset.splits == {"train": [0], "validation": [1]}
    assert [len(dataset.info(index).annotations) for index in range(2)] == [1, 1]


def test_a_path_of_another_machine(tmp_path: Path) -> None:
    told = Told()
    data = usual(tmp_path)
    data.write_text(data.read_text().replace("path: .", "path: /nowhere/datasets/mine"))
    assert len(yolo(told, data=data)) == 3
    assert any("its path /nowhere/datasets/mine is no folder here" in line for line in told.lines)


def test_lists_of_images(tmp_path: Path) -> None:
    usual(tmp_path)
    (tmp_path / "train.txt").write_text("./images/train/a.jpg\nimages/train/b é 1.jpg\n")
    (tmp_path / "val.txt").write_text(f"{tmp_path}/images/val/c.jpg\n")
    data = yaml(tmp_path, "train: [train.txt]\nval: val.txt\nnames: [cat, dog]\n")
    assert yolo(data=data).splits == {"train": [0, 1], "validation": [2]}
    (tmp_path / "val.txt").write_text("images/val/d.jpg\n")
    with pytest.raises(DataFaults, match=r"val\.txt, line 1: names images/val/d\.jpg, which is in neither"):
        yolo(data=data)


def test_folders_without_yaml_and_classes_txt(tmp_path: Path) -> None:
    labelled(tmp_path / "flat", "a", "1 0.5 0.5 0.5 0.5\n", labels=tmp_path / "flat")
    with pytest.raises(DataError, match=r"flat: nothing names the classes: give classes = \[...\]"):
        yolo(root=tmp_path / "flat")
    assert yolo(root=tmp_path / "flat", classes=["cat", "dog"]).info(0).annotations[0].label == 2
    (tmp_path / "flat/classes.txt").write_text("dog\ncat\n")
    dataset = yolo(root=tmp_path / "flat")
    assert (dataset.class_names, dataset.splits) == (("dog", "cat"), None)
    for split in ("train", "val"):
        labelled(tmp_path / "two/images" / split, "a", "0 0.5 0.5 0.5 0.5\n")
    assert yolo(root=tmp_path / "two", classes=["cat"]).splits == {"train": [0], "validation": [1]}


def test_splits_named_in_the_spec(tmp_path: Path) -> None:
    usual(tmp_path)
    dataset = yolo(
        train=tmp_path / "images/train", validation=tmp_path / "images/val", classes=["cat", "dog"], unlabelled="empty"
    )
    assert dataset.splits == {"train": [0, 1], "validation": [2]}
    with pytest.raises(ValidationError, match="nothing is named"):
        YOLO.options()
    with pytest.raises(ValidationError, match="train is not"):
        YOLO.options(root=tmp_path, test=tmp_path)


def test_label_files_without_an_image_are_told(tmp_path: Path) -> None:
    told = Told()
    data = usual(tmp_path)
    (tmp_path / "labels/train/z.txt").write_text("0 0.5 0.5 1 1\n")
    yolo(told, data=data)
    assert any(re.search(r"1 label files have no image \(.*z\.txt is one\)", line) for line in told.lines)


def test_many_files_are_read_with_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[object, ...]] = []

    class Bars(Told):
        def progress(self, *arguments: object, **options: object) -> Any:
            shown.append(arguments)
            return super().progress(*arguments, **options)

    data = usual(tmp_path)
    yolo(Bars(), data=data)
    assert shown == []
    monkeypatch.setattr("detkit_formats.common.MANY", 3)
    assert len(yolo(Bars(), data=data)) == 3
    assert shown == [("Reading labels", 3)]


# --- classes ---------------------------------------------------------------------------------------------------------


def test_classes_chosen_by_name(tmp_path: Path) -> None:
    data = usual(tmp_path)
    assert [item.label for item in yolo(data=data, classes=["dog", "cat"]).info(0).annotations] == [2, 1]
    with pytest.raises(DataFaults, match=r"a\.txt, line 3: is of class 'dog', which is not in"):
        yolo(data=data, classes=["cat"])
    dropped = yolo(data=data, classes=["cat"], unlisted="drop")
    assert [item.source for item in dropped.info(0).annotations] == ["a.txt line 1"]


def test_names_are_text_whatever_yaml_makes_of_them(tmp_path: Path) -> None:
    usual(tmp_path)
    data = yaml(tmp_path, "train: images/train\nnames: {0: no, 1: 1.0, 10: ~}\nnc: 3\n")
    assert yolo(data=data).class_names == ("no", "1.0", "~")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("names: [background, cat]", "class 0 is 'background'. The background is no class here"),
        ("names: [cat, cat]", "classes 0 and 1 are both 'cat'"),
        ("names: cat", "names must be a list of class names"),
        ("names: [cat, dog]\nnc: 3", "nc says 3 classes, names has 2"),
        ("names: [cat", "is no YAML: .*expected"),
        ("- a", "must hold train, val and names"),
        ("names: [cat, dog]\nval: images/val", "has no train"),
        ("names: [cat, dog]\ntrain: {a: b}", "train must be a path"),
        ("names: [cat, dog]\ntrain: nowhere", "there is no folder .*nowhere"),
    ],
)
def test_yaml_that_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    usual(tmp_path)
    with pytest.raises(DataError, match=complaint):
        yolo(data=yaml(tmp_path, text))


# --- broken files ----------------------------------------------------------------------------------------------------


def test_every_line_that_is_wrong_is_told(tmp_path: Path) -> None:
    lines = {
        "0 0.5 0.5 0.5": "has 4 numbers; a box has 5",
        "0 0.5 0.5 0.5 x": "'x' is no number",
        "0 0.5 0.5 0.5 0.5 0.9": "has 6 numbers; .*a score, of predictions",
        "0 12 30 100 80": "12 is not in 0..1: numbers are shares .* not pixels",
        "0.5 0.5 0.5 0.5 0.5": "its class is 0.5; it must be a whole number",
        "nan 0.5 0.5 0.5 0.5": "'nan' is no number",
        "-1 0.5 0.5 0.5 0.5": "its class is -1",
        "0 nan 0.5 0.5 0.5": "'nan' is no number",
        "7 0.5 0.5 0.5 0.5": "its class is 7; the classes are 0 cat, 1 dog",
        "0 0.1 0.1 0.2 0.2 0.3 0.3 0.4": "has 8 numbers; .*a polygon 7, 9, 11",
    }
    data = usual(tmp_path)
    labelled(tmp_path / "images/train", "a", "0 0.5 0.5 0.5 0.5\n" + "\n".join(lines))
    (tmp_path / "labels/val").mkdir(parents=True)
    (tmp_path / "labels/val/c.txt").write_bytes(b"\xff\xfe0")
    with pytest.raises(DataFaults) as caught:
        yolo(data=data)
    faults = {fault.place: fault for fault in caught.value.faults}
    assert len(caught.value.faults) == len(lines) + 1
    for number, complaint in enumerate(lines.values(), 2):
        fault = faults[f"line {number}"]
        assert fault.file == tmp_path / "labels/train/a.txt"
        assert re.search(complaint, fault.text), fault
    assert "cannot be read as text" in faults[""].text


def test_a_whole_number_may_have_a_point(tmp_path: Path) -> None:
    data = usual(tmp_path)
    labelled(tmp_path / "images/train", "a", "1.0 0.5 0.5 0.5 1.005\n")
    assert yolo(data=data).info(0).annotations[0].label == 2
