"""The pictures of a run: which are sent, under which names, and what is told of those that are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import detkit_comet.pictures
from detkit import RunInfo
from detkit.data.types import ImageInfo
from detkit_comet import CometOptions
from detkit_comet.pictures import Pictures, read_rows, spread
from plugins.drawn_record import row, run_info, thing, write_predictions, write_record

HERE = Path(__file__).parent


class Notes:
    """Warnings, kept."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def info(self, text: str) -> None:
        raise AssertionError(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def progress(self, description: str, total: int | None, unit: str = "") -> Any:
        raise AssertionError(description)


@dataclass
class Experiment:
    """Takes pictures as the client does.

    Attributes:
        refuse: names that it does not take.
    """

    key: str = "key"
    alive: bool = True
    refuse: frozenset[str] = frozenset()
    calls: list[dict[str, Any]] = field(default_factory=list)

    def get_key(self) -> str:
        return self.key

    def log_image(self, image_data: str, **arguments: Any) -> dict[str, str] | None:
        assert Path(image_data).is_file()
        if arguments["name"] in self.refuse:
            return None
        self.calls.append({"file": Path(image_data), **arguments})
        return {"imageId": f"asset {len(self.calls)}"}

    @property
    def names(self) -> list[str]:
        return [call["name"] for call in self.calls]


def infos(count: int, **more: Any) -> list[ImageInfo]:
    return [
        ImageInfo(index, None, 40, 30, (thing(1, (2, 2, 10, 10)),), more.get("name", f"{index}.jpg"))
        for index in range(1, count + 1)
    ]


Log = Callable[..., tuple[Experiment, list[str]]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_record(tmp_path / "record", infos(10))


def log(
    run: Path | RunInfo,
    options: dict[str, Any] | None = None,
    *,
    epochs: Sequence[int] = (1,),
    rows: Sequence[dict[str, Any]] = (),
    experiment: Experiment | None = None,
) -> tuple[Experiment, list[str]]:
    """The experiment after these epochs, and the warnings."""
    notes, experiment = Notes(), experiment or Experiment()
    info = run if isinstance(run, RunInfo) else run_info(run)
    pictures = Pictures(CometOptions.model_validate(options or {}), info, notes)
    for epoch in epochs:
        file = write_predictions(info.folder, epoch, rows)
        pictures.log(experiment, file, step=10 * epoch, epoch=epoch)  # type: ignore[arg-type] # a stand-in
    return experiment, notes.warnings


# --- what is sent ----------------------------------------------------------------------------------------------------


def test_every_image_every_epoch_under_one_name(run: Path) -> None:
    experiment, warnings = log(run, epochs=(1, 2, 3), rows=[row(3, 1, (2, 2, 10, 10), 0.5)])
    assert experiment.names == [f"{index}.jpg" for index in range(1, 11)] * 3
    assert [call["step"] for call in experiment.calls] == [10] * 10 + [20] * 10 + [30] * 10
    third = experiment.calls[2]
    assert third["file"] == run.parent / "data" / "images" / "000003.jpg"
    assert third["metadata"] == {
        "image_id": 3,
        "epoch": 1,
        "objects": 1,
        "missed": 0,
        "detections": 1,
        "unmatched": 0,
        "iou_of": "boxes",
    }
    assert [layer["name"] for layer in third["annotations"]] == ["Ground truth", "Predictions"]
    assert [layer["name"] for layer in experiment.calls[0]["annotations"]] == ["Ground truth"]
    assert warnings == []


def test_annotations_in_metadata(run: Path) -> None:
    experiment, _ = log(run, {"annotations_in": "metadata"}, rows=[row(3, 1, (2, 2, 10, 10), 0.5)])
    assert "annotations" not in experiment.calls[2]
    assert [layer["name"] for layer in experiment.calls[2]["metadata"]["annotations"]] == [
        "Ground truth",
        "Predictions",
    ]


def test_what_is_drawn_is_cut(run: Path) -> None:
    rows = [row(3, 1, (2, 2, 10, 10), score) for score in (0.1, 0.9, 0.8, 0.7)]
    experiment, _ = log(run, {"min_score": 0.5, "max_boxes": 2}, rows=rows)
    assert [item["score"] for item in experiment.calls[2]["annotations"][1]["data"]] == [90.0, 80.0]
    assert experiment.calls[2]["metadata"]["detections"] == 2


def test_annotations_are_in_the_copys_pixels(tmp_path: Path) -> None:
    run = write_record(tmp_path / "record", infos(1), shrink=2)
    experiment, _ = log(run)
    assert experiment.calls[0]["annotations"][0]["data"][0]["boxes"] == [[1.0, 1.0, 5.0, 5.0]]


def test_alike_names_get_the_id(tmp_path: Path) -> None:
    images = [*infos(2, name="a.jpg"), ImageInfo(3, None, 40, 30, (), "b.jpg")]
    experiment, _ = log(write_record(tmp_path / "record", images), {"max_images": 2})
    assert experiment.names == ["a.jpg (id 1)", "a.jpg (id 2)"]


def test_max_images_are_spread_and_the_same_every_epoch(run: Path) -> None:
    experiment, warnings = log(run, {"max_images": 4}, epochs=(1, 2))
    assert experiment.names == ["1.jpg", "3.jpg", "6.jpg", "8.jpg"] * 2
    assert warnings == []
    assert spread([], 3) == []


@pytest.mark.parametrize(
    ("epochs", "every", "image_every", "expected"),
    [
        (5, 1, 2, [2, 4, 5]),
        (6, 2, 1, [2, 4, 6]),
        (7, 2, 2, [4, 7]),
        (9, 2, 3, [6, 9]),
    ],
)
def test_epochs_of_images(run: Path, epochs: int, every: int, image_every: int, expected: list[int]) -> None:
    evaluated = [epoch for epoch in range(1, epochs + 1) if epoch % every == 0 or epoch == epochs]
    info = run_info(run, epochs=epochs, every=every)
    experiment, _ = log(info, {"image_every_epochs": image_every, "max_images": 1}, epochs=evaluated)
    assert [call["step"] // 10 for call in experiment.calls] == expected


def test_a_run_that_stops_early_sends_its_last_epoch_too(run: Path) -> None:
    notes, experiment = Notes(), Experiment()
    info = run_info(run, epochs=9)
    pictures = Pictures(CometOptions(image_every_epochs=2, max_images=1), info, notes)
    for epoch in (1, 2, 3):
        pictures.log(experiment, write_predictions(run, epoch, []), step=epoch, epoch=epoch)  # type: ignore[arg-type] # a stand-in
    pictures.finish(experiment)  # type: ignore[arg-type] # a stand-in
    pictures.finish(experiment)  # type: ignore[arg-type] # a stand-in
    assert [call["step"] for call in experiment.calls] == [2, 3]
    assert pictures.epoch == 3


@pytest.mark.parametrize("indent", [None, 2])
def test_rows_are_read_one_by_one(indent: int | None) -> None:
    rows = [row(3, 1, (2, 2, 10, 10), 0.5), row(4, 2, (0, 0, 1, 1), 1e-3)]
    for wanted in ([], rows[:1], rows):
        assert list(read_rows(json.dumps(wanted, indent=indent))) == wanted
    with pytest.raises(ValueError, match="Expecting"):
        list(read_rows(json.dumps(rows)[:-30]))


# --- what is not sent, and is told -----------------------------------------------------------------------------------


def test_images_without_copies_are_told_once(tmp_path: Path) -> None:
    run = write_record(tmp_path / "record", infos(10), kept=[2, 5])
    experiment, (warning,) = log(run, epochs=(1, 2))
    assert experiment.names == ["2.jpg", "5.jpg"] * 2
    assert "8 of 10 validation images are not sent" in warning
    assert "keep_images" in warning
    assert "original_images" not in warning, "there is no file that could be sent"
    path = tmp_path / "there.png"
    Image.new("RGB", (40, 30)).save(path)
    of_files = write_record(tmp_path / "files", [ImageInfo(1, path, 40, 30)], kept=[])
    _, (warning,) = log(of_files)
    assert "set `original_images = true`" in warning


def test_originals_where_they_are_and_copies_where_they_are_not(tmp_path: Path) -> None:
    images = []
    for index, suffix in enumerate((".png", ".jpg", ".tif", ".PNG"), 1):
        path = tmp_path / f"{index}{suffix}"
        Image.new("RGB", (40, 30)).save(path)
        images.append(ImageInfo(index, path, 40, 30, (thing(1, (2, 2, 10, 10)),)))
    images.append(ImageInfo(5, None, 40, 30))
    run = write_record(tmp_path / "record", images, shrink=2)
    (tmp_path / "2.jpg").unlink()
    experiment, (warning,) = log(run, {"original_images": True}, epochs=(1, 2))
    copies = run.parent / "data" / "images"
    assert [call["file"] for call in experiment.calls[:5]] == [
        tmp_path / "1.png",
        copies / "000002.jpg",
        copies / "000003.jpg",
        tmp_path / "4.PNG",
        copies / "000005.jpg",
    ]
    assert experiment.names[:4] == ["1.png", "2.jpg", "3.tif", "4.PNG"]
    boxes = [call["annotations"][0]["data"][0]["boxes"] for call in experiment.calls[:2]]
    assert boxes == [[[2.0, 2.0, 10.0, 10.0]], [[1.0, 1.0, 5.0, 5.0]]]
    assert "1 of 5 image files are gone" in warning
    assert "1 of 5 image files are of a kind that browsers do not show" in warning
    assert "1 of 5 image files were none" in warning
    assert "copies are sent" in warning


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_originals_that_exif_data_turns_are_sent_as_the_records_copies(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "1.jpg"
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    run = write_record(tmp_path / "record", [ImageInfo(1, path, 40, 30, (thing(1, (2, 2, 10, 10)),))], shrink=2)
    experiment, warnings = log(run, {"original_images": True})
    copy = run.parent / "data" / "images" / "000001.jpg"
    assert [call["file"] for call in experiment.calls] == [path if orientation == 1 else copy]
    assert any("1 of 1 image files are turned by their EXIF data" in text for text in warnings) is (orientation != 1)


def test_neither_original_nor_copy(tmp_path: Path) -> None:
    run = write_record(tmp_path / "record", infos(3), kept=[])
    experiment, warnings = log(run, {"original_images": True})
    assert experiment.calls == []
    assert "3 of 3 validation images are not sent" in warnings[1]
    assert "original_images" not in warnings[1]


def test_a_folder_without_a_record_is_told(tmp_path: Path) -> None:
    experiment, (warning,) = log(tmp_path)
    assert experiment.calls == []
    assert "no images are sent" in warning


def test_refused_images_are_told_once_and_are_no_assets(run: Path) -> None:
    notes, experiment = Notes(), Experiment(refuse=frozenset({"2.jpg", "4.jpg"}))
    pictures = Pictures(CometOptions(), run_info(run), notes)
    assert pictures.assets == {}
    for epoch in (1, 2):
        pictures.log(experiment, write_predictions(run, epoch, []), step=epoch, epoch=epoch)  # type: ignore[arg-type] # a stand-in
    (warning,) = notes.warnings
    assert "did not take 2 of 10 images of epoch 1 (2.jpg, 4.jpg)" in warning
    assert set(pictures.assets) == {1, 3, 5, 6, 7, 8, 9, 10}
    assert pictures.assets[1] == "asset 9", "of the latest epoch"
    assert pictures.epoch == 2


def test_nothing_is_tried_with_an_experiment_that_is_dead(run: Path) -> None:
    experiment, warnings = log(run, experiment=Experiment(alive=False))
    assert experiment.calls == []
    assert warnings == []


# --- Comet's limit ---------------------------------------------------------------------------------------------------


def test_comets_limit_chooses_fewer_images(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detkit_comet.pictures, "MOST_IMAGES", 12)
    experiment, (warning,) = log(run, epochs=(1, 2, 3))
    assert experiment.names == ["1.jpg", "3.jpg", "6.jpg", "8.jpg"] * 3
    assert "4 of 10 images are sent" in warning
    assert "3 epochs" in warning


def test_images_that_are_sent_again_count_over_a_resume(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detkit_comet.pictures, "MOST_IMAGES", 35)
    experiment = Experiment()
    _, warnings = log(run, epochs=(1, 2), experiment=experiment)
    assert warnings == []
    _, (warning,) = log(run_info(run, start_step=10), epochs=(2, 3), experiment=experiment)
    assert len(experiment.calls) == 35
    assert "the experiment is full" in warning
    other, warnings = log(run, epochs=(1,), experiment=Experiment(key="another"))
    assert len(other.calls) == 10, "another experiment in Comet has room of its own"


# --- the real client -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not find_spec("comet_ml"), reason="comet_ml is not installed")
def test_three_epochs_in_a_real_archive(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMET_")}
    paths = os.pathsep.join([str(HERE.parent), kept.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(HERE / "comet_pictures_driver.py"), str(tmp_path)],
        env=kept | {"HOME": str(tmp_path), "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
    result = json.loads((tmp_path / "assets.json").read_text())
    assert result["random"], "the client drew from the generator that training draws from"
    (archive,) = tmp_path.glob("*.zip")
    with zipfile.ZipFile(archive) as content:
        messages = [json.loads(line) for line in content.read("messages.json").splitlines()]
        uploads = [message["payload"] for message in messages if message["type"] == "file_upload"]
        files = {upload["file_path"]: content.read(upload["file_path"]) for upload in uploads}
    images = [upload for upload in uploads if upload["upload_type"] == "visualization"]
    assert_images(images, files, tmp_path / "record" / "data" / "images")
    assert_matrices([upload for upload in uploads if upload["upload_type"] == "confusion-matrix"], files, images)
    by_epoch = [
        {
            str(image["metadata"]["image_id"]): image["additional_params"]["imageId"]
            for image in images[start : start + 4]
        }
        for start in (0, 4, 8)
    ]
    assert result["assets"] == by_epoch


def assert_images(images: list[dict[str, Any]], files: dict[str, bytes], copies: Path) -> None:
    sent = [(image["additional_params"]["figName"], image["additional_params"]["step"]) for image in images]
    assert sent == [(f"street {index}.jpg", step) for step in (10, 20, 30) for index in (1, 2, 3, 4)]
    for image in images:
        image_id = image["metadata"]["image_id"]
        assert files[image["file_path"]] == (copies / f"{image_id:06d}.jpg").read_bytes()
        assert image["additional_params"]["extension"] == "jpg"
    first, nothing, missed, wrong = (image["metadata"] for image in images[4:8])
    assert first == {
        "image_id": 1,
        "epoch": 2,
        "objects": 1,
        "missed": 0,
        "detections": 1,
        "unmatched": 0,
        "iou_of": "masks",
        "annotations": [
            {
                "name": "Ground truth",
                "data": [
                    {
                        "label": "cat",
                        "score": 100.0,
                        "boxes": [[5.0, 5.0, 10.0, 10.0]],
                        "points": [[5.0, 5.0, 5.0, 15.0, 15.0, 15.0, 15.0, 5.0]],
                        "metadata": {"iou": 0.5},
                    }
                ],
            },
            {
                "name": "Predictions",
                "data": [
                    {
                        "label": "cat",
                        "score": 90.0,
                        "boxes": [[5.0, 5.0, 10.0, 5.0]],
                        "points": [[5.0, 5.0, 5.0, 10.0, 15.0, 10.0, 15.0, 5.0]],
                        "metadata": {"iou": 0.5},
                    }
                ],
            },
        ],
    }
    assert "annotations" not in nothing
    assert [layer["name"] for layer in missed["annotations"]] == ["Ground truth"]
    assert [layer["name"] for layer in wrong["annotations"]] == ["Predictions"]
    assert wrong["annotations"][0]["data"][0]["score"] == 50.0


def assert_matrices(matrices: list[dict[str, Any]], files: dict[str, bytes], images: list[dict[str, Any]]) -> None:
    assert len(matrices) == 3
    for epoch, matrix in enumerate(matrices, 1):
        assert matrix["additional_params"]["fileName"] == f"coco/confusion-step-{10 * epoch:06d}.json"
        assert matrix["additional_params"]["step"] == 10 * epoch
        assert matrix["additional_params"]["epoch"] == epoch
        content = json.loads(files[matrix["file_path"]])
        assert content["matrix"] == [[10**9 + epoch, 0, 0], [0, 0, 1], [2, 0, 0]]
        assert content["labels"] == ["cat", "dog", "background"]
        assert content["type"] == "image"
        ids = {
            image["metadata"]["image_id"]: image["additional_params"]["imageId"]
            for image in images
            if image["metadata"]["epoch"] == epoch
        }
        cells = [[[item["assetId"] for item in cell or ()] for cell in row_] for row_ in content["sampleMatrix"]]
        assert cells == [[[ids[1]], [], []], [[], [], [ids[3]]], [[ids[1], ids[4]], [], []]]
        assert content["sampleMatrix"][1][2][0]["sample"] == "street 3.jpg"
