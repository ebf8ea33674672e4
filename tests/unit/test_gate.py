"""The doctor before a training: errors stop it, warnings are counted, notes are silent, and a spec may go on."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from detkit.checks.catalogue import CHECKS
from detkit.cli.main import run
from detkit.components import BuildContext, Silent
from detkit.data.degenerate import CleanDataset
from detkit.engine.experiment import prepare
from detkit.engine.gate import LISTED, UnsoundData
from detkit.engine.prepare import check_dataset, deep_check, prepare_data
from detkit.engine.smoke import smoke
from detkit.errors import SpecError
from detkit.record.layout import ExperimentLayout
from detkit.spec.loader import load_spec
from detkit.spec.model import ExperimentSpec, InputTable
from integration.experiments import RecordingDisplay
from plugins.format_files import picture, voc_folder, voc_object

MODEL = '[models.fcos]\nbackbone = "tiny_fpn"\n'
NO_AREA = voc_object("cat", (5, 5, 5, 9))


class Told(Silent):
    """What was said."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.infos: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def info(self, text: str) -> None:
        self.infos.append(text)


@pytest.fixture(autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugins at work, also where the installed metadata is older; and a cache of one's own."""
    names = ("basics", "formats", "coco", "torchvision")
    points = [EntryPoint(name, f"detkit_{name}", "detkit.plugins") for name in names]
    monkeypatch.setattr("detkit.plugins.entry_points", lambda **_: points)
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("detkit.engine.prepare.BuildContext", lambda **more: BuildContext(cache_folder=cache, **more))


def spec_of(
    folder: Path, objects: dict[str, Any], sets: Any = None, dataset: str = "", more: str = MODEL
) -> ExperimentSpec:
    """A VOC dataset of these objects, and a spec beside it."""
    voc_folder(folder / "data", objects, sets or {"train": list(objects)[:-1], "val": list(objects)[-1:]})
    for number, name in enumerate(objects):
        picture(folder / f"data/JPEGImages/{name}.jpg", seed=number)
    file = folder / "cats.toml"
    file.write_text(f'[dataset]\nuse = "voc"\nroot = "data"\n{dataset}\n{MODEL}')
    return load_spec(file)


def cats(count: int = 3) -> dict[str, list[str]]:
    return {f"{number}": [voc_object("cat", (1, 2, 30, 25))] for number in range(count)}


def refusal(spec: ExperimentSpec) -> str:
    with pytest.raises(UnsoundData) as caught:
        prepare_data(spec, Silent())
    return str(caught.value)


def test_sound_data_goes_through_and_nothing_is_said(tmp_path: Path) -> None:
    told = Told()
    data = prepare_data(spec_of(tmp_path, cats()), told)
    assert len(data.infos) == 3
    assert (told.warnings, told.infos) == ([], [])


def test_errors_stop_it_with_file_object_and_remedy(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, {**cats(), "a": [NO_AREA, voc_object("cat", (200, 2, 210, 9))]})
    checks = {check.id: check for check in CHECKS}
    file = tmp_path / "data/Annotations/a.xml"
    assert refusal(spec).splitlines() == [
        "the dataset has 2 faults:",
        f"  box-without-area (1): {checks['box-without-area'].summary}",
        f"    {file}, object 0: box (5, 5, 5, 9) has no area",
        f"    to do: {checks['box-without-area'].remedy}",
        f"  box-outside (1): {checks['box-outside'].summary}",
        f"    {file}, object 1: box (200, 2, 210, 9) is outside the image of 40 x 30",
        f"    to do: {checks['box-outside'].remedy}",
        f"  detkit data check {spec.path} tells all that is wrong with the data",
        '  to go on all the same: skip_checks = ["box-outside"] in [dataset]',
    ]


def test_ten_of_a_check_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    text = refusal(spec_of(tmp_path, {**cats(), "a": [NO_AREA] * 13}))
    assert text.count("has no area") == LISTED == 10
    assert f"    and 3 more: detkit data check {tmp_path / 'cats.toml'} --only box-without-area --limit 13\n" in text
    assert "skip_checks" not in text  # nobody can go on with these


def test_warnings_are_a_line_a_check_and_notes_are_silent(tmp_path: Path) -> None:
    cat, dog = voc_object("cat"), voc_object("dog")
    told = Told()
    prepare_data(spec_of(tmp_path, {**cats(), "a": [cat, cat, cat, dog], "empty": [], "b": [cat, dog]}), told)
    command = f"detkit data check {tmp_path / 'cats.toml'} --only"
    assert told.infos == []
    assert told.warnings == [
        f"[dataset] object-repeated: 2 warnings, as {tmp_path / 'data/Annotations/a.xml'}, object 1: is the same as"
        f" object 0: box (1, 2, 11, 12); all of them: {command} object-repeated --limit 2"
    ]


def test_a_single_warning_is_told_in_full(tmp_path: Path) -> None:
    told = Told()
    prepare_data(spec_of(tmp_path, {**cats(), "a": [voc_object("cat"), voc_object("dog")]}), told)
    assert told.warnings == [
        "[dataset] class-not-in-split: train has no object of class 'dog'; what to do:"
        f" detkit data check {tmp_path / 'cats.toml'} --only class-not-in-split"
    ]


def test_boxes_without_area_that_the_spec_drops_are_counted(tmp_path: Path) -> None:
    told = Told()
    spec = spec_of(tmp_path, {"a": [NO_AREA, voc_object("cat")], **cats()}, dataset='degenerate = "drop"')
    data = prepare_data(spec, told)
    assert [len(info.annotations) for info in data.infos] == [1, 1, 1, 1]
    assert isinstance(data.dataset, CleanDataset)
    (warning,) = told.warnings
    assert "box-without-area" in warning
    assert 'the object is left out (degenerate = "drop")' in warning


def test_the_command_has_what_the_command_line_changed(tmp_path: Path) -> None:
    spec_of(tmp_path, {"a": [NO_AREA, NO_AREA, voc_object("cat")], **cats()})
    changes = {"dataset.degenerate": "drop", "dataset.split.seed": 3, "train.epochs": 2}
    spec = load_spec(tmp_path / "cats.toml", set=changes, blocked=["coco"])
    told = Told()
    prepare_data(spec, told)
    (warning,) = [text for text in told.warnings if "box-without-area" in text]
    command = shlex.split(warning.partition("all of them: ")[2])
    assert command == [
        *("detkit", "data", "check", str(tmp_path / "cats.toml")),
        *("--set", 'dataset.degenerate="drop"', "--set", "dataset.split.seed=3"),
        *("--no-plugin", "coco", "--only", "box-without-area", "--limit", "2"),
    ]
    assert run(command[1:]) == 0


def test_a_rehearsal_names_the_file_of_the_user_and_not_its_copy(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, {**cats(), "a": [NO_AREA]})
    with pytest.raises(UnsoundData, match=re.escape(f"detkit data check {spec.path} tells")):
        smoke(spec, RecordingDisplay())


def test_every_image_that_cannot_be_read_is_named_at_once(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, cats(4))
    (tmp_path / "data/JPEGImages/0.jpg").write_bytes(b"")
    (tmp_path / "data/JPEGImages/1.jpg").write_text("no picture")
    text = refusal(spec)
    assert "0.jpg: it is empty" in text
    assert "1.jpg: it is no picture of a format that Pillow knows" in text
    assert "split-impossible" not in text


def test_objects_that_the_models_are_too_coarse_for_are_counted(tmp_path: Path) -> None:
    small = [voc_object("cat", (number, 2, number + 3, 5)) for number in range(1, 9)]
    spec = spec_of(tmp_path, {"a": small, **cats()})
    told = Told()
    prepare_data(replace(spec, models={"fcos": replace(spec.models["fcos"], input=InputTable(min_size=32))}), told)
    (warning,) = told.warnings
    assert warning.startswith(
        "[dataset] object-smaller-than-anchors: fcos: 8 of 11 objects (73%) are smaller than 4 x 4 pixels"
    )


# --- the way to go on ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "complaint"),
    [
        ('"split-leak"', 'must be an array of checks, as ["split-leak"], not the text "split-leak"'),
        ('["split-leek"]', "no check 'split-leek'; did you mean 'split-leak'?; detkit data check --list has them"),
        ('["box-without-area"]', "'box-without-area' cannot be skipped: nothing can be done with such data; mend it"),
    ],
)
def test_what_cannot_be_skipped(tmp_path: Path, stated: str, complaint: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(tmp_path, cats(), dataset=f"skip_checks = {stated}")
    (problem,) = caught.value.problems
    assert (problem.line, problem.table, problem.key.split("[")[0]) == (4, "dataset", "skip_checks")
    assert problem.message.startswith(complaint)


def test_skipped_checks_stop_and_tell_nothing_and_are_recorded(tmp_path: Path) -> None:
    cat = voc_object("cat")
    spec = spec_of(
        tmp_path,
        {**cats(), "a": [cat, cat, voc_object("cat", (200, 2, 210, 9))]},
        dataset='skip_checks = ["box-outside", "object-repeated"]',
    )
    told = Told()
    prepare_data(spec, told)
    assert told.warnings == []
    assert spec.resolved["dataset"]["skip_checks"] == ["box-outside", "object-repeated"]


def test_what_the_reader_tells_is_told_unless_it_is_skipped(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"data/images/{name}.jpg", seed=ord(name))
    labels = tmp_path / "data/labels"
    labels.mkdir()
    for name in "abc":
        (labels / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    file = tmp_path / "cats.toml"
    for skipped, count in ("[]", 1), ('["label-file-without-image"]', 0), ('["reader-warning"]', 1):
        table = f'[dataset]\nuse = "yolo"\nroot = "data"\nclasses = ["cat"]\nskip_checks = {skipped}\n'
        file.write_text(f"{table}[dataset.split]\nvalidation = 1\n{MODEL}")
        told = Told()
        prepare_data(load_spec(file), told)
        assert sum("label files have no image" in text for text in told.warnings) == count


def test_vital_checks_are_those_without_which_nothing_can_be_evaluated(tmp_path: Path) -> None:
    spec = spec_of(tmp_path / "a", {**cats(), "a": [voc_object("cat", (200, 2, 210, 9))]})
    assert len(check_dataset(spec, Silent())[1]) == 4
    assert len(prepare_data(spec, Silent(), training=False).infos) == 4
    with pytest.raises(UnsoundData, match="has no area"):
        check_dataset(spec_of(tmp_path / "b", {**cats(), "a": [NO_AREA]}), Silent())


# --- images that are there twice -------------------------------------------------------------------------------------


def twins(folder: Path, dataset: str = "") -> ExperimentSpec:
    """0 and 3, and 1 and 2, are the same; 3 validates."""
    spec = spec_of(folder, cats(4), dataset=dataset)
    photos = folder / "data/JPEGImages"
    shutil.copy(photos / "0.jpg", photos / "3.jpg")
    shutil.copy(photos / "1.jpg", photos / "2.jpg")
    return spec


def test_a_leak_stops_a_run_before_anything_is_written(tmp_path: Path) -> None:
    spec = twins(tmp_path)
    layout = ExperimentLayout(tmp_path / "runs")
    with pytest.raises(UnsoundData) as caught:
        prepare(spec, layout, RecordingDisplay(), None)
    assert "3.jpg: is in validation, and the same file is in train as 0.jpg" in str(caught.value)
    assert 'to go on all the same: skip_checks = ["split-leak"] in [dataset]' in str(caught.value)
    assert not layout.fingerprint.exists()


def test_a_leak_that_is_allowed_goes_through(tmp_path: Path) -> None:
    spec = twins(tmp_path, 'skip_checks = ["split-leak"]')
    layout, display = ExperimentLayout(tmp_path / "runs"), RecordingDisplay()
    prepare(spec, layout, display, None)
    assert layout.fingerprint.exists()
    (warning,) = [text for text in display.warnings if "[dataset]" in text]
    assert "duplicate-image" in warning
    assert "2.jpg: is the same file as 1.jpg" in warning


def test_check_deep_finds_the_same(tmp_path: Path) -> None:
    told = Told()
    (problem,) = deep_check(twins(tmp_path), told)
    assert (problem.line, problem.table) == (2, "dataset")
    assert "split-leak (1)" in problem.message
    (problem,) = deep_check(spec_of(tmp_path / "b", {**cats(), "a": [NO_AREA]}), told)
    assert "box-without-area (1)" in problem.message


def test_pictures_that_are_no_files_are_compared_by_their_pixels(tmp_path: Path) -> None:
    plugin = tmp_path / "same.py"
    plugin.write_text(SAME_PICTURES)
    file = tmp_path / "spec.toml"
    file.write_text(f'plugins = ["same.py"]\n[dataset]\nuse = "same"\n[dataset.split]\nvalidation = 2\n{MODEL}')
    with pytest.raises(UnsoundData) as caught:
        prepare(load_spec(file), ExperimentLayout(tmp_path / "runs"), RecordingDisplay(), None)
    assert re.search(r"is in (train|validation), and the same picture is in (train|validation) as", str(caught.value))


SAME_PICTURES = """
import torch
from torchvision import tv_tensors

import detkit


class Same(detkit.Dataset):
    class_names = ("cat",)

    def __len__(self):
        return 4

    def __getitem__(self, index, /):
        boxes = torch.tensor([[1.0, 2.0, 30.0, 25.0]])
        return tv_tensors.Image(torch.full((3, 40, 40), 7, dtype=torch.uint8)), {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(40, 40)),
            "labels": torch.tensor([1]),
            "image_id": index,
            "area": torch.tensor([667.0]),
            "iscrowd": torch.zeros(1, dtype=torch.bool),
        }


@detkit.hookimpl
def detkit_datasets():
    return [detkit.DatasetComponent("same", detkit.Options, lambda _options, _context: Same())]
"""
