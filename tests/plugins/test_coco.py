"""The COCO metric's edges: what has no value, what is refused and how, its options, its engines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from detkit import BuildContext, Metric, UserError
from detkit.components import Silent
from detkit.data.targets import encode_masks
from detkit.data.types import RLE, Annotation, ImageInfo, Prediction
from detkit_coco import COCO, CocoOptions, Engine, build_coco
from detkit_coco.curves import CURVE_LIMIT

ENGINES: tuple[Engine, ...] = ("hotcoco", "pycocotools", "faster_coco_eval")
BOX = (10.0, 20.0, 40.0, 60.0)


def mask(height: int = 100, width: int = 100) -> RLE:
    pixels = np.zeros((1, height, width), dtype=np.uint8)
    pixels[0, 20:60, 10:40] = 1
    return encode_masks(pixels)[0]


def truth(image_id: int = 1, *annotations: Annotation) -> ImageInfo:
    return ImageInfo(image_id, None, 100, 100, annotations, name=f"img{image_id}.png")


def thing(label: int = 1, **changes: Any) -> Annotation:
    return replace(Annotation(label, BOX, 1200.0), **changes)


def found(image_id: int = 1, count: int = 1, **changes: Any) -> Prediction:
    prediction = Prediction(
        image_id,
        boxes=np.array([BOX] * count, dtype=np.float32).reshape(-1, 4),
        labels=np.ones(count, dtype=np.int64),
        scores=np.full(count, 0.5, dtype=np.float32),
    )
    return replace(prediction, **changes)


def metric(classes: Sequence[str] = ("cat", "dog"), **options: Any) -> Metric:
    return build_coco(CocoOptions(**options), BuildContext(class_names=tuple(classes)))


def values(of: Metric) -> dict[str, float | int | None]:
    return {key: scalar.value for key, scalar in of.compute().scalars.items()}


# --- what has no value -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_no_predictions_are_0_where_there_is_ground_truth_and_none_where_there_is_none(engine: str) -> None:
    subject = metric(engine=engine)
    subject.update([found(1, 0), found(2, 0)], [truth(1, thing()), truth(2)])
    result = subject.compute()
    # 1200 square pixels are medium; nothing is small or large. Without detections nothing is a share of them.
    none = {"ap_small", "ap_large", "ar_small", "ar_large", "precision"}
    none |= {"best_f1", "best_f1_confidence", "calibration_error"}
    assert {key for key, scalar in result.scalars.items() if scalar.value is None} == none
    assert {scalar.value for key, scalar in result.scalars.items() if key not in none} == {0.0}
    cat, dog = result.tables["per_class"].rows
    assert cat == ("cat", 0.0, 0.0, 0.0, 0.0, 0.0, None, 0.0, None, None, 1)
    assert dog == ("dog", None, None, None, None, None, None, None, None, None, 0)
    assert {name for name in result.curves if "/" in name} == {
        f"{name}/cat" for name in ("pr50", "pr75", "pr", "f1_confidence", "precision_confidence", "recall_confidence")
    }
    assert not result.thresholds


@pytest.mark.parametrize("engine", ENGINES)
def test_without_ground_truth_nothing_has_a_value(engine: str) -> None:
    subject = metric(engine=engine)
    assert set(values(subject).values()) == {None}, "before any image"
    subject.update([found(1)], [truth(1)])
    # A detection where nothing is: all detections are wrong, with a confidence of 0.5.
    wrong = {"precision": 0.0, "calibration_error": 0.5}
    assert {key: value for key, value in values(subject).items() if value is not None} == wrong
    subject.reset()
    subject.update([found(1)], [truth(1, thing(iscrowd=True))])
    assert set(values(subject).values()) == {None}, (
        "a crowd is no object, and a detection in it neither right nor wrong"
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_a_perfect_detection_and_a_false_alarm(engine: str) -> None:
    subject = metric(["cat"], engine=engine)
    subject.update([found(1), found(2, scores=np.array([0.9], dtype=np.float32))], [truth(1, thing()), truth(2)])
    result = subject.compute()
    # The false alarm scores higher: precision is 1/2 at every recall.
    assert result.scalars["ap"].value == pytest.approx(0.5)
    assert result.scalars["ar1"].value == pytest.approx(1.0)
    assert result.scalars["ap_small"].value is None
    assert not any("/" in name for name in result.curves), "of one class there is nothing beside its own curves"
    assert result.curves["pr50"].y == pytest.approx([0.5] * 101)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_ground_truth_is_not_rounded(engine: str) -> None:
    # IoU of the two is below 0.5 by 1e-12: in float32 the object's edge would be at 20 exactly.
    subject = metric(["cat"], engine=engine)
    wide = thing(box=(0.0, 0.0, 20.0 + 4e-11, 10.0))
    box = np.array([[0.0, 0.0, 10.0, 10.0]], dtype=np.float32)
    subject.update([found(1, boxes=box)], [truth(1, wide)])
    assert subject.compute().scalars["ap50"].value == 0.0


def test_curves_are_kept_for_the_classes_with_most_objects() -> None:
    names = [f"class {k}" for k in range(1, CURVE_LIMIT + 4)]
    subject = metric(names)
    objects = [thing(label) for label in range(1, len(names) + 1) for _ in range(1 if label <= 3 else 2)]
    subject.update([found(1)], [truth(1, *objects)])
    curves = [name for name in subject.compute().curves if name.startswith("pr50")]
    assert curves == ["pr50", *(f"pr50/{name}" for name in names[3:])]


# --- masks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_masks_are_evaluated_where_both_sides_have_them(engine: str) -> None:
    def keys(prediction: Prediction, image: ImageInfo, **options: Any) -> bool:
        subject = metric(engine=engine, **options)
        subject.update([prediction], [image])
        return "mask_ap" in values(subject)

    with_mask = found(masks=[mask()])
    assert keys(with_mask, truth(1, thing(mask=mask())))
    assert keys(found(1, 0, masks=[]), truth(1, thing(mask=mask())))
    assert not keys(with_mask, truth(1, thing(mask=mask())), masks="off")
    assert not keys(with_mask, truth(1, thing()))
    assert not keys(found(), truth(1, thing(mask=mask())))


def test_there_may_be_any_number_of_masks() -> None:
    subject = metric(["cat"])
    for image_id in range(1, 4):
        subject.update(
            [found(image_id, 100, masks=[mask()] * 100)], [truth(image_id, *[thing(mask=mask(), area=1200.0)] * 100)]
        )
    assert values(subject)["mask_ap"] == pytest.approx(1.0), "all 300 are found"
    assert values(subject)["mask_ap_medium"] == pytest.approx(1.0), "and have their areas"


def test_masks_of_some_only_are_refused() -> None:
    subject = metric()
    subject.update([found(masks=[mask()])], [truth(1, thing(mask=mask()), thing(source="object 7"))])
    with pytest.raises(ValueError, match=r"img1\.png, object 7: it has no mask, like 1 of 2 objects"):
        subject.compute()
    subject.reset()
    annotated = thing(mask=mask())
    subject.update([found(1, masks=[mask()]), found(2)], [truth(1, annotated), truth(2, annotated)])
    with pytest.raises(ValueError, match=r"img2\.png: its detections have no masks, those of other images have"):
        subject.compute()


# --- what is refused -------------------------------------------------------------------------------------------------

NAN = float("nan")

REFUSED: dict[str, tuple[Prediction, ImageInfo, str]] = {
    "NaN box": (
        found(boxes=np.array([[0, NAN, 5, 5]], dtype=np.float32)),
        truth(),
        r"img1\.png, detection 0: its box \(0\.0, nan, 5\.0, 5\.0\) is not finite; has the training diverged\?",
    ),
    "infinite box": (
        found(count=2, boxes=np.array([BOX, [0, 0, np.inf, 5]], dtype=np.float32)),
        truth(),
        r"img1\.png, detection 1: its box \(0\.0, 0\.0, inf, 5\.0\) is not finite",
    ),
    "NaN score": (
        found(scores=np.array([NAN], dtype=np.float32)),
        truth(),
        r"img1\.png, detection 0: its score is nan; has the training diverged\? lower the learning rate",
    ),
    "score above 1": (
        found(scores=np.array([1.5], dtype=np.float32)),
        truth(),
        r"img1\.png, detection 0: its score is 1\.5; scores lie in 0\.\.1",
    ),
    "score below 0": (
        found(scores=np.array([-0.5], dtype=np.float32)),
        truth(),
        r"img1\.png, detection 0: its score is -0\.5; scores lie in 0\.\.1",
    ),
    "xywh": (
        found(boxes=np.array([[50, 50, 20, 20]], dtype=np.float32)),
        truth(),
        r"detection 0: its box \(50\.0, 50\.0, 20\.0, 20\.0\) ends before it begins; boxes are \(x0, y0, x1, y1\)",
    ),
    "label 0": (
        found(labels=np.array([0])),
        truth(),
        r"img1\.png, detection 0: the label 0 stands for no class; labels are 1 to 2 \(cat, dog\), 0 is the background",
    ),
    "label above K": (found(labels=np.array([3])), truth(), r"detection 0: the label 3 stands for no class"),
    "lengths": (
        found(labels=np.array([1, 1])),
        truth(),
        r"img1\.png: boxes of shape \(1, 4\), labels of \(2,\), scores of \(1,\); they must be \[N, 4\], \[N\]",
    ),
    "bboxes": (
        found(count=2, bboxes=np.array([[10.0, 20.0, 30.0, 40.0]])),
        truth(),
        r"img1\.png: boxes of shape \(2, 4\) came with bboxes of \(1, 4\)",
    ),
    "number of masks": (found(masks=[]), truth(), r"img1\.png: 0 masks came with 1 detections"),
    "size of a mask": (
        found(masks=[mask(80, 90)]),
        truth(),
        r"img1\.png, detection 0: its mask is 80 x 90 \(height x width\), the image 100 x 100",
    ),
    "other image": (
        found(7),
        truth(),
        r"the prediction of image id 7 came with the ground truth of img1\.png \(image id 1\)",
    ),
    "object's label": (found(), truth(1, thing(), thing(5)), r"img1\.png, object 1: the label 5 stands for no class"),
    "object's box": (
        found(),
        truth(1, thing(box=(0.0, 0.0, NAN, 4.0))),
        r"img1\.png, object 0: its box \(0\.0, 0\.0, nan, 4\.0\) is not finite",
    ),
    "object's box, reversed": (found(), truth(1, thing(box=(9.0, 0.0, 4.0, 4.0))), r"object 0: its box .* ends before"),
    "object's area": (found(), truth(1, thing(area=-1.0)), r"object 0: its area is -1\.0; it must be finite and not"),
    "object's mask": (found(), truth(1, thing(mask=mask(50, 100))), r"object 0: its mask is 50 x 100"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_values_are_refused_by_image_and_object(what: str) -> None:
    prediction, image, message = REFUSED[what]
    subject = metric()
    with pytest.raises(ValueError, match=message):
        subject.update([found(3), prediction], [truth(3), image])
    # Nothing of a refused update stays: the same image is not "given twice" afterwards.
    subject.update([found(3)], [truth(3)])


def test_boxes_outside_their_image_and_huge_ones_have_cocos_value() -> None:
    boxes = np.array([BOX, [-60, -50, 20, 30], [90, 90, 5000, 4000], [-1e30, 0, 1e30, 1e30]], dtype=np.float32)
    scores = np.array([0.6, 0.7, 0.8, 0.9], dtype=np.float32)
    prediction = found(count=4, boxes=boxes, scores=scores)
    # Nothing is clipped. The last one is larger than COCO's largest object, and where it matches nothing it is ignored.
    results = [
        evaluated_by(engine, prediction, truth(1, thing(), thing(box=(-60.0, -50.0, 20.0, 30.0)))) for engine in ENGINES
    ]
    assert results[0] == results[1]
    assert results[0] == pytest.approx(results[2])
    assert results[0]["ap50"] == pytest.approx(2 / 3)
    assert results[0]["precision"] == pytest.approx(2 / 3)


def evaluated_by(engine: str, prediction: Prediction, image: ImageInfo) -> dict[str, float | int | None]:
    subject = metric(["cat"], engine=engine)
    subject.update([prediction], [image])
    return values(subject)


def test_images_come_once_and_in_pairs() -> None:
    subject = metric()
    with pytest.raises(ValueError, match="1 predictions came with 2 images: there must be one for each image"):
        subject.update([found(1)], [truth(1), truth(2)])
    with pytest.raises(ValueError, match=r"img1\.png \(image id 1\) was given twice"):
        subject.update([found(1), found(1)], [truth(1), truth(1)])
    subject.update([found(1)], [truth(1)])
    with pytest.raises(ValueError, match=r"img1\.png \(image id 1\) was given twice"):
        subject.update([found(1)], [truth(1)])
    subject.reset()
    subject.update([found(1)], [truth(1)])


# --- options and engines ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "cocoapi"}, "'hotcoco', 'pycocotools', 'faster_coco_eval' or 'auto'"),
        ({"max_detections": [10, 1]}, r"max_detections must rise; got \[10, 1\]"),
        ({"iou_thresholds": [0.5, 0.5]}, r"iou_thresholds must rise; got \[0.5, 0.5\]"),
        ({"iou_thresholds": [0.0]}, "greater than 0"),
        ({"iou_thresholds": [50]}, "less than or equal to 1"),
        ({"area_ranges": {"all": [0, 10]}}, "'all' is no name"),
        ({"area_ranges": {"tiny": [10, 5]}}, r"area_ranges.tiny must rise from 0 or more; got \[10.0, 5.0\]"),
        ({"area_ranges": {"tiny": [10]}}, "area_ranges.tiny"),
        ({"match_iou": 0}, "greater than 0"),
        ({"confidence": 1.5}, "less than or equal to 1"),
        ({"cross_check": True, "engine": "pycocotools"}, "with this engine it checks nothing"),
        ({"max_detections": []}, "at least 1 item"),
        ({"max_detections": [0, 1]}, "greater than or equal to 1"),
        ({"max_detections": [1.5]}, "valid integer"),
        ({"max_dets": [1]}, "Extra inputs"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CocoOptions.model_validate(options)


def test_options_take_a_toml_array() -> None:
    assert CocoOptions.model_validate({"max_detections": [1, 300]}).max_detections == (1, 300)
    assert CocoOptions.model_validate({"area_ranges": {"tiny": [0, 100]}}).area_ranges == {"tiny": (0.0, 100.0)}


def test_every_option_is_described() -> None:
    assert all(field.description for field in CocoOptions.model_fields.values())


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def no_hotcoco(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hotcoco", None)


@pytest.mark.usefixtures("no_hotcoco")
def test_without_hotcoco_it_says_what_to_do_and_auto_falls_back() -> None:
    heard = Heard()
    context = BuildContext(class_names=("cat",), messages=heard)
    assert COCO.check is not None
    for ask in (COCO.check, COCO.build):
        with pytest.raises(UserError, match="hotcoco is not installed: run `pip install hotcoco`, or set engine"):
            ask(CocoOptions(), context)
    assert not heard.lines
    subject = build_coco(CocoOptions(engine="auto"), context)
    assert heard.lines == ["hotcoco is not installed: the COCO numbers come from pycocotools, which is slower"]
    subject.update([found()], [truth(1, thing())])
    result = subject.compute()
    assert result.scalars["ap50"].value == pytest.approx(1.0)
    assert set(result.tables) == {"per_class", "per_image"}, "what is hotcoco's own is left out"
    assert result.matrices["confusion"].counts == ((1, 0), (0, 0))


def test_auto_is_hotcoco_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    monkeypatch.setitem(sys.modules, "pycocotools.cocoeval", None)
    subject = build_coco(CocoOptions(engine="auto"), BuildContext(class_names=("cat",), messages=heard))
    subject.update([found()], [truth(1, thing())])
    assert values(subject)["ap50"] == pytest.approx(1.0)
    assert not heard.lines


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_printed(engine: str, capfd: pytest.CaptureFixture[str]) -> None:
    subject = metric(engine=engine)
    subject.update([found(masks=[mask()])], [truth(1, thing(mask=mask()))])
    subject.compute()
    assert capfd.readouterr() == ("", "")


def test_pycocotools_may_print_again_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools.coco import COCO as PycocotoolsCOCO

    subject = metric(engine="pycocotools")
    subject.update([found()], [truth(1, thing())])
    subject.compute()
    PycocotoolsCOCO().createIndex()
    assert "index created!" in capsys.readouterr().out


def test_offering_imports_nothing_heavy() -> None:
    code = (
        "import sys, detkit_coco, detkit_torchmetrics\n"
        "detkit_coco.detkit_metrics(), detkit_torchmetrics.detkit_metrics()\n"
        "heavy = {'torch', 'torchvision', 'torchmetrics', 'hotcoco', 'pycocotools', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_reference_page_names_every_number() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    subject = metric()
    subject.update([found()], [truth(1, thing())])
    assert [key for key in subject.compute().scalars if f"`{key}`" not in page] == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_masks_of_a_whole_validation_set_are_never_held_at_full_size() -> None:
    # 2,000 images with 50 masks of 800 x 800 each: 64 GB at full size, twice: of objects and of detections.
    script = Path(__file__).with_name("masks_at_scale.py")
    command = [sys.executable, str(script), "2000", "50", "800"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["rows"] == 2000
    assert result["scalars"]["mask_ap"] > 0.5
    assert result["peak"] < 2e9
