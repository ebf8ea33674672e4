"""Datasets in COCO's form: files made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from detkit import BOXES, BOXES_AND_MASKS, DataError
from detkit.data.faults import DataFaults
from detkit.data.loading import to_device
from detkit.data.remarks import Remark
from detkit.data.targets import encode_masks
from detkit_formats import COCO
from plugins.format_files import Told, coco_json, opened, picture

SQUARE = [[2, 3, 12, 3, 12, 13, 2, 13]]


def coco(told: Told | None = None, **options: Any) -> Any:
    return opened(COCO, told, **options)


def of(image: int, category: int = 1, box: Any = (1, 2, 10, 20), **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": list(box), **more}


def one_file(root: Path, annotations: list[dict[str, Any]], **options: Any) -> Path:
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 3, "file_name": "b c é.jpg"}]
    return coco_json(root / "all.json", images, annotations, pictures=root / "images", **options)


# --- what is read ----------------------------------------------------------------------------------------------------


def test_images_objects_and_ids_as_the_file_has_them(tmp_path: Path) -> None:
    file = one_file(tmp_path, [of(3, 2, (1.25, 2, 10.5, 20), area=77.5), of(3, iscrowd=1), of(7, box=(5, 5, 0, 9))])
    dataset = coco(annotations=file)
    assert (len(dataset), dataset.class_names, dataset.splits, dataset.provides) == (2, ("cat", "dog"), None, BOXES)
    info = dataset.info(1)
    assert (info.image_id, info.label, info.path) == (3, "b c é.jpg", tmp_path / "images/b c é.jpg")
    assert [(item.label, item.box, item.area, item.iscrowd, item.source) for item in info.annotations] == [
        (2, (1.25, 2, 11.75, 22), 77.5, False, "annotation 1"),
        (1, (1, 2, 11, 22), 200, True, "annotation 2"),
    ]
    assert dataset.info(0).annotations[0].box == (5, 5, 5, 14)  # without area: the host's check decides
    image, target = dataset[1]
    assert tuple(image.shape) == (3, 30, 40)
    assert (target["image_id"], target["iscrowd"].tolist()) == (3, [False, True])


def test_polygons_and_both_kinds_of_runs_are_masks(tmp_path: Path) -> None:
    mask = np.zeros((1, 30, 40), np.uint8)
    mask[0, 3:13, 2:12] = 1
    (rle,) = encode_masks(mask)
    runs = [2 * 30 + 3, *[10, 20] * 9, 10, 40 * 30 - (2 * 30 + 3) - 10 * 10 - 20 * 9]
    file = one_file(
        tmp_path,
        [
            of(7, segmentation=SQUARE),
            of(7, segmentation=rle),
            of(7, segmentation={"size": [30, 40], "counts": runs}, iscrowd=1),
        ],
    )
    dataset = coco(annotations=file)
    assert dataset.provides == BOXES_AND_MASKS
    masks = dataset[0][1]["masks"].numpy()
    assert [np.array_equal(found, mask[0]) for found in masks] == [True, True, True]
    assert dataset[1][1]["masks"].shape == (0, 30, 40)
    without = coco(annotations=file, masks="off")
    assert without.provides == BOXES
    assert without.info(0).annotations[0].mask is None


def test_masks_that_some_objects_lack_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    told = Told()
    dataset = coco(told, annotations=one_file(tmp_path, [of(7, segmentation=SQUARE), of(3, segmentation=[])]))
    assert dataset.provides == BOXES
    assert dataset.info(0).annotations[0].mask is None
    assert any("1 of 2 objects have no segmentation (b c é.jpg, annotation 2 is one)" in line for line in told.lines)


def test_category_ids_with_holes_are_mapped_in_their_order_and_told(tmp_path: Path) -> None:
    told = Told()
    file = one_file(tmp_path, [of(7, 90), of(7, 18)], categories={90: "kite", 18: "dog", 44: "cup"})
    dataset = coco(told, annotations=file)
    assert dataset.class_names == ("dog", "cup", "kite")
    assert [item.label for item in dataset.info(0).annotations] == [3, 1]
    assert any(
        "category ids are not 1 to 3: as labels, 18 dog is 1, 44 cup is 2, 90 kite is 3" in t for t in told.lines
    )
    assert {line.check for line in told.lines if isinstance(line, Remark)} == {"class-ids-with-holes"}


# --- splits ----------------------------------------------------------------------------------------------------------


def split_files(root: Path, *, first_id: int = 1) -> None:
    for split, count in {"train": 3, "val": 2}.items():
        images = [{"id": first_id + number, "file_name": f"{number}.jpg"} for number in range(count)]
        coco_json(
            root / f"annotations/instances_{split}2017.json", images, [of(first_id)], pictures=root / f"{split}2017"
        )


def test_a_file_for_each_split_with_ids_that_repeat(tmp_path: Path) -> None:
    split_files(tmp_path)
    folder = tmp_path / "annotations"
    dataset = coco(train=folder / "instances_train2017.json", validation=folder / "instances_val2017.json")
    assert {name: list(part) for name, part in dataset.splits.items()} == {"train": [0, 1, 2], "validation": [3, 4]}
    infos = [dataset.info(index) for index in range(5)]
    assert [info.label for info in infos] == [
        "train/0.jpg",
        "train/1.jpg",
        "2.jpg",
        "validation/0.jpg",
        "validation/1.jpg",
    ]
    assert len({info.image_id for info in infos}) == 5
    assert infos[3].path == tmp_path / "val2017/0.jpg"


def test_a_folder_is_looked_through(tmp_path: Path) -> None:
    split_files(tmp_path)
    assert set(coco(root=tmp_path).splits) == {"train", "validation"}
    exported = tmp_path / "exported"
    for split in ("train", "valid", "test"):
        images = [{"id": 0, "file_name": f"{split}.jpg"}]
        coco_json(exported / split / "_annotations.coco.json", images, [of(0)], pictures=exported / split)
    dataset = coco(root=exported)
    assert {name: list(part) for name, part in dataset.splits.items()} == {"train": [0], "validation": [1], "test": [2]}
    one_file(tmp_path / "alone", [of(7)])
    assert coco(root=tmp_path / "alone").splits is None
    with pytest.raises(DataError, match=r"no COCO files are found there \(it holds no JSON file\); name them"):
        coco(root=tmp_path / "train2017")


def test_classes_of_the_files_together(tmp_path: Path) -> None:
    for split, categories in {"train": {1: "dog", 2: "cat"}, "test": {1: "cat", 5: "bird"}}.items():
        images = [{"id": 1, "file_name": f"{split}.jpg"}]
        coco_json(tmp_path / f"{split}.json", images, [of(1, 1)], categories, pictures=tmp_path)
    dataset = coco(train=tmp_path / "train.json", test=tmp_path / "test.json")
    assert dataset.class_names == ("dog", "cat", "bird")
    assert [dataset.info(index).annotations[0].label for index in range(2)] == [1, 2]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "no file is named"),
        ({"annotations": "a.json", "test": "b.json"}, "annotations and test: name one"),
        ({"validation": "a.json"}, "validation is given and train is not"),
    ],
)
def test_options_that_contradict(options: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        COCO.options.model_validate(options, strict=False)


# --- classes ---------------------------------------------------------------------------------------------------------


def test_classes_of_ones_own_order_and_choice(tmp_path: Path) -> None:
    file = one_file(tmp_path, [of(7, 1), of(7, 2)])
    assert [item.label for item in coco(annotations=file, classes=["dog", "cat"]).info(0).annotations] == [2, 1]
    with pytest.raises(DataFaults, match=r"all\.json, category 2 \(1 objects\): is of class 'dog', which is not in"):
        coco(annotations=file, classes=["cat"])
    told = Told()
    dataset = coco(told, annotations=file, classes=["cat"], unlisted="drop")
    assert [item.source for item in dataset.info(0).annotations] == ["annotation 1"]
    assert any("1 of 2 objects are left out" in line for line in told.lines)


def test_a_background_category_is_refused_unless_left_out(tmp_path: Path) -> None:
    file = one_file(tmp_path, [of(7, 1)], categories={0: "background", 1: "cat"})
    with pytest.raises(DataError, match=r"all\.json: categories: class 0 is 'background'. The background is no class"):
        coco(annotations=file)
    assert coco(annotations=file, classes=["cat"]).class_names == ("cat",)


# --- broken files ----------------------------------------------------------------------------------------------------


def test_faults_name_their_entry(tmp_path: Path) -> None:
    file = one_file(tmp_path, [of(7), of(8), of(7, 3), of(7, box=(1, 2, -3, 4))])
    with pytest.raises(DataError) as caught:
        coco(annotations=file)
    text = str(caught.value)
    assert "all.json has 3 faults" in text
    for index in (1, 2, 3):
        assert f"annotations[{index}] (id {index + 1})" in text


def test_faults_of_all_files_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match=r"a\.json is cut(.|\n)*there is no file .*b\.json"):
        coco(train=tmp_path / "a.json", validation=tmp_path / "b.json")


def test_images_that_are_missing_unnamed_or_there_twice(tmp_path: Path) -> None:
    file = one_file(tmp_path, [])
    (tmp_path / "images/a.jpg").unlink()
    with pytest.raises(DataFaults, match=r"all\.json: its image .*images/a\.jpg does not exist"):
        coco(annotations=file)
    content = json.loads(file.read_text())
    content["images"][1]["file_name"] = "a.jpg"
    file.write_text(json.dumps(content))
    picture(tmp_path / "images/a.jpg")
    with pytest.raises(DataFaults, match=r"images\[1\] \(id 3\): is a\.jpg, as images\[0\] is"):
        coco(annotations=file)
    del content["images"][1]["file_name"]
    file.write_text(json.dumps(content))
    with pytest.raises(DataFaults, match=r"images\[1\]: has no 'file_name'"):
        coco(annotations=file)


def test_where_images_are_looked_for_is_said(tmp_path: Path) -> None:
    file = coco_json(tmp_path / "x.json", [{"id": 1, "file_name": "a.jpg"}], [])
    with pytest.raises(
        DataError, match=r"x\.json: its images \(a\.jpg is the first\) are in none of .*/images.*images = "
    ):
        coco(annotations=file)
    picture(tmp_path / "elsewhere/a.jpg")
    assert len(coco(annotations=file, images=tmp_path / "elsewhere")) == 1


def test_sizes_and_turns(tmp_path: Path) -> None:
    file = one_file(tmp_path, [of(7)])
    picture(tmp_path / "images/a.jpg", 30, 40, orientation=6)  # stored as 30 x 40, upright 40 x 30
    dataset = coco(annotations=file)
    with pytest.raises(DataError, match=r'all\.json: says that a\.jpg is 40 x 30 pixels.*set exif = "apply"'):
        dataset.info(0)
    assert coco(annotations=file, exif="apply")[0][0].shape == (3, 30, 40)
    assert coco(annotations=file, stated_size="ignore")[0][0].shape == (3, 40, 30)


# --- training --------------------------------------------------------------------------------------------------------


def test_crowds_are_no_objects_to_learn_and_stay_in_the_ground_truth(tmp_path: Path) -> None:
    crowd: dict[str, Any] = {"segmentation": {"size": [30, 40], "counts": [0, 1200]}, "iscrowd": 1}
    file = one_file(tmp_path, [of(7, segmentation=SQUARE), of(7, 2, **crowd), of(3, **crowd)])
    dataset = coco(annotations=file)
    assert [item.iscrowd for item in dataset.info(0).annotations] == [False, True]
    samples = [dataset[index] for index in range(2)]
    batch = to_device([image for image, _ in samples], [target for _, target in samples], torch.device("cpu"))
    assert [target["labels"].tolist() for target in batch.targets] == [[1], []]
    assert [target["boxes"].tolist() for target in batch.targets] == [[[1, 2, 11, 22]], []]
    assert [tuple(target["masks"].shape) for target in batch.targets] == [(1, 30, 40), (0, 30, 40)]
    assert [target["iscrowd"].tolist() for target in batch.targets] == [[False], []]
    assert samples[0][1]["iscrowd"].tolist() == [False, True]  # the sample itself is as it was
