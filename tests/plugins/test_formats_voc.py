"""Datasets in PASCAL VOC's form: small folders made here, and the real BCCD where it lies beside the checkout."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detkit import BOXES, BOXES_AND_MASKS, DataError
from detkit.cli.main import run
from detkit.data.degenerate import cleaned, has_area
from detkit.data.faults import DataFaults
from detkit.data.file_dataset import images_by_stem
from detkit_formats import VOC
from plugins.format_files import Told, opened, picture, voc_folder, voc_object, voc_xml

BCCD = Path(__file__).parents[3] / "shared" / "data" / "bccd"
needs_bccd = pytest.mark.skipif(not BCCD.is_dir(), reason="the BCCD dataset is not beside the checkout")


def voc(root: Path, told: Told | None = None, **options: Any) -> Any:
    return opened(VOC, told, root=root, **options)


def boxes(dataset: Any, index: int) -> list[tuple[float, ...]]:
    return [item.box for item in dataset.info(index).annotations]


# --- what is read ----------------------------------------------------------------------------------------------------


def test_boxes_classes_splits_and_images(tmp_path: Path) -> None:
    root = voc_folder(
        tmp_path,
        {
            "a": [voc_object("dog", (1.25, 2, 11, 12.5)), voc_object(" cat ", (5, 5, 40, 30))],
            "b": [],
            "c d é": [voc_object("cat")],
        },
        {"train": ["a"], "val": ["b", "c d é"], "trainval": ["a", "b", "c d é"], "cat_train": ["a  1"]},
    )
    dataset = voc(root)
    assert dataset.class_names == ("cat", "dog")  # by the alphabet
    assert dataset.splits == {"train": [0], "validation": [1, 2]}
    assert dataset.provides == BOXES
    assert [dataset.info(index).label for index in range(3)] == ["a.jpg", "b.jpg", "c d é.jpg"]
    first = dataset.info(0)
    assert [(item.label, item.box, item.source) for item in first.annotations] == [
        (2, (1.25, 2, 11, 12.5), "a.xml object 0"),
        (1, (5, 5, 40, 30), "a.xml object 1"),
    ]
    assert first.annotations[0].area == 9.75 * 10.5
    assert first.path == root / "JPEGImages/a.jpg"
    image, target = dataset[0]
    assert tuple(image.shape) == (3, 30, 40)
    assert target["boxes"].tolist() == [[1.25, 2, 11, 12.5], [5, 5, 40, 30]]
    assert target["labels"].tolist() == [2, 1]
    assert dataset[1][1]["boxes"].shape == (0, 4)


def test_ids_stay_when_images_are_added(tmp_path: Path) -> None:
    before = voc(voc_folder(tmp_path, {"b": [voc_object()], "d": []}))
    ids = {before.info(index).label: before.info(index).image_id for index in range(2)}
    after = voc(voc_folder(tmp_path, {"a": [], "c": []}))
    infos = [after.info(index) for index in range(4)]
    assert {info.label: info.image_id for info in infos if info.label in ids} == ids


def test_pixels_counted_from_one_become_edges(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {"a": [voc_object("cat", (1, 1, 40, 30)), voc_object("cat", (7, 8, 7, 8))]})
    assert boxes(voc(root, boxes="pixels"), 0) == [(0, 0, 40, 30), (6, 7, 7, 8)]
    assert boxes(voc(root), 0) == [(1, 1, 40, 30), (7, 8, 7, 8)]
    assert [item.area for item in voc(root).info(0).annotations] == [39 * 29, 0]


def test_difficult_objects(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {"a": [voc_object("cat", difficult=1), voc_object("dog", difficult=0)]})
    flags = {
        choice: [(item.label, item.iscrowd) for item in voc(root, difficult=choice).info(0).annotations]
        for choice in ("keep", "crowd", "drop")
    }
    assert flags == {
        "keep": [(1, False), (2, False)],
        "crowd": [(1, True), (2, False)],
        "drop": [(2, False)],
    }


def test_info_decodes_no_pixels(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {"a": [voc_object()]})
    file = root / "JPEGImages/a.jpg"
    file.write_bytes(file.read_bytes()[:-400])
    dataset = voc(root)
    assert (dataset.info(0).width, dataset.info(0).height) == (40, 30)
    with pytest.raises(DataError, match=r"a\.jpg cannot be read as an image: .*truncated"):
        dataset[0]
    assert voc(root, cut="fill")[0][0].shape == (3, 30, 40)


def test_a_folder_is_listed_once_however_many_files_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = voc_folder(tmp_path, {f"{number}": [] for number in range(5)})
    listed: list[Path] = []

    def counted(folder: Path) -> dict[str, list[Path]]:
        listed.append(folder)
        return images_by_stem(folder)

    monkeypatch.setattr("detkit_formats.voc.images_by_stem", counted)
    assert len(voc(root)) == 5
    assert listed == [root / "JPEGImages"]


# --- layouts ---------------------------------------------------------------------------------------------------------


def test_a_folder_that_holds_the_folder(tmp_path: Path) -> None:
    voc_folder(tmp_path / "VOC2012", {"a": [voc_object()]})
    assert len(voc(tmp_path)) == 1
    voc_folder(tmp_path / "VOC2007", {"a": [voc_object()]})
    with pytest.raises(DataError, match="holds several VOC folders, VOC2007, VOC2012; name one"):
        voc(tmp_path)


def test_folders_of_splits_with_xml_beside_images(tmp_path: Path) -> None:
    for split, names in {"train": ["a", "b"], "valid": ["a"], "test": ["c"]}.items():
        for name in names:
            picture(tmp_path / split / f"{name}.png")
            voc_xml(tmp_path / split / f"{name}.xml", voc_object())
    dataset = voc(tmp_path)
    assert dataset.splits == {"train": [0, 1], "validation": [2], "test": [3]}
    infos = [dataset.info(index) for index in range(4)]
    assert [info.label for info in infos] == ["train/a.png", "train/b.png", "valid/a.png", "test/c.png"]
    assert len({info.image_id for info in infos}) == 4


def test_an_image_of_another_ending_or_name(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {"a": []})
    picture(root / "JPEGImages/b.PNG")
    voc_xml(root / "Annotations/b.xml", voc_object())
    picture(root / "JPEGImages/other name.png")
    voc_xml(root / "Annotations/c.xml", filename="C:\\images\\other name.png")
    dataset = voc(root)
    assert [dataset.info(index).label for index in range(3)] == ["a.jpg", "b.PNG", "other name.png"]


def test_lists_may_name_files_or_paths(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {"a": [], "b c": [voc_object()]}, {"train": ["a.jpg"], "val": ["JPEGImages/b c.jpg"]})
    assert voc(root).splits == {"train": [0], "validation": [1]}


@pytest.mark.parametrize("content", ["", "folder"])
def test_what_is_no_voc_folder(tmp_path: Path, content: str) -> None:
    root = tmp_path / "data"
    with pytest.raises(DataError, match="there is no folder"):
        voc(root)
    root.mkdir()
    with pytest.raises(DataError, match="is no VOC folder: it has no folder Annotations"):
        voc(root)
    (root / "Annotations").mkdir()
    with pytest.raises(DataError, match="Annotations: holds no XML files"):
        voc(root)


# --- classes ---------------------------------------------------------------------------------------------------------


def test_classes_by_labels_txt_or_option(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {"a": [voc_object("cat"), voc_object("dog")]})
    (root / "labels.txt").write_text("dog\ncat\n")
    assert voc(root).class_names == ("dog", "cat")
    assert voc(root, classes=["cat", "bird", "dog"]).class_names == ("cat", "bird", "dog")
    (root / "labels.txt").write_text("dog\n")  # of another time
    assert voc(root).class_names == ("cat", "dog")


def test_a_class_that_is_not_listed(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {"a": [voc_object("cat"), voc_object("dgo")]})
    with pytest.raises(DataFaults, match=r"object 1 \(line 6\): is of class 'dgo', .*did you mean 'dog'"):
        voc(root, classes=["cat", "dog"])
    told = Told()
    dataset = voc(root, told, classes=["cat", "dog"], unlisted="drop")
    assert len(dataset.info(0).annotations) == 1
    assert any("1 of 2 objects are left out" in line for line in told.lines)


@pytest.mark.parametrize("name", ["__background__", "Background", "back-ground"])
def test_a_background_class_is_refused(tmp_path: Path, name: str) -> None:
    root = voc_folder(tmp_path, {"a": [voc_object("cat"), voc_object(name)]})
    with pytest.raises(DataError, match=rf"is '{name}'. The background is no class here: labels are 1 to K"):
        voc(root)
    with pytest.raises(DataError, match=r"\[dataset\] classes: class 0 is '__background__'.*leave it out"):
        voc(root, classes=["__background__", "cat"])


# --- sizes and turns -------------------------------------------------------------------------------------------------


def test_a_size_that_is_not_the_images(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {"a": [voc_object()], "b": [voc_object()]})
    voc_xml(root / "Annotations/a.xml", voc_object(), size=(80, 60))
    voc_xml(root / "Annotations/b.xml", voc_object(), size=(0, 0))  # as tools write that do not know
    dataset = voc(root)
    with pytest.raises(
        DataError, match=r"a\.xml: says that a\.jpg is 80 x 60 pixels; .*a\.jpg is 40 x 30: was the image"
    ):
        dataset.info(0)
    assert dataset.info(1).width == 40
    assert voc(root, stated_size="ignore").info(0).width == 40


def test_a_photograph_that_lies_on_its_side(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {"a": []})
    picture(root / "JPEGImages/a.jpg", 40, 30, orientation=6)
    voc_xml(root / "Annotations/a.xml", voc_object(), size=(30, 40))
    assert voc(root).info(0).width == 30  # labelling tools show it upright
    assert voc(root)[0][0].shape == (3, 40, 30)
    with pytest.raises(DataError, match='set exif = "apply"'):
        voc(root, exif="ignore").info(0)
    voc_xml(root / "Annotations/a.xml", voc_object(), size=(40, 30))
    with pytest.raises(DataError, match='set exif = "ignore"'):
        voc(root).info(0)
    assert voc(root, exif="ignore")[0][0].shape == (3, 30, 40)


# --- masks -----------------------------------------------------------------------------------------------------------


def masked_folder(root: Path) -> Path:
    voc_folder(root, {"a": [voc_object("cat", (2, 3, 12, 13)), voc_object("dog", (20, 5, 30, 15))], "b": []})
    ids = np.zeros((30, 40), np.uint8)
    ids[4:12, 3:11], ids[6:14, 21:29] = 1, 2
    ids[3, 2:12] = 255
    (root / "SegmentationObject").mkdir()
    Image.fromarray(ids).convert("P").save(root / "SegmentationObject/a.png")
    return root


def test_masks_of_segmentation_object(tmp_path: Path) -> None:
    dataset = voc(masked_folder(tmp_path))
    assert dataset.provides == BOXES_AND_MASKS
    info = dataset.info(0)
    assert [(item.box, item.area) for item in info.annotations] == [((2, 3, 12, 13), 64), ((20, 5, 30, 15), 64)]
    target = dataset[0][1]
    assert target["masks"].shape == (2, 30, 40)
    assert target["masks"][1, 6, 21] == 1
    assert target["masks"].sum(dim=(1, 2)).tolist() == [64, 64]
    assert dataset[1][1]["masks"].shape == (0, 30, 40)
    assert voc(tmp_path, masks="off").provides == BOXES


def test_masks_only_where_all_images_have_them(tmp_path: Path) -> None:
    root = masked_folder(tmp_path)
    voc_xml(root / "Annotations/b.xml", voc_object())
    told = Told()
    assert voc(root, told).provides == BOXES
    assert any("1 of 2 images with objects have a picture in SegmentationObject" in line for line in told.lines)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/train.txt").write_text("a\n")
    dataset = voc(root, image_sets="Segmentation")
    assert (len(dataset), dataset.provides, dataset.splits) == (1, BOXES_AND_MASKS, {"train": [0]})


def test_an_object_without_pixels_in_its_mask(tmp_path: Path) -> None:
    root = masked_folder(tmp_path)
    voc_xml(root / "Annotations/a.xml", voc_object(), voc_object(), voc_object())
    with pytest.raises(DataError, match=r"a\.png: no pixel is 3, which a\.xml object 2 of its XML file must have"):
        voc(root).info(0)


# --- in a spec ---


def test_boxes_without_area_stop_a_spec_or_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = [
        EntryPoint(name, f"detkit_{name}", "detkit.plugins") for name in ("basics", "coco", "formats", "torchvision")
    ]
    monkeypatch.setattr("detkit.plugins.entry_points", lambda **_: points)
    objects = [voc_object("cat"), voc_object("cat", (5, 7, 5, 9))]
    voc_folder(tmp_path / "data", {"a": objects, "b": [voc_object()]}, {"train": ["a"], "val": ["b"]})
    spec = tmp_path / "spec.toml"
    spec.write_text(
        '[dataset]\nuse = "voc"\nroot = "data"\n[compute]\ndevice = "cpu"\n'
        '[models.fcos]\nbackbone = "tiny_fpn"\nweights = "none"\n[metrics.coco]\n'
    )
    assert run(["check", str(spec), "--deep"]) == 2
    assert f"{tmp_path / 'data/Annotations/a.xml'}, object 1: box (5, 7, 5, 9) has no area" in capsys.readouterr().out
    assert run(["check", str(spec), "--deep", "--set", "dataset.degenerate=drop"]) == 0


# --- broken files ----------------------------------------------------------------------------------------------------


def test_everything_that_is_wrong_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    names = ["cut", "empty", "other", "no_box", "no_number", "no_name", "flag", "gone"]
    root = voc_folder(tmp_path, {"good": [voc_object()], **{name: [] for name in names}}, {"train": ["good", "nobody"]})
    folder = root / "Annotations"
    (folder / "cut.xml").write_text((folder / "good.xml").read_text()[:120])
    (folder / "empty.xml").write_text("")
    (folder / "other.xml").write_text("<html></html>")
    voc_xml(folder / "no_box.xml", voc_object(), "<object><name>cat</name></object>")
    voc_xml(folder / "no_number.xml", voc_object(), voc_object(box=(1, "two", 3, 4)), voc_object(box=(1, 2, "nan", 4)))
    voc_xml(folder / "no_name.xml", voc_object(" "))
    voc_xml(folder / "flag.xml", voc_object(difficult="maybe"))
    (root / "JPEGImages/gone.jpg").unlink()
    with pytest.raises(DataFaults) as caught:
        voc(root)
    told = [(fault.file.name, fault.place, fault.text) for fault in caught.value.faults]
    expected = [
        ("cut.xml", r"line \d+, column \d+", "is no XML: (no element found|unclosed token)"),
        ("empty.xml", "", "is empty"),
        ("flag.xml", r"object 0 \(line 4\)", "its <difficult> is 'maybe'"),
        ("no_box.xml", r"object 1 \(line 6\)", "has no <bndbox>"),
        ("no_name.xml", r"object 0 \(line 4\)", "has no <name>"),
        ("no_number.xml", r"object 1 \(line 6\)", "its <ymin> is 'two'; it must be a number"),
        ("no_number.xml", r"object 2 \(line 8\)", "its <xmax> is 'nan'"),
        ("other.xml", "", "it holds <html>, not <annotation>"),
        ("gone.xml", "", r"its image .*gone\.jpg does not exist; bring it, or remove the XML file"),
    ]
    assert len(told) == len(expected)
    for found, wanted in zip(told, expected, strict=True):
        assert all(re.search(pattern, text) for text, pattern in zip(found, wanted, strict=True)), (found, wanted)


def test_a_list_that_names_nobody(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {"a": [voc_object()]}, {"train": ["a", "nobody"]})
    with pytest.raises(DataFaults, match=r"train\.txt, line 2: names 'nobody'"):
        voc(root)


# --- real data -------------------------------------------------------------------------------------------------------


@needs_bccd
def test_bccd_and_its_two_objects_without_area() -> None:
    dataset = voc(BCCD)
    assert (len(dataset), dataset.class_names) == (364, ("Platelets", "RBC", "WBC"))
    assert {name: len(part) for name, part in dataset.splits.items()} == {"train": 205, "validation": 87, "test": 72}
    infos = [dataset.info(index) for index in range(364)]
    assert [item.source for info in infos for item in info.annotations if not has_area(item.box)] == [
        "BloodImage_00338.xml object 12",
        "BloodImage_00343.xml object 3",
    ]
    assert sum(len(cleaned(info, "drop").annotations) for info in infos) == 4886
    image, target = dataset[0]
    assert tuple(image.shape) == (3, 480, 640)
    assert len(target["boxes"]) == 20
