"""What of COCO's evaluation the options choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from detkit.data.evaluated import Floats
from detkit_coco import CocoOptions

#: pycocotools' own: `Params.setDetParams` builds them so, and 0.6 typed into a list is another number in the last bit.
IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
RECALLS: Floats = np.linspace(0.0, 1.0, 101)
#: The range that holds every object.
ALL_AREAS = ("all", (0.0, 1e5**2))


@dataclass(frozen=True, slots=True)
class Settings:
    """By default as COCO does.

    Attributes:
        ious: float64 [T], rising. recalls: float64 [R].
        areas: A names and ranges of an object's area in square pixels, both ends included; the first holds all.
        max_detections: M, rising: how many detections of a class in an image count.
    """

    ious: Floats
    recalls: Floats
    areas: dict[str, tuple[float, float]]
    max_detections: tuple[int, ...]

    @classmethod
    def of(cls, options: CocoOptions) -> Self:
        given = options.iou_thresholds
        return cls(
            ious=IOU_THRESHOLDS if given is None else np.array(given),
            recalls=RECALLS,
            areas=dict([ALL_AREAS]) | options.area_ranges,
            max_detections=options.max_detections,
        )

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """The ranges of `areas`."""
        return list(self.areas.values())

    def at_iou(self, iou: float) -> int | None:
        """The place of an IoU threshold; None where it is not among them."""
        near = np.flatnonzero(np.isclose(self.ious, iou, rtol=0, atol=1e-9))
        return int(near[0]) if near.size else None

    def named_ious(self) -> dict[str, int]:
        """Those that have a number of their own, `ap50` and `ap75`, with their places."""
        places = {"ap50": self.at_iou(0.5), "ap75": self.at_iou(0.75)}
        return {name: place for name, place in places.items() if place is not None}
