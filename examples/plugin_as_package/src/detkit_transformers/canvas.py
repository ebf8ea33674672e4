"""From a list of images to one tensor, and boxes there and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert, clip_boxes_to_image

#: (height, width) in pixels.
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Canvas:
    """Resized images in the top left corners of one tensor.

    Attributes:
        pixels: float32 [B, 3, H, W]; 0 where there is no image.
        mask: int64 [B, H, W]: 1 where there is one.
        given: sizes of the images as they were given. resized: as they lie on the canvas.
        shares_of_canvas: whether the model's boxes are shares of the canvas, or of the image on it.
    """

    pixels: Tensor
    mask: Tensor
    given: tuple[Size, ...]
    resized: tuple[Size, ...]
    shares_of_canvas: bool

    def unit(self, index: int) -> Tensor:
        """What 1.0 in the model's (x, y, x, y) is in pixels of the given image: float32 [4]."""
        given, resized = self.given[index], self.resized[index]
        whole = self.pixels.shape[-2:] if self.shares_of_canvas else resized
        height, width = (given[side] * whole[side] / resized[side] for side in (0, 1))
        return torch.tensor([width, height, width, height], dtype=torch.float32, device=self.pixels.device)

    def to_shares(self, index: int, boxes: Tensor) -> Tensor:
        """Corners in pixels of the given image [N, 4] as (centre x, centre y, width, height) in 0..1."""
        shares: Tensor = box_convert(boxes.float() / self.unit(index), "xyxy", "cxcywh")
        return shares

    def to_pixels(self, index: int, shares: Tensor) -> Tensor:
        """The way back, cut off at the image's edges: float32 [N, 4]."""
        corners = box_convert(shares.float(), "cxcywh", "xyxy") * self.unit(index)
        clipped: Tensor = clip_boxes_to_image(corners, self.given[index])
        return clipped


def make_canvas(
    images: Sequence[Tensor],
    sizes: Sequence[Size],
    *,
    multiple: int = 1,
    least_cells: int = 0,
    mean: Sequence[float] | None = None,
    deviation: Sequence[float] | None = None,
    shares_of_canvas: bool,
) -> Canvas:
    """Resize, normalise and pad.

    Args:
        images: float [3, H, W] in 0..1. sizes: to which each is resized.
        multiple: of which the canvas's sides are. least_cells: it has at least so many cells of multiple x multiple.
        mean, deviation: of the three channels; None: the network wants 0..1.
    """
    height, width = (_up(max(size[side] for size in sizes), multiple) for side in (0, 1))
    while (height // multiple) * (width // multiple) < least_cells:
        height, width = (height + multiple, width) if height <= width else (height, width + multiple)
    pixels = images[0].new_zeros((len(images), 3, height, width), dtype=torch.float32)
    mask = torch.zeros((len(images), height, width), dtype=torch.int64, device=pixels.device)
    for place, shown, image, (h, w) in zip(pixels, mask, images, sizes, strict=True):
        place[:, :h, :w] = _normalised(_resized(image.float(), (h, w)), mean, deviation)
        shown[:h, :w] = 1
    given = tuple((image.shape[-2], image.shape[-1]) for image in images)
    return Canvas(pixels, mask, given, tuple(sizes), shares_of_canvas)


def fitted(size: Size, min_size: int, max_size: int) -> Size:
    """The shorter side becomes min_size, unless the longer would exceed max_size."""
    scale = min(min_size / min(size), max_size / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _resized(image: Tensor, size: Size) -> Tensor:
    if tuple(image.shape[-2:]) == size:
        return image
    return F.interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]


def _normalised(image: Tensor, mean: Sequence[float] | None, deviation: Sequence[float] | None) -> Tensor:
    if mean is None or deviation is None:
        return image
    return (image - image.new_tensor(mean)[:, None, None]) / image.new_tensor(deviation)[:, None, None]
