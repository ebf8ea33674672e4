"""Evaluates many images with many masks, as a run does it, and prints the peak memory in bytes and the numbers.

python masks_at_scale.py IMAGES MASKS SIDE
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detkit import BuildContext
from detkit.data.targets import encode_masks, prediction_from_output
from detkit.data.types import Annotation, ImageInfo, ModelOutput, Prediction
from detkit_coco import CocoOptions, build_coco


def main(images: int, masks: int, side: int) -> None:
    metric = build_coco(CocoOptions(), BuildContext(class_names=("a", "b")))
    for prediction, truth in evaluated(images, masks, side):
        metric.update([prediction], [truth])
    result = metric.compute()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    scalars = {key: scalar.value for key, scalar in result.scalars.items()}
    print(json.dumps({"peak": peak, "rows": len(result.tables["mask_per_image"].rows), "scalars": scalars}))


def evaluated(images: int, masks: int, side: int) -> Iterator[tuple[Prediction, ImageInfo]]:
    """Ellipses as objects; as what a model gives for them, full-size probabilities that are a few pixels off."""
    rng = np.random.default_rng(0)
    for image_id in range(1, images + 1):
        centre = rng.uniform(0.1 * side, 0.9 * side, (masks, 2))
        radius = rng.uniform(0.01 * side, 0.1 * side, (masks, 2))
        labels = rng.integers(1, 3, masks)
        boxes = np.concatenate([centre - radius, centre + radius], axis=1)
        moved = boxes + np.tile(rng.normal(0, 3, centre.shape), 2)
        annotations = tuple(
            Annotation(int(label), tuple(box), float((box[2] - box[0]) * (box[3] - box[1])), mask=rle)
            for label, box, rle in zip(
                labels, boxes.tolist(), encode_masks(ellipses(boxes, side, np.uint8)), strict=True
            )
        )
        output: ModelOutput = {
            "boxes": torch.from_numpy(moved).float(),
            "labels": torch.from_numpy(labels),
            "scores": torch.rand(masks),
            "masks": torch.from_numpy(ellipses(moved, side, np.float32))[:, None],
        }
        yield prediction_from_output(image_id, output), ImageInfo(image_id, None, side, side, annotations)


def ellipses(boxes: NDArray[Any], side: int, dtype: Any) -> NDArray[Any]:
    """[N, side, side], 1 inside the ellipse that fills the box."""
    masks = np.zeros((len(boxes), side, side), dtype=dtype)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.tolist(), strict=True):
        left, top, right, bottom = (min(max(round(value), 0), side) for value in (x0, y0, x1, y1))
        x = (np.arange(left, right) - (x0 + x1) / 2) / ((x1 - x0) / 2)
        y = (np.arange(top, bottom) - (y0 + y1) / 2) / ((y1 - y0) / 2)
        mask[top:bottom, left:right] = x**2 + y[:, None] ** 2 < 1
    return masks


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
