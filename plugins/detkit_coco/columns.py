"""All images as columns: what evaluators and the matching work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from detkit.data.evaluated import EvaluatedImage, Floats, Integers
from detkit.data.targets import mask_areas
from detkit.data.types import RLE

Region = Literal["bbox", "segm"]
Flags = NDArray[np.bool_]
Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Objects:
    """The ground truth, by image and then in the order of the dataset.

    Attributes:
        image: int64 [G], places in `Columns.images`. label: int64 [G], 1..K.
        boxes: float64 [G, 4], (x, y, width, height). area: float64 [G], as stated. crowd: bool [G].
        masks: G run-length masks where masks are evaluated, else empty.
    """

    image: Integers
    label: Integers
    boxes: Floats
    area: Floats
    crowd: Flags
    masks: Sequence[RLE]


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found, by image and then in the model's order.

    Attributes:
        image, label, boxes, masks: as of `Objects`. area: float64 [D], of the box, or of the mask.
        score: float64 [D].
    """

    image: Integers
    label: Integers
    boxes: Floats
    area: Floats
    score: Floats
    masks: Sequence[RLE]


@dataclass(frozen=True, slots=True)
class Columns:
    """Attributes: images: in the order that breaks ties between equal scores. classes: K."""

    images: Sequence[EvaluatedImage]
    classes: int
    region: Region
    objects: Objects
    detections: Detections

    def of(self, kept: Integers) -> Self:
        """The same with the detections at these places alone (int64 [N], rising)."""
        found = self.detections
        detections = Detections(
            image=found.image[kept],
            label=found.label[kept],
            boxes=found.boxes[kept],
            area=found.area[kept],
            score=found.score[kept],
            masks=[found.masks[place] for place in kept.tolist()] if found.masks else [],
        )
        return replace(self, detections=detections)


def columns_of(images: Sequence[EvaluatedImage], classes: int, region: Region) -> Columns:
    """The columns of images, of which each has masks where `region` is "segm"."""
    masks = region == "segm"
    annotations = [annotation for image in images for annotation in image.truth.annotations]
    objects = Objects(
        image=_places([len(image.truth_labels) for image in images]),
        label=_joined([image.truth_labels for image in images], np.zeros(0, dtype=np.int64)),
        boxes=_joined([image.truth_bboxes for image in images], np.zeros((0, 4))),
        area=np.array([annotation.area for annotation in annotations], dtype=np.float64),
        crowd=np.array([annotation.iscrowd for annotation in annotations], dtype=np.bool_),
        masks=[a.mask for a in annotations if a.mask is not None] if masks else [],
    )
    found_masks = [mask for image in images for mask in image.found_masks or ()] if masks else []
    boxes = _joined([image.found_bboxes for image in images], np.zeros((0, 4)))
    detections = Detections(
        image=_places([len(image.found_labels) for image in images]),
        label=_joined([image.found_labels for image in images], np.zeros(0, dtype=np.int64)),
        boxes=boxes,
        area=mask_areas(found_masks) if masks else boxes[:, 2] * boxes[:, 3],
        score=_joined([image.found_scores for image in images], np.zeros(0)),
        masks=found_masks,
    )
    return Columns(images, classes, region, objects, detections)


def _places(counts: Sequence[int]) -> Integers:
    return np.repeat(np.arange(len(counts)), counts)


def _joined(parts: Sequence[NDArray[Kind]], nothing: NDArray[Kind]) -> NDArray[Kind]:
    return np.concatenate([nothing, *parts])
