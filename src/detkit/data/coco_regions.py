"""Where the rows of a file in COCO's form are: boxes and masks, the one taken from the other where a row lacks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detkit.data.coco_masks import as_rle, mask_boxes
from detkit.data.coco_rows import Flags, Floats, Integers, Rows
from detkit.data.rle import whole
from detkit.data.types import ImageInfo

#: Of `RLE | None`, so that masks are chosen by index as boxes are.
Masks = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Regions:
    """Of N annotations or detections.

    Attributes:
        boxes: float64 [N, 4], x, y, width and height as read; around the mask where a row has no box.
        masks: [N], None where there is none, or where it was not wanted.
    """

    boxes: Floats
    masks: Masks

    @property
    def corners(self) -> Floats:
        """The boxes as float64 [N, 4], (x0, y0, x1, y1)."""
        return np.concatenate([self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]], axis=1)

    @property
    def masked(self) -> Flags:
        """bool [N], which have a mask."""
        return np.array([mask is not None for mask in self.masks], dtype=np.bool_)


def read_regions(rows: Rows, images: Integers, infos: Sequence[ImageInfo], wanted: Flags) -> Regions:
    """The regions of the rows; a fault is noted of each row that has none, or a wrong one.

    Args:
        images: int64 [N], the place of each row's image in `infos`.
        wanted: bool [N], whose masks are made; without a box a row's mask is wanted in any case.
    """
    boxes, boxed = rows.boxes("bbox", optional=True)
    masks = _masks(rows, images, infos, wanted | ~boxed)
    regions = Regions(boxes, masks)
    rows.refuse(~boxed & ~regions.masked, lambda _index: "has neither 'bbox' nor 'segmentation'")
    around = ~boxed & regions.masked
    boxes[around] = mask_boxes(masks[around].tolist())
    return regions


def _masks(rows: Rows, images: Integers, infos: Sequence[ImageInfo], wanted: Flags) -> Masks:
    masks: Masks = np.full(len(rows), None, dtype=np.object_)
    troubles: dict[int, str] = {}
    segmentations = rows.values("segmentation", list, dict, optional=True)
    for index in np.flatnonzero(wanted & rows.good).tolist():
        info = infos[images[index]]
        try:
            # Many tools write an empty list where there is no mask.
            masks[index] = as_rle(segmentations[index], info.height, info.width) if segmentations[index] else None
        except ValueError as error:
            troubles[index] = str(error)
    made = np.array([index for index, mask in enumerate(masks) if mask is not None], dtype=np.int64)
    pixels = [mask["size"][0] * mask["size"][1] for mask in masks[made]]
    damaged = made[~whole([mask["counts"] for mask in masks[made]], pixels)]
    troubles |= dict.fromkeys(damaged.tolist(), "its runs are damaged: they do not cover the image")
    bad = np.isin(np.arange(len(rows)), list(troubles))
    rows.refuse(bad, lambda index: f"has a 'segmentation' that is no mask: {troubles[index]}")
    masks[bad] = None
    return masks
