"""COCO's matching and accumulation, by hotcoco or by pycocotools: two functions with one result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np

from detkit.data.evaluated import EvaluatedImage, Floats

Region = Literal["bbox", "segm"]

#: The third axis from the right of precision, the second from the right of recall: COCO's ranges of an object's area,
#: parted at 32^2 and 96^2 square pixels. Source: pycocotools' Params.setDetParams.
AREAS = ("all", "small", "medium", "large")


@dataclass(frozen=True, slots=True)
class Accumulated:
    """COCO's accumulated results; -1 where there is no ground truth.

    Attributes:
        precision: float64 [T, R, K, A, M]: IoU thresholds .50:.05:.95, recalls 0:.01:1, classes, `AREAS`, detections.
        recall: float64 [T, K, A, M], the highest that is reached.
        recalls: float64 [R].
        ious: float64 [T].
    """

    precision: Floats
    recall: Floats
    recalls: Floats
    ious: Floats


def evaluate(
    engine: Literal["hotcoco", "pycocotools"],
    images: Sequence[EvaluatedImage],
    class_count: int,
    region: Region,
    max_detections: Sequence[int],
) -> Accumulated:
    """Match detections with objects and accumulate precision and recall.

    Args:
        engine: what computes.
        images: in the order that breaks ties between equal scores.
        class_count: K.
        region: "bbox" or "segm"; masks are used as they are, never decoded.
        max_detections: rising.
    """
    run = _by_hotcoco if engine == "hotcoco" else _by_pycocotools
    return run(images, class_count, region, list(max_detections))


@dataclass(frozen=True, slots=True)
class _Columns:
    """Objects or detections of all images as columns. Images are numbered from 1, whatever their ids are."""

    image_ids: Any
    labels: Any
    boxes: Floats
    masks: list[Any]


def _truth_columns(images: Sequence[EvaluatedImage]) -> _Columns:
    return _columns(
        [image.truth_labels for image in images],
        [image.truth_bboxes for image in images],
        [annotation.mask for image in images for annotation in image.truth.annotations],
    )


def _found_columns(images: Sequence[EvaluatedImage]) -> _Columns:
    return _columns(
        [image.found_labels for image in images],
        [image.found_bboxes for image in images],
        [mask for image in images for mask in image.found_masks or ()],
    )


def _columns(labels: list[Any], boxes: list[Floats], masks: list[Any]) -> _Columns:
    if not labels:
        nothing = np.zeros(0, dtype=np.int64)
        return _Columns(nothing, nothing, np.zeros((0, 4)), [])
    return _Columns(
        image_ids=np.repeat(np.arange(1, len(labels) + 1), [len(part) for part in labels]),
        labels=np.concatenate(labels),
        boxes=np.concatenate(boxes),
        masks=masks,
    )


def _areas(images: Sequence[EvaluatedImage]) -> list[float]:
    return [annotation.area for image in images for annotation in image.truth.annotations]


def _crowds(images: Sequence[EvaluatedImage]) -> list[bool]:
    return [annotation.iscrowd for image in images for annotation in image.truth.annotations]


def _scores(images: Sequence[EvaluatedImage]) -> Floats:
    return np.concatenate([np.zeros(0), *(image.found_scores for image in images)])


def _image_table(images: Sequence[EvaluatedImage]) -> list[dict[str, int]]:
    return [
        {"id": number, "width": image.truth.width, "height": image.truth.height}
        for number, image in enumerate(images, start=1)
    ]


def _class_table(class_count: int) -> list[dict[str, Any]]:
    return [{"id": label, "name": str(label)} for label in range(1, class_count + 1)]


def _by_hotcoco(
    images: Sequence[EvaluatedImage], class_count: int, region: Region, max_detections: list[int]
) -> Accumulated:
    import hotcoco

    truth, found, scores = _truth_columns(images), _found_columns(images), _scores(images)
    ground_truth = hotcoco.COCO.from_arrays(
        _image_table(images),
        _class_table(class_count),
        truth.image_ids,
        truth.labels,
        truth.boxes,
        ids=np.arange(1, len(truth.labels) + 1),
        area=np.array(_areas(images), dtype=np.float64),
        iscrowd=np.array(_crowds(images), dtype=bool),
        segmentation=truth.masks if region == "segm" else None,
    )
    # A result with a box takes its area from the box, also for masks: results of masks go without boxes.
    results: Any = (
        _mask_results(found, scores)
        if region == "segm"
        else np.column_stack([found.image_ids, found.boxes, scores, found.labels])
    )
    evaluation = hotcoco.COCOeval(ground_truth, ground_truth.load_res(results), region)
    evaluation.params.max_dets = max_detections
    evaluation.evaluate()
    evaluation.accumulate()
    accumulated: Any = evaluation.eval
    parameters = evaluation.params
    return Accumulated(
        precision=accumulated["precision"],
        recall=accumulated["recall"],
        recalls=np.asarray(parameters.rec_thrs),
        ious=np.asarray(parameters.iou_thrs),
    )


def _mask_results(found: _Columns, scores: Floats) -> list[dict[str, Any]]:
    return [
        {"image_id": image_id, "category_id": label, "segmentation": mask, "score": score}
        for image_id, label, mask, score in zip(
            found.image_ids.tolist(), found.labels.tolist(), found.masks, scores.tolist(), strict=True
        )
    ]


def _by_pycocotools(
    images: Sequence[EvaluatedImage], class_count: int, region: Region, max_detections: list[int]
) -> Accumulated:
    from pycocotools import coco, cocoeval

    truth, found, scores = _truth_columns(images), _found_columns(images), _scores(images)
    crowds = [int(crowd) for crowd in _crowds(images)]
    objects = _annotations(truth, _areas(images), crowds, region)
    detections = _annotations(found, _found_areas(found, region), [0] * len(scores), region)
    for detection, score in zip(detections, scores.tolist(), strict=True):
        detection["score"] = score
    with _no_printing(coco, cocoeval):
        index = [
            _indexed(coco.COCO(), _image_table(images), _class_table(class_count), annotations)
            # Not COCO.loadRes: it raises on an empty list.
            for annotations in (objects, detections)
        ]
        evaluation = cocoeval.COCOeval(*index, region)
        evaluation.params.maxDets = max_detections
        evaluation.evaluate()
        evaluation.accumulate()
    return Accumulated(
        precision=evaluation.eval["precision"],
        recall=evaluation.eval["recall"],
        recalls=np.asarray(evaluation.params.recThrs),
        ious=np.asarray(evaluation.params.iouThrs),
    )


def _found_areas(found: _Columns, region: Region) -> list[Any]:
    """What COCO's loadRes takes for the area of a detection: of its mask, or of its box."""
    from pycocotools import mask

    if region == "segm":
        return [float(mask.area(found_mask)) for found_mask in found.masks]
    areas: list[Any] = (found.boxes[:, 2] * found.boxes[:, 3]).tolist()
    return areas


def _annotations(columns: _Columns, areas: list[Any], crowds: list[int], region: Region) -> list[dict[str, Any]]:
    # Ids begin at 1: pycocotools takes a match with id 0 for none.
    annotations = [
        {"id": number, "image_id": image_id, "category_id": label, "bbox": box, "area": area, "iscrowd": crowd}
        for number, (image_id, label, box, area, crowd) in enumerate(
            zip(
                columns.image_ids.tolist(), columns.labels.tolist(), columns.boxes.tolist(), areas, crowds, strict=True
            ),
            start=1,
        )
    ]
    if region == "segm":
        for annotation, mask in zip(annotations, columns.masks, strict=True):
            annotation["segmentation"] = mask
    return annotations


def _indexed(
    index: Any, images: list[dict[str, int]], classes: list[dict[str, Any]], annotations: list[dict[str, Any]]
) -> Any:
    index.dataset = {"images": images, "categories": classes, "annotations": annotations}
    index.createIndex()
    return index


@contextmanager
def _no_printing(*modules: ModuleType) -> Iterator[None]:
    """Shadow `print` in the modules: `redirect_stdout` would swallow what other threads print meanwhile."""
    for module in modules:
        vars(module)["print"] = lambda *_args, **_options: None
    try:
        yield
    finally:
        for module in modules:
            del vars(module)["print"]
