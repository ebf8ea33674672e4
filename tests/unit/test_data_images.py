"""Image files as they come: headers without decoding, turns, files that are cut, too large, missing or no images."""

from __future__ import annotations

import os
import pickle
import signal
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from detkit.data.images import UnreadableImage, decode, from_pillow, read_header, read_ids

#: Three columns and two rows, all different.
RGB = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [200, 100, 50], [255, 255, 255]]], np.uint8)


def saved(folder: Path, image: Image.Image, name: str, **options: Any) -> Path:
    image.save(folder / name, **options)
    return folder / name


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def pixels(tensor: torch.Tensor) -> list[Any]:
    assert tensor.dtype == torch.uint8
    assert tensor.is_contiguous()
    return list(tensor.permute(1, 2, 0).tolist())


def noise(height: int = 64, width: int = 96) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8))


# --- modes -----------------------------------------------------------------------------------------------------------

MODES = {
    "L.png": Image.new("L", (5, 3), 7),
    "1.png": Image.new("1", (5, 3), 1),
    "P.png": noise(3, 5).quantize(4),
    "RGBA.png": Image.new("RGBA", (5, 3), (9, 8, 7, 0)),
    "LA.png": Image.new("LA", (5, 3), (9, 0)),
    "CMYK.jpg": Image.new("CMYK", (5, 3), (1, 2, 3, 4)),
    "16.png": Image.fromarray(np.full((3, 5), 257 * 9, np.uint16)),
    "f.tif": Image.fromarray(np.full((3, 5), 0.5, np.float32)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", MODES)
def test_every_mode_becomes_rgb_of_the_size_in_its_header(tmp_path: Path, name: str) -> None:
    file = saved(tmp_path, MODES[name], name)
    header = read_header(file, rotate=True)
    image = decode(file, rotate=True)
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 3, 5))
    assert (header.height, header.width) == (3, 5)
    assert not header.cut
    assert header.format == {"jpg": "JPEG", "png": "PNG", "tif": "TIFF"}[name[-3:]]


def test_values_of_modes(tmp_path: Path) -> None:
    def first(name: str) -> list[int]:
        value: list[int] = decode(saved(tmp_path, MODES[name], name), rotate=True)[:, 0, 0].tolist()
        return value

    assert first("1.png") == [255, 255, 255]
    assert first("RGBA.png") == [9, 8, 7]  # what lies under the transparency
    assert first("LA.png") == [9, 9, 9]
    assert first("16.png") == [9, 9, 9]
    assert first("f.tif") == [128, 128, 128]


def test_a_transparent_palette_keeps_its_colours(tmp_path: Path) -> None:
    palette = Image.fromarray(RGB).quantize(8)
    file = saved(tmp_path, palette, "t.png", transparency=bytes([0, 128] * 4))
    assert pixels(decode(file, rotate=True)) == RGB.tolist()


# --- turns -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turn_is_applied_or_ignored_by_pixels_and_header_alike(tmp_path: Path, orientation: int, ending: str) -> None:
    options = {"lossless": True} if ending == "webp" else {}
    file = saved(tmp_path, Image.fromarray(RGB), f"o.{ending}", exif=turned(orientation), **options)
    assert pixels(decode(file, rotate=False)) == RGB.tolist()
    upright = decode(file, rotate=True)
    if ending != "tif":  # Pillow turns those when it loads them
        with Image.open(file) as image:
            assert torch.equal(upright, from_pillow(image))
    expected = {6: np.rot90(RGB, -1), 8: np.rot90(RGB), 3: RGB[::-1, ::-1], 5: RGB.transpose(1, 0, 2)}
    if orientation in expected:
        assert pixels(upright) == expected[orientation].tolist()
    for rotate in (True, False):
        header = read_header(file, rotate=rotate)
        assert header.orientation == orientation
        assert header.turned == (orientation >= 5)
        assert (3, header.height, header.width) == tuple(decode(file, rotate=rotate).shape)


def test_exif_data_behind_the_pixels_of_a_png_counts(tmp_path: Path) -> None:
    file = saved(tmp_path, Image.fromarray(RGB), "late.png")
    body = turned(6).tobytes().removeprefix(b"Exif\x00\x00")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
    data = file.read_bytes()
    end = data.rindex(b"IEND") - 4
    file.write_bytes(data[:end] + chunk + data[end:])
    header = read_header(file, rotate=True)
    assert (header.orientation, header.width, header.height) == (6, 2, 3)
    assert pixels(decode(file, rotate=True)) == np.rot90(RGB, -1).tolist()


def test_a_header_is_read_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [saved(tmp_path, noise(), f"a.{ending}", exif=turned(6)) for ending in ("png", "jpg", "tif")]
    files.append(saved(tmp_path, noise(), "plain.png"))  # Pillow's own getexif would decode it

    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    assert [read_header(file, rotate=True).width for file in files] == [64, 64, 64, 96]


# --- files that are cut ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_a_cut_file_is_an_error_and_its_header_says_so(tmp_path: Path, ending: str) -> None:
    file = saved(tmp_path, noise(), f"c.{ending}")
    assert not read_header(file, rotate=True).cut
    file.write_bytes(file.read_bytes()[:-1500])
    header = read_header(file, rotate=True)
    assert (header.width, header.height, header.cut) == (96, 64, True)
    with pytest.raises(UnreadableImage, match=rf"c\.{ending} cannot be read as an image: .*truncated") as caught:
        decode(file, rotate=True)
    assert (caught.value.file, caught.value.trouble) == (file, "broken")


def test_what_is_missing_of_a_jpeg_is_filled_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path, noise(), "c.jpg")
    whole = decode(file, rotate=True)
    assert torch.equal(decode(file, rotate=True, cut="fill"), whole)
    file.write_bytes(file.read_bytes()[:-1500])
    filled = decode(file, rotate=True, cut="fill")
    assert torch.equal(filled[:, :16], whole[:, :16])
    assert not torch.equal(filled, whole)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with Image.open(file) as image:
        assert torch.equal(filled, from_pillow(image))


def test_data_behind_a_jpeg_is_no_cut(tmp_path: Path) -> None:
    file = saved(tmp_path, noise(), "phone.jpg")
    file.write_bytes(file.read_bytes() + b"SEFT" * 1000)
    assert not read_header(file, rotate=True).cut
    assert decode(file, rotate=True).shape == (3, 64, 96)


# --- size ------------------------------------------------------------------------------------------------------------


def test_a_picture_of_20000_by_20000_has_a_header_and_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "huge.png"
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")]
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in parts
        )
    )
    before = Image.MAX_IMAGE_PIXELS
    assert (read_header(file, rotate=True).width, read_header(file, rotate=True).height) == (20_000, 20_000)
    assert before == Image.MAX_IMAGE_PIXELS
    with pytest.raises(UnreadableImage, match=r"huge\.png has more pixels than the 89,478,485 .*max_pixels") as caught:
        decode(file, rotate=True)
    assert caught.value.trouble == "too large"


def test_the_limit_is_an_option_in_both_directions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path, noise(10, 20), "a.png")
    with pytest.raises(UnreadableImage, match=r"more pixels than the 199 of max_pixels \(20 x 10\)"):
        decode(file, rotate=True, max_pixels=199)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    assert decode(file, rotate=True, max_pixels=200).shape == (3, 10, 20)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_fork_while_a_thread_reads_leaves_the_child_able_to_read(tmp_path: Path) -> None:
    file = saved(tmp_path, noise(), "a.png")
    ends = threading.Event()

    def read() -> None:
        while not ends.is_set():
            read_header(file, rotate=True)

    limit = Image.MAX_IMAGE_PIXELS  # before the thread begins, which lifts it for moments
    thread = threading.Thread(target=read)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if not child:
                signal.alarm(10)  # a lock that is held would be waited for without end
                os._exit(0 if Image.MAX_IMAGE_PIXELS and read_header(file, rotate=True).width == 96 else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        ends.set()
        thread.join()
    assert limit == Image.MAX_IMAGE_PIXELS


# --- files of other kinds --------------------------------------------------------------------------------------------


def test_what_is_no_image_is_told_with_its_kind(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "broken link.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    for name, trouble, text in (
        ("empty.jpg", "empty", "it is empty"),
        ("text.jpg", "unknown", "no picture of a format that Pillow knows"),
        ("folder.jpg", "unknown", "is a folder"),
        ("none.jpg", "missing", "there is no image"),
        ("broken link.jpg", "missing", "it is a link to .*gone.jpg, which does not exist"),
        ("loop.jpg", "broken", "symbolic links"),
    ):
        for read in (read_header, decode):
            with pytest.raises(UnreadableImage, match=text) as caught:
                read(tmp_path / name, rotate=True)
            assert caught.value.trouble == trouble
            assert str(tmp_path / name) in str(caught.value)


def test_the_error_survives_a_process(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage) as caught:
        decode(tmp_path / "none.png", rotate=True)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.file, again.trouble) == (str(caught.value), tmp_path / "none.png", "missing")


def test_endings_links_spaces_and_letters_do_not_matter(tmp_path: Path) -> None:
    file = saved(tmp_path, Image.fromarray(RGB), "Straße 日本 1.png")
    wrong = tmp_path / "wrong ending.jpg"
    wrong.write_bytes(file.read_bytes())
    link = tmp_path / "link.png"
    link.symlink_to(file)
    for path in (file, wrong, link):
        assert pixels(decode(path, rotate=True)) == RGB.tolist()
    assert read_header(wrong, rotate=True).format == "PNG"


@pytest.mark.skipif(os.name != "posix", reason="names of bytes that are no text are POSIX's")
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    Image.fromarray(RGB).save(path)
    assert pixels(decode(path, rotate=True)) == RGB.tolist()


# --- pictures of instance numbers ------------------------------------------------------------------------------------


def test_ids_are_read_as_stored(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 2], [255, 1, 0]], np.uint8)
    palette = Image.fromarray(ids).convert("P")
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, *([9] * (253 * 3))])
    assert read_ids(saved(tmp_path, palette, "p.png")).tolist() == ids.tolist()
    assert read_ids(saved(tmp_path, Image.fromarray(ids), "l.png")).tolist() == ids.tolist()
    deep = np.array([[0, 300, 65535]], np.uint16)
    assert read_ids(saved(tmp_path, Image.fromarray(deep), "d.png")).tolist() == deep.tolist()
    assert read_ids(saved(tmp_path, Image.new("1", (2, 1), 1), "b.png")).tolist() == [[1, 1]]


def test_ids_have_one_channel(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"m\.png: has 3 channels \(mode RGB\); a mask has one"):
        read_ids(saved(tmp_path, Image.fromarray(RGB), "m.png"))
