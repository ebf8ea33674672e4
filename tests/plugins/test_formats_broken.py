"""A folder with a broken image of each kind gives a finding each that names the file; odd images are read."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detkit import DataError
from detkit.data.faults import DataFaults
from detkit.data.images import read_header
from detkit_formats import YOLO
from plugins.format_files import opened, picture


def png_of_size(width: int, height: int) -> bytes:
    """A header that claims a size, and nothing behind it."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))


def cut(file: Path) -> None:
    file.write_bytes(picture(file).read_bytes()[:-300])


#: What is broken, and what is said of it; by name.
BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "zero.jpg": (lambda file: file.write_bytes(b""), "it is empty"),
    "text.jpg": (lambda file: file.write_text("not an image"), "no picture of a format that Pillow knows"),
    "cut.jpg": (cut, "truncated"),
    "cut.png": (cut, "truncated"),
    "huge.png": (lambda file: file.write_bytes(png_of_size(20_000, 20_000)), "more pixels than the 89,478,485"),
    "deep.tif": (lambda file: Image.fromarray(np.full((30, 40), 70_000, np.int32)).save(file), "8 or 16 bits"),
}
#: What is odd and is read.
ODD: dict[str, Callable[[Path], Any]] = {
    "grey.png": lambda file: noise().convert("L").save(file),
    "bits.png": lambda file: noise().convert("1").save(file),
    "palette.png": lambda file: noise().quantize(16).save(file),
    "clear palette.png": lambda file: noise().quantize(16).save(file, transparency=0),
    "rgba.png": lambda file: noise().convert("RGBA").save(file),
    "cmyk.jpg": lambda file: noise().convert("CMYK").save(file),
    "sixteen.png": lambda file: Image.fromarray(np.full((30, 40), 9999, np.uint16)).save(file),
    "really a png.jpg": lambda file: noise().save(file, format="PNG"),
    "Straße 日本.jpg": lambda file: noise().save(file),
    "turned.jpg": lambda file: picture(file, 30, 40, orientation=6),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, (name, make) in enumerate([*((n, m) for n, (m, _) in BROKEN.items()), *ODD.items()]):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "labels").mkdir(exist_ok=True)
        make(tmp_path / "images" / name)
        if name != "cut.png":  # its labels are those of cut.jpg, as YOLO names them
            (tmp_path / "labels" / name).with_suffix(".txt").write_text(f"{number % 2} 0.5 0.5 0.5 0.5\n")
    return tmp_path


@pytest.mark.filterwarnings("error")
def test_each_is_a_finding_or_is_read(root: Path) -> None:
    dataset = opened(YOLO, root=root, classes=["cat", "dog"])
    findings: dict[str, str] = {}
    for index, file in enumerate(dataset.files):  # type: ignore[attr-defined]  # of a FileDataset
        if file.path.name in BROKEN:
            with pytest.raises(DataError, match=re.escape(str(file.path))) as caught:
                dataset[index]
            findings[file.path.name] = str(caught.value)
            continue
        info = dataset.info(index)
        image, target = dataset[index]
        assert (image.shape[1], image.shape[2]) == (info.height, info.width) == (30, 40)
        assert target["boxes"].tolist() == [[10, 7.5, 30, 22.5]]
    assert findings.keys() == BROKEN.keys()
    for name, (_, text) in BROKEN.items():
        assert text in findings[name]


@pytest.mark.skipif(os.name != "posix", reason="names of bytes that are no text are POSIX's")
def test_a_name_that_is_no_text_can_be_written(tmp_path: Path) -> None:
    for folder, ending in (("images", ".png"), ("labels", ".txt")):
        (tmp_path / folder).mkdir()
        path = Path(os.fsdecode(os.fsencode(tmp_path / folder) + b"/caf\xe9" + ending.encode()))
        noise().save(path) if ending == ".png" else path.write_text("0 0.5 0.5 0.5 0.5\n")
    dataset = opened(YOLO, root=tmp_path, classes=["cat"])
    info = dataset.info(0)
    assert info.label == r"caf\udce9.png"
    assert len(info.annotations) == 1
    assert dataset[0][0].shape == (3, 30, 40)
    assert info.annotations[0].source.encode("utf-8") == rb"caf\udce9.txt line 1"


def test_headers_tell_of_cut_and_huge_files_without_decoding(root: Path) -> None:
    headers = {name: read_header(root / "images" / name, rotate=True) for name in ("cut.jpg", "cut.png", "huge.png")}
    assert [(header.width, header.cut) for header in headers.values()] == [(40, True), (40, True), (20_000, False)]


def test_links_that_lead_nowhere_are_told_at_once(root: Path) -> None:
    (root / "images/gone.jpg").symlink_to(root / "nothing.jpg")
    (root / "images/loop.jpg").symlink_to(root / "images/loop.jpg")
    (root / "images/circle").symlink_to(root / "images")  # a folder in itself
    with pytest.raises(DataFaults) as caught:
        opened(YOLO, root=root, classes=["cat", "dog"])
    assert [(fault.file.name, fault.text.partition("which ")[2]) for fault in caught.value.faults] == [
        ("gone.jpg", "does not exist; bring that back, or remove the link"),
        ("loop.jpg", "leads in a circle; bring that back, or remove the link"),
    ]
