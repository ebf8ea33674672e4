"""torchmetrics beside coco: where they agree though one could doubt it, and each case in which they differ.

docs/reference/metrics.md, "Where the two differ", has a line for every difference here.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from detkit.data.targets import decode_masks, encode_masks
from detkit.data.types import RLE, Annotation, ImageInfo, Prediction
from detkit_coco import CocoOptions, build_coco
from detkit_torchmetrics import TorchmetricsOptions, build_torchmetrics
from plugins.coco_cases import KEYS, TORCHMETRICS_KEYS, Case, scalars

Values = dict[str, float | int | None]
Backend = Literal["pycocotools", "faster_coco_eval"]
Box = tuple[float, float, float, float]

SIDE = 200
#: Areas of 400, 2,500 and 10,000: small, medium and large to COCO. They do not touch.
SMALL: Box = (0, 0, 20, 20)
MEDIUM: Box = (30, 0, 80, 50)
LARGE: Box = (90, 90, 190, 190)
ELSEWHERE: Box = (0, 150, 20, 170)


def thing(box: Box = SMALL, label: int = 1, **facts: Any) -> Annotation:
    return Annotation(label, box, facts.pop("area", (box[2] - box[0]) * (box[3] - box[1])), **facts)


def rectangle(box: Box) -> RLE:
    pixels = np.zeros((1, SIDE, SIDE), dtype=np.uint8)
    x0, y0, x1, y1 = map(int, box)
    pixels[0, y0:y1, x0:x1] = 1
    return encode_masks(pixels)[0]


class Found(NamedTuple):
    """What a model found."""

    box: Box
    score: float = 0.5
    label: int = 1
    mask: RLE | None = None


def case(*images: tuple[list[Annotation], list[Found]], classes: tuple[str, ...] = ("cat",)) -> Case:
    """Images with ids that fall, so that the order of ids is not the order in which they come."""
    with_masks = any(annotation.mask for objects, _ in images for annotation in objects)
    truths, predictions = [], []
    for image_id, (objects, found) in zip(range(len(images), 0, -1), images, strict=True):
        truths.append(ImageInfo(image_id, None, SIDE, SIDE, tuple(objects)))
        predictions.append(
            Prediction(
                image_id,
                np.array([detection.box for detection in found], dtype=np.float32).reshape(-1, 4),
                np.array([detection.label for detection in found], dtype=np.int64),
                np.array([detection.score for detection in found], dtype=np.float32),
                [detection.mask for detection in found if detection.mask] if with_masks else None,
            )
        )
    return Case(classes, predictions, truths)


def by_coco(subject: Case, **options: Any) -> Values:
    return scalars(subject.evaluated_by(build_coco(CocoOptions(**options), subject.context)))


def by_torchmetrics(subject: Case, **options: Any) -> Values:
    return scalars(subject.evaluated_by(build_torchmetrics(TorchmetricsOptions(**options), subject.context)))


def by_hand(subject: Case, keys: tuple[str, ...] = ("boxes", "area"), **options: Any) -> Values:
    """torchmetrics as its own documentation has it called: float32, no thresholds, images in the order they come."""
    metric = MeanAveragePrecision(**options)
    for prediction, truth in zip(subject.predictions, subject.truths, strict=True):
        found = {
            "boxes": torch.from_numpy(prediction.boxes),
            "masks": torch.from_numpy(decode_masks(prediction.masks or (), SIDE, SIDE)),
        }
        objects = {
            "boxes": torch.tensor([a.box for a in truth.annotations], dtype=torch.float32).reshape(-1, 4),
            "area": torch.tensor([a.area for a in truth.annotations]),
            "masks": torch.from_numpy(decode_masks([a.mask for a in truth.annotations if a.mask], SIDE, SIDE)),
        }
        labels, scores = torch.from_numpy(prediction.labels), torch.from_numpy(prediction.scores)
        metric.update(
            [{"labels": labels, "scores": scores, **{key: value for key, value in found.items() if key in keys}}],
            [
                {
                    "labels": torch.tensor([a.label for a in truth.annotations], dtype=torch.int64),
                    **{key: value for key, value in objects.items() if key in keys},
                }
            ],
        )
    return {key: None if value == -1 else value.item() for key, value in metric.compute().items() if value.numel() == 1}


def has(values: Values, **expected: float | None) -> bool:
    """Whether these are among the values; raises with the difference where they are not."""
    assert {key: values[key] for key in expected} == pytest.approx(expected)
    return True


# --- where they agree ------------------------------------------------------------------------------------------------

HIT = Found(SMALL)
MISS = Found(ELSEWHERE)
SURER_MISS = Found(ELSEWHERE, 0.9)
CROWD = thing(LARGE, iscrowd=True)
#: A mask of 400 square pixels in a box of 2,500.
THIN = rectangle((30, 0, 50, 20))

AGREED: dict[str, tuple[Case, Values]] = {
    "no detections anywhere": (case(([thing()], []), ([], [])), {"ap": 0, "ar100": 0, "ap_small": 0, "ap_large": None}),
    "no detections in one of two images": (case(([thing()], [HIT]), ([thing()], [])), {"ar100": 0.5, "ap": 51 / 101}),
    "no objects in an image": (case(([thing()], [HIT]), ([], [SURER_MISS])), {"ap": 0.5, "ar100": 1}),
    "no objects anywhere": (case(([], [HIT]), ([], [])), {"ap": None, "ar1": None}),
    "nothing at all": (case(([], [])), {"ap": None, "ar1": None}),
    "only crowds": (case(([CROWD], [Found(LARGE)])), {"ap": None, "ar100": None}),
    "many detections in a crowd": (
        case(([CROWD, thing()], [Found(LARGE, 0.9), Found(LARGE, 0.8), HIT])),
        {"ap": 1, "ar1": 0},
    ),
    "a class that is found and not there": (
        case(([thing()], [HIT, Found(SMALL, 0.9, 2)]), classes=("cat", "dog")),
        {"ap": 1, "ar100": 1},
    ),
    "a class that is there and not found": (
        case(([thing(), thing(MEDIUM, 2)], [HIT]), classes=("cat", "dog", "owl")),
        {"ap": 0.5, "ar100": 0.5, "ap_medium": 0},
    ),
    "a box without area": (case(([thing((5, 5, 5, 5))], [Found((5, 5, 5, 5))])), {"ap": 0, "ap_small": 0}),
    # By image id, whatever comes first: the second image given here has the lower id.
    "equal scores, the miss first": (case(([thing()], [HIT]), ([], [MISS])), {"ap": 0.5}),
    "equal scores, the hit first": (case(([], [MISS]), ([thing()], [HIT])), {"ap": 1}),
    "more detections than count": (
        case(([thing()], [*[SURER_MISS] * 100, HIT])),
        {"ap": 0, "ar100": 0},
    ),
    # 1024 is both; a little more is medium, and float32 does not know it.
    "an area at the border of small and medium": (
        case(([thing(area=1024.0), thing(MEDIUM, area=1024.0000001)], [HIT])),
        {"ar_small": 1, "ar_medium": 0.5, "ar_large": None},
    ),
    "an area that is not the box's": (case(([thing(area=9999.0)], [HIT])), {"ap_small": None, "ap_large": 1}),
    # The object is small, by its mask. The false alarm is small by its mask, medium by its box.
    "a false alarm with a small mask in a medium box": (
        case(
            (
                [thing(area=400.0, mask=rectangle(SMALL))],
                [Found(SMALL, mask=rectangle(SMALL)), Found(MEDIUM, 0.9, mask=THIN)],
            )
        ),
        {"ap_small": 1, "mask_ap_small": 0.5},
    ),
}


@pytest.mark.parametrize("backend", ["pycocotools", "faster_coco_eval"])
@pytest.mark.parametrize("name", AGREED)
def test_they_agree(name: str, backend: Backend) -> None:
    subject, expected = AGREED[name]
    ours, theirs = by_coco(subject), by_torchmetrics(subject, backend=backend)
    assert has(ours, **expected)
    prefixes = ("", "mask_") if "mask_ap" in ours else ("",)
    assert theirs == pytest.approx(
        {p + other: ours[p + key] for p in prefixes for key, other in zip(KEYS, TORCHMETRICS_KEYS, strict=True)},
        abs=1e-7,
    )


# --- where they differ -----------------------------------------------------------------------------------------------


def seven_of_ten() -> Case:
    return case(*[([thing()], [HIT])] * 7, *[([thing()], [])] * 3)


def test_torchmetrics_rounds_its_numbers_to_float32_but_not_those_of_classes() -> None:
    subject = seven_of_ten()
    ours, theirs = by_coco(subject)["ap"], by_torchmetrics(subject)["map"]
    assert ours is not None
    assert theirs != ours
    assert theirs == np.float32(ours).item()
    ((_, of_class, _),) = (
        subject.evaluated_by(build_torchmetrics(TorchmetricsOptions(), subject.context)).tables["per_class"].rows
    )
    assert of_class == pytest.approx(ours, rel=1e-15)


def test_thresholds_in_decimals_are_not_cocos_to_the_last_bit() -> None:
    """0.7 of the objects do not reach COCO's recall of 0.7000000000000001, but that of a spec that says 0.7."""
    subject = seven_of_ten()
    decimals = [number / 100 for number in range(101)]
    assert has(by_coco(subject), ap=70 / 101)
    assert has(by_torchmetrics(subject), map=70 / 101)
    assert has(by_torchmetrics(subject, rec_thresholds=decimals), map=71 / 101)


def test_an_area_of_0_is_computed_by_torchmetrics_and_taken_by_coco() -> None:
    subject = case(([thing(LARGE, area=0.0)], [Found(LARGE)]))
    assert has(by_coco(subject), ap_small=1, ap_large=None)
    assert has(by_torchmetrics(subject), map_small=None, map_large=1)


def test_where_masks_are_evaluated_torchmetrics_computes_it_from_the_mask_for_boxes_too() -> None:
    subject = case(([thing(LARGE, area=0.0, mask=rectangle(MEDIUM))], [Found(LARGE, mask=rectangle(MEDIUM))]))
    assert has(by_coco(subject), ap_small=1, ap_medium=None, mask_ap_small=1, mask_ap_medium=None)
    assert has(by_torchmetrics(subject), map_medium=1, map_large=None, mask_map_medium=1, mask_map_large=None)
    assert has(by_torchmetrics(subject, masks="off"), map_medium=None, map_large=1)


def test_map_50_has_no_value_without_its_threshold() -> None:
    theirs = by_torchmetrics(seven_of_ten(), iou_thresholds=[0.6, 0.9])
    assert has(theirs, map=70 / 101, map_50=None, map_75=None)


@pytest.mark.parametrize("backend", ["pycocotools", "faster_coco_eval"])
def test_map_is_that_of_the_last_threshold_of_detections(backend: Backend) -> None:
    """As every other number, and as coco's. torchmetrics' own, with pycocotools, stays at 100 detections."""
    subject = case(([thing()], [*[SURER_MISS] * 110, HIT]))
    thresholds = [1, 100, 200]
    theirs = by_torchmetrics(subject, max_detection_thresholds=thresholds, backend=backend)
    assert has(theirs, map=1 / 111, map_50=1 / 111)
    assert has(by_coco(subject, max_detections=thresholds), ap=1 / 111, ap50=1 / 111)
    assert has(by_hand(subject, max_detection_thresholds=thresholds), map=0, map_50=1 / 111)


# --- where a call of torchmetrics by hand differs from both -----------------------------------------------------------


def test_by_hand_thresholds_are_float32() -> None:
    assert has(by_hand(seven_of_ten()), map=71 / 101)
    # An IoU of 3/5; COCO's third threshold is 0.6, and torchmetrics' 0.60000002.
    subject = case(([thing((0, 0, 10, 50))], [Found((0, 0, 10, 30))]))
    assert has(by_coco(subject), ap=0.3)
    assert has(by_torchmetrics(subject), map=0.3)
    assert has(by_hand(subject), map=0.2)


def test_by_hand_areas_are_those_of_boxes_unless_they_are_given() -> None:
    subject = case(([thing(MEDIUM, area=400.0)], [Found(MEDIUM)]))
    assert has(by_coco(subject), ap_small=1, ap_medium=None)
    assert has(by_hand(subject), map_small=1, map_medium=None)
    assert has(by_hand(subject, keys=("boxes",)), map_small=None, map_medium=1)


def test_by_hand_ties_are_broken_by_the_order_of_calls() -> None:
    subject = case(([thing()], [HIT]), ([], [MISS]))
    turned = Case(subject.class_names, subject.predictions[::-1], subject.truths[::-1])
    assert has(by_hand(subject), map=1)
    assert has(by_hand(turned), map=0.5)
    assert by_torchmetrics(subject) == by_torchmetrics(turned)


def test_by_hand_masks_alone_leave_out_the_false_alarms_of_images_without_objects() -> None:
    mask = rectangle(SMALL)
    subject = case(([thing(mask=mask)], [Found(SMALL, mask=mask)]), ([], [Found(SMALL, 0.9, mask=mask)]))
    assert has(by_coco(subject), mask_ap=0.5)
    assert has(by_torchmetrics(subject), mask_map=0.5)
    assert has(by_hand(subject, keys=("masks", "area"), iou_type="segm"), map=1)
