"""COCO's matching and accumulation, by one of three libraries, with one result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from detkit.data.evaluated import Floats
from detkit_coco import Engine
from detkit_coco.columns import Columns, Detections
from detkit_coco.settings import Settings


@dataclass(frozen=True, slots=True)
class Accumulated:
    """COCO's accumulated results; -1 where there is no ground truth.

    Attributes:
        precision, scores: float64 [T, R, K, A, M]; the score is that of the detection which reaches the recall.
        recall: float64 [T, K, A, M], the highest that is reached.
    """

    precision: Floats
    scores: Floats
    recall: Floats


def evaluate(engine: Engine, columns: Columns, settings: Settings) -> Accumulated:
    """Match detections with objects and accumulate precision and recall. Masks are used as they are, never decoded."""
    if engine == "hotcoco":
        return _by_hotcoco(columns, settings)
    return _by_pycocotools("pycocotools" if engine == "pycocotools" else "faster_coco_eval", columns, settings)


def hotcoco_evaluation(columns: Columns) -> Any:
    """A `hotcoco.COCOeval` of the columns, not yet evaluated. Images are numbered from 1, whatever their ids are."""
    import hotcoco

    objects, found = columns.objects, columns.detections
    masks = columns.region == "segm"
    ground_truth = hotcoco.COCO.from_arrays(
        _image_table(columns),
        _class_table(columns),
        objects.image + 1,
        objects.label,
        objects.boxes,
        ids=np.arange(1, len(objects.label) + 1),
        area=objects.area,
        iscrowd=objects.crowd,
        segmentation=[dict(mask) for mask in objects.masks] if masks else None,
    )
    # A result with a box takes its area from the box, also for masks: results of masks go without boxes.
    results: Any = (
        _mask_results(found) if masks else np.column_stack([found.image + 1, found.boxes, found.score, found.label])
    )
    return hotcoco.COCOeval(ground_truth, ground_truth.load_res(results), columns.region)


def _mask_results(found: Detections) -> list[dict[str, Any]]:
    return [
        {"image_id": image + 1, "category_id": label, "segmentation": mask, "score": score}
        for image, label, mask, score in zip(
            found.image.tolist(), found.label.tolist(), found.masks, found.score.tolist(), strict=True
        )
    ]


def _by_hotcoco(columns: Columns, settings: Settings) -> Accumulated:
    evaluation = hotcoco_evaluation(columns)
    parameters = evaluation.params
    parameters.iou_thrs = settings.ious.tolist()
    parameters.rec_thrs = settings.recalls.tolist()
    parameters.area_rng = [list(bounds) for bounds in settings.bounds]
    parameters.area_rng_lbl = list(settings.areas)
    parameters.max_dets = list(settings.max_detections)
    evaluation.evaluate()
    evaluation.accumulate()
    accumulated: Any = evaluation.eval
    return Accumulated(accumulated["precision"], accumulated["scores"], accumulated["recall"])


def _by_pycocotools(package: str, columns: Columns, settings: Settings) -> Accumulated:
    """By pycocotools, or by faster_coco_eval, which has the same interface."""
    coco, cocoeval, evaluator = _modules(package)
    with _no_printing(coco, cocoeval):
        index = [
            _indexed(coco.COCO(), columns, annotations)
            # Not COCO.loadRes: pycocotools' raises on an empty list.
            for annotations in (_objects(columns), _results(columns))
        ]
        evaluation = evaluator(*index, columns.region)
        parameters = evaluation.params
        parameters.iouThrs, parameters.recThrs = settings.ious, settings.recalls
        parameters.areaRng = [list(bounds) for bounds in settings.bounds]
        parameters.areaRngLbl = list(settings.areas)
        parameters.maxDets = list(settings.max_detections)
        evaluation.evaluate()
        evaluation.accumulate()
    accumulated = evaluation.eval
    return Accumulated(*(np.asarray(accumulated[name]) for name in ("precision", "scores", "recall")))


def _modules(package: str) -> tuple[ModuleType, ModuleType, Any]:
    if package == "pycocotools":
        evaluation = import_module("pycocotools.cocoeval")
        return import_module("pycocotools.coco"), evaluation, evaluation.COCOeval
    evaluation = import_module("faster_coco_eval.core.cocoeval")
    return import_module("faster_coco_eval.core.coco"), evaluation, import_module(package).COCOeval_faster


def _image_table(columns: Columns) -> list[dict[str, int]]:
    return [
        {"id": number, "width": image.truth.width, "height": image.truth.height}
        for number, image in enumerate(columns.images, start=1)
    ]


def _class_table(columns: Columns) -> list[dict[str, Any]]:
    return [{"id": label, "name": str(label)} for label in range(1, columns.classes + 1)]


def _objects(columns: Columns) -> list[dict[str, Any]]:
    objects = columns.objects
    rows = _annotations(objects.image.tolist(), objects.label.tolist(), objects.boxes.tolist(), objects.area.tolist())
    for row, crowd in zip(rows, objects.crowd.tolist(), strict=True):
        row["iscrowd"] = int(crowd)
    return _with_masks(rows, objects.masks)


def _results(columns: Columns) -> list[dict[str, Any]]:
    found = columns.detections
    rows = _annotations(found.image.tolist(), found.label.tolist(), found.boxes.tolist(), found.area.tolist())
    for row, score in zip(rows, found.score.tolist(), strict=True):
        row |= {"iscrowd": 0, "score": score}
    return _with_masks(rows, found.masks)


def _annotations(
    images: list[int], labels: list[int], boxes: list[list[float]], areas: list[float]
) -> list[dict[str, Any]]:
    # Ids begin at 1: pycocotools takes a match with id 0 for none.
    return [
        {"id": number, "image_id": image + 1, "category_id": label, "bbox": box, "area": area}
        for number, (image, label, box, area) in enumerate(zip(images, labels, boxes, areas, strict=True), start=1)
    ]


def _with_masks(rows: list[dict[str, Any]], masks: Sequence[Any]) -> list[dict[str, Any]]:
    for row, mask in zip(rows, masks, strict=bool(masks)):
        row["segmentation"] = mask
    return rows


def _indexed(index: Any, columns: Columns, annotations: list[dict[str, Any]]) -> Any:
    index.dataset = {
        "images": _image_table(columns),
        "categories": _class_table(columns),
        "annotations": annotations,
    }
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
