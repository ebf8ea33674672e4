"""A few drawn images with a table of boxes: what a new dataset plugin reads until it is given real ones."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

IMAGES = 24
SIDE_PX = 96
SMALLEST_PX, LARGEST_PX = 18, 40
#: An object overlaps no other; after so many tries there is no room.
TRIES = 20
COLOURS = {"disc": (214, 84, 60), "box": (58, 110, 204)}

Box = tuple[int, int, int, int]


def drawn_data() -> Iterator[tuple[str, bytes]]:
    """File name to content: boxes.csv, and images of discs and boxes, the same on every machine."""
    draw = random.Random(0)
    images = {f"{number:04d}.png": _objects(draw, number) for number in range(IMAGES)}
    lines = ["image,class,x0,y0,x1,y1"]
    for name, objects in images.items():
        lines += [f"{name},{kind},{','.join(map(str, box))}" for kind, box in objects] or [f"{name},,,,,"]
    yield "boxes.csv", ("\n".join(lines) + "\n").encode()
    for name, objects in images.items():
        # A background of its own for each: two images without objects would be the same file.
        yield name, _picture(objects, tuple(draw.randint(190, 230) for _ in range(3)))


def _objects(draw: random.Random, number: int) -> list[tuple[str, Box]]:
    """Up to three; every eighth image has none."""
    objects: list[tuple[str, Box]] = []
    for _ in range(0 if number % 8 == 7 else draw.randint(1, 3)):
        for _ in range(TRIES):
            side = draw.randint(SMALLEST_PX, LARGEST_PX)
            x, y = draw.randint(0, SIDE_PX - side), draw.randint(0, SIDE_PX - side)
            box = (x, y, x + side, y + side)
            if not any(_overlap(box, other) for _, other in objects):
                objects.append((draw.choice(sorted(COLOURS)), box))
                break
    return objects


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _picture(objects: list[tuple[str, Box]], background: tuple[int, ...]) -> bytes:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIDE_PX, SIDE_PX), background)
    canvas = ImageDraw.Draw(image)
    for kind, (x0, y0, x1, y1) in objects:
        # Pillow's last pixel is part of a shape; the edge of a box is behind its last pixel.
        shape = canvas.ellipse if kind == "disc" else canvas.rectangle
        shape((x0, y0, x1 - 1, y1 - 1), fill=COLOURS[kind])
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
