"""Images of every kind to what detectors take: RGB tensors [3, H, W].

A picture file is read as people see it: rotated as its EXIF data says, the first frame of an animation, palettes and
CMYK turned into RGB. Transparency is dropped, as datasets do when they read a picture as RGB.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from detkit.errors import DataError

#: What a detector takes as one image: a file, a PIL image, an array [H, W, 3] or [H, W], a tensor [3, H, W].
ImageLike: TypeAlias = "str | Path | Image.Image | NDArray[Any] | Tensor"

#: 16-bit values to 8-bit ones: 65535 becomes 255.
SIXTEEN_TO_EIGHT = 257


def to_tensor(image: ImageLike) -> Tensor:
    """One image as a tensor on the CPU or where it is.

    Args:
        image: a path; a PIL image of any mode; an RGB or grey array [H, W, 3] or [H, W] of uint8, uint16, or floats in
            0..1; a tensor [3, H, W] or [1, H, W] of uint8 or floats in 0..1.

    Returns:
        uint8 [3, H, W], or float32 [3, H, W] in 0..1 where floats were given.

    Raises:
        DataError: it is none of these, or the file cannot be read.
    """
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        return from_pillow(image)
    if isinstance(image, Tensor):
        return _from_tensor(image.detach().as_subclass(Tensor))
    if isinstance(image, np.ndarray):
        return _from_array(image)
    raise DataError(
        f"an image is a path, a PIL image, an array [H, W, 3] or a tensor [3, H, W], not a {type(image).__name__}"
    )


def as_model_input(image: Tensor) -> Tensor:
    """float32 [3, H, W] in 0..1, just as training and evaluation make it."""
    return image.to(torch.float32).div_(255) if image.dtype == torch.uint8 else image


# --- files -----------------------------------------------------------------------------------------------------------


def read_image(file: Path) -> Tensor:
    """The picture in a file: uint8 [3, H, W].

    Raises:
        DataError: there is no such file, it is no picture, cut, or larger than Pillow takes for safe; names the file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(file)
        with image:
            return from_pillow(image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(
            f"{file} has more pixels than the {Image.MAX_IMAGE_PIXELS:,} that Pillow takes for safe; cut it into tiles,"
            " make it smaller, or from Python raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    except FileNotFoundError:
        raise DataError(f"there is no image {file}") from None
    except IsADirectoryError:
        raise DataError(f"{file} is a folder, not an image") from None
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them stumble over
        raise DataError(f"{file} cannot be read as an image: {_cause(file, error)}") from error


def _cause(file: Path, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is empty" if file.stat().st_size == 0 else "it is no picture of a format that Pillow knows"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


# --- PIL images ------------------------------------------------------------------------------------------------------


def from_pillow(image: Image.Image) -> Tensor:
    """A PIL image of any mode, turned upright: uint8 [3, H, W].

    Raises:
        DataError: its values have no known range.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _from_array(_deep_values(image))
    if image.mode != "RGB":
        # By way of RGBA where there is transparency: Pillow warns of palettes that go to RGB directly.
        image = (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


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


# --- arrays and tensors ----------------------------------------------------------------------------------------------


def _from_array(array: NDArray[Any]) -> Tensor:
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
    return _from_tensor(torch.from_numpy(np.array(array.transpose(2, 0, 1), order="C")))


def _from_tensor(tensor: Tensor) -> Tensor:
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
