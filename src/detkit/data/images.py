"""Image files, as they come, to what everything here works on: RGB pixels, uint8 [3, H, W].

Training, evaluation and `detkit predict` read images with the same function, so that a detector never sees other pixels
than it was trained on. What becomes of what is not RGB:

- grey (L), 1-bit (1): three equal channels; a set bit is 255.
- palette (P), CMYK, YCbCr, LAB, HSV: Pillow's conversion to RGB.
- transparency (RGBA, LA, PA, a palette or a colour that is transparent): dropped. The colour that lies under it stays,
  as whoever reads a picture as RGB has it (TorchVision's datasets, OpenCV); nothing is blended with a background.
- 16 bits of grey: the full range is scaled, 65535 becomes 255 (a picture that uses but 12 bits of them is dark).
- of an animation or a file of several pages: the first picture.

A photograph's EXIF data may say that it is to be turned to be upright. Whether the boxes of a dataset are of the turned
picture depends on the tool that made them: `rotate` decides.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from detkit.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

#: What is done with the turn that EXIF data asks for.
Exif = Literal["apply", "ignore"]
#: What is done with a JPEG file that ends too early.
Cut = Literal["error", "fill"]

#: What counts as an image inside a folder; a file that is named itself may have any ending.
ENDINGS = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tga",
        ".tif",
        ".tiff",
        ".webp",
    }
)

#: Pillow decodes these by starting another program (Ghostscript), which files of unknown origin must not do.
FORMATS_OF_PROGRAMS = frozenset({"EPS"})

#: 16-bit values to 8-bit ones: 65535 becomes 255.
SIXTEEN_TO_EIGHT = 257
#: EXIF's tag of the turn, 1 to 8; from 5 on width and height change places.
ORIENTATION = 0x0112
TIFF_WIDTH, TIFF_HEIGHT = 0x0100, 0x0101
#: The turn that makes a picture upright, by its orientation; as in Pillow's ImageOps.exif_transpose.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: The turns that are not their own opposites.
BACK = {Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270}

#: How a JPEG ends; behind it cameras put previews, and phones some kilobytes of their own.
JPEG_END = b"\xff\xd9"
JPEG_TAIL = 1 << 16
#: Markers: of the first bytes of pixels; a byte that only fills, before a marker.
JPEG_SCAN, JPEG_FILL = 0xDA, 0xFF
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: Held while Pillow's limit of pixels, which belongs to the whole process, is lifted.
_LIMIT = threading.Lock()
if hasattr(os, "register_at_fork"):
    # A loader's worker must not inherit a lock that is held for ever, nor a limit that is lifted.
    os.register_at_fork(before=_LIMIT.acquire, after_in_parent=_LIMIT.release, after_in_child=_LIMIT.release)


#: Why an image cannot be had: it is not there; of no byte; no picture; cut or damaged; too large; of unknown range.
Trouble = Literal["missing", "empty", "unknown", "broken", "too large", "values"]


class UnreadableImage(DataError):
    """An image file that gives no pixels.

    Attributes:
        file: which. trouble: of what kind. cause: in a few words, without the file's name.
    """

    def __init__(self, message: str, file: Path = Path(), trouble: Trouble = "broken", cause: str = "") -> None:
        super().__init__(message)
        self.file = file
        self.trouble = trouble
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Header:
    """What an image file says of itself, without its pixels being decoded.

    Attributes:
        width, height: that `decode` with the same `rotate` will give, pixels.
        format: Pillow's name of it, as "JPEG"; the file's ending may say another.
        mode: Pillow's name of how pixels are stored, as "RGB", "CMYK", "I;16".
        orientation: EXIF's, 1 to 8; 1 where there is none.
        cut: the file seems to end too early: a JPEG without an end near its end, a PNG whose last part is missing.
            Decoding it gives certainty.
    """

    width: int
    height: int
    format: str
    mode: str
    orientation: int = 1
    cut: bool = False

    @property
    def turned(self) -> bool:
        """Whether the picture lies on its side, so that `rotate` changes its size."""
        return self.orientation >= 5


def read_header(file: Path, *, rotate: bool) -> Header:
    """What the file says of itself. Any size is read, also what `decode` refuses as too large.

    Args:
        rotate: whether the size is that of the picture turned upright.

    Raises:
        UnreadableImage: there is no such file, or it is no picture; names the file.
    """
    with _named(file), _opened(file) as image:
        orientation = _orientation(image)
        width, height = reversed(_stored_size(image)) if rotate and orientation >= 5 else _stored_size(image)
        return Header(width, height, image.format or "", image.mode, orientation, _seems_cut(image))


def decode(file: Path, *, rotate: bool, cut: Cut = "error", max_pixels: int | None = None) -> Tensor:
    """The picture in a file: uint8 [3, H, W], RGB.

    Args:
        rotate: turn it upright as its EXIF data says.
        cut: what to do with a JPEG that ends too early: "error", or "fill" what is missing with grey.
        max_pixels: larger pictures are refused before they take memory; None: what Pillow takes for safe.

    Raises:
        UnreadableImage: there is no such file, it is no picture, cut, too large, or its values have no known range;
            names the file.
    """
    with _named(file), _opened(file, fill=cut == "fill") as image:
        _refuse_large(*image.size, max_pixels)
        turn = TURNS.get(_orientation(image))
        image.load()
        if turn is None or rotate == _is_turned(image):
            return _tensor(image)
        return _tensor(image.transpose(turn if rotate else BACK.get(turn, turn)))


def is_large(width: int, height: int, max_pixels: int | None = None) -> bool:
    """Whether `decode` refuses an image of this size, pixels, as too large."""
    limit = _limit(max_pixels)
    return limit is not None and width * height > limit


def _limit(max_pixels: int | None) -> int | None:
    if max_pixels is not None:
        return max_pixels
    with _LIMIT:  # another thread may just have lifted it
        return Image.MAX_IMAGE_PIXELS


def _refuse_large(width: int, height: int, max_pixels: int | None) -> None:
    if is_large(width, height, max_pixels):
        limit = _limit(max_pixels)
        whose = "that Pillow takes for safe" if max_pixels is None else "of max_pixels"
        raise _TooLarge(f"has more pixels than the {limit:,} {whose} ({width} x {height})")


class _TooLarge(DataError):
    """Its message follows the file's name without a colon."""


def from_pillow(image: Image.Image) -> Tensor:
    """A PIL image of any mode, turned upright: uint8 [3, H, W].

    Raises:
        DataError: its values have no known range.
    """
    return _tensor(ImageOps.exif_transpose(image))


def rgb_tensor(array: NDArray[Any]) -> Tensor:
    """An array as a tensor of three channels.

    Args:
        array: [H, W, 3], [H, W, 1] or [H, W] of uint8, uint16, or floats in 0..1.

    Returns:
        uint8 [3, H, W], or float32 [3, H, W] in 0..1 where floats were given.

    Raises:
        DataError: it is none of these.
    """
    import torch

    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        raise DataError(f"an array is [H, W, 3] or [H, W], in the order RGB, not {list(array.shape)}")
    if array.dtype == np.uint16:
        array = ((array.astype(np.uint32) + SIXTEEN_TO_EIGHT // 2) // SIXTEEN_TO_EIGHT).astype(np.uint8)
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise DataError(f"an array's type is uint8, uint16, or float in 0..1, not {array.dtype}")
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    # A copy: arrays may be views, backwards or read-only, which torch does not take.
    return as_rgb(torch.from_numpy(np.array(array.transpose(2, 0, 1), order="C")))


def as_rgb(tensor: Tensor) -> Tensor:
    """A tensor [3, H, W] or [1, H, W] of uint8 or floats in 0..1 with three channels, uint8 or float32.

    Raises:
        DataError: it is none.
    """
    import torch

    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3):
        hint = "; give several images as a list" if tensor.ndim == 4 else ""
        raise DataError(f"a tensor is [3, H, W] or [1, H, W], not {list(tensor.shape)}{hint}")
    if not tensor.numel():
        raise DataError(f"an image has at least one pixel, not {tensor.shape[2]} x {tensor.shape[1]}")
    if tensor.dtype != torch.uint8:
        if not tensor.is_floating_point():
            raise DataError(f"a tensor's type is uint8, or float in 0..1, not {tensor.dtype}")
        tensor = tensor.to(torch.float32)
        low, high = float(tensor.min()), float(tensor.max())
        if not (low >= 0 and high <= 1):  # NaN is in no range
            raise DataError(f"float values lie in 0..1, not in {low:g}..{high:g}; divide by the largest possible value")
    return tensor.expand(3, -1, -1) if tensor.shape[0] == 1 else tensor


def read_ids(file: Path, *, max_pixels: int | None = None) -> NDArray[np.integer[Any]]:
    """The picture of instance numbers in a file, as it is stored: [H, W] of uint8, uint16 or int32.

    Palette pictures, as PASCAL VOC's, hold the numbers themselves; their colours are for people. EXIF is not regarded.

    Args:
        max_pixels: larger pictures are refused; None: what Pillow takes for safe.

    Raises:
        UnreadableImage: it cannot be read, or has several channels; names the file.
    """
    with _named(file), _opened(file) as image:
        _refuse_large(*image.size, max_pixels)
        image.load()
        if image.mode == "1":
            return np.asarray(image).astype(np.uint8)
        if image.mode not in ("L", "P", "I") and not image.mode.startswith("I;16"):
            bands = len(image.getbands())
            what = f"has {bands} channels" if bands > 1 else "holds fractions"
            raise DataError(
                f"{what} (mode {image.mode}); a mask has one channel, with 0 or an object's number in each pixel:"
                " a grey or palette picture"
            )
        return np.array(image)


# --- opening ---------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(file: Path, *, fill: bool = False) -> Iterator[Image.Image]:
    """The file's picture, not yet decoded, whatever its size.

    Args:
        fill: give a JPEG that is cut an end, so that libjpeg fills what is missing.
    """
    with file.open("rb") as stream:
        source: BinaryIO = stream
        if fill and stream.read(2) == JPEG_END[:1] + b"\xd8" and not _jpeg_ends(stream):
            stream.seek(0)
            source = io.BytesIO(stream.read() + JPEG_END)
        stream.seek(0)
        with _unlimited():
            image = Image.open(source)
        if image.format in FORMATS_OF_PROGRAMS:
            image.close()
            raise UnidentifiedImageError
        try:
            yield image
        finally:
            image.close()


@contextmanager
def _unlimited() -> Iterator[None]:
    """Without Pillow's limit of pixels, which would keep even a header from being read; see `is_large`."""
    with _LIMIT, warnings.catch_warnings():
        # Pillow's hints on formats that a file nearly is; what it is none of is an error of its own.
        warnings.simplefilter("ignore")
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Whatever goes wrong as a DataError that names the file, says why, and what to do."""
    try:
        yield
    except UnreadableImage:
        raise
    except _TooLarge as error:
        remedy = (
            "cut it into tiles, make it smaller, or allow it: max_pixels among the dataset's options,"
            " PIL.Image.MAX_IMAGE_PIXELS from Python"
        )
        raise UnreadableImage(f"{file} {error}; {remedy}", file, "too large", str(error)) from error
    except DataError as error:
        raise UnreadableImage(f"{file}: {error}", file, "values", str(error)) from error
    except FileNotFoundError:
        of_link = f"it is a link to {os.readlink(file)}, which does not exist" if file.is_symlink() else ""
        message = f"there is no image {file}" + (f": {of_link}" if of_link else "")
        raise UnreadableImage(message, file, "missing", of_link or "does not exist") from None
    except IsADirectoryError:
        raise UnreadableImage(f"{file} is a folder, not an image", file, "unknown", "is a folder") from None
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them stumble over
        cause, trouble = _cause(file, error)
        raise UnreadableImage(f"{file} cannot be read as an image: {cause}", file, trouble, cause) from error


def _cause(file: Path, error: Exception) -> tuple[str, Trouble]:
    if isinstance(error, UnidentifiedImageError):
        if file.stat().st_size == 0:
            return "it is empty", "empty"
        return "it is no picture of a format that Pillow knows", "unknown"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror, "broken"
    return " ".join(str(error).split()) or type(error).__name__, "broken"


# --- what stands beside the pixels -----------------------------------------------------------------------------------


def _orientation(image: Image.Image) -> int:
    """EXIF's, 1 to 8, without decoding; 1 where the EXIF data is damaged: the picture need not be."""
    try:
        # Pillow's PNG class decodes the whole picture where there is no EXIF data before the pixels.
        exif = Image.Image.getexif(image)
        if ORIENTATION not in exif and image.format == "PNG" and (late := _late_exif(image)):
            exif = Image.Exif()
            exif.load(late)
        value = exif.get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - Pillow raises SyntaxError, struct.error and others
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of the pixels as stored, before they are decoded; of a turned TIFF Pillow may say the other."""
    tags = getattr(image, "tag_v2", None)
    return (int(tags[TIFF_WIDTH]), int(tags[TIFF_HEIGHT])) if tags is not None else image.size


def _is_turned(image: Image.Image) -> bool:
    """Whether Pillow has turned a decoded picture upright by itself, as it does with TIFFs, whose tag it then drops."""
    tags = getattr(image, "tag_v2", None)
    return tags is not None and ORIENTATION not in tags


def _late_exif(image: Image.Image) -> bytes:
    """The eXIf chunk of a PNG that comes after its pixels, where the standard allows it as well as before."""
    for name, size, stream in _png_chunks(image):
        if name == b"eXIf":
            return stream.read(size)
    return b""


def _seems_cut(image: Image.Image) -> bool:
    if image.format == "PNG":
        return all(name != b"IEND" for name, _, _ in _png_chunks(image))
    if image.format in ("JPEG", "MPO") and (stream := getattr(image, "fp", None)) is not None:
        place = stream.tell()
        ends = _jpeg_ends(stream)
        stream.seek(place)
        return not ends
    return False


def _jpeg_ends(stream: BinaryIO) -> bool:
    """Whether there is an end behind the beginning of the pixels; before it, previews have ends of their own.

    It is looked for near the end of the file first. Some cameras put whole films behind it.
    """
    begin = _jpeg_pixels(stream)
    size = stream.seek(0, os.SEEK_END)
    tail = max(begin, size - JPEG_TAIL)
    stream.seek(tail)
    if JPEG_END in stream.read():
        return True
    stream.seek(begin)
    return tail > begin and JPEG_END in stream.read(tail - begin + 1)


def _jpeg_pixels(stream: BinaryIO) -> int:
    """Where the compressed pixels begin; at the file's end where they do not. Coded pixels hold no marker but RSTn."""
    at = 2
    while True:
        stream.seek(at)
        head = stream.read(4)
        if len(head) < 4:
            return at + len(head)
        if head[0] != JPEG_END[0]:
            return at  # no marker, where one must be: what follows is anybody's guess
        if head[1] == JPEG_FILL:
            at += 1
            continue
        at += 2 + int.from_bytes(head[2:], "big")
        if head[1] == JPEG_SCAN:
            return at


def _png_chunks(image: Image.Image) -> Iterator[tuple[bytes, int, BinaryIO]]:
    """Name and size of each whole chunk, with the stream at its beginning; the stream is left as it was."""
    stream = getattr(image, "fp", None)
    if stream is None:
        return
    place = stream.tell()
    try:
        end = stream.seek(0, os.SEEK_END)
        at = len(PNG_SIGNATURE)
        while at + 12 <= end:
            stream.seek(at)
            head = stream.read(8)
            size = int.from_bytes(head[:4], "big")
            if at + 12 + size > end:
                return
            yield head[4:], size, stream
            at += 12 + size
    finally:
        stream.seek(place)


# --- pixels ----------------------------------------------------------------------------------------------------------


def _tensor(image: Image.Image) -> Tensor:
    """uint8 [3, H, W] of a PIL image of any mode, as it lies."""
    import torch

    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image)
    if image.mode != "RGB":
        # By way of RGBA where there is transparency: Pillow warns of palettes that go to RGB directly.
        image = (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _eight_bits(image: Image.Image) -> Tensor:
    import torch

    tensor = rgb_tensor(_deep_values(image))
    # Floating values are those of a picture too: from here on it is as if it had been stored in 8 bits.
    return (tensor * 255).round().to(torch.uint8) if tensor.is_floating_point() else tensor.contiguous()


def _deep_values(image: Image.Image) -> NDArray[Any]:
    """The values of a grey picture of more than 8 bits; mode I, of 32 bits, is how some versions read 16-bit PNGs."""
    values = np.asarray(image)
    if image.mode == "I":
        if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
            raise DataError(
                f"its values reach from {values.min()} to {values.max()}; make it a picture of 8 or 16 bits"
            )
        return values.astype(np.uint16)
    return values if image.mode == "F" else values.astype(np.uint16)  # in this machine's byte order
