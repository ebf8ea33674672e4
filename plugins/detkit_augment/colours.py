"""Transforms that change colours and sharpness; objects stay where they are."""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np
import torch
from PIL import Image as PillowImage
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from detkit import Draw
from detkit.data.types import Target
from detkit_augment import BlurOptions, GrayscaleOptions, JpegOptions, PhotometricOptions
from detkit_augment.objects import Sample, plain


class Photometric:
    """SSD's photometric distortion, TorchVision's: it draws from torch's global generator, which is seeded for it."""

    def __init__(self, options: PhotometricOptions) -> None:
        self._permute = options.permute_channels
        self._distort = v2.RandomPhotometricDistort(
            brightness=options.brightness,
            contrast=options.contrast,
            saturation=options.saturation,
            hue=options.hue,
            p=options.probability,
        )

    def __call__(self, image: tv_tensors.Image, target: Target, draw: Draw, /) -> Sample:
        parameters = self._distort.make_params([image])
        if not self._permute:
            parameters["channel_permutation"] = None
        changed: tv_tensors.Image = self._distort.transform(image, parameters)
        return tv_tensors.Image(changed), target


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
