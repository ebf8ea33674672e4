"""Transforms that change colours and sharpness; objects stay where they are."""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from detkit import Draw
from detkit.data.types import Target
from detkit_augment import BlurOptions, GrayscaleOptions, JpegOptions, PhotometricOptions
from detkit_augment.objects import Sample, plain

#: Red, green and blue in luminance (ITU-R BT.601).
LUMINANCE = (0.299, 0.587, 0.114)
#: From RGB to YIQ: luminance, and two axes of colour about which hues turn.
YIQ = np.array([LUMINANCE, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])


class Photometric:
    """Photometric distortion in the manner of SSD's (Liu et al. 2016, arXiv 1512.02325), in one affine map of colours.

    Contrast is about the image's mean luminance, saturation about each pixel's. The result is rounded and clipped once,
    which takes a tenth of the time of TorchVision's chain by way of HSV.
    """

    def __init__(self, options: PhotometricOptions) -> None:
        self._options = options

    def __call__(self, image: tv_tensors.Image, target: Target, draw: Draw, /) -> Sample:
        o = self._options

        def drawn(low: float, high: float, neutral: float) -> float:
            happens, value = draw.chance(o.probability), draw.uniform(low, high)
            return value if happens else neutral

        brightness, contrast = drawn(*o.brightness, 1.0), drawn(*o.contrast, 1.0)
        saturation, turn = drawn(*o.saturation, 1.0), drawn(*o.hue, 0.0)
        permuted = draw.chance(o.probability)
        order = torch.randperm(3, generator=draw.generator).tolist()
        if (brightness, contrast, saturation, turn) == (1.0, 1.0, 1.0, 0.0) and not (permuted and o.permute_channels):
            return image, target
        matrix = contrast * brightness * (hue_matrix(turn) @ saturation_matrix(saturation))
        grey = float(np.dot(LUMINANCE, plain(image).numpy().mean(axis=(1, 2), dtype=np.float64)))
        if permuted and o.permute_channels:
            matrix = matrix[order]
        return mapped(image, matrix, (1 - contrast) * brightness * grey), target


def saturation_matrix(factor: float) -> NDArray[np.float64]:
    """Colours towards the grey of their luminance (0), or away from it (above 1)."""
    return factor * np.eye(3) + (1 - factor) * np.tile(LUMINANCE, (3, 1))


def hue_matrix(turn: float) -> NDArray[np.float64]:
    """Hues turned by a share of the colour wheel, luminance kept; 0 is the identity."""
    cosine, sine = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
    rotation = np.array([(1, 0, 0), (0, cosine, sine), (0, -sine, cosine)])  # from red towards green
    matrix: NDArray[np.float64] = np.linalg.inv(YIQ) @ rotation @ YIQ
    return matrix


def mapped(image: tv_tensors.Image, matrix: NDArray[np.float64], shift: float) -> tv_tensors.Image:
    """Each pixel's colour times the matrix, plus the shift; rounded, and clipped to 0..255."""
    channels = plain(image).to(torch.float32)
    pixels = torch.empty(image.shape, dtype=torch.uint8)
    # One product after another: a matrix product may add in another order where memory is aligned in another way.
    mixed, product = torch.empty_like(channels[0]), torch.empty_like(channels[0])
    for row, result in zip(matrix.tolist(), pixels, strict=True):
        torch.mul(channels[0], row[0], out=mixed)
        for factor, channel in zip(row[1:], channels[1:], strict=True):
            mixed += torch.mul(channel, factor, out=product)
        result.copy_(mixed.add_(shift + 0.5).clamp_(0, 255.5))  # cut off, which after + 0.5 is rounding
    return tv_tensors.Image(pixels)


class Grayscale:
    """Three equal channels."""

    def __init__(self, options: GrayscaleOptions) -> None:
        self._probability = options.probability

    def __call__(self, image: tv_tensors.Image, target: Target, draw: Draw, /) -> Sample:
        if not draw.chance(self._probability):
            return image, target
        return tv_tensors.Image(F.rgb_to_grayscale(plain(image), num_output_channels=3)), target


class Blur:
    """Convolves with a Gaussian, three standard deviations wide to each side."""

    def __init__(self, options: BlurOptions) -> None:
        self._options = options

    def __call__(self, image: tv_tensors.Image, target: Target, draw: Draw, /) -> Sample:
        changed, sigma = draw.chance(self._options.probability), draw.uniform(*self._options.sigma)
        if not changed:
            return image, target
        # The padding, by reflection, must be narrower than the image.
        reach = min(max(1, math.ceil(3 * sigma)), min(image.shape[-2:]) - 1)
        if reach < 1:
            return image, target
        return tv_tensors.Image(F.gaussian_blur(plain(image), [2 * reach + 1] * 2, [sigma, sigma])), target


class Jpeg:
    """Compresses and decompresses."""

    def __init__(self, options: JpegOptions) -> None:
        self._options = options

    def __call__(self, image: tv_tensors.Image, target: Target, draw: Draw, /) -> Sample:
        low, high = self._options.quality
        changed, quality = draw.chance(self._options.probability), low + draw.integer(high - low + 1)
        return (_compressed(image, quality) if changed else image), target


def _compressed(image: tv_tensors.Image, quality: int) -> tv_tensors.Image:
    """By Pillow: TorchVision's own codecs are to be removed (deprecated since 0.29)."""
    content = BytesIO()
    PillowImage.fromarray(plain(image).permute(1, 2, 0).numpy()).save(content, "JPEG", quality=quality)
    with PillowImage.open(content) as picture:
        pixels = np.array(picture)
    return tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
