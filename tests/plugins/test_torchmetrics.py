"""The torchmetrics metric's edges. That its numbers are COCO's is in test_coco_numbers.py."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torchmetrics.detection import MeanAveragePrecision

import detkit_torchmetrics
from detkit import BuildContext, Metric, UserError
from detkit.data.targets import decode_masks, encode_masks
from detkit.data.types import RLE, Annotation, ImageInfo, Prediction
from detkit_torchmetrics import TORCHMETRICS, TorchmetricsOptions, build_torchmetrics

KEYS = {"map", "map_50", "map_75", "map_small", "map_medium", "map_large"}
KEYS |= {"mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large"}
BOXES = ((10.0, 20.0, 40.0, 60.0), (50.0, 50.0, 90.0, 95.0), (12.0, 20.0, 40.0, 60.0))


def masks(count: int) -> list[RLE]:
    pixels = np.zeros((count, 100, 100), dtype=np.uint8)
    for mask, (x0, y0, x1, y1) in zip(pixels, np.array(BOXES, dtype=int), strict=False):
        mask[y0:y1, x0:x1] = 1
    return encode_masks(pixels)


def truth(image_id: int, count: int, *, with_masks: bool = False, crowd: bool = False) -> ImageInfo:
    shapes: list[RLE | None] = [*masks(count)] if with_masks else [None] * count
    annotations = tuple(
        Annotation(1 + n % 2, BOXES[n], 1000.0 * (n + 1), iscrowd=crowd, mask=shapes[n]) for n in range(count)
    )
    return ImageInfo(image_id, None, 100, 100, annotations)


def found(image_id: int, count: int, *, with_masks: bool = False) -> Prediction:
    return Prediction(
        image_id,
        boxes=np.array(BOXES[:count], dtype=np.float32).reshape(-1, 4) + 1,
        labels=np.arange(count) % 2 + 1,
        scores=np.linspace(0.9, 0.3, count, dtype=np.float32),
        masks=masks(count) if with_masks else None,
    )


def metric(**options: Any) -> Metric:
    return build_torchmetrics(TorchmetricsOptions(**options), BuildContext(class_names=("cat", "dog")))


def values(of: Metric) -> dict[str, float | int | None]:
    return {key: scalar.value for key, scalar in of.compute().scalars.items()}


@pytest.mark.parametrize(
    ("with_masks", "regions"), [(False, {"": ""}), (True, {"": "bbox_", "mask_": "segm_"})], ids=["boxes", "masks"]
)
def test_the_values_are_torchmetrics_own(with_masks: bool, regions: dict[str, str]) -> None:
    ious, recalls = [0.5, 0.75, 0.9], [0.0, 0.25, 0.5, 1.0]
    subject = metric(iou_thresholds=ious, rec_thresholds=recalls)
    direct = MeanAveragePrecision(
        iou_type=("bbox", "segm") if with_masks else "bbox",
        iou_thresholds=ious,
        rec_thresholds=recalls,
        class_metrics=True,
    )
    for image_id, objects, detections in [(1, 2, 3), (2, 0, 2), (3, 3, 0), (4, 1, 1)]:
        prediction = found(image_id, detections, with_masks=with_masks)
        image = truth(image_id, objects, with_masks=with_masks)
        subject.update([prediction], [image])
        direct.update(*for_torchmetrics(prediction, image))
    expected, result = direct.compute(), subject.compute()
    assert values(subject) == pytest.approx(
        {ours + key: known(expected[theirs + key]) for ours, theirs in regions.items() for key in KEYS}, abs=1e-6
    )
    for ours, theirs in regions.items():
        names, maps, recalls_reached = zip(*result.tables[f"{ours}per_class"].rows, strict=True)
        assert names == ("cat", "dog")
        assert maps == pytest.approx(expected[f"{theirs}map_per_class"].tolist(), abs=1e-6)
        assert recalls_reached == pytest.approx(expected[f"{theirs}mar_100_per_class"].tolist(), abs=1e-6)


def for_torchmetrics(prediction: Prediction, image: ImageInfo) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The image as torchmetrics is documented to take it, from somebody who has tensors."""
    annotations = image.annotations
    detections = {key: torch.from_numpy(getattr(prediction, key)) for key in ("boxes", "labels", "scores")}
    objects = {
        "boxes": torch.tensor([a.box for a in annotations]).reshape(-1, 4),
        "labels": torch.tensor([a.label for a in annotations], dtype=torch.int64),
        "area": torch.tensor([a.area for a in annotations]),
    }
    detections["masks"] = torch.from_numpy(decode_masks(prediction.masks or (), 100, 100))
    objects["masks"] = torch.from_numpy(decode_masks([a.mask for a in annotations if a.mask], 100, 100))
    return [detections], [objects]


def known(value: torch.Tensor) -> float | None:
    return None if value == -1 else value.item()


def test_no_predictions_are_0_where_there_is_ground_truth_and_none_where_there_is_none() -> None:
    subject = metric()
    subject.update([found(1, 0), found(2, 0)], [truth(1, 1), truth(2, 0)])
    none = {"map_medium", "map_large", "mar_medium", "mar_large"}
    assert values(subject) == {key: None if key in none else 0.0 for key in KEYS}
    assert subject.compute().tables["per_class"].rows == (("cat", 0.0, 0.0), ("dog", None, None))


def test_no_masks_predicted_are_0_as_well() -> None:
    subject = metric()
    subject.update([found(1, 0, with_masks=True)], [truth(1, 1, with_masks=True)])
    result = values(subject)
    assert set(result) == KEYS | {f"mask_{key}" for key in KEYS}
    assert (result["map"], result["mask_map"], result["mask_map_large"]) == (0.0, 0.0, None)


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
@pytest.mark.parametrize("with_masks", [False, True])
def test_without_ground_truth_nothing_has_a_value(with_masks: bool) -> None:
    subject = metric()
    assert values(subject) == dict.fromkeys(KEYS), "before any image"
    subject.update([found(1, 2, with_masks=with_masks)], [truth(1, 0)])
    assert set(values(subject).values()) == {None}
    subject.reset()
    subject.update([found(1, 2)], [truth(1, 2, crowd=True)])
    assert set(values(subject).values()) == {None}, "a crowd is no object"


def test_masks_alone_in_an_image_without_objects_are_false_alarms() -> None:
    subject = metric()
    images = [truth(1, 1, with_masks=True), truth(2, 0)]
    subject.update([found(1, 1, with_masks=True), found(2, 1, with_masks=True)], images)
    # Same score in both images: one right, one wrong, in that order. The object is found at full precision.
    assert values(subject)["mask_map"] == pytest.approx(1.0)
    subject.reset()
    subject.update(
        [found(2, 1, with_masks=True), found(3, 1, with_masks=True)], [truth(2, 0), truth(3, 1, with_masks=True)]
    )
    assert values(subject)["mask_map"] == pytest.approx(0.5)


def test_a_detection_in_a_crowd_is_neither_right_nor_wrong() -> None:
    subject = metric()
    subject.update([found(1, 2), found(2, 1)], [truth(1, 2, crowd=True), truth(2, 1)])
    # Were the crowd an object, half of the cats would be found twice; were it background, precision would be 1/2.
    assert values(subject)["map_50"] == pytest.approx(1.0)


def test_bad_values_are_refused() -> None:
    with pytest.raises(ValueError, match="image 1, detection 0: its score is nan"):
        metric().update([Prediction(1, *_nan_score())], [truth(1, 0)])


def _nan_score() -> tuple[Any, Any, Any]:
    return np.zeros((1, 4), dtype=np.float32), np.ones(1, dtype=np.int64), np.full(1, np.nan, dtype=np.float32)


def test_options_change_what_they_say() -> None:
    subject = metric(class_metrics=False, masks="off", iou_thresholds=[0.75], max_detection_thresholds=[1, 2, 3])
    subject.update([found(1, 2, with_masks=True)], [truth(1, 2, with_masks=True)])
    result = subject.compute()
    assert not result.tables
    assert not any(key.startswith("mask_") for key in result.scalars)
    assert {"mar_1", "mar_2", "mar_3"} < set(result.scalars)
    # 0.5 is not among the thresholds; 100 is not among the numbers of detections, and map has a value all the same.
    assert result.scalars["map_50"].value is None
    assert result.scalars["map"].value == pytest.approx(1.0)
    assert result.scalars["map_75"].value == pytest.approx(1.0)


def test_more_detections_than_count_are_no_warning() -> None:
    subject = metric(max_detection_thresholds=[1, 2, 3])
    many = Prediction(
        1, np.zeros((9, 4), dtype=np.float32), np.ones(9, dtype=np.int64), np.full(9, 0.5, dtype=np.float32)
    )
    subject.update([many], [truth(1, 1)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        subject.compute()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "hotcoco"}, "'pycocotools' or 'faster_coco_eval'"),
        ({"max_detection_thresholds": [1, 10]}, "at least 3 items"),
        ({"max_detection_thresholds": [1, 10, 10]}, r"max_detection_thresholds must rise; got \[1, 10, 10\]"),
        ({"iou_thresholds": [0.5, 1.5]}, "less than or equal to 1"),
        ({"iou_thresholds": []}, "at least 1 item"),
        ({"rec_thresholds": [0.5, 0.1]}, "rec_thresholds must rise"),
        ({"class_metrics": "yes"}, "valid boolean"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TorchmetricsOptions.model_validate(options)


def test_every_option_is_described() -> None:
    assert all(field.description for field in TorchmetricsOptions.model_fields.values())


@pytest.mark.parametrize(
    ("missing", "options", "message"),
    [
        ("torchmetrics", {}, "torchmetrics is not installed: run `pip install torchmetrics`$"),
        (
            "faster_coco_eval",
            {"backend": "faster_coco_eval"},
            "faster-coco-eval is not installed: run `pip install faster-coco-eval`, or set backend = 'pycocotools'",
        ),
    ],
)
def test_what_is_not_installed_is_named(
    missing: str, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(detkit_torchmetrics, "find_spec", lambda name: None if name == missing else there("json"))
    assert TORCHMETRICS.check is not None
    for ask in (TORCHMETRICS.check, TORCHMETRICS.build):
        with pytest.raises(UserError, match=message):
            ask(TorchmetricsOptions(**options), BuildContext(class_names=("cat",)))


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    subject = metric()
    subject.update([found(1, 2, with_masks=True)], [truth(1, 2, with_masks=True)])
    subject.compute()
    assert capfd.readouterr() == ("", "")
