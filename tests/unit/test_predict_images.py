"""Reading images: every mode that Pillow knows, arrays, tensors, and what is none of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from detkit.data.images import from_pillow
from detkit.errors import DataError
from detkit.predict.images import as_model_input, read_image, to_tensor

#: Three columns and two rows, all different.
RGB = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [200, 100, 50], [255, 255, 255]]], np.uint8)


def saved(folder: Path, image: Image.Image, name: str, **options: Any) -> Path:
    image.save(folder / name, **options)
    return folder / name


def pixels(tensor: torch.Tensor) -> list[Any]:
    """As rows of RGB."""
    assert tensor.dtype == torch.uint8
    return list(tensor.permute(1, 2, 0).tolist())


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.webp", "a.tga", "Straße 1.png"])
def test_a_picture_without_loss_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    options = {"lossless": True} if name.endswith("webp") else {}
    file = saved(tmp_path, Image.fromarray(RGB), name, **options)
    assert pixels(read_image(file)) == RGB.tolist()
    assert pixels(to_tensor(str(file))) == RGB.tolist()


def test_grey_pictures_have_three_equal_channels(tmp_path: Path) -> None:
    grey = np.array([[0, 128, 255]], np.uint8)
    for mode in ("L", "LA"):
        file = saved(tmp_path, Image.fromarray(grey).convert(mode), f"{mode}.png")
        assert pixels(read_image(file)) == [[[0] * 3, [128] * 3, [255] * 3]]
    bits = Image.fromarray(grey).point(lambda value: 255 * (value > 100)).convert("1")
    assert pixels(from_pillow(bits)) == [[[0] * 3, [255] * 3, [255] * 3]]


@pytest.mark.filterwarnings("error")
def test_palettes_are_looked_up_and_transparency_is_dropped(tmp_path: Path) -> None:
    palette = Image.fromarray(RGB).quantize(8)
    assert pixels(read_image(saved(tmp_path, palette, "p.png"))) == RGB.tolist()
    assert pixels(read_image(saved(tmp_path, palette, "t.png", transparency=bytes([0, 128] * 4)))) == RGB.tolist()
    clear = Image.fromarray(np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)]))
    assert clear.mode == "RGBA"
    assert pixels(read_image(saved(tmp_path, clear, "a.png"))) == RGB.tolist()


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    file = saved(tmp_path, Image.new("RGB", (8, 8), (200, 30, 60)).convert("CMYK"), "c.jpg", quality=95)
    with Image.open(file) as image:
        assert image.mode == "CMYK"
    read = read_image(file)
    assert (read.float().mean(dim=(1, 2)) - torch.tensor([200.0, 30, 60])).abs().max() < 4


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    deep = np.array([[0, 257 * 100, 65535]], np.uint16)
    expected = [[[0] * 3, [100] * 3, [255] * 3]]
    for name in ("d.png", "d.tif"):
        assert pixels(read_image(saved(tmp_path, Image.fromarray(deep), name))) == expected
    big_endian = Image.frombytes("I;16B", (3, 1), deep.astype(">u2").tobytes())
    assert pixels(from_pillow(big_endian)) == expected
    assert pixels(from_pillow(Image.fromarray(deep.astype(np.int32)))) == expected  # mode I
    assert pixels(to_tensor(deep)) == expected


def test_values_without_a_known_range_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, Image.fromarray(np.array([[0, 70000]], np.int32)), "i.tif")
    with pytest.raises(DataError, match=r"i\.tif: its values reach from 0 to 70000; make it a picture of 8 or 16 bits"):
        read_image(file)
    file = saved(tmp_path, Image.fromarray(np.array([[0, 300]], np.float32)), "f.tif")
    with pytest.raises(DataError, match=r"f\.tif: float values lie in 0\.\.1, not in 0\.\.300"):
        read_image(file)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(tmp_path, Image.fromarray(RGB), "o.png", exif=exif)
    turned = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, -1),
        7: RGB[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(RGB),
    }
    assert pixels(read_image(file)) == turned[orientation].tolist()


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    file = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert pixels(read_image(file))[0][0] == [255, 0, 0]


def test_one_pixel_is_an_image(tmp_path: Path) -> None:
    assert read_image(saved(tmp_path, Image.new("RGB", (1, 1), (1, 2, 3)), "one.png")).shape == (3, 1, 1)


# --- broken files ----------------------------------------------------------------------------------------------------


def test_a_broken_file_is_told_with_its_cause(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(buffer, "PNG")
    contents = {
        "empty.png": (b"", "it is empty"),
        "text.jpg": (b"hello", "no picture of a format that Pillow knows"),
        "cut.png": (buffer.getvalue()[:4000], "cannot be read as an image: .*truncated"),
    }
    for name, (content, cause) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=cause) as caught:
            read_image(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(DataError, match="there is no image"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="is a folder"):
        read_image(tmp_path)


@pytest.mark.parametrize("limit", [150, 50])  # 200 pixels: Pillow warns above the limit, and raises above its double
def test_more_pixels_than_pillow_takes_for_safe_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    file = saved(tmp_path, Image.new("L", (20, 10)), "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match=rf"huge\.png has more pixels than the {limit} that Pillow takes for safe"):
        read_image(file)


# --- arrays and tensors ----------------------------------------------------------------------------------------------


def test_arrays_and_tensors_of_one_picture_are_the_same_image() -> None:
    given: list[Any] = [
        Image.fromarray(RGB),
        RGB,
        RGB[:, ::-1][:, ::-1],  # a view, backwards
        RGB.astype(np.uint16) * 257,
        torch.from_numpy(RGB).permute(2, 0, 1),
    ]
    for image in given:
        assert pixels(to_tensor(image)) == RGB.tolist()
    wanted = as_model_input(to_tensor(RGB))
    assert (wanted.dtype, float(wanted.max())) == (torch.float32, 1.0)
    for image in (RGB / 255, (RGB / 255).astype(np.float32), torch.from_numpy(RGB / 255).permute(2, 0, 1)):
        assert torch.allclose(as_model_input(to_tensor(image)), wanted, atol=1e-7)


def test_grey_arrays_and_tensors_have_three_channels() -> None:
    grey = RGB[:, :, 0]
    for image in (grey, grey[:, :, None], torch.from_numpy(grey)[None]):
        assert to_tensor(image).shape == (3, 2, 3)


def test_what_is_given_is_left_as_it_was() -> None:
    given = torch.rand(3, 4, 4)
    before = given.clone()
    as_model_input(to_tensor(given)).add(1)
    assert torch.equal(given, before)


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (np.zeros((4, 4, 4), np.uint8), r"an array is \[H, W, 3\] or \[H, W\], in the order RGB, not \[4, 4, 4\]"),
        (np.zeros((4, 4), np.int64), "uint8, uint16, or float in 0..1, not int64"),
        (np.full((4, 4), 255.0), r"float values lie in 0\.\.1, not in 255\.\.255; divide"),
        (np.full((4, 4), np.nan), r"float values lie in 0\.\.1"),
        (torch.zeros(1, 3, 4, 4), r"not \[1, 3, 4, 4\]; give several images as a list"),
        (torch.zeros(4, 4, 3), r"a tensor is \[3, H, W\]"),
        (torch.zeros(3, 4, 4, dtype=torch.int32), "not torch.int32"),
        (torch.zeros(3, 0, 4), "at least one pixel, not 4 x 0"),
        (b"bytes", "not a bytes"),
    ],
)
def test_what_is_no_image_is_refused(image: Any, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        to_tensor(image)
