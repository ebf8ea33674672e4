"""Golden files: ground truth and results in COCO's forms, and pycocotools' numbers, all read as the files they are.

tests/plugins/golden/make.py makes them, without detkit.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from detkit.data.types import Annotation, ImageInfo, Prediction
from detkit_coco import CocoOptions, build_coco
from detkit_torchmetrics import TorchmetricsOptions, build_torchmetrics
from plugins.coco_cases import TORCHMETRICS_KEYS, Case, or_none, scalars
from plugins.golden.make import CASES, NUMBERS, Row, evaluated, golden, numbers, of_image, without_boxes, written

FOLDER = Path(__file__).parent / "golden"
NAMES = sorted(file.stem for file in FOLDER.glob("*.json"))
PREFIXES = {"bbox": "", "segm": "mask_"}


def content_of(name: str) -> Row:
    content: Row = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content


def as_case(content: Row) -> Case:
    """What detkit would read: labels 1..K for the categories, corners, and the boxes as they are stated."""
    truth, results = content["ground_truth"], content["results"]
    labels = {category["id"]: label for label, category in enumerate(truth["categories"], start=1)}
    with_masks = "segm" in content["expected"]
    return Case(
        tuple(category["name"] for category in truth["categories"]),
        [prediction_of(image, of_image(results, image), labels, with_masks) for image in truth["images"]],
        [info_of(image, of_image(truth["annotations"], image), labels) for image in truth["images"]],
    )


def info_of(image: Row, objects: list[Row], labels: dict[int, int]) -> ImageInfo:
    annotations = tuple(
        Annotation(
            labels[row["category_id"]],
            corners(row["bbox"]),
            row["area"],
            bool(row["iscrowd"]),
            row.get("segmentation"),
            bbox=tuple(row["bbox"]),
        )
        for row in objects
    )
    return ImageInfo(image["id"], Path(image["file_name"]), image["width"], image["height"], annotations)


def prediction_of(image: Row, results: list[Row], labels: dict[int, int], with_masks: bool) -> Prediction:
    return Prediction(
        image["id"],
        np.array([corners(row["bbox"]) for row in results], dtype=np.float64).reshape(-1, 4),
        np.array([labels[row["category_id"]] for row in results], dtype=np.int64),
        np.array([row["score"] for row in results], dtype=np.float64),
        [row["segmentation"] for row in results] if with_masks else None,
        np.array([row["bbox"] for row in results], dtype=np.float64).reshape(-1, 4),
    )


def corners(bbox: list[float]) -> tuple[float, float, float, float]:
    x, y, width, height = bbox
    return x, y, x + width, y + height


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
@pytest.mark.parametrize("name", NAMES)
def test_coco_gives_the_numbers_to_the_bit(name: str, engine: Literal["hotcoco", "pycocotools"]) -> None:
    content = content_of(name)
    case = as_case(content)
    result = case.evaluated_by(build_coco(CocoOptions(engine=engine), case.context))
    expected = {
        PREFIXES[region] + key: or_none(values[key])
        for region, values in content["expected"].items()
        for key in NUMBERS
    }
    found = scalars(result)
    assert {key: found[key] for key in expected} == expected
    for region, values in content["expected"].items():
        of_classes = [row[1] for row in result.tables[f"{PREFIXES[region]}per_class"].rows]
        assert of_classes == [or_none(value) for value in values["ap_per_class"]]


@pytest.mark.parametrize("backend", ["pycocotools", "faster_coco_eval"])
@pytest.mark.parametrize("name", NAMES)
def test_torchmetrics_gives_them_to_a_millionth(name: str, backend: Literal["pycocotools", "faster_coco_eval"]) -> None:
    content = content_of(name)
    case = as_case(content)
    result = case.evaluated_by(build_torchmetrics(TorchmetricsOptions(backend=backend), case.context))
    expected = {
        PREFIXES[region] + other: or_none(values[key])
        for region, values in content["expected"].items()
        for key, other in zip(NUMBERS, TORCHMETRICS_KEYS, strict=True)
    }
    assert scalars(result) == pytest.approx(expected, abs=1e-6)
    for region, values in content["expected"].items():
        of_classes = [row[1] for row in result.tables[f"{PREFIXES[region]}per_class"].rows]
        assert of_classes == pytest.approx([or_none(value) for value in values["ap_per_class"]], abs=1e-6)


# --- boxes that are not as read --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["hotcoco", "pycocotools", "torchmetrics"])
def test_the_answer_changes_where_boxes_are_not_taken_as_read(dtype: type[np.floating[Any]], metric: str) -> None:
    """Rounded to float32 on the way; or in float64, but with widths that are (x + width) - x."""
    content = content_of("as_read")
    case = as_case(content)
    assert ap50(case, metric) == pytest.approx(content["expected"]["bbox"]["ap50"], abs=1e-6)
    assert abs(ap50(by_corners(case, dtype), metric) - ap50(case, metric)) > 0.01


def by_corners(case: Case, dtype: type[np.floating[Any]]) -> Case:
    """The boxes by their corners only, as tensors of detkit's targets and of models have them."""

    def rounded(annotation: Annotation) -> Annotation:
        x0, y0, x1, y1 = np.array(annotation.box, dtype=dtype).tolist()
        return replace(annotation, box=(x0, y0, x1, y1), bbox=None)

    predictions = [
        replace(prediction, boxes=prediction.boxes.astype(dtype), bboxes=None) for prediction in case.predictions
    ]
    truths = [replace(truth, annotations=tuple(map(rounded, truth.annotations))) for truth in case.truths]
    return Case(case.class_names, predictions, truths)


def ap50(case: Case, metric: str) -> float:
    if metric == "torchmetrics":
        value = scalars(case.evaluated_by(build_torchmetrics(TorchmetricsOptions(), case.context)))["map_50"]
    else:
        value = scalars(case.evaluated_by(build_coco(CocoOptions.model_validate({"engine": metric}), case.context)))[
            "ap50"
        ]
    assert value is not None
    return value


# --- the files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_a_file_is_what_the_script_makes(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == written(golden(name))


def test_there_is_a_file_for_each_case() -> None:
    assert sorted(CASES) == NAMES


def test_together_they_reach_every_number_and_what_they_say() -> None:
    contents = {name: content_of(name) for name in NAMES}
    for region in PREFIXES:
        reached = {
            key
            for content in contents.values()
            for key, value in content["expected"].get(region, {}).items()
            if key in NUMBERS and 0 < value < 1
        }
        assert reached >= set(NUMBERS)
    for name in ("ordinary", "masks"):
        assert {row["iscrowd"] for row in contents[name]["ground_truth"]["annotations"]} == {0, 1}
    assert {row["iscrowd"] for row in contents["only_crowd"]["ground_truth"]["annotations"]} == {1}
    assert not contents["no_detections"]["results"]


def test_pycocotools_takes_the_area_of_a_result_with_a_box_and_a_mask_from_the_box() -> None:
    """Why the script leaves the boxes out for masks, and detkit does: docs/reference/metrics.md has a line on it."""
    content = content_of("masks")
    truth, results, expected = content["ground_truth"], content["results"], content["expected"]["segm"]
    assert numbers(evaluated(truth, without_boxes(results), "segm")) == expected
    with_boxes = numbers(evaluated(truth, results, "segm"))
    different = {key for key in NUMBERS if with_boxes[key] != expected[key]}
    assert "ap_small" in different
    assert all(key.endswith(("_small", "_medium", "_large")) for key in different)
