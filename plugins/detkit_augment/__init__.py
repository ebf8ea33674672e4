"""Transforms of training images: geometry, colours, and those that combine several images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from detkit import (
    BOXES_AND_MASKS,
    BuildContext,
    Options,
    Transform,
    TransformComponent,
    hookimpl,
)


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"the first number, {pair[0]:g}, is above the second, {pair[1]:g}")
    return pair


Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
ShareRange = Annotated[tuple[Share, Share], AfterValidator(_ordered)]
Factor = Annotated[float, Field(ge=0)]
FactorRange = Annotated[tuple[Factor, Factor], AfterValidator(_ordered)]
Hue = Annotated[float, Field(ge=-0.5, le=0.5)]
HueRange = Annotated[tuple[Hue, Hue], AfterValidator(_ordered)]
Quality = Annotated[int, Field(ge=1, le=100)]
QualityRange = Annotated[tuple[Quality, Quality], AfterValidator(_ordered)]

PROBABILITY = "share of the images that are changed"
MIN_VISIBLE = "objects of which a smaller share stays in the image are taken out"
FILL = "grey value of what lies outside of the image, 0 to 255"
#: A middle grey, near the mean that models subtract.
GREY = 114


class FlipOptions(Options):
    horizontal: Probability = Field(0.5, description="share of the images that are mirrored left to right")
    vertical: Probability = Field(0.0, description="share of the images that are turned upside down")


class PhotometricOptions(Options):
    probability: Probability = Field(0.5, description="with which each of the changes happens, independently")
    brightness: FactorRange = Field((0.875, 1.125), description="the range of the factor")
    contrast: FactorRange = Field((0.5, 1.5), description="the range of the factor")
    saturation: FactorRange = Field((0.5, 1.5), description="the range of the factor")
    hue: HueRange = Field((-0.05, 0.05), description="the range of the shift, in turns of the colour wheel")
    permute_channels: bool = Field(False, description="whether red, green and blue may change places")


class ScaleJitterOptions(Options):
    probability: Probability = Field(0.5, description=PROBABILITY)
    scale: PositiveRange = Field((0.75, 1.33), description="range of the factor; drawn evenly on a logarithmic scale")
    min_visible: Share = Field(0.1, description=MIN_VISIBLE)
    fill: int = Field(GREY, ge=0, le=255, description=FILL)


class CropOptions(Options):
    probability: Probability = Field(0.5, description=PROBABILITY)
    scale: ShareRange = Field((0.4, 1.0), description="range of the crop's sides as shares of the image's")
    aspect: PositiveRange = Field((0.5, 2.0), description="range of how the crop's aspect ratio may differ")
    keep: Literal["any", "all"] = Field(
        "any", description="any: at least one object must stay | all: every object must stay"
    )
    min_visible: Share = Field(0.3, description=MIN_VISIBLE)
    trials: int = Field(40, ge=1, description="crops that are tried; the image stays whole where none fits")


class RotationOptions(Options):
    probability: Probability = Field(0.5, description=PROBABILITY)
    degrees: float = Field(10.0, gt=0, le=180, description="the largest angle, to either side")
    min_visible: Share = Field(0.1, description=MIN_VISIBLE)
    fill: int = Field(GREY, ge=0, le=255, description=FILL)


class MosaicOptions(Options):
    probability: Probability = Field(0.5, description=PROBABILITY)
    smallest: float = Field(0.25, gt=0, le=0.5, description="the smallest share of a side that a tile may have")
    zoom: float = Field(1.5, ge=1, description="tiles are enlarged by 1 to so much beyond what covers their place")
    min_visible: Share = Field(0.2, description=MIN_VISIBLE)


class MixUpOptions(Options):
    probability: Probability = Field(0.3, description=PROBABILITY)
    alpha: float = Field(32.0, gt=0, description="of the beta distribution of the images' shares; high: near one half")
    fill: int = Field(GREY, ge=0, le=255, description=FILL)


class CopyPasteOptions(Options):
    probability: Probability = Field(0.5, description=PROBABILITY)
    each: Share = Field(0.5, description="with which each object of the other image is copied")
    scale: PositiveRange = Field((0.8, 1.25), description="range of the factor by which copies are resized")
    min_visible: Share = Field(0.2, description="objects of which copies leave a smaller share visible are taken out")


class BlurOptions(Options):
    probability: Probability = Field(0.1, description=PROBABILITY)
    sigma: PositiveRange = Field((0.1, 2.0), description="range of the Gaussian's standard deviation, pixels")


class GrayscaleOptions(Options):
    probability: Probability = Field(0.1, description=PROBABILITY)


class JpegOptions(Options):
    probability: Probability = Field(0.2, description=PROBABILITY)
    quality: QualityRange = Field((40, 95), description="range of the JPEG quality")


def _from(module: str, name: str) -> Callable[[Any, BuildContext], Transform]:
    """A builder: the class of that name with the options; imported when it is built."""

    def build(options: Any, context: BuildContext) -> Transform:
        from importlib import import_module

        transform: Transform = getattr(import_module(f"detkit_augment.{module}"), name)(options)
        return transform

    return build


TRANSFORMS: tuple[TransformComponent[Any], ...] = (
    TransformComponent("flip", FlipOptions, _from("geometry", "Flip"), "mirrors images"),
    TransformComponent(
        "photometric",
        PhotometricOptions,
        _from("colours", "Photometric"),
        "changes brightness, contrast, saturation and hue",
    ),
    TransformComponent(
        "scale_jitter",
        ScaleJitterOptions,
        _from("geometry", "ScaleJitter"),
        "makes what is seen larger or smaller within an image of the same size",
    ),
    TransformComponent("crop", CropOptions, _from("geometry", "Crop"), "cuts out a part that keeps objects"),
    TransformComponent("rotation", RotationOptions, _from("geometry", "Rotation"), "turns images by a small angle"),
    TransformComponent("mosaic", MosaicOptions, _from("several", "Mosaic"), "puts four images into one"),
    TransformComponent("mix_up", MixUpOptions, _from("several", "MixUp"), "lays two images over one another"),
    TransformComponent(
        "copy_paste",
        CopyPasteOptions,
        _from("several", "CopyPaste"),
        "pastes objects of another image, by their masks",
        needs=lambda _options: BOXES_AND_MASKS,
    ),
    TransformComponent("blur", BlurOptions, _from("colours", "Blur"), "blurs images"),
    TransformComponent("grayscale", GrayscaleOptions, _from("colours", "Grayscale"), "takes the colours away"),
    TransformComponent("jpeg", JpegOptions, _from("colours", "Jpeg"), "compresses images as JPEG does"),
)


@hookimpl
def detkit_transforms() -> list[TransformComponent[Any]]:
    return list(TRANSFORMS)
