"""`detkit data show`: what it prints, what it refuses, and that its page shows what a run trains on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch

from detkit.cli.main import run
from detkit.components import Silent
from detkit.data.loading import training_loader
from detkit.data.sampling import plan_epoch
from detkit.engine.augmenting import build_augmentation
from detkit.engine.prepare import build_dataset
from detkit.spec.loader import load_spec
from detkit.survey.collect import collect_data
from detkit.survey.page import Wanted, _training
from detkit.survey.pictures import _samples, picture, shown_images
from detkit.survey.source import whole
from plugins.format_files import coco_json, voc_folder, voc_object

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def formats(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugins at work, also where the installed metadata is older than pyproject.toml."""
    names = ("augment", "basics", "formats", "torchvision")
    points = [EntryPoint(name, f"detkit_{name}", "detkit.plugins") for name in names]
    monkeypatch.setattr("detkit.plugins.entry_points", lambda **_: points)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """Two cats and a box without area train, a cat and a dog validate."""
    cat = voc_object("cat")
    flat = voc_object("cat", (5, 5, 5, 9))
    objects: dict[str, Sequence[str]] = {"a": [cat, cat, flat], "b": [cat, voc_object("dog", (0, 0, 40, 10))], "c": []}
    voc_folder(tmp_path / "data", objects, {"train": ["a", "c"], "val": ["b"]})
    file = tmp_path / "spec.toml"
    file.write_text('[dataset]\nuse = "voc"\nroot = "data"\ndegenerate = "drop"\n')
    return file


def test_what_is_printed(spec: Path, capsys: Capture) -> None:
    assert run(["data", "show", str(spec)]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[:14] == [
        "voc: 3 images, 4 objects, 2 classes",
        "no object has a mask; 1 object without area is left out",
        "",
        "splits",
        "split       images  no objects  objects  an image",
        "train            2           1        2       1.0",
        "validation       1           0        2       2.0",
        "all              3           1        4       1.3",
        "",
        "objects of each class",
        "class  images  objects  train  validation",
        "cat         2        3      2           1  " + "\u2588" * 29,
        "dog         1        1      0           1  " + "\u2588" * 10,
        "",
    ]
    assert "sizes in pixels; all images have the same: 40 x 30 (3)" in text
    assert "as models see them: shorter side 800, longer at most 1333" in text
    assert max(map(len, text.splitlines())) <= 80


def test_as_json(spec: Path, capsys: Capture) -> None:
    assert run(["data", "show", str(spec), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format_version"] >= 1
    assert found["class_names"] == ["cat", "dog"]
    assert found["left_out"] == 1
    assert [(part["name"], part["objects"]) for part in found["parts"]] == [("train", 2), ("validation", 2)]
    assert found["everything"]["classes"][1] == {"name": "dog", "images": 1, "objects": 1}
    assert (found["unreadable"], found["undivided"], found["page"]) == ([], None, None)


def test_the_rest_of_the_spec_is_not_looked_at(spec: Path, capsys: Capture) -> None:
    spec.write_text(spec.read_text() + '[input]\nmin_size = 64\nmax_size = 64\n[models.nothing]\nuse = "no such"\n')
    assert run(["data", "show", str(spec)]) == 0
    assert "as models see them: shorter side 64, longer at most 64" in capsys.readouterr().out
    assert run(["data", "show", str(spec), "--html", str(spec.with_suffix(".html"))]) == 2  # there it is needed
    assert "no such" in capsys.readouterr().err
    assert not spec.with_suffix(".html").exists()


def test_boxes_without_area_point_to_the_check(spec: Path, capsys: Capture) -> None:
    assert run(["data", "show", str(spec), "--set", "dataset.degenerate=error"]) == 0
    text = capsys.readouterr().out
    assert "1 box without area or with NaN; `detkit data check spec.toml` says more" in text
    assert text.startswith("voc: 3 images, 5 objects, 2 classes")


def test_broken_images_are_counted_and_named(spec: Path, capsys: Capture) -> None:
    file = spec.parent / "data/JPEGImages/a.jpg"
    file.write_bytes(b"")
    assert run(["data", "show", str(spec)]) == 0
    told = capsys.readouterr()
    assert "1 image could not be read, and count in no size; `detkit data check spec.toml` says more" in told.out
    assert str(file) in told.out.splitlines()[-1]
    assert "Traceback" not in told.err
    row = next(line.split() for line in told.out.splitlines() if line.startswith("train "))
    assert row == ["train", "2", "1", "1", "0", "0.0"]
    assert run(["data", "show", str(spec), "--json", "--limit", "0"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["unreadable"]
    assert one["image"] == "a.jpg"
    assert one["file"] == str(file)


def test_a_dataset_that_cannot_be_opened(spec: Path, capsys: Capture) -> None:
    (spec.parent / "data/Annotations/a.xml").write_text("")
    assert run(["data", "show", str(spec)]) == 2
    told = capsys.readouterr().err
    assert "a.xml" in told
    assert "`detkit data check spec.toml` says what to do" in told
    assert "Traceback" not in told


def test_images_that_cannot_be_divided(spec: Path, capsys: Capture) -> None:
    assert run(["data", "show", str(spec), "--set", "dataset.split.folds=9"]) == 0
    text = capsys.readouterr().out
    assert "there are no splits: [dataset.split] folds: 3 images cannot make 9 folds" in text


def test_a_folder_without_a_spec(spec: Path, capsys: Capture) -> None:
    assert run(["data", "show", "--from", "voc", "--root", str(spec.parent / "data")]) == 0
    assert capsys.readouterr().out.startswith("voc: 3 images, 5 objects")
    html = spec.parent / "pages/page.html"
    assert run(["data", "show", "--from", "voc", "--root", str(spec.parent / "data"), "--html", str(html)]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert told == f"page: {html} ({html.stat().st_size / 1e6:.1f} MB, 3 images)"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "name a SPEC, or a folder with --from FORMAT --root PATH"),
        (["SPEC", "--from", "voc"], "name a SPEC, or a folder"),
        (["SPEC", "--root", "data"], "--root needs --from"),
        (["SPEC", "--open"], "--open opens the page of --html FILE"),
        (["SPEC", "--html", "FOLDER"], "is a folder: name a file in it"),
        (["--from", "voc", "--root", "x", "--model", "fcos"], "--model names a model of a SPEC"),
        (["SPEC", "--model", "fcos"], "name at least one model"),
        (["SPEC", "--fold", "2", "--html", "x.html"], "--fold: the spec divides the images into no folds"),
        (["nowhere.toml"], "nowhere.toml"),
    ],
)
def test_mistakes_are_told(
    spec: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, arguments: list[str], complaint: str
) -> None:
    monkeypatch.chdir(spec.parent)
    spelled = {"SPEC": str(spec), "FOLDER": str(spec.parent)}
    assert run(["data", "show", *(spelled.get(word, word) for word in arguments)]) == 2
    assert complaint in capsys.readouterr().err
    assert not Path("x.html").exists()


def test_a_model_that_there_is_not(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "spec.toml"
    file.write_text(TRAINED)
    assert run(["data", "show", str(file), "--model", "fcoss"]) == 2
    assert "--model: the spec has no model 'fcoss'; did you mean 'fcos'?" in capsys.readouterr().err
    assert run(["data", "show", str(file), "--model", "fcos", "--set", "models.fcos.input.min_size=96"]) == 0
    assert "as models see them: shorter side 96, longer at most 1333" in capsys.readouterr().out


def test_a_fold_that_there_is_not(spec: Path, capsys: Capture) -> None:
    folds = ["--set", "dataset.split.folds=2", "--fold", "3", "--html", str(spec.parent / "x.html")]
    assert run(["data", "show", str(spec), *folds]) == 2
    assert "--fold: there are 2 folds, counted from 1; there is no fold 3" in capsys.readouterr().err


def test_the_browser_is_opened(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    html = spec.with_suffix(".html")
    assert run(["data", "show", str(spec), "--html", str(html), "--open"]) == 0
    assert opened == [html.absolute().as_uri()]


def test_the_page_is_no_larger_than_it_may_be(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "spec.toml"
    file.write_text('[dataset]\nuse = "synthetic"\nimages = 12\nwidth = 640\nheight = 640\n')
    html = tmp_path / "page.html"
    arguments = ["data", "show", str(file), "--html", str(html), "--max-mb", "8"]
    assert run([*arguments, "--json"]) == 0
    whole_page = json.loads(capsys.readouterr().out)["page"]
    assert whole_page["images"] == 12
    from detkit.survey import page

    budget = whole_page["bytes"] - 100_000
    source, data, counts = _surveyed(file)
    written = page.write_page(html, source, data, counts, Wanted(max_bytes=budget), Silent())
    assert 0 < written.images < 12
    assert written.bytes == html.stat().st_size <= budget
    assert written.notes[0].startswith(f"{written.images} of 12 images are shown: more would make the page larger than")
    assert written.notes[0] in html.read_text(encoding="utf-8")


def _surveyed(file: Path) -> tuple[Any, Any, Any]:
    from detkit.survey.counts import count
    from detkit.survey.source import data_of

    source = data_of(file, set={})
    data = collect_data(source, Silent())
    return source, data, count(data, source)


def test_an_image_that_does_not_decode_is_told_and_another_shown(tmp_path: Path, capsys: Capture) -> None:
    coco_json(tmp_path / "all.json", [{"id": n, "file_name": f"{n}.jpg"} for n in range(6)], [], pictures=tmp_path)
    whole_file = (tmp_path / "3.jpg").read_bytes()
    (tmp_path / "3.jpg").write_bytes(whole_file[: len(whole_file) // 2])
    file = tmp_path / "spec.toml"
    file.write_text('[dataset]\nuse = "coco"\nannotations = "all.json"\nimages = "."\n')
    assert run(["data", "show", str(file), "--html", str(tmp_path / "page.html")]) == 0
    *_, note, last = capsys.readouterr().out.splitlines()
    assert note.startswith("1 image could not be shown: ")
    assert "3.jpg" in note
    assert "data check --decode" in note
    assert last.endswith("5 images)")


# --- what a run trains on --------------------------------------------------------------------------------------------

TRAINED = """
[experiment]
seeds = [4]
[dataset]
use = "synthetic"
images = 12
width = 96
height = 64
[dataset.split]
folds = 3
[train]
batch_size = 3
[augment]
preset = "strong"
[augment.mosaic]
probability = 1.0
[models.fcos]
backbone = "tiny_fpn"
"""


def test_after_is_bit_for_bit_what_the_run_trains_on(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text(TRAINED)
    spec = load_spec(file)
    source = whole(spec, None)
    data = collect_data(source, Silent())
    training = _training(source, data, 2, Wanted(epoch=5, draws=2), Silent())
    assert training is not None
    assert data.division is not None
    train = data.division.folds[1].train
    dataset = build_dataset(spec, Silent())

    def build(use: Any) -> Any:
        from detkit.engine.prepare import build_context

        return use.offered.component.build(use.options, build_context(spec, use, messages=Silent(), seed=4))

    make = build_augmentation(spec.models["fcos"], dataset, train, build)
    for place, epoch in enumerate((5, 6)):
        plan = plan_epoch(train, batch_size=3, accumulate=1, processes=1, seed=4, epoch=epoch)
        batches = [step[0] for step in plan]
        loaded = training_loader(dataset, batches, seed=4, workers=0, pin_memory=False, make=make)
        for items, (images, targets) in zip(batches, loaded, strict=True):
            for item, image, target in zip(items, images, targets, strict=True):
                before, *after = _samples(data, item.sample, training)
                assert torch.equal(after[place][0], image)
                assert torch.equal(after[place][1]["boxes"], target["boxes"])
                assert not torch.equal(before[0], image) or before[0].shape != image.shape


def test_only_training_images_are_augmented(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text(TRAINED)
    source = whole(load_spec(file), None)
    data = collect_data(source, Silent())
    training = _training(source, data, 1, Wanted(draws=2), Silent())
    images = list(shown_images(data, iter(range(12)), fold=1, size=48, training=training))
    assert {(one.split, len(one.after)) for one in images} == {("train", 2), ("validation", 0)}  # type: ignore[union-attr]


def test_objects_are_in_the_pixels_of_the_picture(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text('[dataset]\nuse = "synthetic"\nimages = 3\nwidth = 96\nheight = 64\n')
    _, data, _ = _surveyed(file)
    image, target = data.dataset[0]
    shown = picture((image, target), 48)
    assert (shown["width"], shown["height"], shown["fullWidth"], shown["fullHeight"]) == (48, 32, 96, 64)
    for item, box in zip(shown["objects"], target["boxes"].tolist(), strict=True):
        assert item["box"] == [value / 2 for value in box]
        assert item["size"] == [box[2] - box[0], box[3] - box[1]]
        assert item["mask"]["size"] == [32, 48]
    assert shown["source"].startswith("data:image/webp;base64,")
