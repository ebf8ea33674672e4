"""What explains the numbers: rows of images, confidences, curves, the confusion matrix, kinds of errors, resamples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detkit import BuildContext, MetricResult, Table
from detkit.components import Thresholded
from detkit.data.evaluated import EvaluatedImages
from detkit.data.types import Annotation, ImageInfo, Prediction
from detkit_coco import CocoOptions, build_coco
from detkit_coco.columns import columns_of
from detkit_coco.confusion import confusion_matrix
from detkit_coco.evaluators import hotcoco_evaluation
from detkit_coco.matching import match, near
from detkit_coco.operating import Operating, calibration, operating
from detkit_coco.settings import Settings
from plugins.coco_cases import Case, generated_case

Box = tuple[float, float, float, float]
LEFT, RIGHT = (0.0, 0.0, 40.0, 40.0), (50.0, 0.0, 90.0, 40.0)
NEARLY_LEFT = (0.0, 0.0, 40.0, 30.0)  # IoU 0.75 with LEFT
HALF_LEFT = (0.0, 0.0, 40.0, 15.0)  # IoU 0.375 with LEFT


def image(image_id: int, *objects: tuple[str, Box], crowd: Sequence[Box] = ()) -> ImageInfo:
    labels = {"cat": 1, "dog": 2}
    annotations = [Annotation(labels[name], box, area(box)) for name, box in objects]
    annotations += [Annotation(1, box, area(box), iscrowd=True) for box in crowd]
    return ImageInfo(image_id, None, 100, 100, tuple(annotations), name=f"img{image_id}.png")


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def found(image_id: int, *detections: tuple[str, Box, float]) -> Prediction:
    labels = {"cat": 1, "dog": 2}
    return Prediction(
        image_id,
        np.array([box for _, box, _ in detections], dtype=np.float32).reshape(-1, 4),
        np.array([labels[name] for name, _, _ in detections], dtype=np.int64),
        np.array([score for *_, score in detections], dtype=np.float32),
    )


def evaluated(pairs: Sequence[tuple[Prediction, ImageInfo]], **options: Any) -> MetricResult:
    metric = build_coco(CocoOptions(**options), BuildContext(class_names=("cat", "dog")))
    metric.update([prediction for prediction, _ in pairs], [truth for _, truth in pairs])
    return metric.compute()


def rows(table: Table) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


SCENE = [
    (found(1, ("cat", NEARLY_LEFT, 0.9), ("dog", RIGHT, 0.4)), image(1, ("cat", LEFT), ("dog", RIGHT))),
    (found(2, ("dog", LEFT, 0.8), ("cat", RIGHT, 0.6)), image(2, ("cat", LEFT))),
    (found(3), image(3)),
]


# --- rows of images --------------------------------------------------------------------------------------------------


def test_each_image_has_a_row_with_its_counts() -> None:
    first, second, third = rows(evaluated(SCENE).tables["per_image"])
    counts = ("image", "image_id", "objects", "tp", "fp", "fn")
    # At a confidence of 0.5: the dog of 0.4 is not counted.
    assert [first[key] for key in counts] == ["img1.png", 1, 2, 1, 0, 1]
    assert first["f1"] == pytest.approx(2 / 3)
    assert first["lowest_iou"] == pytest.approx(0.75)
    assert [second[key] for key in counts] == ["img2.png", 2, 1, 0, 2, 1]
    assert (second["f1"], second["lowest_iou"]) == (0.0, -1.0)
    assert [third[key] for key in counts] == ["img3.png", 3, 0, 0, 0, 0]
    assert (third["f1"], third["lowest_iou"]) == (-1.0, -1.0)


def test_each_image_has_the_twelve_numbers_and_minus_one_where_one_does_not_apply() -> None:
    first, second, third = rows(evaluated(SCENE).tables["per_image"])
    # IoU 0.75 holds at 6 of 10 thresholds for the cat, at all for the dog. All objects are of 1600 square pixels.
    assert first["ap"] == pytest.approx((0.6 + 1) / 2)
    assert (first["ap50"], first["ap75"], first["ar100"]) == pytest.approx((1.0, 1.0, 0.8))
    assert first["ap_medium"] == first["ap"]
    assert (first["ap_small"], first["ar_large"]) == (-1.0, -1.0)
    assert (second["ap"], second["ar1"]) == (0.0, 0.0)
    twelve = [key for key in third if key.startswith(("ap", "ar"))]
    assert len(twelve) == 12
    assert {third[key] for key in twelve} == {-1.0}


def test_confidence_and_iou_are_options() -> None:
    sure, unsure = evaluated(SCENE, confidence=0.95), evaluated(SCENE, confidence=0.0)
    assert [row["tp"] for row in rows(sure.tables["per_image"])] == [0, 0, 0]
    assert [row["tp"] for row in rows(unsure.tables["per_image"])] == [2, 0, 0]
    strict = evaluated(SCENE, confidence=0.0, match_iou=0.77)  # none of COCO's thresholds
    assert [row["tp"] for row in rows(strict.tables["per_image"])] == [1, 0, 0]
    assert strict.scalars["recall"].value == pytest.approx(1 / 3)
    assert strict.scalars["ap"].value == unsure.scalars["ap"].value, "AP is over its own thresholds"


def test_what_is_not_wanted_is_left_out() -> None:
    result = evaluated(SCENE, per_image=False, curves=False, errors=False)
    assert set(result.tables) == {"per_class"}
    assert not result.curves
    assert not result.matrices
    assert result.thresholds, "the thresholds stay: predicting needs them"


# --- confidences -----------------------------------------------------------------------------------------------------


def test_f1_precision_and_recall_at_the_confidence() -> None:
    values = evaluated(SCENE).scalars
    # Counted: the cat of 0.9, right; 0.8 and 0.6 in the second image, wrong; of three objects.
    assert values["precision"].value == pytest.approx(1 / 3)
    assert values["recall"].value == pytest.approx(1 / 3)
    assert values["f1"].value == pytest.approx(1 / 3)


def test_the_best_confidence_is_where_f1_is_highest() -> None:
    result = evaluated(SCENE)
    # F1 after each detection: 2/4 after 0.9, 2/5, 2/6, 4/7 after 0.4.
    assert result.scalars["best_f1"].value == pytest.approx(4 / 7)
    assert result.scalars["best_f1_confidence"].value == pytest.approx(0.4)
    assert result.thresholds == pytest.approx({"": 0.4, "cat": 0.9, "dog": 0.4})
    table = {row["class"]: row for row in rows(result.tables["per_class"])}
    assert table["cat"]["best_f1_confidence"] == pytest.approx(0.9)
    assert table["cat"]["best_f1"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(20))
def test_no_confidence_beats_the_best_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, true = np.sort(np.round(rng.random(30), 1))[::-1], rng.random(30) < 0.4
    subject = Operating(scores, true, 15)
    best = subject.best()
    assert best is not None

    def f1(confidence: float) -> float:
        kept = scores >= confidence
        return float(2 * true[kept].sum() / (kept.sum() + 15))

    tried = {value: f1(value) for value in np.unique(scores).tolist()}
    assert best.f1 == max(tried.values())
    assert best.confidence == max(value for value, its in tried.items() if its == best.f1), "the surest of equal ones"
    curves = subject.curves()
    for place, confidence in enumerate(np.linspace(0, 1, 101)):
        assert curves["f1"][place] == pytest.approx(f1(confidence))
        counts = subject.counts(confidence)
        assert counts.true + counts.false == (scores >= confidence).sum()


@pytest.mark.parametrize("true", [(True, False, False, False), (False, False, False, True)])
def test_above_the_surest_detections_precision_is_theirs_together(true: tuple[bool, ...]) -> None:
    curve = Operating(np.full(4, 0.9), np.array(true), 2).curves()["precision"]
    assert curve[90:].tolist() == [0.25] * 11


@pytest.mark.parametrize(
    ("chosen", "right", "detections"),
    [
        ({"cat": 0.85, "dog": 0.35}, 2, 3),  # the dog of 0.8 is wrong
        ({"cat": 0.95, "": 0.35}, 1, 2),
        ({"cat": 0.95, "dog": 0.95}, 0, 0),
        ({"": 0.7}, 1, 2),
        ({"dog": 0.35}, 2, 4),  # 0.5 for the cat, as when predicting
        ({}, 1, 3),
    ],
)
def test_each_class_counts_from_the_threshold_that_was_chosen_for_it(
    chosen: dict[str, float], right: int, detections: int
) -> None:
    metric = build_coco(CocoOptions(), BuildContext(class_names=("cat", "dog")))
    assert isinstance(metric, Thresholded)
    metric.use_thresholds(chosen)
    predictions, truths = zip(*SCENE, strict=True)
    metric.update(predictions, truths)
    result = metric.compute()
    values = {name: scalar.value for name, scalar in result.scalars.items()}
    assert values["chosen_f1"] == 2 * right / (detections + 3)
    assert values["chosen_recall"] == right / 3
    assert values["chosen_precision"] == (right / detections if detections else None)
    assert not {"best_f1", "best_f1_confidence"} & set(values), "chosen on these images"
    assert values["f1"] == evaluated(SCENE).scalars["f1"].value
    metric.reset()
    metric.update(predictions, truths)
    assert metric.compute().scalars == evaluated(SCENE).scalars, "a reset forgets them"


@pytest.mark.parametrize("seed", [0, 4, 9])
def test_one_chosen_threshold_is_a_confidence_for_boxes_and_masks(seed: int) -> None:
    """The best one gives the best F1 again; a resample of every image once is the result."""
    case = generated_case(seed)
    metric = build_coco(CocoOptions(), case.context)
    first = case.evaluated_by(metric)
    metric.reset()
    assert isinstance(metric, Thresholded)
    metric.use_thresholds({"": first.thresholds[""]})
    metric.update(case.predictions, case.truths)
    result = metric.compute()
    assert result.scalars["chosen_f1"].value == first.scalars["best_f1"].value
    at_these = build_coco(CocoOptions(confidence=first.thresholds[""]), case.context)
    expected = case.evaluated_by(at_these)
    assert result.resampler is not None
    once = result.resampler({truth.image_id: 1.0 for truth in case.truths})
    for name in ("f1", "precision", "recall", "mask_f1", "mask_precision", "mask_recall"):
        chosen = "mask_chosen_" + name.removeprefix("mask_") if name.startswith("mask_") else f"chosen_{name}"
        assert result.scalars[chosen].value == expected.scalars[name].value == once[chosen] is not None


def test_nothing_right_has_no_best_confidence() -> None:
    assert Operating(np.array([0.9]), np.array([False]), 3).best() is None
    assert evaluated([(found(1), image(1, ("cat", LEFT)))]).thresholds == {}


def test_a_detection_in_a_crowd_is_neither_right_nor_wrong() -> None:
    scene = [(found(1, ("cat", LEFT, 0.9), ("cat", RIGHT, 0.8)), image(1, ("cat", RIGHT), crowd=[LEFT]))]
    result = evaluated(scene)
    assert [result.scalars[key].value for key in ("precision", "recall", "f1")] == [1.0, 1.0, 1.0]
    (row,) = rows(result.tables["per_image"])
    assert [row[key] for key in ("objects", "tp", "fp", "fn")] == [1, 1, 0, 0]
    assert result.matrices["confusion"].counts == ((1, 0, 0), (0, 0, 0), (0, 0, 0))


@pytest.mark.parametrize("seed", [s for s in range(20) if any(len(p) for p in generated_case(s).predictions)])
def test_the_calibration_error_is_hotcocos(seed: int) -> None:
    columns = columns_of_case(generated_case(seed))
    evaluation = hotcoco_evaluation(columns)
    evaluation.evaluate()
    settings = Settings.of(CocoOptions())
    together, _ = operating(columns, match(near(columns, 0.5, 100), settings.ious, settings.bounds), 0)
    calibrated = calibration(together)
    assert calibrated is not None
    expected: Any = evaluation.calibration(n_bins=10, iou_threshold=0.5)
    assert calibrated.error == pytest.approx(expected["ece"], abs=1e-12)
    there = [row for row in expected["bins"] if row["count"]]
    assert calibrated.accuracy.tolist() == pytest.approx([row["avg_accuracy"] for row in there])
    assert calibrated.confidence.tolist() == pytest.approx([row["avg_confidence"] for row in there])


# --- curves ----------------------------------------------------------------------------------------------------------


def test_the_curves() -> None:
    curves = evaluated(SCENE).curves
    quantities = ["f1_confidence", "precision_confidence", "recall_confidence"]
    expected = {f"{name}{suffix}" for name in ["pr50", "pr75", "pr", *quantities] for suffix in ("", "/cat", "/dog")}
    assert set(curves) == {*expected, "calibration"}
    assert all(len(curve.x) == len(curve.y) for curve in curves.values())
    cat, dog = np.array(curves["pr50/cat"].y), np.array(curves["pr50/dog"].y)
    assert curves["pr50"].y == pytest.approx(((cat + dog) / 2).tolist())
    assert curves["f1_confidence"].y[50] == pytest.approx(1 / 3)
    assert (curves["recall_confidence"].y[0], curves["recall_confidence"].y[100]) == pytest.approx((2 / 3, 0.0))
    assert (curves["f1_confidence"].x_name, curves["f1_confidence"].y_name) == ("confidence", "f1")


# --- the confusion matrix --------------------------------------------------------------------------------------------


def test_the_matrix_counts_what_is_taken_for_what_and_keeps_the_images() -> None:
    matrix = evaluated(SCENE).matrices["confusion"]
    assert matrix.labels == ("cat", "dog", "background")
    # Image 1: cat right, dog missed below the confidence. Image 2: the cat taken for a dog, a cat in the background.
    assert matrix.counts == ((1, 1, 0), (0, 0, 1), (1, 0, 0))
    assert matrix.images == (((1,), (2,), ()), ((), (), (1,)), ((2,), (), ()))


def test_the_matrix_counts_the_detections_that_the_numbers_count() -> None:
    # 150 objects of two classes, all found: at most 100 of a class in an image count, not 100 of an image.
    boxes = [(float(x), float(y), x + 8.0, y + 8.0) for x in range(0, 100, 10) for y in range(0, 150, 10)]
    objects = [("cat" if place % 2 else "dog", box) for place, box in enumerate(boxes)]
    result = evaluated([(found(1, *((name, box, 0.9) for name, box in objects)), image(1, *objects))])
    assert result.scalars["recall"].value == 1.0
    assert result.matrices["confusion"].counts == ((75, 0, 0), (0, 75, 0), (0, 0, 0))
    few = evaluated([(found(1, *((name, box, 0.9) for name, box in objects)), image(1, *objects))], max_detections=[10])
    assert few.matrices["confusion"].counts == ((10, 0, 65), (0, 10, 65), (0, 0, 0))
    (row,) = rows(few.tables["per_image"])
    assert [row[key] for key in ("tp", "fp", "fn")] == [20, 0, 130]
    kinds = {row["error"]: row["count"] for row in rows(few.tables["error_kinds"])}
    assert kinds["missed"] == 130, "the kinds of errors count the same detections"


def test_the_background_has_a_name_of_its_own() -> None:
    metric = build_coco(CocoOptions(), BuildContext(class_names=("background", "cat")))
    metric.update([found(1)], [image(1, ("cat", LEFT))])
    assert metric.compute().matrices["confusion"].labels == ("background", "cat", "(background)")


def columns_of_case(case: Case) -> Any:
    images = EvaluatedImages(case.class_names)
    images.add(case.predictions, case.truths)
    return columns_of(images.ordered(), len(case.class_names), "bbox")


@pytest.mark.parametrize("confidence", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(30))
def test_the_matrix_is_hotcocos_where_there_is_no_crowd(seed: int, confidence: float) -> None:
    case = generated_case(seed)
    truths = [replace(t, annotations=tuple(replace(a, iscrowd=False) for a in t.annotations)) for t in case.truths]
    columns = columns_of_case(Case(case.class_names, case.predictions, truths))
    sure = columns.of(np.flatnonzero(columns.detections.score >= confidence))
    ours = confusion_matrix(sure, case.class_names, iou=0.5)
    theirs: Any = hotcoco_evaluation(columns).confusion_matrix(iou_thr=0.5, max_det=100, min_score=confidence)
    np.testing.assert_array_equal(np.array(ours.counts), theirs["matrix"])
    for counts, images in zip(ours.counts, ours.images, strict=True):
        for count, behind in zip(counts, images, strict=True):
            assert bool(count) == bool(behind)
            assert len(set(behind)) == len(behind) <= count


# --- kinds of errors -------------------------------------------------------------------------------------------------


def scene_with(*detections: tuple[str, Box, float]) -> dict[str, dict[str, Any]]:
    """Ten cats and ten dogs that are found, and one image with these detections of its cat."""
    right = [
        (found(i, ("cat", LEFT, 0.7), ("dog", RIGHT, 0.7)), image(i, ("cat", LEFT), ("dog", RIGHT)))
        for i in range(1, 11)
    ]
    table = evaluated([*right, (found(11, *detections), image(11, ("cat", LEFT)))]).tables["error_kinds"]
    assert table.printed
    assert table.title
    return {row["error"]: row for row in rows(table)}


@pytest.mark.parametrize(
    ("kind", "detections"),
    [
        ("classification", [("dog", LEFT, 0.9)]),
        ("localisation", [("cat", HALF_LEFT, 0.9)]),
        ("both", [("dog", HALF_LEFT, 0.9)]),
        ("duplicate", [("cat", LEFT, 0.9), ("cat", NEARLY_LEFT, 0.8)]),
        ("background", [("cat", LEFT, 0.95), ("cat", RIGHT, 0.9)]),
        ("missed", []),
    ],
)
def test_each_kind_of_error_is_told_apart_and_costs_ap(kind: str, detections: list[tuple[str, Box, float]]) -> None:
    table = scene_with(*detections)
    assert list(table) == ["classification", "localisation", "both", "duplicate", "background", "missed"]
    assert table[kind]["count"] == 1
    assert table[kind]["ap_lost"] > 0
    assert {row["count"] for name, row in table.items() if name not in (kind, "missed")} == {0}


def test_a_perfect_detector_makes_no_error() -> None:
    table = scene_with(("cat", LEFT, 0.9))
    assert {(row["count"], row["ap_lost"]) for row in table.values()} == {(0, 0.0)}


def test_labels_that_may_be_wrong_are_listed_the_surest_first() -> None:
    scene = [
        (found(1, ("dog", LEFT, 0.95)), image(1, ("cat", LEFT))),
        (found(2, ("dog", RIGHT, 0.99)), image(2)),
        (found(3, ("cat", LEFT, 0.9), ("dog", RIGHT, 0.3)), image(3, ("cat", LEFT))),
    ]
    first, second = rows(evaluated(scene).tables["label_errors"])
    assert (first["image"], first["suspicion"], first["found"], first["labelled"]) == (
        "img2.png",
        "missing object",
        "dog",
        "",
    )
    assert (second["image"], second["suspicion"], second["found"], second["labelled"]) == (
        "img1.png",
        "wrong class",
        "dog",
        "cat",
    )
    assert [first[key] for key in ("x", "y", "width", "height")] == [50, 0, 40, 40]
    assert second["iou"] == pytest.approx(1.0)


# --- resamples -------------------------------------------------------------------------------------------------------


def weights(seed: int, ids: Sequence[int]) -> dict[int, float]:
    rng = np.random.default_rng(seed)
    drawn: NDArray[Any] = np.bincount(rng.integers(0, len(ids), len(ids)), minlength=len(ids))
    return dict(zip(ids, map(float, drawn.tolist()), strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_a_resample_of_every_image_once_is_the_result(seed: int) -> None:
    case = generated_case(seed)
    metric = build_coco(CocoOptions(), case.context)
    result = case.evaluated_by(metric)
    assert result.resampler is not None
    once = result.resampler({truth.image_id: 1.0 for truth in case.truths})
    keys = ["ap", "ap50", "ap75", "ar100", "f1", "precision", "recall"]
    assert set(once) == {prefix + key for prefix in ("", "mask_") for key in keys}
    assert {key: result.scalars[key].value for key in once} == once


def test_a_resample_counts_images_by_their_weight() -> None:
    resampler = evaluated(SCENE).resampler
    assert resampler is not None
    assert resampler({1: 1.0})["f1"] == pytest.approx(2 / 3)
    assert resampler({1: 2.0, 2: 1.0})["f1"] == pytest.approx(4 / (2 + 2 + 5))
    assert resampler({3: 5.0}) == dict.fromkeys(resampler({1: 1.0})), "an image without objects has no value"
    tripled = resampler({1: 3.0, 2: 3.0, 3: 3.0})
    assert tripled == pytest.approx(resampler({1: 1.0, 2: 1.0, 3: 1.0}))


def test_a_resample_reaches_the_recalls_that_pycocotools_reaches() -> None:
    # 7 of 10 objects do not reach COCO's recall of 0.7000000000000001: the mean over recalls has 70 of 101 parts.
    scene = [(found(i, *[("cat", LEFT, 0.9)] * (i <= 7)), image(i, ("cat", LEFT))) for i in range(1, 11)]
    result = evaluated(scene)
    assert result.resampler is not None
    assert result.resampler(dict.fromkeys(range(1, 11), 1.0))["ap"] == result.scalars["ap"].value
    assert result.scalars["ap"].value == pytest.approx(70 / 101)


@pytest.mark.parametrize("share", [0.1, 1 / 3, 2.5])
@pytest.mark.parametrize("seed", range(6))
def test_only_the_proportions_of_weights_matter(seed: int, share: float) -> None:
    case = generated_case(seed)
    resampler = case.evaluated_by(build_coco(CocoOptions(), case.context)).resampler
    assert resampler is not None
    ids = [truth.image_id for truth in case.truths]
    assert resampler(dict.fromkeys(ids, share)) == pytest.approx(resampler(dict.fromkeys(ids, 1.0)))


# --- the cross check -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["hotcoco", "faster_coco_eval"])
def test_the_cross_check_passes_where_the_numbers_agree(engine: str) -> None:
    assert evaluated(SCENE, engine=engine, cross_check=True).scalars == evaluated(SCENE, engine=engine).scalars


def test_the_cross_check_stops_with_both_values(monkeypatch: pytest.MonkeyPatch) -> None:
    from detkit_coco import evaluators

    honest = evaluators._by_hotcoco

    def wrong(*arguments: Any) -> Any:
        result = honest(*arguments)
        return replace(result, precision=np.where(result.precision > 0, result.precision - 1e-9, result.precision))

    monkeypatch.setattr(evaluators, "_by_hotcoco", wrong)
    with pytest.raises(ValueError, match=r"cross_check, boxes: ap is 0\.\d+ by hotcoco, 0\.\d+ by pycocotools; ap50"):
        evaluated(SCENE, cross_check=True)
    assert evaluated(SCENE).scalars["ap"].value is not None, "without it nothing is checked"


def test_other_thresholds_and_ranges_make_other_numbers() -> None:
    result = evaluated(SCENE, iou_thresholds=[0.6, 0.7], area_ranges={"tiny": [0, 100], "seen": [100, 1e6]})
    assert {"ap_tiny", "ap_seen", "ar_tiny", "ar_seen"} < set(result.scalars)
    assert not {"ap50", "ap75", "ap_small"} & set(result.scalars)
    assert result.scalars["ap_tiny"].value is None
    assert result.scalars["ap_seen"].value == result.scalars["ap"].value
    assert "pr" in result.curves
    assert "pr50" not in result.curves
