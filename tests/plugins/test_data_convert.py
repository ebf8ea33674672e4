"""`detkit data convert`: from a spec or a folder, what it prints, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from detkit.cli.main import run
from detkit_formats import COCO, YOLO
from plugins.format_files import opened, picture, voc_folder, voc_object

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def formats(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugins at work, also where the installed metadata is older than pyproject.toml."""
    plugins = ("basics", "formats", "pennfudan")
    points = [EntryPoint(name, f"detkit_{name}", "detkit.plugins") for name in plugins]
    monkeypatch.setattr("detkit.plugins.entry_points", lambda **_: points)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    objects = [voc_object("dog", truncated=1), voc_object("cat")]
    return voc_folder(tmp_path / "voc", {"a": objects, "b": []}, {"train": ["a"], "val": ["b"]})


def test_a_folder_is_converted_and_the_losses_are_told(voc: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "deep/out"
    assert run(["data", "convert", "--from", "voc", "--root", str(voc), "--to", "coco", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "voc to coco: 2 images, 2 objects, train 1, validation 1"
    assert lines[1] == "classes: cat, dog"
    assert "coco cannot hold all of it:" in lines
    assert any(line.split()[:4] == ["truncated", "of", "objects", "1"] for line in lines)
    assert lines[-1] == f"dataset: {out}"
    assert len(opened(COCO, root=out)) == 2
    assert [path.name for path in out.parent.iterdir()] == ["out"]  # nothing unfinished is left


def test_the_dataset_of_a_spec_as_json(voc: Path, tmp_path: Path, capsys: Capture) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text('[dataset]\nuse = "voc"\nroot = "voc"\n')
    arguments = ["--set", 'dataset.classes=["dog"]', "--set", "dataset.unlisted=drop", "--json"]
    assert run(["data", "convert", str(spec), str(tmp_path / "out"), "--to", "yolo", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.pop("format_version") >= 1
    losses = {loss["what"]: loss["count"] for loss in found.pop("losses")}
    assert losses == {"truncated of objects": 1}
    assert found == {
        "from": "voc",
        "to": "yolo",
        "output": str(tmp_path / "out"),
        "images": 2,
        "objects": 1,
        "class_names": ["dog"],
        "splits": {"train": 1, "validation": 1},
    }


def test_drawn_images_are_written_too(tmp_path: Path, capsys: Capture) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text('[dataset]\nuse = "synthetic"\nimages = 3\n')
    assert run(["data", "convert", str(spec), str(tmp_path / "out"), "--to", "yolo"]) == 0
    assert len(opened(YOLO, root=tmp_path / "out")) == 3


def test_nothing_is_overwritten(voc: Path, tmp_path: Path, capsys: Capture) -> None:
    arguments = ["data", "convert", "--from", "voc", "--root", str(voc), "--to", "coco"]
    for taken in (voc, voc / "JPEGImages/a.jpg"):
        assert run([*arguments, str(taken)]) == 2
        assert "nothing is overwritten; name a folder that is not there" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run([*arguments, str(tmp_path / "empty")]) == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--to", "coco", "out"], "name SPEC and OUTPUT, or OUTPUT alone with --from and --root"),
        (["--from", "voc", "--to", "coco", "a.toml", "out"], "with --from there is no SPEC"),
        (["--root", "voc", "--to", "coco", "out"], "--root needs --from"),
        (["--from", "vok", "--root", "voc", "--to", "coco", "out"], "no dataset named 'vok'; did you mean 'voc'?"),
        (["--from", "voc", "--root", "voc", "--to", "yola", "out"], "'yola' can be written; did you mean 'yolo'?"),
        (
            ["--from", "voc", "--root", "voc", "--to", "synthetic", "out"],
            "synthetic is a dataset that is only read; these",
        ),
        (["--from", "voc", "--root", "voc", "--to", "masks", "out"], "the dataset has boxes and no masks"),
        (["--from", "voc", "--root", "nowhere", "--to", "coco", "out"], "there is no folder"),
        (["--from", "csv", "--root", "voc", "--to", "coco", "out"], "which table is meant? it holds no CSV file"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(
    voc: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, arguments: list[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["data", "convert", *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["voc"]


def test_a_broken_image_stops_it_and_leaves_nothing(voc: Path, tmp_path: Path, capsys: Capture) -> None:
    (voc / "JPEGImages/b.jpg").write_bytes(b"")
    assert run(["data", "convert", "--from", "voc", "--root", str(voc), "--to", "yolo", str(tmp_path / "out")]) == 2
    assert "b.jpg cannot be read as an image: it is empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["voc"]


def test_an_interrupted_conversion_leaves_nothing(
    voc: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("detkit_formats.writers._yolo_lines", interrupt)
    assert run(["data", "convert", "--from", "voc", "--root", str(voc), "--to", "yolo", str(tmp_path / "out")]) == 130
    assert f"interrupted; there is no {tmp_path / 'out'}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["voc"]


def test_images_may_be_linked(voc: Path, tmp_path: Path, capsys: Capture) -> None:
    arguments = ["--from", "voc", "--root", str(voc), "--to", "coco", "--images", "symlink"]
    assert run(["data", "convert", *arguments, str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/images/a.jpg").resolve() == voc / "JPEGImages/a.jpg"


def test_the_group_lists_its_commands(capsys: Capture) -> None:
    assert run(["data"]) == 0
    assert "convert" in capsys.readouterr().out
    assert run(["data", "convrt"]) == 2
    assert "no command 'convrt'; did you mean 'convert'?" in capsys.readouterr().err


def test_a_picture_of_a_folder_that_is_the_output_itself(tmp_path: Path, capsys: Capture) -> None:
    """The output may lie inside the dataset's folder: it is written beside, and images of it are not read again."""
    picture(tmp_path / "data/images/a.jpg")
    (tmp_path / "data/labels").mkdir()
    (tmp_path / "data/labels/a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    out = tmp_path / "data/images/out"
    arguments = ["--from", "yolo", "--root", str(tmp_path / "data"), "--set", 'dataset.classes=["cat"]', "--to", "coco"]
    assert run(["data", "convert", *arguments, str(out)]) == 0
    assert len(opened(COCO, root=out)) == 1
