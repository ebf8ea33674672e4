"""Datasets of pictures of instance numbers: small ones made here, and Penn-Fudan where it lies beside the checkout."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detkit import BOXES_AND_MASKS, DataError
from detkit.data.faults import DataFaults
from detkit_formats import MASKS
from detkit_pennfudan.dataset import PennFudan
from plugins.format_files import Told, opened, picture

PENN_FUDAN = Path(__file__).parents[3] / "shared" / "data" / "PennFudanPed"
needs_penn_fudan = pytest.mark.skipif(not PENN_FUDAN.is_dir(), reason="Penn-Fudan is not beside the checkout")


def masks(told: Told | None = None, **options: Any) -> Any:
    return opened(MASKS, told, **options)


def folder(root: Path, objects: Mapping[str, Mapping[int, tuple[int, int, int, int]]], name: str = "{}.png") -> Path:
    for image, boxes in objects.items():
        picture(root / "images" / f"{image}.jpg")
        ids = np.zeros((30, 40), np.uint8)
        for number, (x0, y0, x1, y1) in boxes.items():
            ids[y0:y1, x0:x1] = number
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(ids).save(root / "masks" / name.format(image))
    return root


TWO = {"a": {1: (2, 3, 12, 13), 5: (20, 5, 21, 6)}, "b": {}}


@pytest.mark.parametrize("name", ["{}.png", "{}_mask.png", "{}.jpg.png"])
def test_objects_are_those_of_the_masks_however_they_are_named(tmp_path: Path, name: str) -> None:
    dataset = masks(root=folder(tmp_path, TWO, name))
    assert (dataset.class_names, dataset.provides, dataset.splits) == (("object",), BOXES_AND_MASKS, None)
    assert [(item.label, item.box, item.area, item.source) for item in dataset.info(0).annotations] == [
        (1, (2, 3, 12, 13), 100, f"{name.format('a')} object 1"),
        (1, (20, 5, 21, 6), 1, f"{name.format('a')} object 5"),
    ]
    assert dataset[0][1]["masks"].shape == (2, 30, 40)
    assert dataset[1][1]["masks"].shape == (0, 30, 40)


def test_names_folders_and_void_by_option(tmp_path: Path) -> None:
    folder(tmp_path, {"a": {1: (2, 3, 12, 13), 255: (0, 0, 2, 2)}}, "x-{}.png")
    with pytest.raises(DataFaults, match=r"masks/a\.png: does not exist, as the mask of a\.jpg; mask_name says"):
        masks(root=tmp_path)
    options: dict[str, Any] = {"images": tmp_path / "images", "masks": tmp_path / "masks", "mask_name": "x-{stem}.png"}
    assert len(masks(**options).info(0).annotations) == 2
    assert len(masks(**options, void=[255], classes=["cell"]).info(0).annotations) == 1
    with pytest.raises(DataError, match=r"x-a\.png has more pixels than the 100 of max_pixels|a\.jpg has more pixels"):
        masks(**options, max_pixels=100).info(0)
    with pytest.raises(DataError, match=r"mask_name is '\{x\}'; it may hold \{stem\}"):
        masks(**{**options, "mask_name": "{x}"})


def test_splits_by_folders(tmp_path: Path) -> None:
    folder(tmp_path / "train", TWO)
    folder(tmp_path / "val", {"c": {}})
    dataset = masks(root=tmp_path)
    assert dataset.splits == {"train": [0, 1], "validation": [2]}
    assert dataset.info(2).label == "val/c.jpg"


def test_classes_by_a_mapping(tmp_path: Path) -> None:
    folder(tmp_path, TWO)
    mapping = {"objects": {"a.jpg": {"1": "dog", "5": "cat"}, "b.jpg": {}}}
    file = tmp_path / "objects.json"
    file.write_text(json.dumps(mapping))
    assert [item.label for item in masks(root=tmp_path).info(0).annotations] == [2, 1]
    file.write_text(json.dumps({**mapping, "classes": ["dog", "cat"]}))
    dataset = masks(root=tmp_path)
    assert (dataset.class_names, [item.label for item in dataset.info(0).annotations]) == (("dog", "cat"), [1, 2])
    chosen = masks(root=tmp_path, classes=["cat"], unlisted="drop")
    assert [item.source for item in chosen.info(0).annotations] == ["a.png object 5"]
    with pytest.raises(DataError, match=r"a\.png, object 1: is of class 'dog', which is not in"):
        masks(root=tmp_path, classes=["cat"]).info(0)
    file.write_text(json.dumps({"objects": {"a.jpg": {"1": "dog"}, "b.jpg": {}}}))
    with pytest.raises(DataError, match=r"a\.png: the mapping names no class for its object 5"):
        masks(root=tmp_path).info(0)
    file.write_text(json.dumps({"objects": {"a.jpg": {"one": "dog"}}}))
    with pytest.raises(DataFaults, match=r"a\.jpg, 'one': is 'dog'(.|\n)*names no objects of b\.jpg"):
        masks(root=tmp_path)
    file.unlink()
    with pytest.raises(DataError, match="nothing says which object is of which"):
        masks(root=tmp_path, classes=["cat", "dog"])


def test_images_without_a_mask(tmp_path: Path) -> None:
    folder(tmp_path, TWO)
    picture(tmp_path / "images/c.jpg")
    with pytest.raises(DataFaults, match=r"masks/c\.png: does not exist"):
        masks(root=tmp_path)
    assert len(masks(root=tmp_path, unlabelled="leave_out")) == 2
    assert masks(root=tmp_path, unlabelled="empty").info(2).annotations == ()


def test_masks_that_do_not_fit(tmp_path: Path) -> None:
    folder(tmp_path, TWO)
    Image.new("L", (30, 40)).save(tmp_path / "masks/a.png")
    Image.new("RGB", (40, 30)).save(tmp_path / "masks/b.png")
    dataset = masks(root=tmp_path)
    with pytest.raises(DataError, match=r"a\.png: is 30 x 40 pixels, its image a\.jpg 40 x 30"):
        dataset.info(0)
    with pytest.raises(DataError, match=r"b\.png: has 3 channels"):
        dataset.info(1)


def test_folders_that_are_missing_or_empty(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="holds no folder images or PNGImages or JPEGImages; name the folder: images = "
    ):
        masks(root=tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="images: holds no images"):
        masks(root=tmp_path)


def test_masks_without_an_image_are_told(tmp_path: Path) -> None:
    told = Told()
    folder(tmp_path, TWO)
    Image.new("L", (40, 30)).save(tmp_path / "masks/z.png")
    masks(told, root=tmp_path)
    assert any("1 masks have no image" in line for line in told.lines)


@needs_penn_fudan
def test_penn_fudan_is_read_as_its_own_plugin_reads_it() -> None:
    dataset = masks(root=PENN_FUDAN, classes=["pedestrian"])
    own = PennFudan(PENN_FUDAN)
    assert len(dataset) == len(own) == 170
    for index in range(0, 170, 10):
        found, expected = dataset.info(index), own.info(index)
        assert (found.path, found.width) == (expected.path, expected.width)
        assert [(a.box, a.area, a.mask) for a in found.annotations] == [
            (a.box, a.area, a.mask) for a in expected.annotations
        ]


#: The objects whose annotated box differs from their mask's by more than a pixel in the release itself.
DIFFERENT = {("PennPed00019", 6), ("PennPed00021", 2), ("PennPed00027", 1), ("PennPed00090", 1)}


@needs_penn_fudan
def test_penn_fudans_boxes_are_those_of_its_annotations() -> None:
    """Which count pixels from 1 and both ends."""
    dataset = masks(root=PENN_FUDAN, classes=["pedestrian"])
    objects, different = 0, set()
    for index in range(len(dataset)):
        info = dataset.info(index)
        assert info.path is not None
        text = (PENN_FUDAN / "Annotation" / f"{info.path.stem}.txt").read_text(encoding="latin-1")
        rows = sorted(
            [int(value) for value in row]
            for row in re.findall(r"object (\d+) .*: \((\d+), (\d+)\) - \((\d+), (\d+)\)", text)
        )
        objects += len(rows)
        for (number, x0, y0, x1, y1), item in zip(rows, info.annotations, strict=True):
            assert item.source.endswith(f" object {number}")
            if np.abs(np.subtract((x0 - 1, y0 - 1, x1, y1), item.box)).max() > 1:
                different.add((info.path.stem, number))
    assert (len(dataset), objects, different) == (170, 423, DIFFERENT)
