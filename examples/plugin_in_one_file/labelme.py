"""A dataset in one file: a folder of images annotated with LabelMe, one JSON file an image.

    plugins = ["labelme.py"]
    [dataset]
    use = "labelme"
    root = "my_images"

`FileDataset` reads sizes and pixels, and gives what detkit asks of files; what is left for a format is the list of
images, and the objects of each.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from detkit import (
    BOXES,
    BOXES_AND_MASKS,
    BuildContext,
    Capabilities,
    DataError,
    DatasetComponent,
    OptionPath,
    Options,
    hookimpl,
)
from detkit.data.file_dataset import FileDataset, ImageFile, Reading, image_ids
from detkit.data.types import RLE, Annotation

Point = tuple[float, float]
#: Corners of the polygon that stands for a circle.
CORNERS = 32


class LabelMeOptions(Options):
    root: OptionPath = Field(description="the folder of JSON files and their images")
    masks: bool = Field(False, description="take the polygons as masks; without, only the boxes around them count")
    ignore: tuple[str, ...] = Field((), description="labels that are no class, as an annotator's remarks")


@dataclass(frozen=True)
class Shape:
    """One object of a JSON file: its class, its corners in pixels, and what messages call it."""

    label: str
    corners: tuple[Point, ...]
    place: str

    @property
    def box(self) -> tuple[float, float, float, float]:
        xs, ys = zip(*self.corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


class LabelMe(FileDataset):
    """Labels are 1..K in the order of the alphabet; image ids follow from the files' names."""

    def __init__(self, root: Path, shapes: Sequence[Sequence[Shape]], files: Sequence[ImageFile], masks: bool) -> None:
        names = sorted({shape.label for of_image in shapes for shape in of_image})
        if not names:
            raise DataError(f"{root}: no JSON file holds an object")
        super().__init__(names, files, reading=Reading(), provides=BOXES_AND_MASKS if masks else BOXES)
        self._shapes = shapes
        self._label = {name: number for number, name in enumerate(names, 1)}

    def annotations(self, index: int, width: int, height: int) -> tuple[Annotation, ...]:
        """All objects of an image: `FileDataset` makes targets and the ground truth of them."""
        return tuple(self._annotation(shape, width, height) for shape in self._shapes[index])

    def _annotation(self, shape: Shape, width: int, height: int) -> Annotation:
        x0, y0, x1, y1 = shape.box
        box = (max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1))
        area = (box[2] - box[0]) * (box[3] - box[1])
        mask = None
        if "masks" in self.provides:
            mask, area = rasterised(shape.corners, width, height)
        return Annotation(self._label[shape.label], box, area, mask=mask, source=shape.place)


def rasterised(corners: Sequence[Point], width: int, height: int) -> tuple[RLE, float]:
    """A polygon as a run-length mask, and its area in pixels."""
    from pycocotools import mask as coco_mask

    flat = [value for point in corners for value in point]
    rle = coco_mask.merge(coco_mask.frPyObjects([flat], height, width))
    return RLE(size=[height, width], counts=rle["counts"].decode("ascii")), float(coco_mask.area(rle))


# --- reading the files -----------------------------------------------------------------------------------------------


def read_shapes(file: Path, content: dict[str, Any], ignored: Sequence[str]) -> list[Shape]:
    """The objects of a JSON file.

    Raises:
        DataError: one of them cannot be read; names the file and the object.
    """
    shapes = []
    for number, row in enumerate(content["shapes"]):
        place = f"object {number}"
        if row["label"] not in ignored:
            kind, points = row.get("shape_type", "polygon"), [(float(x), float(y)) for x, y in row["points"]]
            shapes.append(Shape(row["label"], corners_of(kind, points, f"{file}, {place}"), place))
    return shapes


def corners_of(kind: str, points: Sequence[Point], place: str) -> tuple[Point, ...]:
    """The polygon that a shape of LabelMe stands for."""
    if kind == "polygon" and len(points) >= 3:
        return tuple(points)
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        return (x0, y0), (x1, y0), (x1, y1), (x0, y1)
    if kind == "circle" and len(points) == 2:  # its middle, and a point on it
        (x, y), radius = points[0], math.dist(*points)
        angles = [2 * math.pi * corner / CORNERS for corner in range(CORNERS)]
        return tuple((x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles)
    raise DataError(
        f"{place}: a {kind} of {len(points)} points has no box; there are: polygon (of 3 or more), rectangle, circle."
        " Put its label into `ignore` to leave it out"
    )


def read_file(file: Path, ignored: Sequence[str]) -> tuple[Path, tuple[int, int], list[Shape]]:
    """The image of a JSON file, the size that it claims (width, height), and its objects.

    Raises:
        DataError: the file is no annotation of LabelMe.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        image = file.parent / content["imagePath"].replace("\\", "/")
        return image, (content["imageWidth"], content["imageHeight"]), read_shapes(file, content, ignored)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{file} is no annotation of LabelMe: {type(error).__name__}: {error}") from error


def build_labelme(options: LabelMeOptions, context: BuildContext) -> LabelMe:
    """All that is wrong with the files is told at once: whoever mends them wants the whole list."""
    found, wrong = [], []
    for file in sorted(options.root.rglob("*.json")):
        try:
            found.append((file, *read_file(file, options.ignore)))
        except DataError as error:
            wrong.append(str(error))
    if wrong:
        raise DataError("\n".join(wrong))
    if not found:
        raise DataError(f"there is no JSON file in {options.root}")
    names = [image.relative_to(options.root).as_posix() for _, image, _, _ in found]
    files = [
        ImageFile(image, name, number, stated=size, source=file)
        for (file, image, size, _), name, number in zip(found, names, image_ids(names), strict=True)
    ]
    return LabelMe(options.root, [shapes for *_, shapes in found], files, options.masks)


LABELME = DatasetComponent(
    "labelme",
    LabelMeOptions,
    build_labelme,
    "images annotated with LabelMe",
    may_provide=lambda options: capabilities(options.masks),
)


def capabilities(masks: bool) -> Capabilities:
    """What targets hold: a model that needs masks is refused where there are none, before anything runs."""
    return BOXES_AND_MASKS if masks else BOXES


@hookimpl
def detkit_datasets() -> list[DatasetComponent[Any]]:
    return [LABELME]
