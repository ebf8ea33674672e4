"""The examples of one file each: a dataset, a metric, a logger and a training step. Contract, behaviour, and a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import tv_tensors

import detkit
from detkit.data.types import Annotation, Batch, ImageInfo, Prediction
from detkit.engine.display import SilentDisplay
from detkit.plugins import load_file
from detkit.record.reader import ExperimentRecord
from detkit.testing import DatasetConformance, LoggerConformance, MetricConformance, TrainingStepConformance
from integration.experiments import EVERY_HOOK, squares_spec, write_spec
from integration.test_resume import SABOTEUR, deterministic_part

EXAMPLES = Path(__file__).parents[2] / "examples" / "plugin_in_one_file"
IMAGES = EXAMPLES / "labelme_images"
labelme: Any = load_file(EXAMPLES / "labelme.py")
miss_rate: Any = load_file(EXAMPLES / "miss_rate.py")
mean_teacher: Any = load_file(EXAMPLES / "mean_teacher.py")
tensorboard_logger: Any = load_file(EXAMPLES / "tensorboard_logger.py")


def run_example(name: str, folder: Path, **changes: Any) -> ExperimentRecord:
    """The example's own spec, made short."""
    short = {
        "experiment.output": str(folder / "runs"),
        "train.epochs": 1,
        "compute.offline": True,
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    record = detkit.run(EXAMPLES / f"{name}.toml", set=short, display=SilentDisplay())
    assert record.runs[0].state == "finished", record.runs[0].failure
    return record


# --- the dataset -----------------------------------------------------------------------------------------------------


class TestLabelMe(DatasetConformance):
    @pytest.fixture
    def component(self) -> Any:
        return labelme.LABELME

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"root": str(IMAGES)}


class TestLabelMeWithMasks(TestLabelMe):
    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"root": str(IMAGES), "masks": True}


def labelme_of(root: Path, **options: Any) -> Any:
    return labelme.LABELME.build(labelme.LABELME.options(root=root, **options), detkit.BuildContext())


def write_labelme(folder: Path, shapes: list[dict[str, Any]], name: str = "a", **changes: Any) -> Path:
    Image.new("RGB", (40, 30)).save(folder / f"{name}.png")
    content = {"shapes": shapes, "imagePath": f"{name}.png", "imageWidth": 40, "imageHeight": 30, **changes}
    file = folder / f"{name}.json"
    file.write_text(json.dumps(content))
    return file


def test_its_shapes_become_boxes_and_masks(tmp_path: Path) -> None:
    write_labelme(
        tmp_path,
        [
            {"label": "leaf", "shape_type": "polygon", "points": [[2, 3], [10, 3], [2, 11]]},
            {"label": "coin", "shape_type": "circle", "points": [[20, 15], [24, 18]]},  # radius 5
            {"label": "card", "shape_type": "rectangle", "points": [[38, 20], [30, 35]]},  # beyond the lower edge
            {"label": "?", "shape_type": "polygon", "points": [[0, 0]]},
        ],
    )
    dataset = labelme_of(tmp_path, masks=True, ignore=("?",))
    assert dataset.class_names == ("card", "coin", "leaf")
    leaf, coin, card = dataset.info(0).annotations
    assert (leaf.label, leaf.box) == (3, (2.0, 3.0, 10.0, 11.0))
    assert coin.box == pytest.approx((15, 10, 25, 20))
    assert card.box == (30.0, 20.0, 38.0, 30.0)
    _, target = dataset[0]
    areas = target["masks"].sum(dim=(1, 2))
    assert areas.tolist() == [leaf.area, coin.area, card.area]
    assert areas[1] == pytest.approx(math.pi * 25, rel=0.1)
    assert areas[2] == 8 * 10
    boxes_only = labelme_of(tmp_path, ignore=("?",))
    assert "masks" not in boxes_only[0][1]
    assert boxes_only.info(0).annotations[0].area == 64.0


def test_all_that_is_wrong_is_told_at_once_with_file_and_object(tmp_path: Path) -> None:
    write_labelme(tmp_path, [{"label": "a", "shape_type": "line", "points": [[0, 0], [3, 3]]}], "first")
    write_labelme(tmp_path, [], "second").write_text('{"shapes": []}')
    with pytest.raises(detkit.DataError) as error:
        labelme_of(tmp_path)
    first, second = str(error.value).splitlines()
    assert "first.json, object 0: a line of 2 points has no box" in first
    assert "ignore" in first
    assert second.endswith("second.json is no annotation of LabelMe: KeyError: 'imagePath'")
    with pytest.raises(detkit.DataError, match="there is no JSON file"):
        labelme_of(EXAMPLES.parent / "comet_panels")


def test_an_image_of_another_size_than_stated_is_refused(tmp_path: Path) -> None:
    write_labelme(
        tmp_path, [{"label": "a", "shape_type": "rectangle", "points": [[0, 0], [3, 3]]}], imageWidth=80, imageHeight=60
    )
    with pytest.raises(detkit.DataError, match=r"says that a\.png is 80 x 60 pixels"):
        labelme_of(tmp_path).info(0)


def test_the_dataset_runs(tmp_path: Path) -> None:
    run = run_example("labelme", tmp_path).runs[0]
    assert run.facts["class_names"] == ["card", "coin", "leaf"]
    assert "loss_mask" in next(iter(run.steps()))["losses"]


# --- the metric ------------------------------------------------------------------------------------------------------


class TestMissRate(MetricConformance):
    @pytest.fixture
    def component(self) -> Any:
        return miss_rate.MISS_RATE


def truth(image_id: int, *boxes: tuple[float, float, float, float], crowd: bool = False) -> ImageInfo:
    return ImageInfo(image_id, None, 100, 100, tuple(Annotation(1, box, 1.0, iscrowd=crowd) for box in boxes))


def found(image_id: int, *rows: tuple[float, tuple[float, float, float, float]]) -> Prediction:
    boxes = np.array([box for _, box in rows], dtype=np.float32).reshape(-1, 4)
    scores = np.array([score for score, _ in rows], dtype=np.float32)
    return Prediction(image_id, boxes, np.ones(len(rows), dtype=np.int64), scores)


A, B, AWAY = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0), (20.0, 20.0, 30.0, 30.0)


def rate_of(predictions: list[Prediction], truths: list[ImageInfo]) -> Any:
    metric = miss_rate.MISS_RATE.build(miss_rate.MISS_RATE.options(), detkit.BuildContext(class_names=("x",)))
    metric.update(predictions, truths)
    return metric.compute()


def test_its_numbers_worked_by_hand() -> None:
    nothing = rate_of([found(0)], [truth(0, A)])
    assert nothing.scalars["mean"].value == 1.0
    assert rate_of([found(0, (0.9, A))], [truth(0, A)]).scalars["mean"].value == 0.0
    assert rate_of([found(0)], [truth(0)]).scalars["mean"].value is None
    # Half is found before any false alarm; the rest behind one false alarm in two images, 0.5 an image.
    predictions = [found(0, (0.9, A), (0.5, AWAY), (0.4, B)), found(1)]
    result = rate_of(predictions, [truth(0, A, B), truth(1)])
    assert result.curves["x"].x == (0.0, 0.0, 0.5, 0.5)
    assert result.curves["x"].y == (1.0, 0.5, 0.5, 0.0)
    # Of the nine points 0.01 ... 1 the seven below 0.5 read 0.5 (0.316 is the seventh); 0.562 and 1 read 0.
    expected = math.exp((7 * math.log(0.5) + 2 * math.log(1e-10)) / 9)
    assert result.scalars["mean"].value == pytest.approx(expected)


def test_a_crowd_is_neither_object_nor_alarm_and_an_object_is_found_once() -> None:
    crowded = rate_of([found(0, (0.9, A))], [truth(0, A, crowd=True)])
    assert crowded.scalars["mean"].value is None
    twice = rate_of([found(0, (0.9, A), (0.8, A))], [truth(0, A)])
    assert twice.curves["x"].x == (0.0, 0.0, 1.0)


def test_of_equal_scores_the_order_does_not_matter() -> None:
    rows = [(0.5, A), (0.5, AWAY)]
    first, second = (rate_of([found(0, *given)], [truth(0, A)]) for given in (rows, rows[::-1]))
    assert first.curves == second.curves
    assert first.curves["x"].x == (0.0, 1.0)


def test_its_resampler_counts_an_image_twice_as_if_it_were_there_twice() -> None:
    images = ([found(0, (0.9, A), (0.5, AWAY)), found(1, (0.3, B))], [truth(0, A), truth(1, B)])
    weighted = rate_of(*images).resampler({0: 1.0, 1: 2.0})
    repeated = rate_of([*images[0], found(2, (0.3, B))], [*images[1], truth(2, B)])
    assert weighted == {"mean": pytest.approx(repeated.scalars["mean"].value)}


def test_the_metric_selects_and_has_an_interval(tmp_path: Path) -> None:
    record = run_example("miss_rate", tmp_path, dataset__images=12, dataset__split__validation=4)
    summary = record.runs[0].summary
    assert summary is not None
    assert summary["primary"] == "miss_rate/mean"
    (epoch,) = record.runs[0].epochs()
    assert 0 <= epoch["values"]["miss_rate/mean"] <= 1


# --- the logger ------------------------------------------------------------------------------------------------------


class TestTensorBoard(LoggerConformance):
    @pytest.fixture
    def component(self) -> Any:
        pytest.importorskip("tensorboard", reason="the logger writes with TensorBoard")
        return tensorboard_logger.TENSORBOARD


def events(folder: Path) -> Any:
    """What TensorBoard itself makes of the files in a folder."""
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulated = loading.EventAccumulator(
        str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}, purge_orphaned_data=True
    )
    accumulated.Reload()
    return accumulated


def test_numbers_pictures_and_curves_arrive(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the logger writes with TensorBoard")
    record = run_example(
        "tensorboard_logger",
        tmp_path,
        dataset__images=12,
        dataset__split__validation=4,
        experiment__log_every_steps=1,
        loggers__tensorboard__max_images=2,
    )
    run = record.runs[0]
    seen = events(run.files.folder / "tensorboard")
    tags = seen.Tags()
    (epoch,) = run.epochs()
    assert seen.Scalars("coco/ap")[0].value == pytest.approx(epoch["values"]["coco/ap"])
    losses = {row["step"]: row["loss"] for row in run.steps()}
    assert {event.step: event.value for event in seen.Scalars("train/loss")} == pytest.approx(losses)
    assert len(tags["images"]) == 2
    picture = seen.Images(tags["images"][0])[0]
    assert (picture.width, picture.height) == (480, 384)  # of 160 x 128, enlarged
    assert any("pr50" in tag for tag in tags["tensors"])
    assert "outcome/text_summary" in tags["tensors"]


def run_info(folder: Path, start_step: int = 0, **changes: Any) -> detkit.RunInfo:
    values: dict[str, Any] = {
        "run_id": "a-seed1", "experiment": "x", "model": "a", "seed": 1, "folder": folder, "class_names": ("disc",),
        "device": "cpu", "precision": "fp32", "epochs": 2, "steps_per_epoch": 5, "start_step": start_step,
    }  # fmt: skip
    return detkit.RunInfo(**{**values, **changes})


def logged(folder: Path, steps: Mapping[int, float] | list[tuple[int, float]], start_step: int = 0) -> None:
    logger = tensorboard_logger.TENSORBOARD.build(tensorboard_logger.TENSORBOARD.options(), detkit.BuildContext())
    logger.start(run_info(folder, start_step))
    for step, value in steps.items() if isinstance(steps, Mapping) else steps:
        logger.log_metrics({"train/loss": value}, step=step, epoch=1)
    logger.close(detkit.Outcome("finished"))


def shown(folder: Path) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events(folder / "tensorboard").Scalars("train/loss")]


def test_a_resumed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the logger writes with TensorBoard")
    logged(tmp_path, {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0})
    logged(tmp_path, {3: 30.0, 4: 40.0, 5: 50.0}, start_step=2)
    assert shown(tmp_path) == [(1, 1.0), (2, 2.0), (3, 30.0), (4, 40.0), (5, 50.0)]


def test_a_run_that_goes_back_takes_back_what_it_told(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the logger writes with TensorBoard")
    logged(tmp_path, [(1, 1.0), (2, 2.0), (3, 3.0), (2, 20.0), (3, 30.0)])
    assert shown(tmp_path) == [(1, 1.0), (2, 20.0), (3, 30.0)]


def test_a_rehearsal_leaves_nothing(tmp_path: Path) -> None:
    logger = tensorboard_logger.TENSORBOARD.build(tensorboard_logger.TENSORBOARD.options(), detkit.BuildContext())
    logger.start(run_info(tmp_path, rehearsal=True))
    logger.log_metrics({"train/loss": 1.0}, step=1, epoch=1)
    logger.close(detkit.Outcome("finished"))
    assert not list(tmp_path.iterdir())


def test_without_tensorboard_it_is_refused_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard_logger, "find_spec", lambda name: None)
    with pytest.raises(detkit.LoggerRefused, match="pip install tensorboard"):
        tensorboard_logger.TENSORBOARD.check(tensorboard_logger.TENSORBOARD.options(), detkit.BuildContext())


# --- the training step -----------------------------------------------------------------------------------------------


class TestMeanTeacher(TrainingStepConformance):
    @pytest.fixture
    def component(self) -> Any:
        return mean_teacher.MEAN_TEACHER

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"from_step": 1, "confidence": 0.0}


class Finder(nn.Module):
    """Always finds the same two boxes; keeps the targets that it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.targets: list[Any] = []

    def forward(self, images: list[Tensor], targets: list[Any] | None = None) -> Any:
        if self.training:
            assert targets is not None
            self.targets += targets
            return {"loss": (self.weight - 1) ** 2}
        boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0], [2.0, 2.0, 2.5, 2.5]])
        return [
            {"boxes": boxes, "labels": torch.tensor([1, 2, 1]), "scores": torch.tensor([0.9, 0.85, 0.99])}
            for _ in images
        ]


def one_box(box: list[float]) -> Any:
    return {
        "boxes": tv_tensors.BoundingBoxes(torch.tensor([box]), format="XYXY", canvas_size=(40, 40)),
        "labels": torch.tensor([1]),
        "image_id": 0,
        "area": torch.tensor([100.0]),
        "iscrowd": torch.tensor([False]),
    }


def teacher_step(**options: Any) -> Any:
    return mean_teacher.MEAN_TEACHER.build(mean_teacher.MEAN_TEACHER.options(**options), detkit.BuildContext())


def test_the_teacher_adds_what_is_sure_and_new() -> None:
    step, model, target = teacher_step(from_step=2), Finder().train(), one_box([1.0, 1.0, 10.0, 10.0])
    batch = Batch([torch.rand(3, 40, 40)], [target])
    step(model, batch)
    assert len(model.targets[0]["labels"]) == 1  # not yet
    step(model, batch)
    completed = model.targets[1]
    assert completed["labels"].tolist() == [1, 2]
    assert completed["boxes"].tolist() == [[1.0, 1.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]]
    assert isinstance(completed["boxes"], tv_tensors.BoundingBoxes)
    assert completed["area"].tolist() == [100.0, 100.0]
    assert completed["iscrowd"].tolist() == [False, False]
    assert step.added == 1
    assert len(target["labels"]) == 1  # what it was given is as it was


def test_a_validation_loss_neither_adds_nor_moves_the_teacher() -> None:
    step, model = teacher_step(from_step=1), Finder().train()
    batch = Batch([torch.rand(3, 40, 40)], [one_box([1.0, 1.0, 10.0, 10.0])])
    step(model, batch)
    before = step.state_dict()
    with torch.no_grad():
        step(model, batch)
    assert len(model.targets[1]["labels"]) == 1
    assert step.state_dict() == before


def test_the_teacher_follows_the_student() -> None:
    step, model = teacher_step(from_step=99, decay=0.5), Finder().train()
    batch = Batch([torch.rand(3, 40, 40)], [one_box([1.0, 1.0, 10.0, 10.0])])
    step(model, batch)
    with torch.no_grad():
        model.weight.fill_(1.0)
    step(model, batch)
    assert step.state_dict()["teacher"]["weight"].item() == pytest.approx(1 - 2 / 11)  # it warms up: 2 / (2 + 9) stays


def test_the_step_runs(tmp_path: Path) -> None:
    changes = {"dataset__images": 12, "dataset__split__validation": 4, "training_step__from_step": 2}
    record = run_example("mean_teacher", tmp_path, **changes)
    checkpoint = torch.load(record.runs[0].files.last, weights_only=True)
    assert checkpoint["components"]["training_step"]["step"] == 2


@pytest.mark.slow
def test_killed_and_resumed_the_teacher_is_the_same(tmp_path: Path) -> None:
    def finished(folder: Path, point: str) -> Any:
        folder.mkdir()
        if point == "nowhere":
            (folder / "struck").touch()
        spec = squares_spec(
            folder / "runs",
            plugins=[str(EVERY_HOOK), str(SABOTEUR), str(EXAMPLES / "mean_teacher.py")],
            training_step={"use": "mean_teacher", "from_step": 2, "confidence": 0.3},
            train={"checkpoint_every_steps": 2},
            callbacks={"saboteur": {"point": point, "marker": str(folder / "struck")}},
        )
        file = write_spec(folder / "spec.toml", spec)
        run = detkit.run(file, display=SilentDisplay()).runs[0]
        if point != "nowhere":
            assert run.state == "failed"
            detkit.run(file, resume=True, display=SilentDisplay())
        assert run.state == "finished"
        return run

    whole, cut = finished(tmp_path / "whole", "nowhere"), finished(tmp_path / "cut", "step")
    wanted, resumed = deterministic_part(whole), deterministic_part(cut)
    assert torch.load(whole.files.last, weights_only=True)["components"]["training_step"]["added"] > 0
    for part, value in wanted.items():
        assert resumed[part] == value, part
