"""`detkit data check --fix`: what is repaired in a copy, in each format; what is left, refused; the original stays."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch
from PIL import Image

from detkit import Dataset, DatasetComponent
from detkit.cli.main import run
from detkit.data.images import decode
from detkit_formats import COCO, CSV, MASKS, VOC, YOLO
from plugins.format_files import coco_json, opened, picture, voc_folder, voc_object, voc_xml

BCCD = Path(__file__).parents[3] / "shared" / "data" / "bccd"
needs_bccd = pytest.mark.skipif(not BCCD.is_dir(), reason="the BCCD dataset is not beside the checkout")
Capture = pytest.CaptureFixture[str]
Fix = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def formats(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugins at work, also where the installed metadata is older than pyproject.toml."""
    plugins = ("basics", "coco", "formats", "pennfudan", "torchvision")
    points = [EntryPoint(name, f"detkit_{name}", "detkit.plugins") for name in plugins]
    monkeypatch.setattr("detkit.plugins.entry_points", lambda **_: points)


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """The folder of the original, of which nothing may have changed after a repair: `fix` looks before it begins."""
    folder = tmp_path / "data"
    folder.mkdir()
    yield folder
    before = json.loads((tmp_path / "before").read_text()) if (tmp_path / "before").is_file() else None
    if before is not None:
        assert {name: (content.hex(), time) for name, (content, time) in state(folder).items()} == {
            name: tuple(values) for name, values in before.items()
        }


def spec_of(folder: Path, table: dict[str, Any], name: str = "spec.toml", **more: Any) -> Path:
    file = folder / name
    file.write_text(tomli_w.dumps({**more, "dataset": table}))
    return file


@pytest.fixture
def fix(tmp_path: Path, data: Path, capsys: Capture) -> Fix:
    """Repairs `data` into `copy`, gives the JSON; the copy is then checked by itself, with the table that was told."""

    def fixed(table: dict[str, Any], *arguments: str, left: int = 0, **more: Any) -> dict[str, Any]:
        before = {name: (content.hex(), time) for name, (content, time) in state(data).items()}
        (tmp_path / "before").write_text(json.dumps(before))
        spec = spec_of(tmp_path, table, **more)
        code = run(["data", "check", str(spec), "--fix", str(tmp_path / "copy"), "--json", *arguments])
        told = capsys.readouterr()
        assert told.out, told.err
        found: dict[str, Any] = json.loads(told.out)
        made: dict[str, Any] = found["fix"]
        assert code == (1 if left else 0), made["left"]["findings"]
        kept = {"split": table["split"]} if "split" in table else {}
        again = spec_of(tmp_path, {**made["dataset"], **kept}, "again.toml", **more)
        assert run(["data", "check", str(again), "--json"]) == code
        checked = json.loads(capsys.readouterr().out)
        assert checked["counts"]["error"] == left
        assert {key: value for key, value in checked.items() if key != "format_version"} == made["left"] or arguments
        assert (checked["images"], checked["objects"]) == (made["images"], made["objects"])
        return made

    return fixed


def repairs(made: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Check, image or file, and object of each."""
    return [(one["check"], one["image"] or Path(one["file"]).name, one["object"]) for one in made["repairs"]]


def objects(dataset: Dataset) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    """By the names of images without folder and ending."""
    infos = [dataset.info(index) for index in range(len(dataset))]
    return {
        Path(info.label).stem: [
            (dataset.class_names[item.label - 1], tuple(round(value, 3) for value in item.box))
            for item in info.annotations
        ]
        for info in infos
    }


def in_splits(dataset: Dataset) -> dict[str, list[str]]:
    assert dataset.splits is not None
    return {
        name: sorted(Path(dataset.info(index).label).stem for index in indices)
        for name, indices in dataset.splits.items()
    }


# --- objects, in every format ----------------------------------------------------------------------------------------

#: In an image of 40 x 30: what stays, without area, outside, over the edge, twice.
BOXES = ((1, 2, 11, 12), (5, 5, 5, 9), (40.1, 10, 40.3, 20), (30, 6, 44, 18), (1, 2, 11, 12))
STAY = [("cat", (1.0, 2.0, 11.0, 12.0)), ("cat", (30.0, 6.0, 40.0, 18.0))]


def make_voc(root: Path) -> dict[str, Any]:
    voc_folder(
        root, {"a": [voc_object("cat", box) for box in BOXES], "b": [voc_object("dog")]}, {"train": ["a"], "val": ["b"]}
    )
    return {"use": "voc", "root": "data"}


def make_coco(root: Path) -> dict[str, Any]:
    rows = [{"image_id": 1, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]} for x0, y0, x1, y1 in BOXES]
    coco_json(root / "train.json", [{"id": 1, "file_name": "a.jpg"}], rows, pictures=root / "images")
    dog = [{"image_id": 7, "category_id": 2, "bbox": [1, 2, 10, 10]}]
    coco_json(root / "val.json", [{"id": 7, "file_name": "b.jpg"}], dog)
    picture(root / "images/b.jpg", seed=9)
    return {"use": "coco", "train": "data/train.json", "validation": "data/val.json", "images": "data/images"}


def make_yolo(root: Path) -> dict[str, Any]:
    lines = [
        f"0 {(x0 + x1) / 2 / 40} {(y0 + y1) / 2 / 30} {(x1 - x0) / 40} {(y1 - y0) / 30}" for x0, y0, x1, y1 in BOXES
    ]
    for seed, (part, name, text) in enumerate((("train", "a", "\n".join(lines)), ("val", "b", "1 .5 .5 .2 .2"))):
        picture(root / f"images/{part}/{name}.jpg", seed=seed)
        label = root / f"labels/{part}/{name}.txt"
        label.parent.mkdir(parents=True)
        label.write_text(text)
    (root / "own.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return {"use": "yolo", "data": "data/own.yaml"}


def make_csv(root: Path) -> dict[str, Any]:
    rows = [f"a.jpg,cat,{','.join(map(str, box))},train" for box in BOXES]
    text = "\n".join(["pic;what;l;t;r;b;part".replace(";", ","), *rows, "b.jpg,dog,1,2,11,12,val"])
    (root / "t.csv").write_text(f"{text}\n")
    for seed, name in enumerate("ab"):
        picture(root / f"{name}.jpg", seed=seed)
    return {
        "use": "csv",
        "file": "data/t.csv",
        "image_column": "pic",
        "class_column": "what",
        "box_columns": ["l", "t", "r", "b"],
        "box_format": "pascal_voc",
        "split_column": "part",
        "images": "data",
        "classes": ["dog", "cat"],
    }


@pytest.mark.parametrize(
    ("make", "component", "extra"),
    [
        (make_voc, VOC, {}),
        (make_coco, COCO, {}),
        (make_yolo, YOLO, {}),
        (make_csv, CSV, {"classes": ["dog", "cat"]}),
    ],
)
def test_objects_are_repaired_in_every_format(
    data: Path,
    tmp_path: Path,
    fix: Fix,
    make: Callable[[Path], dict[str, Any]],
    component: DatasetComponent[Any],
    extra: dict[str, Any],
) -> None:
    made = fix(make(data))
    assert made["dataset"] == {"use": component.name, "root": "copy", **extra}
    assert made["splits"] == {"train": 1, "validation": 1}
    found = [(check, Path(image).name, number) for check, image, number in repairs(made)]
    assert found == [
        ("box-without-area", "a.jpg", 1),
        ("box-outside", "a.jpg", 2),
        ("box-over-edge", "a.jpg", 3),
        ("object-repeated", "a.jpg", 4),
    ]
    assert [one["done"] for one in made["repairs"]] == [
        "the object is left out",
        "the object is left out",
        "clipped to (30, 6, 40, 18)",
        "the object is left out",
    ]
    copy = opened(component, root=tmp_path / "copy", **extra)
    assert objects(copy)["a"] == STAY
    assert in_splits(copy) == {"train": ["a"], "validation": ["b"]}
    assert set(copy.class_names) == {"cat", "dog"}


def test_ids_and_masks_of_coco_are_kept_and_objects_without_a_pixel_left_out(
    data: Path, tmp_path: Path, fix: Fix
) -> None:
    square = [[1, 2, 11, 2, 11, 12, 1, 12]]
    nothing = {"size": [30, 40], "counts": [1200]}
    rows = [
        {"image_id": 5, "category_id": 3, "bbox": [1, 2, 10, 10], "segmentation": square},
        {"image_id": 5, "category_id": 3, "bbox": [3, 3, 9, 9], "segmentation": nothing},
        {"image_id": 5, "category_id": 3, "bbox": [35, 3, 15, 9], "segmentation": square, "iscrowd": 1},
    ]
    file = data / "all.json"
    images = [{"id": 5, "file_name": "a.jpg"}, {"id": 6, "file_name": "b.jpg"}]
    coco_json(file, images, rows, {3: "cat"}, pictures=data)
    made = fix({"use": "coco", "annotations": "data/all.json"})
    assert repairs(made)[:1] == [("mask-empty", "a.jpg", 1)]
    info = opened(COCO, root=tmp_path / "copy").info(0)
    assert info.image_id == 5
    assert [item.box for item in info.annotations] == [(1, 2, 11, 12), (35, 3, 40, 12)]
    assert [item.area for item in info.annotations] == [100, 100]
    assert [item.iscrowd for item in info.annotations] == [False, True]
    assert info.annotations[0].mask == opened(COCO, annotations=file).info(0).annotations[0].mask


def test_a_clipped_box_that_is_then_there_twice(data: Path, tmp_path: Path, fix: Fix) -> None:
    boxes = [(30, 6, 44, 18), (30, 6, 40, 18)]
    voc_folder(data, {"a": [voc_object("cat", box) for box in boxes]})
    made = fix({"use": "voc", "root": "data"}, left=1)  # one image cannot be divided, before and after
    assert repairs(made) == [("box-over-edge", "a.jpg", 0), ("object-repeated", "a.jpg", 1)]
    assert objects(opened(VOC, root=tmp_path / "copy"))["a"] == [("cat", (30, 6, 40, 18))]


@pytest.mark.parametrize("box", [(39.9999999, 5, 40.2, 9), (3, 29.99999999, 9, 30), (-0.5, 5, 1e-9, 9)])
def test_a_box_of_which_hardly_anything_is_in_the_image(data: Path, fix: Fix, box: tuple[float, ...]) -> None:
    """Where the format clips or rounds it, it would have no area in the copy."""
    table = make_yolo(data)
    x0, y0, x1, y1 = box
    line = f"0 {(x0 + x1) / 80!r} {(y0 + y1) / 60!r} {(x1 - x0) / 40!r} {(y1 - y0) / 30!r}\n"
    (data / "labels/train/a.txt").write_text(f"0 .5 .5 .2 .2\n{line}")
    made = fix(table)
    assert [one["check"] for one in made["repairs"]] == ["box-without-area"]
    assert made["objects"] == 2


# --- images ----------------------------------------------------------------------------------------------------------


def cut_short(file: Path) -> Path:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])
    return file


def test_images_that_cannot_be_read_are_left_out_with_their_objects(data: Path, tmp_path: Path, fix: Fix) -> None:
    names = ["a", "b", "empty", "text", "large", "cut", "missing", "size"]
    cat = [voc_object("cat")]
    voc_folder(data, dict.fromkeys(names, cat), {"train": ["a", *names[2:]], "val": ["b"]})
    (data / "JPEGImages/empty.jpg").write_bytes(b"")
    (data / "JPEGImages/text.jpg").write_text("no picture")
    picture(data / "JPEGImages/large.jpg", 400, 300)
    cut_short(data / "JPEGImages/cut.jpg")
    (data / "JPEGImages/missing.jpg").unlink()
    voc_xml(data / "Annotations/size.xml", *cat, size=(41, 30))
    made = fix({"use": "voc", "root": "data", "max_pixels": 5000})
    assert sorted((one["check"], Path(one["file"]).stem) for one in made["repairs"]) == [
        ("annotation-misfit", "size"),
        ("dataset-unreadable", "missing"),
        ("image-cut", "cut"),
        ("image-too-large", "large"),
        ("image-unreadable", "empty"),
        ("image-unreadable", "text"),
    ]
    assert {one["done"] for one in made["repairs"]} == {"the image and its objects are left out"}
    assert in_splits(opened(VOC, root=tmp_path / "copy")) == {"train": ["a"], "validation": ["b"]}
    assert sorted(path.name for path in (tmp_path / "copy/JPEGImages").iterdir()) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("images", ["copy", "symlink"])
def test_a_cut_image_is_written_as_far_as_it_goes(data: Path, tmp_path: Path, fix: Fix, images: str) -> None:
    voc_folder(data, {name: [voc_object("cat")] for name in "abcd"}, {"train": ["a", "c", "d"], "val": ["b"]})
    (data / "JPEGImages/a.jpg").write_bytes(b"")  # the places of the others are not those in the original
    file = cut_short(data / "JPEGImages/c.jpg")
    made = fix({"use": "voc", "root": "data", "cut": "fill"}, "--images", images)
    assert made["dataset"] == {"use": "voc", "root": "copy"}
    assert [(one["check"], one["done"]) for one in made["repairs"]] == [
        ("image-unreadable", "the image and its objects are left out"),
        ("image-cut", "what there is of it is written anew, as a PNG"),
    ]
    drawn = decode(tmp_path / "copy/JPEGImages/c.png", rotate=False)
    assert torch.equal(drawn, decode(file, rotate=False, cut="fill"))
    assert (tmp_path / "copy/JPEGImages/b.jpg").is_symlink() == (images == "symlink")
    assert (tmp_path / "copy/JPEGImages/b.jpg").read_bytes() == (data / "JPEGImages/b.jpg").read_bytes()


def test_damage_inside_an_image_is_found_where_it_is_decoded(data: Path, fix: Fix) -> None:
    voc_folder(data, {name: [voc_object("cat")] for name in "abc"}, {"train": ["a", "c"], "val": ["b"]})
    file = picture(data / "JPEGImages/a.png")
    (data / "JPEGImages/a.jpg").unlink()
    content = bytearray(file.read_bytes())
    place = content.index(b"IDAT") + 40
    content[place : place + 20] = bytes(20)
    file.write_bytes(content)
    made = fix({"use": "voc", "root": "data"}, "--decode")
    assert repairs(made) == [("image-unreadable", "a.png", None)]


def test_images_larger_than_pillow_takes_for_safe_need_their_option(
    data: Path, fix: Fix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    voc_folder(data, {name: [voc_object("cat")] for name in "ab"}, {"train": ["a"], "val": ["b"]})
    made = fix({"use": "voc", "root": "data", "max_pixels": 5000})
    assert made["dataset"] == {"use": "voc", "root": "copy", "max_pixels": 5000}


def test_an_image_that_is_turned_by_its_exif_data(data: Path, tmp_path: Path, fix: Fix) -> None:
    voc_folder(data, {name: [voc_object("cat")] for name in "ab"}, {"train": ["a"], "val": ["b"]})
    picture(data / "JPEGImages/a.jpg", 30, 40, orientation=6)
    fix({"use": "voc", "root": "data"})
    copy, original = opened(VOC, root=tmp_path / "copy"), opened(VOC, root=data)
    assert torch.equal(copy[0][0], original[0][0])
    assert objects(copy) == objects(original)


# --- files that keep the dataset from being opened -------------------------------------------------------------------


def test_a_broken_xml_file_and_a_broken_object(data: Path, tmp_path: Path, fix: Fix) -> None:
    cat = voc_object("cat")
    voc_folder(data, {name: [cat, cat.replace(">1<", ">nan<"), voc_object("cat", (3, 3, 9, 9))] for name in "abc"}, {})
    voc_folder(data, {}, {"train": ["a", "c", "nobody"], "val": ["b"]})
    (data / "Annotations/c.xml").write_text("<annotation><object>")
    voc_xml(data / "Annotations/b.xml", cat)
    made = fix({"use": "voc", "root": "data"})
    told = [(Path(one["file"]).name, one["place"].partition(" (")[0], one["done"]) for one in made["repairs"]]
    assert told == [
        ("a.xml", "object 1", "what stands there is left out"),
        ("c.xml", "line 1, column 20", "the image and its objects are left out"),
        ("train.txt", "line 3", "what stands there is left out"),
    ]
    copy = opened(VOC, root=tmp_path / "copy")
    assert len(objects(copy)["a"]) == 2
    assert in_splits(copy) == {"train": ["a"], "validation": ["b"]}


def test_a_broken_line_and_a_broken_file_of_yolo(data: Path, tmp_path: Path, fix: Fix) -> None:
    table = make_yolo(data)
    (data / "labels/train/a.txt").write_text("0 .5 .5 .2 .2\n0 .5 .5 .2\n0 .3 .3 .2 .2\n")
    for name in "cd":
        picture(data / f"images/train/{name}.jpg", seed=ord(name))
    (data / "labels/train/c.txt").write_bytes(b"\xff\xfe\x00")
    (data / "images/train/e.jpg").symlink_to(tmp_path / "nowhere.jpg")
    made = fix(table)
    assert sorted((Path(one["file"]).name, one["place"]) for one in made["repairs"]) == [
        ("a.txt", "line 2"),
        ("c.txt", None),
        ("e.jpg", None),
    ]
    assert {name: len(found) for name, found in objects(opened(YOLO, root=tmp_path / "copy")).items()} == {
        "a": 2,
        "b": 1,
        "d": 0,
    }


def test_a_broken_row_and_a_missing_image_of_a_table(data: Path, tmp_path: Path, fix: Fix) -> None:
    table = make_csv(data)
    file = data / "t.csv"
    file.write_text(f"{file.read_text()}a.jpg,cat,x,2,3,4,train\na.jpg,cat\nc.jpg,cat,1,2,3,4,train\n")
    made = fix(table)
    assert [(one["place"], one["done"]) for one in made["repairs"]][:3] == [
        ("line 8", "what stands there is left out"),
        ("line 9", "what stands there is left out"),
        (None, "the image and its objects are left out"),
    ]
    assert sorted(objects(opened(CSV, root=tmp_path / "copy"))) == ["a", "b"]


def test_a_missing_image_of_coco(data: Path, tmp_path: Path, fix: Fix) -> None:
    table = make_coco(data)
    coco_json(
        data / "train.json",
        [{"id": number, "file_name": f"{name}.jpg"} for number, name in ((1, "gone"), (2, "a"), (3, "c"))],
        [{"image_id": 2, "category_id": 1, "bbox": [1, 2, 10, 10]}],
    )
    picture(data / "images/c.jpg", seed=5)
    made = fix(table)
    assert repairs(made) == [("dataset-unreadable", "train.json", None)]
    assert "gone.jpg does not exist" in made["repairs"][0]["text"]
    assert in_splits(opened(COCO, root=tmp_path / "copy")) == {"train": ["a", "c"], "validation": ["b"]}


def test_broken_annotations_of_coco(data: Path, tmp_path: Path, fix: Fix) -> None:
    good = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 10]}
    rows = [
        good,
        {**good, "bbox": [1, 2, -3, 4]},
        {**good, "bbox": [float("nan"), 2, 3, 4]},
        {**good, "image_id": 9},
        {**good, "category_id": 9},
        {**good, "bbox": [3, 2, 10, 10], "id": 1},
    ]
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}]
    coco_json(data / "all.json", images, rows, pictures=data)
    content = json.loads((data / "all.json").read_text())
    content["annotations"] += [[], *({**good, "id": number, "area": -1} for number in range(100, 130))]
    (data / "all.json").write_text(json.dumps(content))
    made = fix({"use": "coco", "annotations": "data/all.json"})
    told = [one["done"] for one in made["repairs"]]
    assert told == ["it has an id of its own"] + ["what stands there is left out"] * 35
    assert made["repairs"][0]["place"] == "annotations[5]"
    assert made["repairs"][1]["text"].startswith("annotations[1] (id 2) has 'bbox' [1, 2, -3, 4] of negative width")
    assert objects(opened(COCO, root=tmp_path / "copy"))["a"] == [
        ("cat", (1.0, 2.0, 11.0, 12.0)),
        ("cat", (3.0, 2.0, 13.0, 12.0)),
    ]


def test_what_only_a_person_can_mend_writes_nothing(data: Path, tmp_path: Path, capsys: Capture) -> None:
    make_coco(data)
    (data / "val.json").write_text("{")
    spec = spec_of(tmp_path, {"use": "coco", "root": "data"})
    assert run(["data", "check", str(spec), "--fix", str(tmp_path / "copy")]) == 2
    told = capsys.readouterr()
    assert "dataset-unreadable (1)" in told.out
    assert "no copy is written: the dataset cannot be opened, and this can be mended in its files only:" in told.err
    assert "val.json is cut" in told.err
    assert not (tmp_path / "copy").exists()


# --- masks -----------------------------------------------------------------------------------------------------------


def mask_of(file: Path, *values: int, width: int = 40, height: int = 30) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    ids = np.zeros((height, width), np.uint8)
    for place, value in enumerate(values):
        ids[2 : 2 + 8, 3 + 12 * place : 13 + 12 * place] = value
    Image.fromarray(ids).save(file)


def test_pictures_of_masks(data: Path, tmp_path: Path, fix: Fix) -> None:
    for part, names in (("train", "abcd"), ("val", "e")):
        for name in names:
            picture(data / part / f"images/{name}.jpg", seed=ord(name))
            mask_of(data / part / f"masks/{name}.png", 1, 7, 255)
    mask_of(data / "train/masks/b.png", 1, width=41)
    (data / "train/masks/c.png").write_bytes(b"")
    (data / "train/masks/d.png").unlink()
    made = fix({"use": "masks", "root": "data", "void": [255], "classes": ["cell"]})
    assert made["dataset"] == {"use": "masks", "root": "copy"}
    assert sorted((one["check"], Path(one["file"]).stem) for one in made["repairs"]) == [
        ("annotation-misfit", "b"),
        ("annotation-misfit", "c"),
        ("dataset-unreadable", "d"),
    ]
    copy, original = opened(MASKS, root=tmp_path / "copy"), data / "train"
    expected = opened(
        MASKS, images=original / "images", masks=original / "masks", void=(255,), unlabelled="leave_out"
    ).info(0)
    assert [item.mask for item in copy.info(0).annotations] == [item.mask for item in expected.annotations]
    assert copy.class_names == ("cell",)
    assert in_splits(copy) == {"train": ["a"], "validation": ["e"]}


# --- the same image twice --------------------------------------------------------------------------------------------


def test_duplicates_within_a_split_and_across_splits(data: Path, tmp_path: Path, fix: Fix) -> None:
    cat, dog = voc_object("cat"), voc_object("dog", (3, 3, 13, 13))
    pairs: dict[str, Sequence[str]] = {
        "a": [cat, dog],
        "a_same": [dog, cat],
        "b": [cat],
        "b_other": [dog],
        "c": [cat],
        "d": [cat],
        "e": [dog],
    }
    sets: dict[str, Sequence[str]] = {
        "train": ["a", "a_same", "b", "b_other", "c", "d"],
        "val": ["c_val", "e"],
        "test": ["c_test", "d_test"],
    }
    pairs |= {"c_val": [dog], "c_test": [cat], "d_test": [cat]}
    voc_folder(data, pairs, sets)
    for copy, name in (("a_same", "a"), ("b_other", "b"), ("c_val", "c"), ("c_test", "c"), ("d_test", "d")):
        content = (data / f"JPEGImages/{name}.jpg").read_bytes()
        (data / f"JPEGImages/{copy}.jpg").write_bytes(content)
    made = fix({"use": "voc", "root": "data"})
    assert sorted((one["check"], one["image"], one["done"]) for one in made["repairs"]) == [
        ("duplicate-image", "a_same.jpg", "left out; a.jpg stays"),
        ("split-leak", "c.jpg", "left out; c_test.jpg stays"),
        ("split-leak", "c_val.jpg", "left out; c_test.jpg stays"),
        ("split-leak", "d.jpg", "left out; d_test.jpg stays"),
    ]
    assert in_splits(opened(VOC, root=tmp_path / "copy")) == {
        "train": ["a", "b", "b_other"],
        "validation": ["e"],
        "test": ["c_test", "d_test"],
    }
    left = [(one["check"], one["image"]) for one in made["left"]["findings"] if one["severity"] != "note"]
    assert left == [("class-not-in-split", None)] * 2 + [("duplicate-image", "b_other.jpg")]


def test_a_leak_between_parts_that_detkit_divides(data: Path, tmp_path: Path, fix: Fix) -> None:
    voc_folder(data, {name: [voc_object("cat")] for name in "abcdefgh"})
    content = (data / "JPEGImages/a.jpg").read_bytes()
    for name in "bcdefg":
        (data / f"JPEGImages/{name}.jpg").write_bytes(content)
    made = fix({"use": "voc", "root": "data", "split": {"validation": 0.5}})
    assert {one["check"] for one in made["repairs"]} == {"duplicate-image", "split-leak"}
    assert sorted(objects(opened(VOC, root=tmp_path / "copy"))) == ["a", "h"]


def test_an_image_that_two_lists_name(data: Path, tmp_path: Path, fix: Fix) -> None:
    voc_folder(
        data,
        {name: [voc_object("cat")] for name in "abc"},
        {"train": ["a", "b", "c"], "val": ["b", "c"], "test": ["c"]},
    )
    made = fix({"use": "voc", "root": "data"})
    assert [(one["check"], one["image"], one["done"]) for one in made["repairs"]] == [
        ("split-impossible", "b.jpg", "it stays in validation alone"),
        ("split-impossible", "c.jpg", "it stays in test alone"),
    ]
    assert in_splits(opened(VOC, root=tmp_path / "copy")) == {"train": ["a"], "validation": ["b"], "test": ["c"]}


# --- a dataset of a plugin's -----------------------------------------------------------------------------------------

PLUGIN = """
import math
from pathlib import Path

import torch
from torchvision import tv_tensors
from detkit import Dataset, DatasetComponent, Options, hookimpl
from detkit.data.types import Annotation, ImageInfo


class Own(Dataset):
    class_names = ("cat", "dog")

    def __len__(self):
        return 4

    def info(self, index):
        box = (float(index), 2.0, 11.0, 12.0)
        good = Annotation(1, box, 90.0)
        bad = [Annotation(1, (math.nan, 2.0, 11.0, 12.0), 90.0), Annotation(9, (1.0, 1.0, 5.0, 5.0), 16.0)]
        return ImageInfo(7 if index in (1, 3) else index, None, 40, 30, (*bad, good), f"{index}.png")

    def __getitem__(self, index):
        return tv_tensors.Image(torch.full((3, 30, 40), index, dtype=torch.uint8)), {}


@hookimpl
def detkit_datasets():
    return [DatasetComponent(name="own", options=Options, build=lambda options, context: Own())]
"""


def test_a_dataset_that_is_only_read_in_another_format(data: Path, tmp_path: Path, fix: Fix, capsys: Capture) -> None:
    (tmp_path / "own.py").write_text(PLUGIN)
    spec = spec_of(tmp_path, {"use": "own"}, plugins=["own.py"])
    assert run(["data", "check", str(spec), "--fix", str(tmp_path / "copy")]) == 2
    told = capsys.readouterr()
    assert told.out == ""  # before the check, which takes its time
    assert "own is a dataset that is only read" in told.err
    assert "--to writes one in another, which can be coco, csv, masks, voc, yolo" in told.err
    made = fix({"use": "own"}, "--to", "coco", plugins=["own.py"])
    assert made["dataset"] == {"use": "coco", "root": "copy"}
    assert sorted(repairs(made)) == sorted(
        [
            *(("box-not-finite", f"{index}.png", 0) for index in range(4)),
            *(("label-unknown", f"{index}.png", 1) for index in range(4)),
            ("image-id-repeated", "3.png", None),
        ]
    )
    copy = opened(COCO, root=tmp_path / "copy")
    assert [copy.info(index).image_id for index in range(4)] == [0, 7, 2, 8]
    assert [int(copy[index][0].max()) for index in range(4)] == [0, 1, 2, 3]
    assert objects(copy)["2"] == [("cat", (2.0, 2.0, 11.0, 12.0))]


def test_a_reader_of_image_files_that_raises_for_an_image(data: Path, tmp_path: Path, fix: Fix) -> None:
    """As the page on formats of one's own has it."""
    page = (Path(__file__).parents[2] / "docs/how-to/your-own-data.md").read_text(encoding="utf-8")
    (tmp_path / "my_format.py").write_text(page.partition("```python\n# my_format.py\n")[2].partition("```")[0])
    for number, (name, text) in enumerate((("a", "1 2 11 12"), ("b", "1 2 nan 12\n3 4 9 9"), ("c", "1 2"), ("d", ""))):
        picture(data / f"{name}.jpg", seed=number)
        (data / f"{name}.box").write_text(text)
    made = fix({"use": "my_format", "root": "data"}, "--to", "coco", plugins=["my_format.py"])
    assert sorted(repairs(made)) == [("annotation-misfit", "c.jpg", None), ("box-not-finite", "b.jpg", 0)]
    assert {name: len(found) for name, found in objects(opened(COCO, root=tmp_path / "copy")).items()} == {
        "a": 1,
        "b": 1,
        "d": 0,
    }


@pytest.mark.parametrize(("target", "images"), [("voc", 3), ("csv", 3), ("yolo", 2)])
def test_images_of_no_split(data: Path, tmp_path: Path, capsys: Capture, target: str, images: int) -> None:
    """YOLO's lists cannot name them; the loss says so."""
    voc_folder(data, {name: [voc_object("cat")] for name in "abc"}, {"train": ["a"], "val": ["b"]})
    spec = spec_of(tmp_path, {"use": "voc", "root": "data"})
    arguments = ["--to", target, "--fix", str(tmp_path / "copy"), "--json"]
    assert run(["data", "check", str(spec), *arguments]) == 0
    made = json.loads(capsys.readouterr().out)["fix"]
    assert made["left"]["images"] == images
    assert [loss["count"] for loss in made["losses"] if loss["what"] == "images of no split"] == [1]


def test_a_list_of_names_in_the_spec_that_names_what_is_left_out(data: Path, tmp_path: Path, fix: Fix) -> None:
    voc_folder(data, {name: [voc_object("cat")] for name in "abcd"})
    (data / "JPEGImages/d.jpg").write_bytes(b"")
    (tmp_path / "val.txt").write_text("a.jpg\nd.jpg\n")
    made = fix({"use": "voc", "root": "data", "split": {"validation": "val.txt"}}, left=1)
    (error,) = (one for one in made["left"]["findings"] if one["severity"] == "error")
    assert error["check"] == "split-impossible"
    assert "val.txt" in error["text"]


# --- what is repaired, and what is left ------------------------------------------------------------------------------


def test_only_and_skip_limit_the_repairs(data: Path, tmp_path: Path, capsys: Capture) -> None:
    spec = spec_of(tmp_path, make_voc(data))
    arguments = ["data", "check", str(spec), "--json", "--fix"]
    assert run([*arguments, str(tmp_path / "one"), "--only", "box-without-area", "--only", "box-outside"]) == 0
    made = json.loads(capsys.readouterr().out)["fix"]
    assert [one["check"] for one in made["repairs"]] == ["box-without-area", "box-outside"]
    assert len(objects(opened(VOC, root=tmp_path / "one"))["a"]) == 3
    assert run([*arguments, str(tmp_path / "two"), "--skip", "box-without-area"]) == 0
    made = json.loads(capsys.readouterr().out)["fix"]
    assert [one["check"] for one in made["repairs"]] == ["box-outside", "box-over-edge", "object-repeated"]
    assert ("cat", (5, 5, 5, 9)) in objects(opened(VOC, root=tmp_path / "two"))["a"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--skip", "image-unreadable"], "b.jpg: it is empty (image-unreadable)"),
        (
            ["--only", "box-without-area"],
            "--only, --skip or skip_checks keeps them from being left out; no copy is written",
        ),
    ],
)
def test_what_cannot_be_copied_and_not_be_left_out(
    data: Path, tmp_path: Path, capsys: Capture, arguments: list[str], complaint: str
) -> None:
    spec = spec_of(tmp_path, make_voc(data))
    (data / "JPEGImages/b.jpg").write_bytes(b"")
    assert run(["data", "check", str(spec), "--fix", str(tmp_path / "copy"), *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


def test_what_the_spec_skips_is_not_repaired(data: Path, tmp_path: Path, fix: Fix) -> None:
    made = fix({**make_voc(data), "skip_checks": ["object-repeated"]})
    assert [one["check"] for one in made["repairs"]] == ["box-without-area", "box-outside", "box-over-edge"]
    assert made["dataset"] == {"use": "voc", "root": "copy", "skip_checks": ["object-repeated"]}
    assert len(objects(opened(VOC, root=tmp_path / "copy"))["a"]) == 3


def test_names_that_look_like_one_class_are_left_to_people(data: Path, tmp_path: Path, capsys: Capture) -> None:
    """The whole output for people."""
    voc_folder(
        data, {"a": [voc_object("cat"), voc_object("cats"), voc_object("cat", (5, 5, 5, 9), truncated=1)], "b": []}
    )
    spec = spec_of(tmp_path, {"use": "voc", "root": "data", "boxes": "pixels", "degenerate": "drop"})
    assert run(["data", "check", str(spec), "--fix", str(tmp_path / "copy"), "--only", "class-names-alike"]) == 0
    capsys.readouterr()
    again = ["--only", "class-names-alike", "--only", "box-without-area", "--strict"]
    voc_xml(data / "Annotations/a.xml", voc_object("cat"), voc_object("cats"), voc_object("cat", (5, 5, 4, 9)))
    assert run(["data", "check", str(spec), "--fix", str(tmp_path / "second"), *again]) == 1
    lines = capsys.readouterr().out.splitlines()
    # The copy's boxes are edges, whatever the original's were.
    assert objects(opened(VOC, root=tmp_path / "second"))["a"] == [("cat", (0, 1, 11, 12)), ("cats", (0, 1, 11, 12))]
    begin = lines.index(f"repaired copy: {tmp_path / 'second'} (2 images, 2 objects)")
    assert lines[begin + 1 :] == [
        "",
        "repaired box-without-area (1): a box that is no wider or no higher than 0: training with it stops, or makes"
        " losses that are not finite",
        f"  {data / 'Annotations/a.xml'}, object 2: box (4, 4, 4, 9) has no area: the object is left out",
        "",
        "nothing was lost",
        "",
        "left in the copy: 0 errors, 1 warning, 0 notes",
        "",
        "warning class-names-alike (1): two class names that differ in case, blanks, hyphens, a plural or one letter"
        " only",
        "  'cat' and 'cats': are they one class?",
        "  to do: if they mean one class, give its objects one name in the files",
        "",
        "to use the copy, put this in the place of [dataset]; [dataset.split] may stay as it is:",
        "",
        "[dataset]",
        'use = "voc"',
        'root = "second"',
        'degenerate = "drop"',
    ]


def test_nothing_to_repair(data: Path, tmp_path: Path, capsys: Capture) -> None:
    voc_folder(data, {name: [voc_object("cat", difficult=1)] for name in "ab"}, {"train": ["a"], "val": ["b"]})
    spec = spec_of(tmp_path, {"use": "voc", "root": "data", "difficult": "crowd"})
    assert run(["data", "check", str(spec), "--fix", str(tmp_path / "copy")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "there was nothing to repair" in lines
    assert lines[-4:] == ["[dataset]", 'use = "voc"', 'root = "copy"', 'difficult = "crowd"']
    assert opened(VOC, root=tmp_path / "copy", difficult="crowd").info(0).annotations[0].iscrowd


def test_masks_that_the_format_does_not_get(data: Path, tmp_path: Path, capsys: Capture) -> None:
    table = make_yolo(data)
    (data / "labels/train/a.txt").write_text("0 .1 .1 .5 .1 .5 .5 .1 .5\n")
    (data / "labels/val/b.txt").write_text("")
    spec = spec_of(tmp_path, table)
    assert run(["data", "check", str(spec), "--fix", str(tmp_path / "copy")]) == 0
    lines = capsys.readouterr().out.splitlines()
    place = lines.index("not all of the original is in the copy:")
    assert lines[place + 2].split()[:4] == ["masks", "1", "become", "boxes"]
    assert lines[place + 3] == "--to writes the copy in a format that holds masks, as coco"
    assert run(["data", "check", str(spec), "--fix", str(tmp_path / "other"), "--to", "coco"]) == 0
    assert "nothing was lost" in capsys.readouterr().out
    assert "masks" in opened(COCO, root=tmp_path / "other").provides


def test_no_image_is_left(data: Path, tmp_path: Path, capsys: Capture) -> None:
    voc_folder(data, {"a": []})
    (data / "JPEGImages/a.jpg").write_bytes(b"")
    spec = spec_of(tmp_path, {"use": "voc", "root": "data"})
    assert run(["data", "check", str(spec), "--fix", str(tmp_path / "copy")]) == 2
    assert "no image is left" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


def test_no_image_is_left_to_train_on(data: Path, tmp_path: Path, capsys: Capture) -> None:
    voc_folder(data, {name: [voc_object("cat")] for name in "abc"}, {"train": ["a"], "val": ["b", "c"]})
    (data / "JPEGImages/b.jpg").write_bytes((data / "JPEGImages/a.jpg").read_bytes())
    spec = spec_of(tmp_path, {"use": "voc", "root": "data"})
    assert run(["data", "check", str(spec), "--fix", str(tmp_path / "copy")]) == 2
    assert "no image is left in train" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--fix", "data"], "data is not empty: nothing is overwritten"),
        (["--fix", "data/new"], "lies in"),
        (["--fix", "spec.toml"], "is there and is no folder"),
        (["--fix", "spec.toml/new"], "spec.toml is no folder"),
        (["--fix", "/proc/nobody/new"], "cannot be made"),
        (["--to", "coco"], "--to is the format of a repaired copy: give --fix DIR, too"),
        (["--images", "copy"], "--images says how images get into a repaired copy: give --fix DIR, too"),
        (["--fix", "new", "--to", "cocos"], "'cocos' can be written; did you mean 'coco'?"),
        (["--fix", "new", "--to", "masks"], "the dataset has boxes and no masks"),
    ],
)
def test_what_is_refused(
    data: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    arguments: Sequence[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    spec_of(tmp_path, make_voc(data))
    before = state(tmp_path)
    assert run(["data", "check", "spec.toml", *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert state(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "spec.toml"]


def test_an_interrupted_repair_leaves_nothing(
    data: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    spec = spec_of(tmp_path, make_voc(data))
    before = state(data)
    monkeypatch.setattr("detkit_formats.writers._voc_xml", interrupt)
    assert run(["data", "check", str(spec), "--fix", str(tmp_path / "copy")]) == 130
    assert f"interrupted; there is no copy in {tmp_path / 'copy'}" in capsys.readouterr().err
    assert state(data) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "spec.toml"]


def test_an_interrupt_while_the_copy_is_checked(
    data: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    spec = spec_of(tmp_path, make_voc(data))
    monkeypatch.setattr("detkit.doctor.repair.check_data", interrupt)
    assert run(["data", "check", str(spec), "--fix", str(tmp_path / "copy")]) == 130
    assert f"interrupted; the copy in {tmp_path / 'copy'} is whole, and was not checked" in capsys.readouterr().err
    assert objects(opened(VOC, root=tmp_path / "copy"))["a"] == STAY


# --- real data -------------------------------------------------------------------------------------------------------


def training(folder: Path, name: str, dataset: dict[str, Any]) -> Path:
    """Small, and on the CPU: what is looked at is the data."""
    file = folder / f"{name}.toml"
    file.write_text(
        tomli_w.dumps(
            {
                "experiment": {"name": name, "output": str(folder / "runs")},
                "dataset": dataset,
                "input": {"min_size": 96, "max_size": 128},
                "compute": {"device": "cpu", "precision": "fp32", "threads": 1, "workers": 0},
                "train": {"epochs": 1, "batch_size": 2},
                "models": {"fcos": {"backbone": "tiny_fpn"}},
                "metrics": {"coco": {}},
            }
        )
    )
    return file


@needs_bccd
def test_bccd_is_repaired_in_a_copy(tmp_path: Path, capsys: Capture) -> None:
    before = state(BCCD)
    spec = spec_of(tmp_path, {"use": "voc", "root": str(BCCD)})
    assert run(["data", "check", str(spec), "--json", "--fix", str(tmp_path / "copy"), "--images", "symlink"]) == 0
    found = json.loads(capsys.readouterr().out)
    places = [
        (one["check"], Path(one["file"]).name, one["object"]) for one in found["findings"] if one["severity"] == "error"
    ]
    assert places == [
        ("box-without-area", "BloodImage_00338.xml", 12),
        ("box-without-area", "BloodImage_00343.xml", 3),
    ]
    made = found["fix"]
    assert [(one["check"], Path(one["file"]).name, one["object"]) for one in made["repairs"]] == places
    assert made["left"]["counts"]["error"] == 0
    assert (made["images"], made["objects"]) == (364, 4886)
    assert made["splits"] == {"train": 205, "validation": 87, "test": 72}
    assert made["losses"] == [{"what": "truncated of objects", "count": 1131, "text": "is not kept", "example": ""}]
    again = spec_of(tmp_path, made["dataset"], "again.toml")
    assert run(["data", "check", str(again)]) == 0
    capsys.readouterr()
    assert state(BCCD) == before
    original, copy = opened(VOC, root=BCCD), opened(VOC, root=tmp_path / "copy")
    kept = {
        name: [item for item in items if item[1][0] < item[1][2] and item[1][1] < item[1][3]]
        for name, items in objects(original).items()
    }
    assert objects(copy) == kept
    assert in_splits(copy) == in_splits(original)


@needs_bccd
@pytest.mark.slow
def test_bccd_trains_with_drop_and_as_a_copy_and_is_refused_with_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    original = {"use": "voc", "root": str(BCCD)}
    assert run(["run", str(training(tmp_path, "error", original)), "--smoke"]) == 2
    told = capfd.readouterr().err
    for place in (r"BloodImage_00338.xml,? object 12", r"BloodImage_00343.xml,? object 3"):
        assert re.search(place, told)
    assert run(["run", str(training(tmp_path, "drop", {**original, "degenerate": "drop"})), "--smoke"]) == 0
    capfd.readouterr()
    spec = spec_of(tmp_path, original)
    assert run(["data", "check", str(spec), "--json", "--fix", str(tmp_path / "copy"), "--images", "symlink"]) == 0
    copy = json.loads(capfd.readouterr().out)["fix"]["dataset"]
    assert run(["run", str(training(tmp_path, "copy-of-bccd", copy)), "--smoke"]) == 0
