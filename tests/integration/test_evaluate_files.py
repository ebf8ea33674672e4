"""`detkit eval` of files in COCO's form: pycocotools' numbers of the same files, and what is said of bad ones."""

from __future__ import annotations

import gzip
import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import detkit
from detkit.cli.main import run as command_line
from detkit.errors import DetkitError, UserError

KEYS = ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"]
KEYS += ["ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"]
HEIGHT, WIDTH = 120, 160

Json = dict[str, Any]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- random files ----------------------------------------------------------------------------------------------------


def random_files(seed: int, folder: Path) -> tuple[Path, Path]:
    """Ground truth and results as people have them: ids with holes, crowds, ties, boxes far outside, masks or none."""
    rng = np.random.default_rng(seed)
    masked = bool(rng.random() < 0.5)
    image_ids = rng.choice(np.arange(-50, 100_000), int(rng.integers(1, 9)), replace=False).tolist()
    category_ids = rng.choice(np.arange(0, 91), int(rng.integers(1, 5)), replace=False).tolist()
    annotations: list[Json] = []
    results: list[Json] = []
    for image_id in image_ids:
        objects = some_boxes(rng, int(rng.choice([0, 1, 4])))
        for box in objects:
            row: Json = {"id": len(annotations) + 1, "image_id": image_id, "bbox": box, "iscrowd": 0}
            row |= {"category_id": int(rng.choice(category_ids)), "area": float(rng.uniform(1, 15_000))}
            if rng.random() < 0.15:
                row["iscrowd"] = 1
            if masked:
                row["segmentation"] = some_segmentation(rng, box)
            annotations.append(row)
        copies = [objects[place] for place in rng.integers(0, len(objects), 6)] if objects else []
        shifted = [[value + float(rng.choice([0, 0.25, 3.7])) for value in box] for box in copies]
        for box in shifted + some_boxes(rng, int(rng.choice([0, 3]))):
            score = float(np.round(rng.random(), int(rng.choice([1, 16]))))
            found: Json = {"image_id": image_id, "category_id": int(rng.choice(category_ids)), "score": score}
            if rng.random() < 0.05:
                found["bbox"] = [-1e12, 1e15, 3e14, 1e290]
            results.append(found | {"bbox": found.get("bbox", box)})
            if masked:
                results[-1]["segmentation"] = compressed(some_segmentation(rng, box))
    truth = {
        "images": [{"id": one, "width": WIDTH, "height": HEIGHT, "file_name": f"{one}.jpg"} for one in image_ids],
        "categories": [{"id": one, "name": f"class {one}"} for one in category_ids],
        "annotations": [annotations[place] for place in rng.permutation(len(annotations))],
    }
    files = folder / f"gt-{seed}.json", folder / f"dt-{seed}.json"
    files[0].write_text(json.dumps(truth))
    files[1].write_text(json.dumps([results[place] for place in rng.permutation(len(results))]))
    return files


def some_boxes(rng: np.random.Generator, count: int) -> list[list[float]]:
    corners = rng.uniform(-30, [WIDTH, HEIGHT], (count, 2))
    sizes = rng.choice([0.0, 12.0, 40.0, 130.0], (count, 1)) * rng.uniform(0.8, 1.2, (count, 2))
    boxes = np.concatenate([corners, sizes], axis=1)
    return np.round(boxes, int(rng.choice([0, 2, 15]))).tolist()  # type: ignore[no-any-return]  # of floats


def some_segmentation(rng: np.random.Generator, box: list[float]) -> Any:
    x, y, width, height = box
    polygon = [x, y, x + width, y, x + width, y + height, x, y + height]
    kind = rng.integers(3)
    if kind == 0:
        return [polygon, [value * 0.5 for value in polygon]]
    mask = coco_mask.merge(coco_mask.frPyObjects([polygon], HEIGHT, WIDTH))
    if kind == 1:
        return {"size": mask["size"], "counts": mask["counts"].decode()}
    pixels = coco_mask.decode(mask).flatten(order="F").astype(int)
    changes = np.flatnonzero(np.diff(pixels)) + 1
    runs = np.diff([0, *changes, len(pixels)]).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": [0, *runs] if pixels[0] else runs}


def compressed(segmentation: Any) -> Json:
    """As results have masks: pycocotools does not read the other forms there."""
    if isinstance(segmentation, list):
        mask = coco_mask.merge(coco_mask.frPyObjects(segmentation, HEIGHT, WIDTH))
    elif isinstance(segmentation["counts"], list):
        mask = coco_mask.frPyObjects(segmentation, HEIGHT, WIDTH)
    else:
        return dict(segmentation)
    return {"size": mask["size"], "counts": mask["counts"].decode()}


def by_pycocotools(truth: Path, results: Path, region: str) -> list[float | None]:
    """Its twelve numbers, as its own demonstration gets them; None for -1."""
    rows = json.loads(results.read_text())
    if region == "segm":  # else its sizes of masks are those of the boxes
        rows = [{key: value for key, value in row.items() if key != "bbox"} for row in rows]
    with redirect_stdout(StringIO()):
        ground_truth = COCO(str(truth))
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(rows), region)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [None if value == -1 else float(value) for value in evaluation.stats]


SEEDS = range(100)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
def test_the_numbers_are_pycocotools_of_the_same_files_to_the_bit(here: Path, engine: str) -> None:
    reached: set[str] = set()
    for seed in SEEDS:
        truth, results = random_files(seed, here)
        rows = json.loads(results.read_text())
        if not rows:
            continue  # pycocotools stumbles over it
        settings = {"metrics.coco.engine": engine}
        report = detkit.evaluate(predictions=results, ground_truth=truth, resamples=0, set=settings)
        expected = dict(zip(KEYS, by_pycocotools(truth, results, "bbox"), strict=True))
        if "segmentation" in rows[0]:
            expected |= dict(zip([f"mask_{key}" for key in KEYS], by_pycocotools(truth, results, "segm"), strict=True))
        ours = {name.removeprefix("coco/"): value for name, value in report.values.items()}
        assert {key: ours.get(key) for key in expected} == expected, seed
        assert any(key.startswith("mask_") for key in ours) == ("segmentation" in rows[0])
        reached |= {key for key, value in expected.items() if value}
    assert reached == {*KEYS, *(f"mask_{key}" for key in KEYS)}


def test_a_box_that_is_not_its_corners_difference_is_evaluated_as_it_is_stated(here: Path) -> None:
    """0.1 + 0.2 - 0.1 is not 0.2: a width recomputed from corners moves an IoU that lies on a threshold."""
    truth, results = tiny_files(here, bbox=[0.1, 0.1, 0.2, 0.2])
    rows = [{"image_id": 7, "category_id": 3, "bbox": [0.1, 0.1, 0.2, 0.1], "score": 0.5}]
    results.write_text(json.dumps(rows))
    values = detkit.evaluate(predictions=results, ground_truth=truth).values
    assert [values[f"coco/{key}"] for key in KEYS] == by_pycocotools(truth, results, "bbox")
    assert values["coco/ap50"] == pytest.approx(1)


# --- values that are defined -----------------------------------------------------------------------------------------


def tiny_files(folder: Path, **changes: Any) -> tuple[Path, Path]:
    """An object, and a detection that is it exactly."""
    row = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 20, 30, 40], "area": 1200, "iscrowd": 0, **changes}
    truth = {
        "images": [{"id": 7, "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 3, "name": "car"}],
        "annotations": [row],
    }
    results = [{"image_id": 7, "category_id": 3, "bbox": row["bbox"], "score": 0.5}]
    (folder / "gt.json").write_text(json.dumps(truth))
    (folder / "dt.json").write_text(json.dumps(results))
    return folder / "gt.json", folder / "dt.json"


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
def test_nothing_found_is_0_and_nothing_there_is_no_value(here: Path, engine: str) -> None:
    truth, results = tiny_files(here)

    def ap50() -> object:
        report = detkit.evaluate(predictions=results, ground_truth=truth, set={"metrics.coco.engine": engine})
        return report.values["coco/ap50"]

    assert ap50() == pytest.approx(1)
    results.write_text("[]")
    assert ap50() == 0.0
    content = json.loads(truth.read_text())
    content["annotations"][0]["iscrowd"] = 1
    truth.write_text(json.dumps(content))
    assert ap50() is None, "only a crowd"
    content["annotations"] = []
    truth.write_text(json.dumps(content))
    assert ap50() is None
    tiny_files(here)
    truth.write_text(json.dumps(content))
    assert ap50() is None, "a false alarm alone"


# --- the command -----------------------------------------------------------------------------------------------------


def evaluate(*arguments: str | Path) -> int:
    return command_line(["eval", "--predictions", "dt.json", "--ground-truth", "gt.json", *map(str, arguments)])


def test_what_is_written_and_printed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_files(here)
    settings = ("--set", "metrics.coco.engine=pycocotools", "--resamples", "0")
    assert evaluate("--metric", "coco", "--metric", "torchmetrics", *settings) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "dt.json on gt.json; images: 1, objects: 1, detections: 1"
    numbers = [line.split() for line in lines]
    assert ["coco", "value"] in numbers
    assert ["ap50", "1.000"] in numbers
    assert ["ap_small", "-"] in numbers
    assert ["torchmetrics", "value"] in numbers
    assert ["map_50", "1.000"] in numbers
    assert lines[-1] == "evaluation: evaluation-dt/evaluation.json, with tables, curves, matrices beside it"
    assert err == ""
    written = json.loads((here / "evaluation-dt/evaluation.json").read_text())
    assert written["format_version"] == 1
    assert written["evaluated"] == {
        "predictions": "dt.json",
        "ground_truth": "gt.json",
        "images": 1,
        "objects": 1,
        "crowds": 0,
        "detections": 1,
        "class_names": ["car"],
        "set": ["metrics.coco.engine=pycocotools"],
    }
    assert written["primary"] == "coco/ap"
    value = pytest.approx(1)
    assert written["values"]["coco/ap50"] == {"value": value, "higher_is_better": True, "unit": "", "primary": False}
    assert written["values"]["coco/ap_small"]["value"] is None
    assert (here / "evaluation-dt/tables/torchmetrics-per_class.json").is_file()
    assert not (here / "evaluation-dt/predictions.json.gz").exists()


def test_gzipped_files_and_json_on_stdout(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in tiny_files(here):
        file.write_bytes(gzip.compress(file.read_bytes()))
        file.rename(f"{file}.gz")
    files = ("--predictions", "dt.json.gz", "--ground-truth", "gt.json.gz")
    assert command_line(["eval", *files, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((here / "evaluation-dt/evaluation.json").read_text())


def test_what_a_file_leaves_out_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_files(here, area=None)
    (here / "dt.json").write_text("[]")
    assert evaluate() == 0
    err = capsys.readouterr().err
    assert "warning: gt.json: 1 of 1 annotations state no 'area'" in err
    assert "warning: 1 of 1 images have objects and no detection" in err
    assert len(json.loads((here / "evaluation-dt/evaluation.json").read_text())["warnings"]) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "nothing to evaluate: name a run, or files with --predictions and --ground-truth"),
        (["--predictions", "dt.json"], "predictions are compared with a ground truth: name both"),
        (["runs", "--predictions", "dt.json"], "a run is evaluated, or files"),
        (["--predictions", "gt.json", "--ground-truth", "dt.json"], "dt.json is a list of detections"),
        (["--predictions", "no.json", "--ground-truth", "gt.json"], "there is no file no.json"),
        (["FILES", "--split", "all", "--device", "cpu"], "split, device: these belong to a run"),
        (
            ["FILES", "--set", "dataset.root=x"],
            "--set dataset.root: it would change nothing here; what counts are",
        ),
        (["FILES", "--set", "metrics.coco.engin=x"], "[metrics.coco] engin: unknown key; did you mean 'engine'?"),
        (
            ["FILES", "--set", "metrics.torchmetrics.masks=off"],
            "--set metrics.torchmetrics.masks: it would change nothing here: the evaluation is with coco; --metric",
        ),
        (["FILES", "--metric", "cocoo"], "no metric named 'cocoo'; did you mean 'coco'?"),
        (["FILES", "--metrics-from", "no.toml"], "no.toml: there is no such file"),
        (["FILES", "--metrics-from", "empty.toml"], "there is no metric to evaluate with; name one with --metric"),
        (["FILES", "--output", "taken", "--overwrite"], "taken holds other files than an evaluation's; only those"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_written(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    tiny_files(here)
    (here / "empty.toml").touch()
    (here / "taken").mkdir()
    (here / "taken/mine").touch()
    files = ["--predictions", "dt.json", "--ground-truth", "gt.json"] if arguments[:1] == ["FILES"] else []
    assert command_line(["eval", *files, *[one for one in arguments if one != "FILES"]]) == 2
    assert says in capsys.readouterr().err
    assert sorted(path.name for path in here.iterdir()) == ["dt.json", "empty.toml", "gt.json", "taken"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("moment", ["writing", "swapping"])
def test_until_the_new_evaluation_is_whole_the_old_one_stays(
    here: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException, moment: str
) -> None:
    truth, results = tiny_files(here)

    def evaluated(confidence: float) -> None:
        settings = {"metrics.coco.confidence": confidence}
        detkit.evaluate(predictions=results, ground_truth=truth, set=settings, output=here / "out", overwrite=True)

    def content() -> dict[str, bytes]:
        return {str(file.relative_to(here)): file.read_bytes() for file in (here / "out").rglob("*") if file.is_file()}

    evaluated(0.5)
    (here / "out/mine").touch()
    before = content()
    real = Path.rename

    def stopped(path: Path, to: Path) -> Path:
        if path.name == "tables" and path.parent.name == "new":
            raise stop
        return real(path, to)

    def fsync(_number: int) -> None:
        raise stop

    with monkeypatch.context() as patched:
        if moment == "writing":
            patched.setattr("os.fsync", fsync)
        else:
            patched.setattr(Path, "rename", stopped)
        with pytest.raises((KeyboardInterrupt, DetkitError)):
            evaluated(0.9)
    assert content() == before
    assert sorted(path.name for path in here.iterdir()) == ["dt.json", "gt.json", "out"]
    evaluated(0.9)
    assert content().keys() == before.keys()
    assert content() != before
    assert not [path for path in (here / "out").iterdir() if path.name.startswith(".")]


def test_objects_of_which_only_some_have_masks_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, results = tiny_files(here)
    mask = compressed([[10, 20, 40, 20, 40, 60]])
    content = json.loads(truth.read_text())
    content["annotations"].append({**content["annotations"][0], "id": 2, "segmentation": mask})
    truth.write_text(json.dumps(content))
    results.write_text(json.dumps([row | {"segmentation": mask} for row in json.loads(results.read_text())]))
    assert evaluate() == 2
    fault = "annotations[0] (id 1) has no 'segmentation', which others have: give every object a mask, or evaluate"
    assert f"gt.json has a fault (entries are counted from 0):\n  {fault}" in capsys.readouterr().err
    assert not (here / "evaluation-dt").exists()
    assert evaluate("--set", "metrics.coco.masks=off") == 0


def test_masks_that_have_nothing_to_be_compared_with_are_told(here: Path) -> None:
    truth, results = tiny_files(here)
    mask = compressed([[10, 20, 40, 20, 40, 60]])
    row = json.loads(results.read_text())[0]
    results.write_text(json.dumps([row, {**row, "segmentation": mask}][1:]))
    report = detkit.evaluate(predictions=results, ground_truth=truth)
    assert report.warnings == (f"{truth}: the ground truth has no masks: boxes only",)
    assert not any(name.startswith("coco/mask_") for name in report.values)
    tiny_files(here, segmentation=mask)
    row["segmentation"] = mask
    results.write_text(json.dumps([row]))
    assert detkit.evaluate(predictions=results, ground_truth=truth).warnings == ()
    results.write_text(json.dumps([row, {key: value for key, value in row.items() if key != "bbox"}]))
    report = detkit.evaluate(predictions=results, ground_truth=truth)
    told = "1 of 2 detections state no 'bbox': their boxes are those around their masks"
    assert report.warnings == (f"{results}: {told}",)
    assert report.values["coco/mask_ap50"] == pytest.approx(1)
    results.write_text("[]")
    (warning,) = detkit.evaluate(predictions=results, ground_truth=truth).warnings
    assert warning == "1 of 1 images have objects and no detection: nothing was found there"


def test_an_image_of_crowds_alone_is_none_in_which_something_was_missed(here: Path) -> None:
    truth, results = tiny_files(here, iscrowd=1)
    results.write_text("[]")
    assert detkit.evaluate(predictions=results, ground_truth=truth).warnings == ()


def test_numbers_have_intervals_over_the_images(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Every second object is found.
    rows = [{"id": i, "image_id": i, "category_id": 1, "bbox": [5, 5, 40, 40], "area": 1600} for i in range(1, 13)]
    images = [{"id": i, "width": WIDTH, "height": HEIGHT} for i in range(1, 13)]
    truth, results = here / "gt.json", here / "dt.json"
    truth.write_text(json.dumps({"images": images, "categories": [{"id": 1, "name": "car"}], "annotations": rows}))
    results.write_text(json.dumps([{**row, "score": 0.9} for row in rows[::2]]))
    arguments = ["eval", "--predictions", str(results), "--ground-truth", str(truth)]
    assert command_line([*arguments, "--resamples", "200", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["resampling"]["resamples"] == 200
    ends = content["intervals"]["coco/ap"]
    assert ends["lower"] < content["values"]["coco/ap"]["value"] < ends["upper"]
    assert set(content["intervals"]) == {
        f"coco/{name}" for name in ("ap", "ap50", "ap75", "ar100", "f1", "precision", "recall")
    }
    assert command_line([*arguments, "--resamples", "200"]) == 0
    printed = capsys.readouterr().out
    assert f"[{ends['lower']:.3f}, {ends['upper']:.3f}]" in printed
    assert (
        f"95 % intervals over the images; an interval from {content['evaluated']['images']} images is rough" in printed
    )
    assert command_line([*arguments, "--resamples", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["intervals"] == {}
    assert command_line([*arguments, "--resamples", "20"]) == 2
    assert "intervals need at least 100 resamples, not 20; 0 leaves them out" in capsys.readouterr().err


def test_from_python_metrics_and_resamples_are_checked_too(here: Path) -> None:
    truth, results = tiny_files(here)
    with pytest.raises(UserError, match=r"metrics are a list of names, as \['coco'\]; got the text 'coco'"):
        detkit.evaluate(predictions=results, ground_truth=truth, metrics="coco")
    with pytest.raises(UserError, match="intervals need at least 100 resamples, not -5; 0 leaves them out"):
        detkit.evaluate(predictions=results, ground_truth=truth, resamples=-5)
    both = ["coco", "torchmetrics"]
    off = {"metrics.torchmetrics": {"enabled": False}}
    report = detkit.evaluate(predictions=results, ground_truth=truth, metrics=both, resamples=0, set=off)
    assert list(report.results) == ["coco"]
    gone = detkit.evaluate(predictions=results, ground_truth=truth, resamples=0, set={"metrics.torchmetrics": None})
    assert list(gone.results) == ["coco"]


def test_in_a_notebook_a_report_shows_itself(here: Path) -> None:
    truth, results = tiny_files(here)
    for _ in range(2):  # the package that holds what it needs must not take the function's name
        report = detkit.evaluate(predictions=str(results), ground_truth=str(truth))
    assert report.results["coco"].scalars["ap50"].value == pytest.approx(1)
    assert "<td>ap50</td><td>1.000</td>" in report._repr_html_()
    assert report.folder is None
    assert detkit.evaluate(predictions=results, ground_truth=truth, output=here / "out").folder == here / "out"
