"""`detkit eval` of recorded runs: the figures of the record again, other images, other metrics."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import detkit
from detkit.cli.main import run as command_line
from detkit.data.types import Annotation, ImageInfo
from detkit.engine.display import SilentDisplay
from detkit.engine.evaluation import model_outputs
from detkit.errors import ComponentError, DataError, OutOfMemory, UserError
from detkit.evaluation.data import relabelled
from detkit.evaluation.notes import Notes
from detkit.predict import trained as trained_module
from detkit.record.files import read_json_gz
from detkit.record.reader import ExperimentRecord
from integration.experiments import EVERY_HOOK, RecordingDisplay, squares_spec, write_spec

RUN = "centre_point-seed1"
FOLDER = f"evaluation-{RUN}"

CIRCLES = """
from detkit import DatasetComponent, MetricComponent, MetricResult, Options, Scalar, Table, hookimpl


class NoOptions(Options):
    pass


def build_circles(options, context):
    import torch
    from torchvision import tv_tensors

    from detkit import Dataset

    class Circles(Dataset):
        class_names = ("square", "circle")

        def __len__(self):
            return 2

        def __getitem__(self, index):
            boxes = tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=(64, 64))
            nothing = torch.zeros(0)
            return tv_tensors.Image(torch.zeros(3, 64, 64, dtype=torch.uint8)), {
                "boxes": boxes, "labels": nothing.long(), "image_id": index, "area": nothing, "iscrowd": nothing.bool()
            }

    return Circles()


class Kinds:
    def reset(self):
        self.found = 0

    def update(self, predictions, truths):
        self.found += sum(map(len, predictions))

    def compute(self):
        shown = Table(("kind", "count"), (("all", self.found), ("none", None)), "Kinds of detections", printed=True)
        hidden = Table(("x",), (("hidden",),), "Hidden")
        return MetricResult({"found": Scalar(self.found, None)}, tables={"kinds": shown, "hidden": hidden})


@hookimpl
def detkit_datasets():
    return [DatasetComponent("circles", NoOptions, build_circles)]


@hookimpl
def detkit_metrics():
    return [MetricComponent("kinds", NoOptions, lambda options, context: Kinds())]
"""


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> ExperimentRecord:
    """With a test split, in bfloat16, averaged weights, batches of evaluation, and COCO's numbers."""
    folder = tmp_path_factory.mktemp("tested")
    spec = squares_spec(
        folder / "runs",
        dataset={"split": {"test": 5}},
        compute={"precision": "bf16"},
        train={"eval_batch_size": 3, "ema_decay": 0.9},
        metrics={"coco": {}},
    )
    return detkit.run(write_spec(folder / "small.toml", spec), display=SilentDisplay())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def copied(small: ExperimentRecord, here: Path) -> ExperimentRecord:
    """The experiment, to be changed."""
    return detkit.open_record(shutil.copytree(small.folder, here / "small"))


def evaluate(record: ExperimentRecord, *arguments: str | Path) -> int:
    return command_line(["eval", str(record.folder), *map(str, arguments)])


def written(folder: Path) -> dict[str, Any]:
    content = json.loads((folder / "evaluation.json").read_text())
    assert content["format_version"] == 1
    return dict(content)


# --- the same again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["small", "tested"])
def test_the_figures_are_those_of_the_record_to_the_last_bit(
    name: str,
    request: pytest.FixtureRequest,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record: ExperimentRecord = request.getfixturevalue(name)
    seen: list[tuple[int, int]] = []

    def watched(use: Any, model: Any, images: Any, classes: int, names: str) -> Any:
        seen.append((torch.get_num_threads(), len(images)))
        return model_outputs(use, model, images, classes, names)

    monkeypatch.setattr(trained_module, "model_outputs", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)  # the run's own number is taken, and given back
    try:
        assert evaluate(record) == 0
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert seen == ([(1, 3), (1, 2)] if name == "tested" else [(1, 1)] * 4)
    out, err = capsys.readouterr()
    run = record.run(RUN)
    summary = run.summary
    assert summary is not None
    split = "test" if name == "tested" else "validation"
    content = written(here / FOLDER)
    values = {key: row["value"] for key, row in content["values"].items()}
    assert values == {key: value for key, value in summary["scored"]["values"].items() if not key.startswith("loss/")}
    assert content["primary"] == summary["primary"] == "count_error/mean"
    assert read_json_gz(here / FOLDER / "predictions.json.gz") == read_json_gz(run.files.predictions(split))
    evaluated = content["evaluated"]
    assert (evaluated["run"], evaluated["checkpoint"], evaluated["split"]) == (RUN, "best", split)
    assert (evaluated["epoch"], evaluated["images"]) == (summary["selected"]["epoch"], summary["scored"]["images"])
    assert f"on {split} images of squares; images: {5 if split == 'test' else 4}, objects: " in out
    assert ("selected and scored on the same images" in err) == (split == "validation")
    assert content["warnings"] == (["selected and scored on the same images"] if split == "validation" else [])
    for kind in ("tables", "curves"):
        recorded = {file.name: file.read_bytes() for file in run.files.folder.glob(f"{kind}/{split}/*")}
        assert {file.name: file.read_bytes() for file in (here / FOLDER).glob(f"{kind}/*")} == recorded
        assert bool(recorded) == (name == "tested")


def test_other_images_and_the_last_checkpoint(tested: ExperimentRecord, capsys: pytest.CaptureFixture[str]) -> None:
    trained = "the run was trained on 7 of these"
    for split, images, said in (("train", 7, [trained]), ("all", 16, [trained, "same images"]), ("validation", 4, [])):
        report = detkit.evaluate(tested, split=split, checkpoint="best" if split == "all" else "last")  # type: ignore[arg-type]  # one of them
        assert report.subject["images"] == images == len(report.predictions)
        assert len(report.warnings) == len(said)
        assert all(text in warning for text, warning in zip(said, report.warnings, strict=True))
    assert "on validation images of squares" in report.title
    assert f"{RUN} (last)" in report.title
    capsys.readouterr()


def test_without_thresholds_all_that_the_model_gives_is_evaluated(small: ExperimentRecord) -> None:
    report = detkit.evaluate(small, metrics=["coco"])
    assert {len(found) for found in report.predictions} == {5}
    assert list(report.results) == ["coco"]


def test_data_that_changed_is_told(copied: ExperimentRecord, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(copied, "--set", "dataset.size=72") == 0
    assert "the data has changed since the run was made" in capsys.readouterr().err
    assert written(here / FOLDER)["evaluated"]["set"] == ["dataset.size=72"]
    assert evaluate(copied, "--set", "dataset.images=8") == 2
    rows = json.loads((copied.folder / "data/splits.json").read_text())["validation"]
    gone = [row["image_id"] for row in rows if row["image_id"] >= 8]
    told = f"{len(gone)} of the 4 validation images of the run are gone from its dataset (id {gone[0]} is one)"
    assert told in capsys.readouterr().err
    assert evaluate(copied, "--split", "all", "--set", "dataset.images=8") == 2
    assert "8 of the 16 images of the run are gone from its dataset" in capsys.readouterr().err


def test_only_the_images_that_are_evaluated_must_be_there(copied: ExperimentRecord) -> None:
    file = copied.folder / "data/splits.json"
    content = json.loads(file.read_text())
    content["train"].append({"index": 99, "image_id": 99})  # one that the dataset has no more
    file.write_text(json.dumps(content))
    assert detkit.evaluate(copied).subject["images"] == 4
    with pytest.raises(DataError, match=r"1 of the 13 train images of the run are gone from its dataset \(id 99"):
        detkit.evaluate(copied, split="train")


# --- other data, other metrics ---------------------------------------------------------------------------------------


def dataset_spec(folder: Path, text: str) -> Path:
    file = folder / "data.toml"
    file.write_text(f'plugins = ["{EVERY_HOOK}", "circles.py"]\n[dataset]\n{text}')
    (folder / "circles.py").write_text(CIRCLES)
    return file


def test_all_images_of_another_dataset_or_a_split_of_it(
    small: ExperimentRecord, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = dataset_spec(here, 'use = "squares"\nimages = 12\nsize = 48\n[dataset.split]\nvalidation = 3\n')
    report = detkit.evaluate(small, dataset=spec)
    assert (report.subject["split"], report.subject["images"]) == ("all", 12)
    assert report.subject["dataset_from"] == str(spec)
    assert (report.warnings, list(report.results)) == ((), ["count_error"])
    assert detkit.evaluate(small, dataset=spec, split="validation").subject["images"] == 3
    assert detkit.evaluate(small, dataset=spec, set={"dataset.images": 20}).subject["images"] == 20
    divided = {"dataset.split.validation": 5}
    assert detkit.evaluate(small, dataset=spec, split="validation", set=divided).subject["images"] == 5
    with pytest.raises(UserError, match=r"all images of the dataset are evaluated; --split chooses some of them"):
        detkit.evaluate(small, dataset=spec, set=divided)
    assert evaluate(small, "--dataset", spec, "--split", "test") == 2
    assert "there are no test images; there are: train (9), validation (3), all (12)" in capsys.readouterr().err


def test_the_runs_own_dataset_is_known_again(small: ExperimentRecord, here: Path) -> None:
    report = detkit.evaluate(small, dataset=dataset_spec(here, 'use = "squares"\nimages = 16\n'))
    assert "this is the dataset that the run was made with" in report.warnings[0]


def test_other_classes_are_refused_with_both_lists(
    small: ExperimentRecord, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(small, "--dataset", dataset_spec(here, 'use = "circles"')) == 2
    err = capsys.readouterr().err
    assert "the dataset: square, circle (not the other's)\n  the model:   square\n" in err
    assert not (here / FOLDER).exists()


def test_classes_in_another_order_are_matched_by_name() -> None:
    display = RecordingDisplay()
    objects = tuple(Annotation(label, (0.0, 0.0, 1.0, 1.0), 1.0) for label in (1, 2, 3, 1))
    infos = [ImageInfo(4, None, 8, 8, objects)]
    (matched,) = relabelled(infos, ("dog", "car", "cat"), ("car", "cat", "dog"), Notes(display))
    assert [item.label for item in matched.annotations] == [3, 1, 2, 3]
    assert "in another order (dog, car, cat): they are matched by name" in display.infos[0]
    assert relabelled(infos, ("a", "b", "c"), ("a", "b", "c"), Notes(display)) is infos
    with pytest.raises(DataError, match=r"the dataset: a, b, c\n  the model:   b, a, c, d \(not the other's\)"):
        relabelled(infos, ("a", "b", "c"), ("b", "a", "c", "d"), Notes(display))


def test_metrics_of_another_file_and_tables_that_are_to_be_printed(
    small: ExperimentRecord, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = dataset_spec(here, 'use = "circles"\n[metrics.kinds]')
    assert evaluate(small, "--metrics-from", spec) == 0
    out = capsys.readouterr().out
    assert "\nKinds of detections\nkind  count\nall      20\nnone      -\n" in out
    assert "Hidden" not in out
    assert "<p>Kinds of detections</p>" in detkit.evaluate(small, metrics_from=spec)._repr_html_()
    assert sorted(file.name for file in (here / FOLDER / "tables").iterdir()) == [
        "kinds-hidden.json",
        "kinds-kinds.json",
    ]


def test_options_of_metrics_are_set(small: ExperimentRecord, capsys: pytest.CaptureFixture[str]) -> None:
    strict = detkit.evaluate(small, set={"metrics.count_error.confidence": 1.0})
    assert strict.values["count_error/mean"] == pytest.approx(strict.subject["objects"] / 4)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "mean (lower is better)" in strict._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--split", "test"], "there are no test images; there are: train (12), validation (4), all (16)"),
        (["--set", "experiment.name=x"], "--set experiment.name: it would change nothing here; what counts are keys"),
        (["--set", "models.fcos.width=8"], "--set models.fcos.width: the run's model is models.centre_point"),
        (["--set", "models.centre_point.train.epochs=8"], "nothing is trained here; --batch-size says how many"),
        (["--set", "models.centre_point.enabled=false"], "the run's model is evaluated in any case"),
        (["--set", "dataset.split.validation=3"], "the images are divided as the record has them; --split chooses"),
        (["--set", "dataset.split={validation=3}"], "the images are divided as the record has them; --split chooses"),
        (["--metric", "coco", "--set", "metrics.count_error.confidence=1.0"], "the evaluation is with coco; --metric"),
        (["--set", "models.centre_point.width=8"], "best.pt is of another model"),
        (["--set", "models.centre_point.widht=8"], "widht: unknown key; did you mean 'width'?"),
        (["--dataset", "no.toml"], "no.toml: there is no such file"),
        (["--metric", "cocoo"], "no metric named 'cocoo'; did you mean 'coco'?"),
        (["--device", "gpu"], "no device is called 'gpu'"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_written(
    small: ExperimentRecord, here: Path, capsys: pytest.CaptureFixture[str], arguments: Sequence[str], says: str
) -> None:
    assert evaluate(small, *arguments) == 2
    assert says in capsys.readouterr().err
    assert list(here.iterdir()) == []


# --- where it writes, and what happens on the way --------------------------------------------------------------------


def test_an_evaluation_of_before_is_kept_unless_it_is_to_be_replaced(small: ExperimentRecord, here: Path) -> None:
    assert evaluate(small, "--metric", "coco") == 0
    assert evaluate(small) == 0
    assert next(iter(written(here / FOLDER)["values"])) == "coco/ap"
    assert list(written(here / f"{FOLDER}-2")["values"]) == ["count_error/mean"]
    assert evaluate(small, "--overwrite") == 0
    assert list(written(here / FOLDER)["values"]) == ["count_error/mean"]
    assert not (here / FOLDER / "tables").exists()


def test_json_on_stdout(small: ExperimentRecord, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(small, "--json", "--output", "out") == 0
    assert json.loads(capsys.readouterr().out) == written(here / "out")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_writes_nothing_and_keeps_what_was_there(
    small: ExperimentRecord,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    assert evaluate(small, "--output", "out") == 0
    before = (here / "out/evaluation.json").read_bytes()

    def stopped(use: Any, model: Any, images: Any, classes: int, names: str) -> Any:
        signal.raise_signal(number)
        return model_outputs(use, model, images, classes, names)

    monkeypatch.setattr(trained_module, "model_outputs", stopped)
    handler = signal.getsignal(number)
    assert evaluate(small) == 130
    assert evaluate(small, "--output", "out", "--overwrite") == 130
    assert signal.getsignal(number) is handler
    assert "interrupted; nothing was written" in capsys.readouterr().err
    assert (here / "out/evaluation.json").read_bytes() == before
    assert [path.name for path in here.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("error", "batch", "says"),
    [
        (ComponentError("model 'centre_point' broke"), 1, "model 'centre_point' broke"),
        (
            OutOfMemory("lower lr"),
            2,
            "memory ran out while evaluating image 0, image 4; lower --batch-size (now 2), or",
        ),
        (OutOfMemory("lower lr"), 1, "memory ran out while evaluating image 0; use a machine with more memory"),
    ],
)
def test_a_model_that_fails_leaves_nothing(
    small: ExperimentRecord,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    batch: int,
    says: str,
) -> None:
    def failing(*_arguments: Any) -> Any:
        raise error

    monkeypatch.setattr(trained_module, "model_outputs", failing)
    assert evaluate(small, "--batch-size", str(batch)) == 1
    assert says in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_full_disk_is_told_as_one(
    small: ExperimentRecord, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert evaluate(small, "--output", "out") == 1
    assert "cannot write out: No space left on device; free space, or name another disk" in capsys.readouterr().err
    assert not (here / "out").exists()
