"""Segmentations in COCO's three forms (polygons, run lengths as a list, run lengths as text) to masks of one form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from detkit.data.coco_rows import Floats, floats, shown
from detkit.data.types import RLE

#: How far from the image a corner of a polygon may lie, pixels: pycocotools fills memory with every pixel of an edge.
FARTHEST = 100_000
#: pycocotools counts pixels in 32 bits.
MOST_PIXELS = 2**32 - 1


def as_rle(segmentation: Any, height: int, width: int) -> RLE:
    """One segmentation in COCO's compressed form. Runs given as text are taken as they are, and not looked at.

    Args:
        segmentation: a list of polygons, each a list of x, y, x, y, ...; or an object of size and counts.
        height, width: of the image, pixels.

    Raises:
        ValueError: it is none; says why.
    """
    if height * width > MOST_PIXELS:
        raise ValueError(f"an image of {width} x {height} pixels is too large for masks")
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, height, width)
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise ValueError(f"its size is {shown(size)}, that of the image [{height}, {width}] (height, width)")
    if isinstance(counts, str):
        return RLE(size=[height, width], counts=counts)
    if isinstance(counts, list):
        return _from_runs(counts, height, width)
    raise ValueError(f"its counts are {shown(counts)}; they must be text or a list of integers")


def _from_polygons(polygons: Sequence[Any], height: int, width: int) -> RLE:
    from pycocotools import mask as coco_mask

    for polygon in polygons:
        _check_polygon(polygon, height, width)
    return _plain(coco_mask.merge(coco_mask.frPyObjects(list(polygons), height, width)))


def _check_polygon(polygon: Any, height: int, width: int) -> None:
    if not isinstance(polygon, list) or set(map(type, polygon)) - {int, float}:
        raise ValueError(f"its polygon {shown(polygon)} is no list of numbers")
    # pycocotools takes four numbers for a box.
    if len(polygon) < 6 or len(polygon) % 2:
        raise ValueError(f"its polygon has {len(polygon)} numbers; it must have two for each of three or more corners")
    points = floats(polygon)
    farthest = FARTHEST + max(height, width)
    if not (np.abs(points) <= farthest).all():  # NaN is in no range
        raise ValueError(f"its polygon has a corner that is not finite, or more than {FARTHEST:,} pixels away")


def _from_runs(counts: Sequence[Any], height: int, width: int) -> RLE:
    from pycocotools import mask as coco_mask

    if set(map(type, counts)) - {int} or any(count < 0 for count in counts) or sum(counts) != height * width:
        raise ValueError(f"its counts must be integers, none negative, that add up to the {height * width} pixels")
    return _plain(coco_mask.frPyObjects({"size": [height, width], "counts": list(counts)}, height, width))


def _plain(rle: Any) -> RLE:
    return RLE(size=[int(side) for side in rle["size"]], counts=rle["counts"].decode("ascii"))


def mask_boxes(masks: Sequence[RLE]) -> Floats:
    """float64 [N, 4], the smallest box around each: x, y, width, height in pixels; four zeros around an empty mask."""
    from pycocotools import mask as coco_mask

    return np.array(coco_mask.toBbox(list(masks)) if masks else [], dtype=np.float64).reshape(-1, 4)
