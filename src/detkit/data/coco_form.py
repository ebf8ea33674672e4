"""Ground truth and predictions in COCO's JSON forms, which every other tool reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from detkit.data.types import ImageInfo, Prediction


def ground_truth_json(infos: Iterable[ImageInfo], class_names: Sequence[str]) -> dict[str, Any]:
    """Instances in COCO's form: boxes as [x, y, width, height] in pixels, categories 1..K."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for info in infos:
        images.append({"id": info.image_id, "file_name": info.label, "width": info.width, "height": info.height})
        for item in info.annotations:
            x0, y0, x1, y1 = item.box
            row = {
                "id": len(annotations) + 1,
                "image_id": info.image_id,
                "category_id": item.label,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": item.area,
                "iscrowd": int(item.iscrowd),
            }
            annotations.append(row if item.mask is None else {**row, "segmentation": item.mask})
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def predictions_json(predictions: Iterable[Prediction]) -> list[dict[str, Any]]:
    """Results in COCO's form, in the given order of images and the model's order within each."""
    rows = []
    for prediction in predictions:
        boxes, labels, scores = prediction.boxes.tolist(), prediction.labels.tolist(), prediction.scores.tolist()
        for number, ((x0, y0, x1, y1), label, score) in enumerate(zip(boxes, labels, scores, strict=True)):
            row: dict[str, Any] = {
                "image_id": prediction.image_id,
                "category_id": label,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "score": score,
            }
            if prediction.masks is not None:
                row["segmentation"] = prediction.masks[number]
            rows.append(row)
    return rows
