"""Images with what was found drawn in: boxes and masks in a colour per class, and labels that can be read."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFont
from torch import Tensor
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from detkit.data.targets import decode_masks
from detkit.errors import UserError
from detkit.predict.detections import Detections

Colour = tuple[int, int, int]
#: Of a label, in pixels: left, top, right, bottom.
Plate = tuple[int, int, int, int]

#: A picture whose longer side is shorter is enlarged, by a whole factor: a label would cover all of it.
LEGIBLE_SIDE = 640
LARGEST_FACTOR = 8
#: Of the longer side. The smallest letters, in pixels, can just be read; lines are a sixth of them.
FONT_SHARE, SMALLEST_FONT, LARGEST_FONT = 1 / 60, 12, 48
MASK_ALPHA = 0.45
#: JPEG cannot hold longer sides.
LONGEST_JPEG = 65_500
JPEG_QUALITY = 90
#: Looked for, in this order, where Pillow's own font lacks a letter; Pillow knows where systems keep fonts.
SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "arial.ttf",
    "Arial Unicode.ttf",
    "NotoSansCJK-Regular.ttc",
    "msyh.ttc",
)
#: No font has a letter for it: what is drawn instead is how a font draws what it lacks.
NO_LETTER = "\uffff"


# --- colours ---------------------------------------------------------------------------------------------------------


def class_colour(label: int) -> Colour:
    """The colour of class `label` (from 1), the same in every picture: hues apart by the golden ratio."""
    hue = (0.92 + 0.618034 * (label - 1)) % 1
    lightness = (0.5, 0.62, 0.4)[(label - 1) // 8 % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever can be read on it: by the luma of ITU-R BT.601."""
    luma = 0.299 * background[0] + 0.587 * background[1] + 0.114 * background[2]
    return (0, 0, 0) if luma > 140 else (255, 255, 255)


# --- fonts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LabelFont:
    """A TrueType font by its file, its name on this system, or its bytes."""

    source: str | bytes

    def file(self) -> Any:
        """What Pillow's `truetype` takes."""
        return BytesIO(self.source) if isinstance(self.source, bytes) else self.source

    def of_size(self, pixels: int) -> ImageFont.FreeTypeFont:
        return ImageFont.truetype(self.file(), pixels)

    def has(self, text: str) -> bool:
        """Whether it has all letters of a text."""
        font = self.of_size(24)
        lacking = bytes(font.getmask(NO_LETTER))
        return all(bytes(font.getmask(letter)) != lacking for letter in set(text) if not letter.isspace())


def label_font(texts: Sequence[str], file: Path | None = None) -> LabelFont:
    """A font that has the letters of the texts: the given file, Pillow's own, or one of the system.

    Raises:
        UserError: the given file is no font.
    """
    if file is not None:
        try:
            ImageFont.truetype(file, 12)
        except OSError as error:
            raise UserError(f"{file} is no TrueType font that can be read: {error}") from error
        return LabelFont(str(file))
    own = LabelFont(_pillows_font())
    text = "".join(texts)
    return next((font for font in (own, *_system_fonts()) if font.has(text)), own)


def _pillows_font() -> bytes:
    default = ImageFont.load_default(size=12)
    assert isinstance(default, ImageFont.FreeTypeFont)
    return bytes(default.font_bytes)


def _system_fonts() -> list[LabelFont]:
    found = []
    for name in SYSTEM_FONTS:
        try:
            ImageFont.truetype(name, 12)
        except OSError:
            continue
        found.append(LabelFont(name))
    return found


# --- drawing ---------------------------------------------------------------------------------------------------------


def draw(image: Tensor, found: Detections, font: LabelFont) -> Tensor:
    """The image with masks, boxes and labels, the surest on top.

    Args:
        image: uint8 [3, H, W], or float in 0..1; on the CPU.

    Returns:
        uint8 [3, f H, f W]: a small image is enlarged by a whole factor f.
    """
    canvas = image if image.dtype == torch.uint8 else (image * 255).round().to(torch.uint8)
    order = np.argsort(found.scores, kind="stable").tolist()
    canvas = _masks(canvas.clone(), found, order)
    factor = max(1, min(LARGEST_FACTOR, round(LEGIBLE_SIDE / max(canvas.shape[1:]))))
    if factor > 1:
        canvas = canvas.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
    if not order:
        return canvas
    height, width = canvas.shape[1:]
    letters = round(min(LARGEST_FONT, max(SMALLEST_FONT, max(height, width) * FONT_SHARE)))
    line = max(2, letters // 6)
    colours = [class_colour(int(found.labels[number])) for number in order]
    limits = torch.tensor([width - 1, height - 1, width - 1, height - 1])
    boxes = (torch.from_numpy(found.boxes[order]) * factor).clamp(min=torch.zeros(4), max=limits)
    canvas = draw_bounding_boxes(canvas, boxes, colors=colours, width=line)
    return _labels(canvas, boxes, found, order, colours, font, letters, line)


def _masks(canvas: Tensor, found: Detections, order: Sequence[int]) -> Tensor:
    """One mask after the other, inside its own frame: TorchVision draws black where masks of one call overlap."""
    for number in order if found.rle is not None else ():
        assert found.rle is not None
        (mask,) = decode_masks([found.rle[number]], found.height, found.width)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            continue
        frame = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        inside = torch.from_numpy(mask[frame].astype(np.bool_))
        colour = class_colour(int(found.labels[number]))
        canvas[:, *frame] = draw_segmentation_masks(canvas[:, *frame], inside, alpha=MASK_ALPHA, colors=colour)
    return canvas


def _labels(
    canvas: Tensor,
    boxes: Tensor,
    found: Detections,
    order: Sequence[int],
    colours: Sequence[Colour],
    font: LabelFont,
    letters: int,
    line: int,
) -> Tensor:
    """Each label on a plate of its class's colour, the surest placed first."""
    measured = font.of_size(letters)
    size = (canvas.shape[2], canvas.shape[1])
    pad = max(1, letters // 6)
    plate_height = min(size[1], sum(measured.getmetrics()) + 2 * pad)
    placed: list[Plate] = []
    rows = list(zip(boxes.round().int().tolist(), order, colours, strict=True))
    for box, number, colour in reversed(rows):
        text = f"{found.names[number]} {found.scores[number]:.2f}"
        plate_width = min(size[0], round(measured.getlength(text)) + 2 * pad)
        left, top, right, bottom = plate = _place(box, (plate_width, plate_height), size, line, placed)
        placed.append(plate)
        background = torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(3, plate_height, plate_width)
        # A frame without a line, that only places its label: TorchVision writes one pixel inside the corner.
        corner = torch.tensor([[pad - 1, pad - 1, pad, pad]])
        canvas[:, top:bottom, left:right] = draw_bounding_boxes(
            background, corner, [text], width=0, font=font.file(), font_size=letters, label_colors=[text_colour(colour)]
        )
    return canvas


def _place(
    box: Sequence[int], plate: tuple[int, int], picture: tuple[int, int], line: int, placed: Sequence[Plate]
) -> Plate:
    """Above the box, inside its top, below it, or inside its bottom; at its left, or its right.

    The first that hides no other label.
    """
    x0, y0, x1, y1 = box
    width, height = plate
    rightmost, lowest = picture[0] - width, picture[1] - height
    lefts = [max(0, min(left, rightmost)) for left in (x0, x1 + 1 - width)]
    tops = [top for top in (y0 - height + line, y0, y1 + 1 - line, y1 + 1 - height) if 0 <= top <= lowest]
    tops = tops or [max(0, min(y0, lowest))]
    plates = [(left, top, left + width, top + height) for left in lefts for top in tops]
    return next((one for one in plates if not any(_overlap(one, other) for other in placed)), plates[0])


def _overlap(one: Plate, other: Plate) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def pillow(picture: Tensor) -> Image.Image:
    """uint8 [3, H, W] as a PIL image."""
    return Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())


def save_picture(picture: Tensor, file: Path) -> Path:
    """Write it as JPEG, or as PNG where JPEG cannot hold it; returns the file, with its ending.

    Args:
        picture: uint8 [3, H, W]. file: without an ending.
    """
    image = pillow(picture)
    file.parent.mkdir(parents=True, exist_ok=True)
    if max(image.size) > LONGEST_JPEG:
        target = file.with_name(f"{file.name}.png")
        image.save(target)
    else:
        target = file.with_name(f"{file.name}.jpg")
        image.save(target, quality=JPEG_QUALITY, subsampling=0)
    return target
