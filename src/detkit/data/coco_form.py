"""Ground truth and predictions in COCO's JSON forms, which every other tool reads; and detkit's own read back.

What is read back is trusted: it is of detkit's own record, and comes out as it went in, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detkit.data.types import Annotation, ImageInfo, Prediction


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
            if _corners(item.coco_box) != item.box:
                row["corners"] = list(item.box)  # x + (x1 - x) is not always x1 to the last bit
            annotations.append(row if item.mask is None else {**row, "segmentation": item.mask})
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def read_ground_truth(content: Mapping[str, Any]) -> tuple[list[ImageInfo], tuple[str, ...]]:
    """What `ground_truth_json` wrote: the images in their order, without paths, and the class names in theirs."""
    names = {row["id"]: str(row["name"]) for row in content["categories"]}
    objects: dict[int, list[Annotation]] = {row["id"]: [] for row in content["images"]}
    for row in content["annotations"]:
        x, y, width, height = row["bbox"]
        x0, y0, x1, y1 = row.get("corners") or _corners((x, y, width, height))
        objects[row["image_id"]].append(
            Annotation(
                label=row["category_id"],
                box=(x0, y0, x1, y1),
                area=row["area"],
                iscrowd=bool(row["iscrowd"]),
                mask=row.get("segmentation"),
                bbox=(x, y, width, height),
            )
        )
    infos = [
        ImageInfo(row["id"], None, row["width"], row["height"], tuple(objects[row["id"]]), row["file_name"])
        for row in content["images"]
    ]
    return infos, tuple(names[number] for number in sorted(names))


def _corners(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x, y, width, height = box
    return (x, y, x + width, y + height)


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


def read_predictions(rows: Iterable[Mapping[str, Any]], image_ids: Iterable[int]) -> list[Prediction]:
    """What `predictions_json` wrote of a model, whose boxes and scores are float32, for the images in the given order.

    Images without a row are those in which nothing was found. Where any row has a mask the model gives masks.

    Raises:
        KeyError: a row is of another image.
    """
    found: dict[int, list[Mapping[str, Any]]] = {image_id: [] for image_id in image_ids}
    masked = False
    for row in rows:
        found[row["image_id"]].append(row)
        masked = masked or "segmentation" in row
    return [_prediction(image_id, of_image, masked) for image_id, of_image in found.items()]


def _prediction(image_id: int, rows: Sequence[Mapping[str, Any]], masked: bool) -> Prediction:
    bboxes = np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4)
    corners = np.concatenate([bboxes[:, :2], bboxes[:, :2] + bboxes[:, 2:]], axis=1)
    return Prediction(
        image_id=image_id,
        boxes=corners.astype(np.float32),  # the sum is off by a bit of float64, far less than one of float32
        labels=np.array([row["category_id"] for row in rows], dtype=np.int64),
        scores=np.array([row["score"] for row in rows], dtype=np.float32),
        masks=[row["segmentation"] for row in rows] if masked else None,
        bboxes=bboxes,
    )
