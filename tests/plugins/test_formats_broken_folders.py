"""A folder with one image of each kind that people have, whole and broken, in every format: `detkit data check`."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detkit.cli.main import run
from plugins.format_files import picture, voc_object, voc_xml
from plugins.test_formats_hostile import chunk

SIZE = (40, 30)


@pytest.fixture(autouse=True)
def formats(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugins at work, also where the installed metadata is older than pyproject.toml."""
    points = [EntryPoint(name, f"detkit_{name}", "detkit.plugins") for name in ("basics", "formats", "pennfudan")]
    monkeypatch.setattr("detkit.plugins.entry_points", lambda **_: points)


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))


def bomb(file: Path) -> None:
    """A few kilobytes that are 1.2 GB of pixels."""
    header = (20_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * 20_000)
    pixels = b"".join([*(packer.compress(row) for _ in range(50)), packer.flush()])
    parts = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


def linked(file: Path) -> None:
    target = file.parent.parent / "elsewhere.png"
    noise().rotate(180).save(target)
    file.symlink_to(target)


#: By name: how it is made, and the check that must find it; "" where it must be read. In the order of the names.
IMAGES: Mapping[str, tuple[Callable[[Path], Any], str]] = {
    "bits.png": (lambda file: noise().convert("1").save(file), ""),
    "bomb.png": (bomb, "image-too-large"),
    "cmyk.jpg": (lambda file: noise().convert("CMYK").save(file), ""),
    "cut.jpg": (lambda file: file.write_bytes(picture(file, seed=5).read_bytes()[:-200]), "image-cut"),
    "deep.png": (lambda file: Image.fromarray(np.full((30, 40), 9999, np.uint16)).save(file), ""),
    "grey.png": (lambda file: noise().convert("L").save(file), ""),
    "linked.png": (linked, ""),
    "näme with spaces 日本.png": (lambda file: picture(file, seed=6), ""),
    "palette.png": (lambda file: noise().quantize(16).save(file), ""),
    "rgba.png": (lambda file: noise().convert("RGBA").save(file), ""),
    "text.png": (lambda file: file.write_text("no picture"), "image-unreadable"),
    "turned.jpg": (lambda file: picture(file, 30, 40, seed=7, orientation=6), ""),
    "twin.png": (lambda file: picture(file, seed=6), "duplicate-image"),
    "zero.jpg": (lambda file: file.write_bytes(b""), "image-unreadable"),
}


def make(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, (image, _) in IMAGES.items():
        image(folder / name)


def coco(root: Path) -> str:
    make(root / "images")
    rows = [{"id": n, "file_name": name, "width": 40, "height": 30} for n, name in enumerate(IMAGES, 1)]
    for row in rows:
        row.update({"width": 20_000, "height": 20_000} if row["file_name"] == "bomb.png" else {})
    box = {"category_id": 1, "bbox": [5, 5, 10, 10], "iscrowd": 0, "area": 100}
    objects = [{"id": row["id"], "image_id": row["id"], **box} for row in rows]
    content = {"images": rows, "annotations": objects, "categories": [{"id": 1, "name": "cat"}]}
    (root / "data.json").write_text(json.dumps(content))
    return 'exif = "apply"'


def voc(root: Path) -> str:
    make(root / "JPEGImages")
    for name in IMAGES:
        file = root / "Annotations" / Path(name).with_suffix(".xml")
        voc_xml(file, voc_object(), size=None, filename=name)
    return ""


def yolo(root: Path) -> str:
    make(root / "images")
    (root / "labels").mkdir()
    for name in IMAGES:
        (root / "labels" / name).with_suffix(".txt").write_text("0 0.5 0.5 0.5 0.5\n")
    return 'classes = ["cat"]'


def table(root: Path) -> str:
    make(root / "images")
    rows = "".join(f"{name},cat,5,5,15,15\n" for name in IMAGES)
    (root / "data.csv").write_text(f"image,class,xmin,ymin,xmax,ymax\n{rows}", encoding="utf-8")
    return ""


def masks(root: Path) -> str:
    make(root / "images")
    (root / "masks").mkdir()
    mask = np.zeros((30, 40), np.uint8)
    mask[5:15, 5:15] = 1
    for name in IMAGES:
        Image.fromarray(mask).save((root / "masks" / name).with_suffix(".png"))
    return 'exif = "apply"'


@pytest.mark.parametrize(
    ("use", "build"), [("coco", coco), ("voc", voc), ("yolo", yolo), ("csv", table), ("masks", masks)]
)
def test_each_has_its_finding_and_the_others_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], use: str, build: Callable[[Path], str]
) -> None:
    options = build(tmp_path / "data")
    spec = tmp_path / "spec.toml"
    spec.write_text(f'[dataset]\nuse = "{use}"\nroot = "data"\n{options}\n')
    assert run(["data", "check", str(spec), "--json"]) == 1
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert "Traceback" not in printed.err
    assert (found["images"], found["class_names"]) == (14, ["object" if use == "masks" else "cat"])
    by_image: dict[str, set[str]] = {}
    for finding in found["findings"]:
        if finding["severity"] != "note" and finding["image"]:
            by_image.setdefault(finding["image"], set()).add(finding["check"])
    assert by_image == {name: {check} for name, (_, check) in IMAGES.items() if check}
    assert found["objects"] == 11  # of all that can be read from headers; cut.jpg too

    spec.write_text(spec.read_text() + "[models.m]\nuse = 'nothing'\n")
    assert run(["data", "convert", str(spec), str(tmp_path / "out"), "--to", "coco"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()
