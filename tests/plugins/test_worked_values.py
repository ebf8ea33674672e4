"""The examples that torchmetrics prints in its documentation, through detkit's evaluators.

They stand in the docstrings of `torchmetrics.detection.MeanAveragePrecision` and, with the same images and results, of
`torchmetrics.functional.detection.map.mean_average_precision`. Torchmetrics' class 0 is detkit's class 1.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from detkit.data.targets import encode_masks
from detkit.data.types import Annotation, ImageInfo, Prediction
from detkit_coco import CocoOptions, build_coco
from detkit_torchmetrics import TorchmetricsOptions, build_torchmetrics
from plugins.coco_cases import KEYS, TORCHMETRICS_KEYS, Case, scalars

Engine = Literal["hotcoco", "pycocotools"]
Backend = Literal["pycocotools", "faster_coco_eval"]
ENGINES: tuple[Engine, ...] = ("hotcoco", "pycocotools")
BACKENDS: tuple[Backend, ...] = ("pycocotools", "faster_coco_eval")

SCORE = 0.536
FOUND_BOX = [258.0, 41.0, 606.0, 285.0]
TRUE_BOX = (214.0, 41.0, 562.0, 285.0)
#: As printed: -1 has become None.
BOX_VALUES = {"map": 0.6, "map_50": 1.0, "map_75": 1.0, "map_small": None, "map_medium": None, "map_large": 0.6}
BOX_VALUES |= {"mar_1": 0.6, "mar_10": 0.6, "mar_100": 0.6, "mar_small": None, "mar_medium": None, "mar_large": 0.6}

FOUND_MASK = [
    [0, 0, 0, 0, 0],
    [0, 0, 1, 1, 0],
    [0, 0, 1, 1, 0],
    [0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0],
]
TRUE_MASK = [
    [0, 0, 0, 0, 0],
    [0, 0, 1, 0, 0],
    [0, 0, 1, 1, 0],
    [0, 0, 1, 0, 0],
    [0, 0, 0, 0, 0],
]
MASK_VALUES = {"map": 0.2, "map_50": 1.0, "map_75": 0.0, "map_small": 0.2, "map_medium": None, "map_large": None}
MASK_VALUES |= {"mar_1": 0.2, "mar_10": 0.2, "mar_100": 0.2, "mar_small": 0.2, "mar_medium": None, "mar_large": None}
#: The masks share 3 pixels of 5: an IoU of 0.6, which reaches three of COCO's ten thresholds. Torchmetrics prints two,
#: since it rounds its thresholds to float32, the third to 0.60000002.
MASK_VALUES_BY_COCO = {key: 0.3 if value == 0.2 else value for key, value in MASK_VALUES.items()}
TORCHMETRICS_THRESHOLDS = tuple(torch.linspace(0.5, 0.95, 10).tolist())


def box_example() -> Case:
    x0, y0, x1, y1 = TRUE_BOX
    truth = ImageInfo(1, None, 640, 480, (Annotation(1, TRUE_BOX, (x1 - x0) * (y1 - y0)),))
    return Case(("thing",), [prediction(FOUND_BOX)], [truth])


def mask_example() -> Case:
    found, true = np.array([FOUND_MASK], dtype=np.uint8), np.array([TRUE_MASK], dtype=np.uint8)
    annotation = Annotation(1, (2.0, 1.0, 4.0, 4.0), float(true.sum()), mask=encode_masks(true)[0])
    detection = prediction([2.0, 1.0, 4.0, 3.0])
    with_mask = Prediction(1, detection.boxes, detection.labels, detection.scores, encode_masks(found))
    return Case(("thing",), [with_mask], [ImageInfo(1, None, 5, 5, (annotation,))])


def prediction(box: list[float]) -> Prediction:
    labels, scores = np.ones(1, dtype=np.int64), np.array([SCORE], dtype=np.float32)
    return Prediction(1, np.array([box], dtype=np.float32), labels, scores)


@pytest.mark.parametrize("backend", BACKENDS)
def test_torchmetrics_gives_what_it_prints(backend: Backend) -> None:
    options = TorchmetricsOptions(backend=backend, iou_thresholds=TORCHMETRICS_THRESHOLDS)
    assert by_torchmetrics(box_example(), options, "") == pytest.approx(BOX_VALUES, abs=1e-6)
    assert by_torchmetrics(mask_example(), options, "mask_") == pytest.approx(MASK_VALUES, abs=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_torchmetrics_at_cocos_thresholds_gives_what_coco_does(backend: Backend) -> None:
    options = TorchmetricsOptions(backend=backend)
    assert by_torchmetrics(box_example(), options, "") == pytest.approx(BOX_VALUES, abs=1e-6)
    assert by_torchmetrics(mask_example(), options, "mask_") == pytest.approx(MASK_VALUES_BY_COCO, abs=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_coco(engine: Engine) -> None:
    assert by_coco(box_example(), engine, "") == pytest.approx(BOX_VALUES, abs=1e-12)
    assert by_coco(mask_example(), engine, "mask_") == pytest.approx(MASK_VALUES_BY_COCO, abs=1e-12)


def by_torchmetrics(case: Case, options: TorchmetricsOptions, prefix: str) -> dict[str, float | None]:
    values = scalars(case.evaluated_by(build_torchmetrics(options, case.context)))
    return {key: values[prefix + key] for key in TORCHMETRICS_KEYS}


def by_coco(case: Case, engine: Engine, prefix: str) -> dict[str, float | None]:
    """Under torchmetrics' names."""
    values = scalars(case.evaluated_by(build_coco(CocoOptions(engine=engine), case.context)))
    return {other: values[prefix + key] for key, other in zip(KEYS, TORCHMETRICS_KEYS, strict=True)}


def test_they_are_what_the_installed_torchmetrics_prints() -> None:
    """The numbers above against the library itself, called as its examples call it."""
    label, score = torch.tensor([0]), torch.tensor([SCORE])
    found, true = torch.tensor([FOUND_BOX]), torch.tensor([TRUE_BOX])
    of_boxes = MeanAveragePrecision(iou_type="bbox")
    of_boxes.update([{"boxes": found, "scores": score, "labels": label}], [{"boxes": true, "labels": label}])
    assert known(of_boxes.compute()) == pytest.approx(BOX_VALUES, abs=1e-6)
    found, true = torch.tensor([FOUND_MASK], dtype=torch.bool), torch.tensor([TRUE_MASK], dtype=torch.bool)
    of_masks = MeanAveragePrecision(iou_type="segm")
    of_masks.update([{"masks": found, "scores": score, "labels": label}], [{"masks": true, "labels": label}])
    assert known(of_masks.compute()) == pytest.approx(MASK_VALUES, abs=1e-6)


def known(values: dict[str, torch.Tensor]) -> dict[str, float | None]:
    return {key: None if values[key] == -1 else values[key].item() for key in TORCHMETRICS_KEYS}
