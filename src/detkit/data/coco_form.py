"""Ground truth and predictions in COCO's JSON forms, which every other tool reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detkit.data.types import ImageInfo, Prediction


def ground_truth_json(infos: Iterable[ImageInfo], class_names: Sequence[str]) -> dict[str, Any]:
    """Instances in COCO's form: boxes as [x, y, width, height] in pixels, categories 1..K."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for info in infos:
        images.append({"id": info.image_id, "file_name": info.label, "width": info.width, "height": info.height})
        for item in info.annotations:
            row = {
                "id": len(annotations) + 1,
                "image_id": info.image_id,
                "category_id": item.label,
                "bbox": list(item.coco_box),
                "area": item.area,
                "iscrowd": int(item.iscrowd),
            }
            annotations.append(row if item.mask is None else {**row, "segmentation": item.mask})
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def coco_boxes(prediction: Prediction) -> NDArray[np.float64]:
    """float64 [N, 4], (x, y, width, height): as read, else from the corners."""
    if prediction.bboxes is not None:
        return prediction.bboxes
    corners = prediction.boxes.astype(np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def predictions_json(predictions: Iterable[Prediction]) -> list[dict[str, Any]]:
    """Results in COCO's form, in the given order of images and the model's order within each."""
    rows = []
    for prediction in predictions:
        boxes, labels, scores = coco_boxes(prediction).tolist(), prediction.labels.tolist(), prediction.scores.tolist()
        for number, (box, label, score) in enumerate(zip(boxes, labels, scores, strict=True)):
            row: dict[str, Any] = {
                "image_id": prediction.image_id,
                "category_id": label,
                "bbox": box,
                "score": score,
            }
            if prediction.masks is not None:
                row["segmentation"] = prediction.masks[number]
            rows.append(row)
    return rows
