"""Images of every kind to what detectors take: RGB tensors [3, H, W].

A picture file is read as people see it, turned upright as its EXIF data says; otherwise just as training reads it: see
`detkit.data.images`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from detkit.data.images import as_rgb, decode, from_pillow, rgb_tensor
from detkit.errors import DataError

#: What a detector takes as one image: a file, a PIL image, an array [H, W, 3] or [H, W], a tensor [3, H, W].
ImageLike: TypeAlias = "str | Path | Image.Image | NDArray[Any] | Tensor"


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
        return as_rgb(image.detach().as_subclass(Tensor))
    if isinstance(image, np.ndarray):
        return rgb_tensor(image)
    raise DataError(
        f"an image is a path, a PIL image, an array [H, W, 3] or a tensor [3, H, W], not a {type(image).__name__}"
    )


def as_model_input(image: Tensor) -> Tensor:
    """float32 [3, H, W] in 0..1, just as training and evaluation make it."""
    return image.to(torch.float32).div_(255) if image.dtype == torch.uint8 else image


def read_image(file: Path) -> Tensor:
    """The picture in a file, upright: uint8 [3, H, W].

    Raises:
        DataError: there is no such file, it is no picture, cut, or larger than Pillow takes for safe; names the file.
    """
    return decode(file, rotate=True)
