"""The numbers themselves, held against pycocotools'; torchmetrics is the second opinion."""

from __future__ import annotations

import random

import pytest

from detkit import Metric
from detkit_coco import CocoOptions, Engine, build_coco
from detkit_torchmetrics import TorchmetricsOptions, build_torchmetrics
from plugins.coco_cases import KEYS, TORCHMETRICS_KEYS, Case, by_pycocotools, generated_case, or_none, scalars

#: Beside COCO's own.
MORE = ["f1", "precision", "recall", "best_f1", "best_f1_confidence", "calibration_error"]


CASES = [seed for seed in range(48) if any(len(p) for p in generated_case(seed).predictions)]


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
@pytest.mark.parametrize("seed", CASES)
def test_the_numbers_are_pycocotools_to_the_bit(engine: Engine, seed: int) -> None:
    case = generated_case(seed)
    result = case.evaluated_by(build_coco(CocoOptions(engine=engine), case.context))
    boxes, masks = by_pycocotools(case, "bbox"), by_pycocotools(case, "segm")
    expected = dict(zip(KEYS, map(or_none, boxes.stats), strict=True))
    expected |= {f"mask_{key}": or_none(value) for key, value in zip(KEYS, masks.stats, strict=True)}
    found = scalars(result)
    assert {key: found[key] for key in expected} == expected
    assert set(found) == {*expected, *MORE, *(f"mask_{key}" for key in MORE)}
    assert [key for key, scalar in result.scalars.items() if scalar.primary] == ["ap"]


def test_the_cases_reach_every_number() -> None:
    reached: set[str] = set()
    for seed in CASES:
        case = generated_case(seed)
        result = case.evaluated_by(build_coco(CocoOptions(), case.context))
        reached |= {key for key, value in scalars(result).items() if value}
    assert reached == {prefix + key for prefix in ("", "mask_") for key in [*KEYS, *MORE]}
    annotations = [a for seed in CASES for truth in generated_case(seed).truths for a in truth.annotations]
    assert any(a.iscrowd for a in annotations)
    assert any(not t.annotations for seed in CASES for t in generated_case(seed).truths)
    assert any(not len(p) for seed in CASES for p in generated_case(seed).predictions)


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
@pytest.mark.parametrize("seed", CASES[:12])
def test_tables_and_curves_are_slices_of_pycocotools_arrays(engine: Engine, seed: int) -> None:
    case = generated_case(seed)
    result = case.evaluated_by(build_coco(CocoOptions(engine=engine), case.context))
    for region, prefix in (("bbox", ""), ("segm", "mask_")):
        evaluation = by_pycocotools(case, "bbox" if region == "bbox" else "segm")
        precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
        table = result.tables[f"{prefix}per_class"]
        assert table.columns[:5] == ("class", "ap", "ap50", "ap75", "ar100")
        curves = {key: curve for key, curve in result.curves.items() if key.startswith(f"{prefix}pr50")}
        for k, (name, row) in enumerate(zip(case.class_names, table.rows, strict=True)):
            objects = sum(a.label == k + 1 and not a.iscrowd for t in case.truths for a in t.annotations)
            known = objects > 0
            expected = (
                precision[:, :, k, 0, 2].mean() if known else None,
                precision[0, :, k, 0, 2].mean() if known else None,
                precision[5, :, k, 0, 2].mean() if known else None,
                recall[:, k, 0, 2].mean() if known else None,
            )
            assert (*row[:5], row[-1]) == (name, *expected, objects)
            curve = curves.pop(f"{prefix}pr50" if len(case.class_names) == 1 else f"{prefix}pr50/{name}", None)
            if known:
                assert curve is not None
                assert curve.x == tuple(evaluation.params.recThrs.tolist())
                assert curve.y == tuple(precision[0, :, k, 0, 2].tolist())
                assert (curve.x_name, curve.y_name) == ("recall", "precision")
            else:
                assert curve is None
        assert set(curves) <= {f"{prefix}pr50"}, "the mean over classes"


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
def test_max_detections_name_and_cap_the_numbers(engine: Engine) -> None:
    case = generated_case(3)
    options = CocoOptions(engine=engine, max_detections=(1, 2, 4))
    result = scalars(case.evaluated_by(build_coco(options, case.context)))
    evaluation = by_pycocotools(case, "bbox", (1, 2, 4))
    assert [result["ar1"], result["ar2"], result["ar4"]] == [or_none(value) for value in evaluation.stats[6:9]]
    assert result["ap50"] == or_none(evaluation.stats[1])
    assert (
        result["ap"]
        == evaluation.eval["precision"][:, :, :, 0, 2][evaluation.eval["precision"][:, :, :, 0, 2] > -1].mean()
    )
    assert not {"ar10", "ar100"} & set(result)


@pytest.mark.parametrize("name", ["hotcoco", "pycocotools", "torchmetrics"])
@pytest.mark.parametrize("seed", CASES[:12])
def test_the_order_and_number_of_updates_change_nothing(name: str, seed: int) -> None:
    case = generated_case(seed)
    metric = built(name, case)
    expected = case.evaluated_by(metric)
    assert metric.compute() == expected, "computing twice changes the result"
    metric.reset()
    pairs = list(zip(case.predictions, case.truths, strict=True))
    random.Random(seed).shuffle(pairs)
    for prediction, truth in pairs:
        metric.update([prediction], [truth])
    assert metric.compute() == expected


def built(name: str, case: Case) -> Metric:
    if name == "torchmetrics":
        return build_torchmetrics(TorchmetricsOptions(), case.context)
    return build_coco(CocoOptions(engine="hotcoco" if name == "hotcoco" else "pycocotools"), case.context)


@pytest.mark.parametrize("seed", CASES)
def test_torchmetrics_agrees(seed: int) -> None:
    case = generated_case(seed)
    ours = case.evaluated_by(build_coco(CocoOptions(), case.context))
    theirs = case.evaluated_by(build_torchmetrics(TorchmetricsOptions(), case.context))
    for prefix in ("", "mask_"):
        for key, other in zip(KEYS, TORCHMETRICS_KEYS, strict=True):
            assert scalars(theirs)[prefix + other] == pytest.approx(scalars(ours)[prefix + key], abs=1e-6), other
        for row, other_row in zip(
            ours.tables[f"{prefix}per_class"].rows, theirs.tables[f"{prefix}per_class"].rows, strict=True
        ):
            assert other_row[0] == row[0]
            assert other_row[1:] == pytest.approx((row[1], row[4]), abs=1e-6)
    assert set(scalars(theirs)) == {*TORCHMETRICS_KEYS, *(f"mask_{key}" for key in TORCHMETRICS_KEYS)}
    assert [key for key, scalar in theirs.scalars.items() if scalar.primary] == ["map"]


@pytest.mark.parametrize("seed", CASES[:12])
def test_torchmetrics_agrees_at_other_thresholds(seed: int) -> None:
    case = generated_case(seed)
    ours = case.evaluated_by(build_coco(CocoOptions(max_detections=(1, 2, 4)), case.context))
    options = TorchmetricsOptions(max_detection_thresholds=(1, 2, 4))
    theirs = case.evaluated_by(build_torchmetrics(options, case.context))
    for key, other in (("ap", "map"), ("mask_ap", "mask_map"), ("ar4", "mar_4"), ("ap75", "map_75")):
        assert scalars(theirs)[other] == pytest.approx(scalars(ours)[key], abs=1e-6), other
