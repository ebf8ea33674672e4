"""`detkit predict` on folders of images as they are: broken files, equal names, links, interruptions."""

from __future__ import annotations

import errno
import json
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

import detkit
from detkit.cli.main import run as command_line
from detkit.engine.evaluation import model_outputs
from detkit.errors import ComponentError, OutOfMemory
from detkit.predict import files as files_module
from detkit.predict import trained as trained_module
from detkit.predict.pictures import save_picture
from detkit.record.reader import ExperimentRecord

RUN = "centre_point-seed1"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def image(file: Path, width: int = 32, height: int = 24) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(width).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def predict(record: ExperimentRecord, *arguments: str | Path) -> int:
    return command_line(["predict", str(record.folder), *map(str, arguments)])


def results(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Detections, images by file name, summary."""
    rows, images, summary = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("predictions.json", "images.json", "summary.json")
    )
    assert images["format_version"] == summary["format_version"] == 1
    return rows, {row["file_name"]: row for row in images["images"]}, summary


def test_a_folder_of_all_sorts(small: ExperimentRecord, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image(here / "in/a.png")
    image(here / "in/a.jpg", 40)
    image(here / "in/b/a.png", 48)
    image(here / "in/b/Ä b ü.png", 1, 1)
    image(here / "in/.hidden.png")
    (here / "in/notes.txt").write_text("no image")
    (here / "in/zero.png").touch()
    (here / "in/text.jpeg").write_text("no image")
    (here / "in/link.png").symlink_to(image(here / "elsewhere/x.png", 56))
    (here / "in/dangling.png").symlink_to(here / "nowhere.png")
    (here / "in/circle").symlink_to(here / "in")
    assert predict(small, "in", "--threshold", "0") == 1
    out, err = capsys.readouterr()
    folder = here / f"predictions-{RUN}"
    rows, images, summary = results(folder)
    assert {name: row["width"] for name, row in images.items()} == {
        "in/a.png": 32,
        "in/a.jpg": 40,
        "in/b/a.png": 48,
        "in/b/Ä b ü.png": 1,
        "in/link.png": 56,
    }
    assert {row["image_id"] for row in rows} == {row["id"] for row in images.values()}
    assert (summary["images"], summary["objects"], summary["detector"]["thresholds_from"]) == (5, len(rows), "given")
    pictures = [folder / row["picture"] for row in images.values()]
    assert len({str(picture).casefold() for picture in pictures}) == 5
    assert sorted(pictures) == sorted(path for path in (folder / "pictures").rglob("*") if path.is_file())
    assert folder / "pictures/b/Ä b ü.jpg" in pictures
    assert f"images: 5, objects: {len(rows)}, threshold: 0 (given)" in out
    assert "images per second: " in out
    assert "3 of the images could not be used:" in err
    for cause in ("zero.png cannot be read as an image: it is empty", "there is no image in/dangling.png", "text.jpeg"):
        assert cause in err
    assert len(summary["failed"]) == 3


def test_the_results_are_read_by_cocos_own_tools(small: ExperimentRecord, here: Path) -> None:
    for number in range(3):
        image(here / f"in/{number}.png", 30 + number)
    assert predict(small, "in", "--threshold", "0", "--no-pictures", "--output", "out") == 0
    assert not (here / "out/pictures").exists()
    truth = COCO(str(here / "out/images.json"))
    found = truth.loadRes(str(here / "out/predictions.json"))
    assert len(found.getAnnIds(imgIds=[2])) == 5
    assert truth.loadCats([1])[0]["name"] == "square"
    detector = detkit.load_detector(small, score_threshold=0)
    for row in truth.dataset["images"]:
        boxes = [found.anns[number]["bbox"] for number in found.getAnnIds(imgIds=[row["id"]])]
        wanted = detector(row["file_name"]).boxes
        assert np.allclose(np.array(boxes)[:, :2], wanted[:, :2])


def test_nothing_found_is_an_empty_list(small: ExperimentRecord, here: Path) -> None:
    image(here / "a.png")
    assert predict(small, "a.png", "--threshold", "1", "--output", "out") == 0
    rows, images, _ = results(here / "out")
    assert (rows, list(images)) == ([], ["a.png"])
    assert (here / "out/pictures/a.jpg").is_file()


def test_json_on_stdout(small: ExperimentRecord, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image(here / "a.png")
    assert predict(small, "a.png", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    _, _, summary = results(here / f"predictions-{RUN}")
    assert printed == summary
    assert printed["detector"]["run_id"] == RUN


def test_batches_and_both_checkpoints(small: ExperimentRecord, here: Path) -> None:
    files = [image(here / f"{number}.png", 30 + number) for number in range(5)]
    for options in (("--batch-size", "2"), ("--checkpoint", "last"), ("--device", "cpu")):
        assert predict(small, *files, "--output", "out", "--overwrite", *options) == 0
        assert [row["width"] for row in results(here / "out")[1].values()] == [30, 31, 32, 33, 34]


# --- where it writes -------------------------------------------------------------------------------------------------


def test_results_of_before_are_kept_unless_they_are_to_be_replaced(small: ExperimentRecord, here: Path) -> None:
    image(here / "a.png")
    image(here / "b.png")
    folder = here / f"predictions-{RUN}"
    assert predict(small, "a.png") == 0
    assert predict(small, "b.png") == 0
    assert list(results(folder)[1]) == ["a.png"]
    assert list(results(here / f"predictions-{RUN}-2")[1]) == ["b.png"]
    assert predict(small, "b.png", "--overwrite") == 0
    assert list(results(folder)[1]) == ["b.png"]
    assert [path.name for path in (folder / "pictures").iterdir()] == ["b.jpg"]


def test_other_files_are_never_deleted(small: ExperimentRecord, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image(here / "mine/a.png")
    assert predict(small, "mine", "--output", "mine", "--overwrite") == 2
    assert "mine holds other files than predictions" in capsys.readouterr().err
    assert [path.name for path in (here / "mine").iterdir()] == ["a.png"]
    (here / "file").touch()
    assert predict(small, "mine", "--output", "file/below") == 2
    assert "cannot write to file/below: " in capsys.readouterr().err


def test_its_own_pictures_are_not_looked_at_again(small: ExperimentRecord, here: Path) -> None:
    image(here / "a.png")
    assert predict(small, ".") == 0
    assert predict(small, ".") == 0
    assert list(results(here / f"predictions-{RUN}-2")[1]) == ["a.png"]


# --- what is refused before the detector is loaded --------------------------------------------------------------------


def test_what_is_not_there_is_refused(small: ExperimentRecord, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "empty/below").mkdir(parents=True)
    image(here / "empty/.trash/a.png")
    assert predict(small, "empty") == 2
    assert "empty holds no image: no file ends in .avif, .bmp, .gif, " in capsys.readouterr().err
    image(here / "empty/below/a.png")
    assert predict(small, "empty", "--no-recursive") == 2
    assert "folders inside it are left out (--no-recursive)" in capsys.readouterr().err
    assert predict(small, "none.png", "empty", "nowhere") == 2
    assert "there is no file or folder none.png, nowhere" in capsys.readouterr().err
    assert predict(small, "empty", "--font", "empty/below/a.png") == 2
    assert "a.png is no TrueType font" in capsys.readouterr().err
    assert predict(small) == 2
    assert [path.name for path in here.iterdir()] == ["empty"]


def test_an_image_that_is_named_twice_is_looked_at_once(small: ExperimentRecord, here: Path) -> None:
    file = image(here / "in/a.data.png")
    other = shutil.copy(file, here / "without_ending")
    assert predict(small, "in", file, "in/../in/a.data.png", other, "--output", "out") == 0
    assert len(results(here / "out")[1]) == 2


# --- what happens on the way -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_keeps_what_is_done(
    small: ExperimentRecord,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    for name in "abcd":
        image(here / f"in/{name}.png")

    def save_two(picture: torch.Tensor, file: Path) -> Path:
        if file.name == "c":
            signal.raise_signal(number)
        return save_picture(picture, file)

    monkeypatch.setattr(files_module, "save_picture", save_two)
    handler = signal.getsignal(number)
    assert predict(small, "in", "--threshold", "0", "--output", "out") == 130
    assert signal.getsignal(number) is handler
    rows, images, summary = results(here / "out")
    assert list(images) == ["in/a.png", "in/b.png"]
    assert [row["image_id"] for row in rows] == [1] * 5 + [2] * 5
    assert summary["interrupted"] is True
    assert "interrupted after 2 of 4 images; what is done is in out" in capsys.readouterr().err


def test_a_full_disk_ends_it_and_what_was_written_is_whole(
    small: ExperimentRecord, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        image(here / f"in/{name}.png")

    def save_one(picture: torch.Tensor, file: Path) -> Path:
        if file.name == "b":
            raise OSError(errno.ENOSPC, "No space left on device")
        return save_picture(picture, file)

    monkeypatch.setattr(files_module, "save_picture", save_one)
    assert predict(small, "in", "--output", "out") == 1
    assert "cannot write out/pictures/b: No space left on device; free space" in capsys.readouterr().err
    assert list(results(here / "out")[1]) == ["in/a.png"]


def test_an_image_on_which_the_model_fails_costs_no_other(
    small: ExperimentRecord, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        image(here / f"in/{number}.png", 30 + number)

    def picky(use: Any, model: Any, images: Sequence[torch.Tensor], classes: int, names: str) -> Any:
        if any(one.shape[2] == 31 for one in images):
            raise ComponentError("model 'centre_point' does not like it")
        if any(one.shape[2] == 32 for one in images):
            raise OutOfMemory("lower [train] batch_size")
        return model_outputs(use, model, images, classes, names)

    monkeypatch.setattr(trained_module, "model_outputs", picky)
    assert predict(small, "in", "--output", "out", "--batch-size", "3") == 1
    assert list(results(here / "out")[1]) == ["in/0.png", "in/3.png"]
    err = capsys.readouterr().err
    assert "in/1.png: model 'centre_point' does not like it" in err
    assert "in/2.png: memory ran out for an image of 32 x 24 pixels; make it smaller" in err
