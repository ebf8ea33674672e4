"""Small datasets in the formats of detkit_formats, written for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from detkit import BuildContext, Dataset, DatasetComponent


class Told:
    """Messages that are kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        self.lines.append(text)

    warning = info

    def progress(self, *_arguments: object, **_options: object) -> Any:
        from contextlib import nullcontext

        class Bar:
            def advance(self, amount: int = 1) -> None:
                pass

        return nullcontext(Bar())


def opened(component: DatasetComponent[Any], told: Told | None = None, **options: Any) -> Dataset:
    """The dataset under these options."""
    model = component.options.model_validate(options, strict=False)
    return component.build(model, BuildContext(messages=told or Told()))


def picture(file: Path, width: int = 40, height: int = 30, *, seed: int = 0, orientation: int = 1) -> Path:
    """A picture of noise, with a turn in its EXIF data."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(file, exif=exif)
    return file


def voc_object(name: str = "cat", box: Sequence[Any] = (1, 2, 11, 12), **more: Any) -> str:
    corners = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    rest = "".join(f"<{key}>{value}</{key}>" for key, value in more.items())
    return f"<object>\n<name>{name}</name>{rest}<bndbox>{corners}</bndbox></object>"


def voc_xml(file: Path, *objects: str, size: tuple[int, int] | None = (40, 30), filename: str = "") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    text = "\n".join(["<annotation>", f"<filename>{filename or file.stem + '.jpg'}</filename>", stated, *objects])
    file.write_text(f"{text}\n</annotation>\n", encoding="utf-8")
    return file


def voc_folder(root: Path, objects: dict[str, Sequence[str]], sets: dict[str, Sequence[str]] | None = None) -> Path:
    """A folder of VOC's form with a picture an entry."""
    for number, (name, items) in enumerate(objects.items()):
        picture(root / "JPEGImages" / f"{name}.jpg", seed=number)
        voc_xml(root / "Annotations" / f"{name}.xml", *items)
    for name, members in (sets or {}).items():
        file = root / "ImageSets" / "Main" / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{member}\n" for member in members))
    return root


def coco_json(
    file: Path,
    images: Sequence[dict[str, Any]],
    annotations: Sequence[dict[str, Any]],
    categories: dict[int, str] | None = None,
    *,
    pictures: Path | None = None,
) -> Path:
    """A JSON file of COCO's form; its images of 40 x 30 pixels are made in a folder where one is given."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"width": 40, "height": 30, **row} for row in images]
    for number, row in enumerate(rows):
        if pictures is not None:
            picture(pictures / row["file_name"], row["width"], row["height"], seed=number)
    content = {
        "images": rows,
        "annotations": [{"id": number, **row} for number, row in enumerate(annotations, 1)],
        "categories": [{"id": key, "name": name} for key, name in (categories or {1: "cat", 2: "dog"}).items()],
    }
    file.write_text(json.dumps(content), encoding="utf-8")
    return file
