"""Objects that are too small for a model to see at its input size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detkit.checks.finding import Check, Finding
from detkit.data.types import ImageInfo

TOO_SMALL = Check(
    "object-smaller-than-anchors",
    "note",
    "objects under half of the side of a model's smallest anchor, once the image is resized; a warning where they are"
    " a tenth of all or more",
    "raise [input] min_size and max_size, cut images into tiles, set smaller anchor_sizes, or take a model with finer"
    " feature maps",
)
CHECKS = (TOO_SMALL,)

#: The largest overlap (IoU) that an object can have with an anchor and count as too small for it: below what every
#: detector takes for background, which is 0.3 in Faster R-CNN's proposals and 0.4 in RetinaNet.
LEAST_OVERLAP = 0.25
#: From this share of all objects on it is a warning.
MANY = 0.1
#: So many are named.
NAMED = 3


@dataclass(frozen=True, slots=True)
class Sight:
    """How small a model can see.

    Attributes:
        model: its key in the spec. anchor: side of its smallest anchor, resized pixels.
        min_size, max_size: of its input, as in `detkit.BuildContext`.
    """

    model: str
    anchor: float
    min_size: int
    max_size: int


def small_objects(infos: Sequence[ImageInfo | None], models: Sequence[Sight]) -> Iterator[Finding]:
    """One for each model for which there are objects that are too small.

    An anchor of side s has s * s pixels, whatever its shape; an object of a = width * height pixels after resizing has
    at most a of them in common with it. So the overlap (IoU) of an object with the best placed anchor of the best
    shape is at most a / (s * s), and below `LEAST_OVERLAP`, where sqrt(a) is under half of s, no anchor counts as the
    object's: it is learnt from the one that happens to be nearest, if at all. Of a detector of points s is their
    distance, and a / (s * s) the chance that one of them lies in the object. Crowds are left out.
    """
    if not models:
        return
    sides, images, numbers = _sides(infos)
    for model in models:
        scales = np.array([_scale(info, model) for info in infos])
        resized = sides * scales[images][:, None]
        share = resized.prod(axis=1) / model.anchor**2
        few = np.flatnonzero(share < LEAST_OVERLAP)
        if few.size:
            few = few[np.argsort(share[few], kind="stable")]
            named = [
                f"{_place(infos[images[one]], numbers[one])} ({resized[one][0]:.2g} x {resized[one][1]:.2g})"
                for one in few[:NAMED]
            ]
            yield _found(model, len(few), len(sides), named)


def _sides(
    infos: Sequence[ImageInfo | None],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Of each object with an area: width and height, pixels, [N, 2]; its image's index, and its number there, [N]."""
    sides, places = [], []
    for index, info in enumerate(infos):
        for number, item in enumerate(info.annotations if info is not None else ()):
            x0, y0, x1, y1 = item.box
            if x1 > x0 and y1 > y0 and not item.iscrowd:
                sides.append((x1 - x0, y1 - y0))
                places.append((index, number))
    both = np.array(places, np.int64).reshape(-1, 2)
    return np.array(sides, np.float64).reshape(-1, 2), both[:, 0], both[:, 1]


def _scale(info: ImageInfo | None, model: Sight) -> float:
    """By what the model multiplies the image's sides; 0 for images that cannot be read, of which there is no object."""
    if info is None or not (info.width and info.height):
        return 0.0
    short, long = sorted((info.width, info.height))
    return min(model.min_size / short, model.max_size / long)


def _place(info: ImageInfo | None, number: int) -> str:
    assert info is not None
    source = info.annotations[number].source or f"object {number}"
    # The image of a file of the same name goes without saying.
    return source if Path(info.label).stem in source else f"{info.label}, {source}"


def _found(model: Sight, count: int, total: int, named: Sequence[str]) -> Finding:
    """Args: named: the smallest of them."""
    side, percent = f"{model.anchor / 2:.3g}", f"{100 * count / total:.2g}%"
    text = (
        f"{model.model}: {count} of {total} objects ({percent}) are smaller than {side} x {side} pixels,"
        f" half of its smallest anchor, once resized to min_size = {model.min_size} and max_size = {model.max_size};"
        f" the smallest: {'; '.join(named)}"
    )
    return Finding(TOO_SMALL, "warning" if count >= MANY * total else TOO_SMALL.severity, text)
