"""The doctor of data: each check finds what it is for, in datasets drawn up for it and in broken files."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torchvision import tv_tensors

from detkit.checks.catalogue import CHECKS
from detkit.checks.classes import alike
from detkit.checks.duplicates import duplicate_findings
from detkit.checks.finding import Finding, Where
from detkit.checks.hashes import difference_hash
from detkit.checks.images import Seen
from detkit.checks.sight import Sight, small_objects
from detkit.checks.similar import similar_findings
from detkit.components import BOXES_AND_MASKS, BuildContext, Dataset, DatasetComponent, Options, Silent
from detkit.data.remarks import Remark
from detkit.data.types import RLE, Annotation, ImageInfo
from detkit.doctor.checkup import Checkup, check_data
from detkit.plugins import Offered, Plugin
from detkit.spec.model import SplitTable, Use
from detkit.spec.parts import DataTables
from detkit_formats import COCO, MASKS, VOC, YOLO
from plugins.format_files import coco_json, picture, voc_folder, voc_object

BCCD = Path(__file__).parents[3] / "shared" / "data" / "bccd"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digests of these files stay out of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("detkit.doctor.checkup.BuildContext", lambda **more: BuildContext(cache_folder=folder, **more))


def checked(component: DatasetComponent[Any], *, split: Any = None, degenerate: Any = "error", **more: Any) -> Checkup:
    """What the doctor says of the component's dataset under these options."""
    wanted, decode = more.pop("wanted", None), more.pop("decode", False)
    options = component.options.model_validate(more, strict=False)
    offered = Offered(component, Plugin("test", "test"))
    use = Use(key=component.name, kind="dataset", offered=offered, options=options)
    tables = DataTables(use, SplitTable.model_validate(split or {}, strict=False), degenerate)
    return check_data(tables, folder=Path(), messages=Silent(), wanted=wanted, decode=decode)


def ids(done: Checkup) -> list[str]:
    return [finding.check.id for finding in done.findings]


def only(done: Checkup, check: str) -> list[Finding]:
    return [finding for finding in done.findings if finding.check.id == check]


# --- a dataset in memory ---------------------------------------------------------------------------------------------


class Listed(Dataset):
    provides = BOXES_AND_MASKS

    def __init__(self, infos: Sequence[ImageInfo | Exception], names: Sequence[str]) -> None:
        self.class_names = tuple(names)
        self._infos = infos

    def __len__(self) -> int:
        return len(self._infos)

    def info(self, index: int) -> ImageInfo:
        info = self._infos[index]
        if isinstance(info, Exception):
            raise info
        return info

    def __getitem__(self, index: int, /) -> Any:
        raise AssertionError("the doctor decodes nothing unless it is asked to")


def listed(*infos: ImageInfo | Exception, names: Sequence[str] = ("cat",), **more: Any) -> Checkup:
    def build(_options: Options, _context: BuildContext) -> Dataset:
        return Listed(infos, names)

    return checked(DatasetComponent(name="listed", options=Options, build=build, summary="a list"), **more)


def image(number: int, *items: Annotation, size: tuple[int, int] = (100, 80)) -> ImageInfo:
    return ImageInfo(number, None, *size, items)


def box(*corners: float, label: int = 1, mask: RLE | None = None) -> Annotation:
    return Annotation(label, (corners[0], corners[1], corners[2], corners[3]), 1.0, mask=mask)


def mask_of(height: int, width: int, *corners: int) -> RLE:
    """Of a rectangle, or without a pixel."""
    pixels = np.zeros((height, width), np.uint8, order="F")
    if corners:
        pixels[corners[1] : corners[3], corners[0] : corners[2]] = 1
    rle = coco_mask.encode(pixels)
    return {"size": [height, width], "counts": rle["counts"].decode()}


GOOD = box(10, 10, 50, 50)


def test_nothing_is_said_of_data_in_order() -> None:
    done = listed(image(1, GOOD), image(2, GOOD))
    assert done.findings == ()
    assert (done.images, done.objects, done.class_names) == (2, 2, ("cat",))


@pytest.mark.parametrize(
    ("item", "check", "text"),
    [
        (box(10, 10, 10, 50), "box-without-area", "box (10, 10, 10, 50) has no area"),
        (box(30, 10, 10, 50), "box-without-area", "box (30, 10, 10, 50) has no area"),
        (box(10, 10, float("nan"), 50), "box-not-finite", "box (10, 10, nan, 50) is not of finite numbers"),
        (box(100, 10, 130, 50), "box-outside", "box (100, 10, 130, 50) is outside the image of 100 x 80"),
        (box(-9, 10, 0, 50), "box-outside", "box (-9, 10, 0, 50) is outside the image of 100 x 80"),
        (box(10, 10, 50, 82), "box-over-edge", "box (10, 10, 50, 82) reaches 2 pixels over the image of 100 x 80"),
        (box(-1.5, 10, 50, 50), "box-over-edge", "box (-1.5, 10, 50, 50) reaches 1.5 pixels over"),
        (box(10, 10, 13, 50), "box-tiny", "box (10, 10, 13, 50) is 3 x 40 pixels"),
        (box(10, 10, 50, 50, label=2), "label-unknown", "label 2 is out of range; the classes are 1 cat"),
        (GOOD, "object-repeated", "is the same as object 0: box (10, 10, 50, 50)"),
        (
            box(1, 1, 9, 9, mask=mask_of(80, 90, 1, 1, 9, 9)),
            "mask-does-not-fit",
            "mask of 90 x 80 does not fit the image of 100 x 80",
        ),
        (box(1, 1, 9, 9, mask=mask_of(80, 100)), "mask-empty", "mask has no pixel"),
        (
            box(1, 1, 14, 9, mask=mask_of(80, 100, 1, 1, 10, 9)),
            "mask-and-box-differ",
            "box (1, 1, 14, 9) and the mask's extent (1, 1, 10, 9) are 4 pixels apart",
        ),
    ],
)
def test_objects(item: Annotation, check: str, text: str) -> None:
    done = listed(image(1, GOOD, item), image(2, GOOD))
    (finding,) = only(done, check)
    assert finding.text.startswith(text)
    assert (finding.image, finding.place, finding.object) == ("image 1", "object 1", 1)
    assert ids(done) == [check]


def test_a_box_may_reach_a_pixel_over_the_edge_and_three_over_its_mask() -> None:
    loose = box(20, 20, 33, 30, mask=mask_of(80, 100, 20, 20, 30, 30))
    assert listed(image(1, box(-1, 10, 50, 81), loose), image(2, GOOD)).findings == ()


def test_objects_of_one_box_and_two_masks_are_two() -> None:
    whole, corners = mask_of(80, 100, 10, 10, 50, 50), np.zeros((80, 100), np.uint8, order="F")
    corners[10, 10] = corners[49, 49] = 1
    other: RLE = {"size": [80, 100], "counts": coco_mask.encode(corners)["counts"].decode()}
    items = [box(10, 10, 50, 50, mask=mask) for mask in (whole, other, other)]
    (finding,) = listed(image(1, *items), image(2, GOOD)).findings
    assert (finding.check.id, finding.object) == ("object-repeated", 2)


def test_a_dataset_of_nothing() -> None:
    assert ids(listed(names=())) == ["dataset-empty", "class-names-unfit"]


def test_boxes_without_area_are_warnings_where_the_spec_leaves_them_out() -> None:
    done = listed(image(1, GOOD, box(5, 5, 5, 9)), image(2, GOOD), degenerate="drop")
    (finding,) = done.findings
    assert finding.severity == "warning"
    assert finding.text == 'box (5, 5, 5, 9) has no area; the object is left out (degenerate = "drop")'
    assert done.counts == {"error": 0, "warning": 1, "note": 0}


@pytest.mark.parametrize(("degenerate", "severities"), [("drop", ["error", "warning"]), ("clip", ["warning", "note"])])
def test_boxes_beyond_the_edge_weigh_less_where_they_are_clipped(degenerate: str, severities: list[str]) -> None:
    done = listed(image(1, GOOD, box(10, 10, 50, 90), box(200, 10, 250, 50)), image(2, GOOD), degenerate=degenerate)
    found = [(one.check.id, one.severity) for one in done.findings]
    assert found == list(zip(["box-outside", "box-over-edge"], severities, strict=True))


@pytest.mark.parametrize(
    ("one", "check", "text"),
    [
        (image(1), "image-without-objects", "has no objects"),
        (image(1, GOOD, size=(900, 60)), "image-size-extreme", "is 900 x 60 pixels"),
        (image(1, box(1, 1, 9, 9), size=(100, 15)), "image-size-extreme", "is 100 x 15 pixels"),
        (image(1, GOOD, size=(9000, 6000)), "image-size-extreme", "is 9000 x 6000 pixels"),
        (image(2, GOOD), "image-id-repeated", "image id 2 is that of image 2 too"),
        (KeyError("boxes"), "annotation-misfit", "cannot be read: KeyError: 'boxes'"),
    ],
)
def test_images(one: ImageInfo | Exception, check: str, text: str) -> None:
    done = listed(image(2, GOOD), image(3, GOOD), one)
    assert [(finding.check.id, finding.text) for finding in done.findings] == [(check, text)]


@pytest.mark.parametrize(
    ("names", "check", "text"),
    [
        (("cat", "Background"), "class-background", "class 2 is 'Background'"),
        (("cat", "cat"), "class-names-unfit", "class 2 is 'cat', as another one is"),
        (("cat", " "), "class-names-unfit", "class 2 is ' '"),
        (("cat", "Cats"), "class-names-alike", "'cat' and 'Cats': are they one class?"),
        (("cat", "dog"), "class-unused", "no object is of class 'dog'"),
    ],
)
def test_classes(names: Sequence[str], check: str, text: str) -> None:
    done = listed(image(1, GOOD), image(2, GOOD), names=names)
    assert [finding.text for finding in only(done, check)] == [text]
    assert set(ids(done)) <= {check, "class-unused"}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("traffic light", "Traffic-Light", True),
        ("plane", "planes", True),
        ("pedestrian", "pedestrain", True),
        ("pedestrian", "pedstrian", True),
        ("platelet", "plabelet", True),
        ("cat", "car", False),
        ("bus", "bu", True),
        ("type_1", "type_2", False),
        ("female", "male", False),
        ("日本", "中国", False),
    ],
)
def test_names_that_look_like_one(one: str, other: str, expected: bool) -> None:
    assert alike(one, other) is alike(other, one) is expected


def test_a_class_may_be_in_an_image_that_cannot_be_read() -> None:
    assert ids(listed(image(1, GOOD), ValueError("broken"), names=("cat", "dog"))) == ["annotation-misfit"]


def test_a_rare_class_is_noted_and_one_of_a_tenth_is_not() -> None:
    def of(count: int) -> list[Annotation]:
        return [box(number, 10, number + 20, 50, label=2) for number in range(count)]

    many = [box(number, 10, number + 20, 60) for number in range(20)]
    assert ids(listed(image(1, *many, *of(2)), image(2, *of(0), *many, *of(2)), names=("cat", "dog"))) == []
    done = listed(image(1, *many, *of(1)), image(2, *many, *of(1)), names=("cat", "dog"))
    assert [finding.text for finding in done.findings] == ["'dog' has 2 objects, 'cat' 40"]


def test_a_class_that_a_split_lacks(tmp_path: Path) -> None:
    cat, dog = voc_object("cat"), voc_object("dog")
    root = voc_folder(tmp_path, {"a": [cat], "b": [cat, dog]}, {"train": ["a"], "val": ["b"]})
    (finding,) = only(checked(VOC, root=root), "class-not-in-split")
    assert finding.text == "train has no object of class 'dog'"


def test_a_split_that_cannot_be_made() -> None:
    (finding,) = listed(image(1, GOOD)).findings
    assert finding.check.id == "split-impossible"
    assert "1 images cannot give validation = 1" in finding.text


# --- models ----------------------------------------------------------------------------------------------------------


def small(*infos: ImageInfo | None, anchor: float = 16, size: tuple[int, int] = (160, 200)) -> list[Finding]:
    return list(small_objects(infos, [Sight("fcos", anchor, *size)]))


def test_objects_under_half_of_the_smallest_anchor_are_counted_for_each_model() -> None:
    # The images of 100 x 80 become 200 x 160: objects of sqrt(a) < 4 pixels are under 8.
    infos = [image(1, GOOD, box(0, 0, 4, 4), box(0, 0, 3.9, 4)), None, image(2, box(0, 0, 8, 1.9), *[GOOD] * 20)]
    (finding,) = small(*infos)
    assert (finding.check.id, finding.severity, finding.file) == ("object-smaller-than-anchors", "note", None)
    assert finding.text == (
        "fcos: 2 of 24 objects (8.3%) are smaller than 8 x 8 pixels, half of its smallest anchor, once resized to"
        " min_size = 160 and max_size = 200; the smallest: image 2, object 0 (16 x 3.8); image 1, object 2 (7.8 x 8)"
    )
    models = [Sight("a", 16, 160, 200), Sight("b", 8, 160, 200), Sight("c", 16, 80, 100)]
    assert [one.text.split(":")[0] for one in small_objects(infos, models)] == ["a", "c"]


def test_the_longer_side_limits_how_much_larger_objects_become() -> None:
    assert not small(image(1, box(0, 0, 5, 5)), size=(160, 200))
    assert small(image(1, box(0, 0, 5, 5)), size=(160, 150))


def test_many_small_objects_are_a_warning_and_crowds_and_empty_boxes_are_left_out() -> None:
    tiny, crowd = box(0, 0, 1, 1), replace(box(0, 0, 1, 1), iscrowd=True)
    assert small(image(1, tiny, *[GOOD] * 9))[0].severity == "warning"
    assert small(image(1, tiny, *[GOOD] * 10))[0].severity == "note"
    assert not small(image(1, crowd, box(5, 5, 5, 9), box(0, 0, float("nan"), 3), GOOD))
    (finding,) = small(image(1, *[box(0, 0, 2, number + 1) for number in range(6, 0, -1)]))
    assert finding.text.endswith("image 1, object 5 (4 x 4); image 1, object 4 (4 x 6); image 1, object 3 (4 x 8)")


# --- files -----------------------------------------------------------------------------------------------------------


def cut(file: Path) -> None:
    file.write_bytes(picture(file).read_bytes()[:-300])


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "zero.jpg": (lambda file: file.write_bytes(b""), "image-unreadable"),
    "text.jpg": (lambda file: file.write_text("not an image"), "image-unreadable"),
    "cut.jpg": (cut, "image-cut"),
    "also cut ü.png": (cut, "image-cut"),
    "huge.png": (lambda file: Image.new("1", (10_000, 10_000)).save(file), "image-too-large"),
    "strip.png": (lambda file: picture(file, 400, 40), "image-size-extreme"),
}


def test_a_folder_of_broken_files_gives_a_finding_each(tmp_path: Path) -> None:
    cat = voc_object("cat")
    objects: dict[str, Sequence[str]] = {name.split(".")[0]: [cat] for name in BROKEN}
    root = voc_folder(tmp_path, objects | {"good": [cat]})
    for name, (make, _) in BROKEN.items():
        (root / "JPEGImages" / f"{name.split('.')[0]}.jpg").unlink()
        make(root / "JPEGImages" / name)
    done = checked(VOC, root=root, stated_size="ignore")
    found = {finding.file.name: finding.check.id for finding in done.findings if finding.file is not None}
    assert found == {name: check for name, (_, check) in BROKEN.items()}
    assert done.images == len(BROKEN) + 1
    assert not only(done, "class-not-in-split")  # nobody knows what is in images that cannot be read


def test_damage_inside_a_picture_is_found_by_decoding(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {"a": [voc_object()], "b": [voc_object()]})
    file = root / "JPEGImages/a.png"
    content = bytearray(picture(file).read_bytes())
    (root / "JPEGImages/a.jpg").unlink()
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    assert ids(checked(VOC, root=root)) == []
    (finding,) = checked(VOC, root=root, decode=True).findings
    assert (finding.check.id, finding.file) == ("image-unreadable", file)


def test_a_cut_file_that_the_spec_fills_is_a_warning(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {"a": [voc_object()], "b": [voc_object()]})
    cut(root / "JPEGImages/a.jpg")
    assert [(one.check.id, one.severity) for one in checked(VOC, root=root).findings] == [("image-cut", "error")]
    (finding,) = checked(VOC, root=root, cut="fill").findings
    assert (finding.check.id, finding.severity) == ("image-cut", "warning")


def test_an_image_that_is_too_large(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {"a": [voc_object()], "b": [voc_object()]})
    picture(root / "JPEGImages/b.jpg", 40, 31)
    done = checked(VOC, root=root, max_pixels=1200, stated_size="ignore")
    (finding,) = done.findings
    assert (finding.check.id, finding.file) == ("image-too-large", root / "JPEGImages/b.jpg")


def test_a_size_other_than_stated_and_a_mask_of_another_size(tmp_path: Path) -> None:
    root = voc_folder(tmp_path / "voc", {"a": [voc_object()], "b": [voc_object()]})
    picture(root / "JPEGImages/a.jpg", 80, 60)
    (finding,) = checked(VOC, root=root).findings
    assert (finding.check.id, finding.file) == ("annotation-misfit", root / "Annotations/a.xml")
    assert "is 40 x 30 pixels" in finding.text
    for number in range(2):
        picture(tmp_path / f"m/images/{number}.png", seed=number)
        mask = tmp_path / f"m/masks/{number}.png"
        mask.parent.mkdir(exist_ok=True)
        Image.new("L", (40, 30 + number), 1).save(mask)
    for broken in (False, True):
        if broken:
            (tmp_path / "m/masks/1.png").write_bytes(b"")
        (finding,) = checked(MASKS, root=tmp_path / "m").findings
        assert (finding.check.id, finding.file) == ("annotation-misfit", tmp_path / "m/masks/1.png")


def test_every_fault_that_keeps_a_dataset_from_being_opened_is_told(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {"a": ["<object/>", "<object/>"], "b": [voc_object()]})
    (root / "Annotations/b.xml").write_text("<annotation>")
    done = checked(VOC, root=root)
    assert set(ids(done)) == {"dataset-unreadable"}
    assert [(one.file and one.file.name, one.place.split(" (")[0]) for one in done.findings] == [
        ("a.xml", "object 0"),
        ("a.xml", "object 1"),
        ("b.xml", "line 1, column 12"),
    ]
    assert done.class_names is None


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (finding,) = checked(VOC, root=tmp_path / "nowhere").findings
    assert (finding.check.id, finding.text) == ("dataset-unreadable", f"there is no folder {tmp_path / 'nowhere'}")


def test_what_readers_say_is_passed_on(tmp_path: Path) -> None:
    for number in range(2):
        picture(tmp_path / f"yolo/images/{number}.png", seed=number)
    (tmp_path / "yolo/labels").mkdir()
    (tmp_path / "yolo/labels/0.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "yolo/labels/stray.txt").write_text("")
    done = checked(YOLO, root=tmp_path / "yolo", classes=["cat"])
    assert [one.text.split(" (")[0] for one in only(done, "label-file-without-image")] == [
        "1 label files have no image"
    ]
    assert [one.text.split(" (")[0] for one in only(done, "image-without-label-file")] == [
        "1 of 2 images have no label file"
    ]
    rows = [{"id": number, "file_name": f"{number}.png"} for number in range(2)]
    objects = [{"image_id": number, "category_id": 7, "bbox": [1, 1, 9, 9], "area": 81} for number in range(2)]
    file = coco_json(tmp_path / "coco/a.json", rows, objects, {7: "cat"}, pictures=tmp_path / "coco/images")
    (finding,) = only(checked(COCO, annotations=file), "class-ids-with-holes")
    assert "category ids are not 1 to 1: as labels, 7 cat is 1" in finding.text


def test_what_readers_tell_by_a_check_that_there_is_not_is_theirs() -> None:
    def build(_options: Options, context: BuildContext) -> Dataset:
        context.messages.info("said plainly")
        context.messages.warning(Remark("label-file-without-image", "3 masks have no image"))
        context.messages.warning(Remark("box-tiny", "no remark's check"))
        return Listed([image(1, GOOD), image(2, GOOD)], ["cat"])

    done = checked(DatasetComponent(name="telling", options=Options, build=build, summary="a list"))
    assert [(one.check.id, one.severity, one.text) for one in done.findings] == [
        ("reader-warning", "warning", "no remark's check"),
        ("label-file-without-image", "warning", "3 masks have no image"),
        ("reader-note", "note", "said plainly"),
    ]


def test_a_remark_is_a_text_that_survives_being_sent() -> None:
    remark = pickle.loads(pickle.dumps(Remark("split-leak", "a text")))
    assert (remark, remark.check, json.dumps(remark)) == ("a text", "split-leak", '"a text"')


def test_an_image_that_another_datasets_info_does_not_look_at(tmp_path: Path) -> None:
    gone, broken = (ImageInfo(number, tmp_path / f"{number}.jpg", 100, 80, (GOOD,)) for number in (1, 2))
    cut(tmp_path / "2.jpg")
    done = listed(gone, broken, image(3, GOOD))
    assert [(one.check.id, one.file and one.file.name) for one in done.findings] == [
        ("image-unreadable", "1.jpg"),
        ("image-cut", "2.jpg"),
    ]


@pytest.mark.skipif(os.name != "posix", reason="names of bytes that are no text are POSIX's")
def test_findings_in_files_whose_names_are_no_text_can_be_written(tmp_path: Path) -> None:
    for folder, ending in (("images", ".png"), ("labels", ".txt")):
        (tmp_path / folder).mkdir()
        path = Path(os.fsdecode(os.fsencode(tmp_path / folder) + b"/caf\xe9" + ending.encode()))
        path.write_bytes(b"" if ending == ".png" else b"0 0.5 0.5 0.5 0.5\n")
    (finding,) = only(checked(YOLO, root=tmp_path, classes=["cat"]), "image-unreadable")
    assert b"caf\\udce9.png: it is empty" in str(finding).encode("utf-8")


# --- duplicates ------------------------------------------------------------------------------------------------------


@pytest.fixture
def twins(tmp_path: Path) -> Path:
    """Four images, a, c and d the same; c and d train, a and b validate."""
    root = voc_folder(tmp_path, {name: [voc_object()] for name in "abcd"}, {"train": ["c", "d"], "val": ["a", "b"]})
    for name in "cd":
        shutil.copy(root / "JPEGImages/a.jpg", root / f"JPEGImages/{name}.jpg")
    return root


def test_the_same_image_in_one_split_and_in_two(twins: Path) -> None:
    done = checked(VOC, root=twins)
    assert [(one.check.id, one.severity, one.image, one.text) for one in done.findings] == [
        ("split-leak", "error", "c.jpg", "is in train, and the same file is in validation as a.jpg"),
        ("duplicate-image", "warning", "d.jpg", "is the same file as c.jpg"),
    ]


def test_files_of_one_size_and_end_are_read_whole(twins: Path) -> None:
    for name, first in (("a", b"1"), ("b", b"2"), ("c", b"3"), ("d", b"4")):
        Image.new("RGB", (40, 40)).save(twins / f"JPEGImages/{name}.jpg", comment=first + b" " * 9000, quality=1)
    assert ids(checked(VOC, root=twins, stated_size="ignore")) == []


def test_duplicates_of_images_that_cannot_be_read_are_left_alone(twins: Path) -> None:
    for name in "ac":
        (twins / f"JPEGImages/{name}.jpg").write_bytes(b"")
    assert sorted(ids(checked(VOC, root=twins))) == ["image-unreadable"] * 2


def test_pictures_that_are_no_files_are_compared_where_they_are_decoded() -> None:
    class Drawn(Listed):
        def __getitem__(self, index: int, /) -> Any:
            info = self.info(index)
            value = 200 if info.image_id == 2 else 7
            boxes = tv_tensors.BoundingBoxes(torch.tensor([GOOD.box]), format="XYXY", canvas_size=(80, 100))
            flags = torch.zeros(1, dtype=torch.bool)
            target = {"boxes": boxes, "labels": torch.tensor([1]), "image_id": info.image_id}
            pixels = torch.full((3, 80, 100), value, dtype=torch.uint8)
            return tv_tensors.Image(pixels), target | {"area": torch.ones(1), "iscrowd": flags}

    def build(_options: Options, _context: BuildContext) -> Dataset:
        return Drawn([image(1, GOOD), image(2, GOOD), KeyError("gone"), image(4, GOOD)], ["cat"])

    component = DatasetComponent(name="drawn", options=Options, build=build, summary="pictures")
    wanted = {"duplicate-image", "split-leak"}
    assert checked(component, wanted=wanted).findings == ()
    (finding,) = checked(component, wanted=wanted, decode=True).findings
    assert finding.image == "image 4"
    assert re.search(r"the same picture (is in \w+ )?as image 1$", finding.text)


def test_what_no_split_has_leaks_nowhere() -> None:
    infos = [ImageInfo(number, None, 9, 9) for number in range(4)]
    found = duplicate_findings([[0, 1, 2, 3]], infos, ["none", "none", "train", "test"])
    assert [(one.check.id, one.text) for one in found] == [
        ("duplicate-image", "is the same picture as image 0"),
        ("duplicate-image", "is the same picture as image 0"),
        ("split-leak", "is in test, and the same picture is in train as image 2"),
    ]


def test_wanted_checks_only(twins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids(checked(VOC, root=twins, wanted={"split-leak"})) == ["split-leak"]
    monkeypatch.setattr("detkit.checks.duplicates.digest_files", None)  # and nothing is read for the others
    assert ids(checked(VOC, root=twins, wanted={"box-without-area"})) == []


def photograph(file: Path, **more: Any) -> Image.Image:
    """A picture of large shapes, as unlike another seed's as photographs are."""
    rng = np.random.default_rng(more.pop("seed", 0))
    small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8))
    full = small.resize(more.pop("size", (160, 120)), Image.Resampling.BICUBIC)
    file.parent.mkdir(parents=True, exist_ok=True)
    full.save(file, **more)
    return full


def test_pictures_that_look_alike_are_found_by_decoding(tmp_path: Path) -> None:
    sets: dict[str, Sequence[str]] = {"train": ["a", "b", "c", "same"], "val": ["d", "e"]}
    root = voc_folder(tmp_path, {name: [voc_object()] for name in ("a", "b", "c", "d", "e", "same")}, sets)
    photos = root / "JPEGImages"
    photograph(photos / "a.jpg", seed=1)
    photograph(photos / "b.jpg", seed=1, quality=40)  # saved again
    photograph(photos / "c.jpg", seed=2)
    photograph(photos / "d.jpg", seed=1, size=(80, 60))  # made smaller
    photograph(photos / "e.jpg", seed=3)
    shutil.copy(photos / "c.jpg", photos / "same.jpg")
    assert ids(checked(VOC, root=root, stated_size="ignore")) == ["duplicate-image"]
    done = checked(VOC, root=root, stated_size="ignore", decode=True)
    assert [(one.check.id, one.severity, one.image, one.text) for one in done.findings] == [
        ("duplicate-image", "warning", "same.jpg", "is the same file as c.jpg"),
        ("split-near-leak", "warning", "d.jpg", "is in validation, and looks like a.jpg in train"),
        ("near-duplicate", "note", "b.jpg", "looks like a.jpg"),
    ]


def test_plain_pictures_are_not_taken_for_alike(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {name: [voc_object()] for name in "abc"})
    for number, name in enumerate("abc"):
        Image.new("RGB", (40, 30), (number * 90,) * 3).save(root / f"JPEGImages/{name}.jpg")
    assert ids(checked(VOC, root=root, decode=True)) == []


def test_the_hash_says_where_a_picture_becomes_brighter() -> None:
    rising = torch.arange(90, dtype=torch.uint8).expand(3, 40, 90)
    assert difference_hash(rising) == 2**64 - 1
    assert difference_hash(rising.flip(-1)) == 0
    assert difference_hash(torch.cat([rising, rising.flip(-1)], dim=1)) == 2**32 - 1


def test_what_looks_alike_in_another_split_is_told_first() -> None:
    seen = [Seen(Where(str(number), None, None), None) for number in range(3)]
    hashes = dict.fromkeys(range(3), 0x0F0F_3C3C_A5A5_9669)
    found = list(similar_findings(hashes, seen, ["train", "test", "train"], set()))
    assert [one.text for one in found] == [
        "is in test, and looks like 0 in train",
        "is in train, and looks like 1 in test",
    ]


def test_hashes_two_bits_apart_are_found_wherever_the_bits_are() -> None:
    own = 0x0F0F_3C3C_A5A5_9669
    seen = [Seen(Where(str(number), None, None), None) for number in range(2)]
    for first in range(0, 64, 7):
        for second in range(first + 1, 64, 5):
            hashes = {0: own, 1: own ^ (1 << first) ^ (1 << second)}
            assert [one.text for one in similar_findings(hashes, seen, ["all"] * 2, set())] == ["looks like 0"]
    assert not list(similar_findings({0: own, 1: own ^ 0b111}, seen, ["all"] * 2, set()))


# --- real data and the docs ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not BCCD.is_dir(), reason="the BCCD dataset is not beside the checkout")
def test_bccd_has_two_boxes_without_area_and_no_other_error() -> None:
    done = checked(VOC, root=BCCD / "BCCD")
    errors = [finding for finding in done.findings if finding.severity == "error"]
    assert [(one.check.id, one.file and one.file.name, one.object, one.place) for one in errors] == [
        ("box-without-area", "BloodImage_00338.xml", 12, "object 12"),
        ("box-without-area", "BloodImage_00343.xml", 3, "object 3"),
    ]
    assert (done.images, done.objects) == (364, 4888)


@pytest.mark.slow
@pytest.mark.skipif(not BCCD.is_dir(), reason="the BCCD dataset is not beside the checkout")
def test_bccd_has_two_pictures_of_one_place() -> None:
    done = checked(VOC, root=BCCD / "BCCD", wanted={"near-duplicate", "split-near-leak"}, decode=True)
    assert [(one.image, one.text) for one in done.findings] == [
        ("BloodImage_00038.jpg", "is in train, and looks like BloodImage_00037.jpg in validation")
    ]


def test_ids_differ() -> None:
    assert len({check.id for check in CHECKS}) == len(CHECKS)
