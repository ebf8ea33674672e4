"""Does the metric keep detkit's contract, and measure what it says?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from detkit import BuildContext, MetricComponent, MetricResult
from detkit.data.types import Annotation, ImageInfo, Prediction
from detkit.testing import MetricConformance

from my_plugin import COMPONENT, IouOptions

Box = tuple[float, float, float, float]


class TestContract(MetricConformance):
    """All that detkit asks of a metric."""

    @pytest.fixture
    def component(self) -> MetricComponent[Any]:
        return COMPONENT


def truth(image_id: int, *boxes: Box) -> ImageInfo:
    objects = tuple(Annotation(1, box, (box[2] - box[0]) * (box[3] - box[1])) for box in boxes)
    return ImageInfo(image_id, None, 100, 100, objects)


def prediction(image_id: int, *found: tuple[Box, float]) -> Prediction:
    boxes = np.array([box for box, _ in found], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in found], np.float32)
    return Prediction(image_id, boxes, np.ones(len(found), np.int64), scores)


def measured(predictions: Sequence[Prediction], truths: Sequence[ImageInfo]) -> MetricResult:
    metric = COMPONENT.build(IouOptions(), BuildContext(class_names=("thing",)))
    metric.reset()
    metric.update(predictions, truths)
    return metric.compute()


def test_what_is_missed_counts_as_no_overlap() -> None:
    result = measured(
        [prediction(1, ((0, 0, 10, 5), 0.9), ((50, 50, 60, 60), 0.8))],
        [truth(1, (0, 0, 10, 10), (80, 80, 90, 90))],
    )
    assert result.scalars["iou"].value == pytest.approx(0.25)  # one half of one object, and nothing of the other
    assert result.scalars["found"].value == pytest.approx(0.5)


def test_an_unsure_detection_is_not_looked_at() -> None:
    result = measured([prediction(1, ((0, 0, 10, 10), 0.4))], [truth(1, (0, 0, 10, 10))])
    assert result.scalars["found"].value == 0


def test_without_objects_there_is_no_number() -> None:
    assert measured([prediction(1)], [truth(1)]).scalars["iou"].value is None


def test_images_can_be_weighted() -> None:
    result = measured(
        [prediction(1, ((0, 0, 9, 9), 1)), prediction(2)], [truth(1, (0, 0, 9, 9)), truth(2, (0, 0, 9, 9))]
    )
    assert result.resampler is not None
    assert result.resampler({1: 3.0, 2: 1.0})["iou"] == pytest.approx(0.75)
