"""One image's objects and detections as Comet's annotation layers, in the plain values that its client takes.

The client drops an image, with nothing but a line in its log, for an empty layer, a numpy number, a tuple instead of a
list. So everything here is lists, `str`, `float` and `int`, and a layer without annotations is left out.

Every annotation has a label (the class), a score of 0 to 100 (objects: 100), a box, and where there is a mask its
outline, both in one annotation, as Comet allows: in two of them one object would be counted and filtered twice. In its
metadata stands `iou`:

- of a detection: its best IoU with an object of its class, 0 where there is none;
- of an object: the best IoU that a drawn detection of its class has with it.

It is the masks' IoU where all objects and detections of the image have masks, else the boxes'. A region of COCO's kind
"crowd" has `crowd: true`, and its `iou` is, as COCO measures it, the share of the detection that lies within it. A
detection whose IoU is under one half, but of which half lies in a crowd of its class, has `in_crowd: true`: COCO's
numbers do not count it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detkit.data.evaluated import Flags, Floats, Integers
from detkit.data.types import RLE, ImageInfo
from detkit_comet.polygons import outlines

GROUND_TRUTH = "Ground truth"
PREDICTIONS = "Predictions"

#: An object counts as found, a detection as right, from here on.
FOUND_IOU = 0.5
#: Of pixels, scores in percent, IoUs: more digits are not seen, but sent, three times an image.
PIXEL_DIGITS = 2
SCORE_DIGITS = 2
IOU_DIGITS = 4

#: One detection in COCO's results form: category_id, bbox, score, segmentation.
Row = Mapping[str, Any]
Annotation = dict[str, Any]


class Frozen(list[Any]):
    """A list that nobody changes: the client copies annotations number by number before it queues them."""

    def __deepcopy__(self, _memo: dict[int, Any]) -> Frozen:
        return self


@dataclass(frozen=True)
class DrawnTruth:
    """The objects of an image, with what does not change from epoch to epoch.

    Attributes:
        annotations: without their IoU.
        boxes: float64 [G, 4], x, y, width, height in pixels of the original image.
        labels, crowd: [G].
        masks: of all objects, or None.
        scale: from pixels of the original to pixels of the picture that is sent, x and y.
        tolerance: of outlines, pixels of the picture.
    """

    annotations: list[Annotation]
    boxes: Floats
    labels: Integers
    crowd: NDArray[np.bool_]
    masks: list[RLE] | None
    class_names: Sequence[str]
    scale: tuple[float, float]
    tolerance: float


@dataclass(frozen=True)
class Layers:
    """What is sent with one image.

    Attributes:
        annotations: Comet's layers, none of them empty; may be none.
        facts: for the image's metadata: `objects` (without crowds) and how many of them no drawn detection of their
            class overlaps by half, `missed`; `detections` drawn and how many of them overlap no object of their class
            by half, `unmatched`; `iou_of`, "masks" or "boxes".
    """

    annotations: Frozen
    facts: dict[str, Any] = field(default_factory=dict)


def drawn_truth(
    truth: ImageInfo, class_names: Sequence[str], *, scale: tuple[float, float] = (1.0, 1.0), tolerance: float = 0.0
) -> DrawnTruth:
    """The objects of an image.

    Args:
        scale: width and height of the picture that is sent, as shares of the original's.
        tolerance: how far an outline may be from the mask's, pixels of that picture.
    """
    objects = truth.annotations
    boxes = np.array([item.coco_box for item in objects], dtype=np.float64).reshape(-1, 4)
    masks = [item.mask for item in objects if item.mask is not None]
    drawn = DrawnTruth(
        annotations=[],
        boxes=boxes,
        labels=np.array([item.label for item in objects], dtype=np.int64),
        crowd=np.array([item.iscrowd for item in objects], dtype=np.bool_),
        masks=masks if len(masks) == len(objects) else None,
        class_names=class_names,
        scale=scale,
        tolerance=tolerance,
    )
    labels, scores = drawn.labels.tolist(), [100.0] * len(objects)
    drawn.annotations.extend(_annotations(drawn, boxes, labels, scores, [item.mask for item in objects]))
    return drawn


def surest(rows: Sequence[Row], count: int) -> list[Row]:
    """At most so many detections, those with the highest scores, the highest first."""
    return sorted(rows, key=lambda row: -row["score"])[:count]


def layers(truth: DrawnTruth, rows: Sequence[Row]) -> Layers:
    """Comet's layers of one image.

    Args:
        rows: the detections to draw, boxes and masks in pixels of the original image.
    """
    boxes = np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4)
    labels = np.array([row["category_id"] for row in rows], dtype=np.int64)
    masks: list[RLE | None] = [row.get("segmentation") for row in rows]
    ious, by_masks = _ious(truth, boxes, masks)
    ious *= labels[:, None] == truth.labels[None, :]
    plain = np.where(truth.crowd[None, :], 0.0, ious)
    of_rows, of_objects = plain.max(axis=1, initial=0.0), ious.max(axis=0, initial=0.0)
    in_crowd = (of_rows < FOUND_IOU) & (np.where(truth.crowd[None, :], ious, 0.0) >= FOUND_IOU).any(axis=1)
    scores = [round(100.0 * float(row["score"]), SCORE_DIGITS) for row in rows]
    found = [
        {**annotation, "metadata": {"iou": iou, "in_crowd": True} if ignored else {"iou": iou}}
        for annotation, iou, ignored in zip(
            _annotations(truth, boxes, labels.tolist(), scores, masks),
            of_rows.round(IOU_DIGITS).tolist(),
            in_crowd.tolist(),
            strict=True,
        )
    ]
    there = [
        {**annotation, "metadata": {"iou": iou, "crowd": True} if crowd else {"iou": iou}}
        for annotation, iou, crowd in zip(
            truth.annotations, of_objects.round(IOU_DIGITS).tolist(), truth.crowd.tolist(), strict=True
        )
    ]
    named = ((GROUND_TRUTH, there), (PREDICTIONS, found))
    return Layers(
        Frozen({"name": name, "data": data} for name, data in named if data),
        {
            "objects": int((~truth.crowd).sum()),
            "missed": int((~truth.crowd & (of_objects < FOUND_IOU)).sum()),
            "detections": len(found),
            "unmatched": int(((of_rows < FOUND_IOU) & ~in_crowd).sum()),
            "iou_of": "masks" if by_masks else "boxes",
        },
    )


def _annotations(
    truth: DrawnTruth,
    boxes: Floats,
    labels: Sequence[int],
    scores: Sequence[float],
    masks: Sequence[RLE | None],
) -> list[Annotation]:
    """Label, score and geometry, in pixels of the picture that is sent."""
    scaled = (boxes * (*truth.scale, *truth.scale)).round(PIXEL_DIGITS).tolist()
    there = [mask for mask in masks if mask is not None]
    outline = iter(outlines(there, truth.tolerance / min(truth.scale), truth.scale, PIXEL_DIGITS))
    annotations = []
    for box, label, score, mask in zip(scaled, labels, scores, masks, strict=True):
        annotation: Annotation = {"label": truth.class_names[label - 1], "score": score, "boxes": [box]}
        # An empty mask has no outline, and an empty list would be refused.
        if mask is not None and (points := next(outline)):
            annotation["points"] = points
        annotations.append(annotation)
    return annotations


# --- overlaps --------------------------------------------------------------------------------------------------------


def _ious(truth: DrawnTruth, boxes: Floats, masks: Sequence[RLE | None]) -> tuple[Floats, bool]:
    """float64 [N, G] of detections and objects of any class; and whether they are the masks'."""
    there = [mask for mask in masks if mask is not None]
    if there and truth.masks is not None and len(there) == len(masks):
        return _mask_ious(there, truth.masks, truth.crowd), True
    return box_ious(boxes, truth.boxes, truth.crowd), False


def box_ious(boxes: Floats, objects: Floats, crowd: Flags) -> Floats:
    """float64 [N, G] of boxes (x, y, width, height); with a crowd the share of the detection that lies in it."""
    begins = np.maximum(boxes[:, None, :2], objects[None, :, :2])
    ends = np.minimum(boxes[:, None, :2] + boxes[:, None, 2:], objects[None, :, :2] + objects[None, :, 2:])
    inside = np.clip(ends - begins, 0, None).prod(axis=2)
    areas, of_objects = boxes[:, 2:].prod(axis=1)[:, None], objects[:, 2:].prod(axis=1)[None, :]
    whole = np.where(crowd, areas, areas + of_objects - inside)
    ious: Floats = np.divide(inside, whole, out=np.zeros_like(inside), where=whole > 0)
    return ious


def _mask_ious(masks: list[RLE], objects: list[RLE], crowd: Flags) -> Floats:
    from pycocotools import mask as coco_mask

    if not objects:
        return np.zeros((len(masks), 0))
    ious: Floats = coco_mask.iou(masks, objects, np.asarray(crowd, dtype=np.uint8).tolist())
    return ious
