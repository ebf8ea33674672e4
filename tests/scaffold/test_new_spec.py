"""`detkit new spec`: what it recognises, what it decides, what it asks, and that `detkit check` accepts the result."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detkit.cli.main import run
from detkit.plugins import collect
from detkit.scaffold.facts import DataFacts, Machine
from detkit.scaffold.plan import Plan, plan
from detkit.scaffold.recognise import Candidate, recognise
from detkit.scaffold.spec import spec_text
from plugins.format_files import coco_json, picture, voc_folder, voc_object

Capture = pytest.CaptureFixture[str]
FORMATS = ("coco", "voc", "yolo", "csv", "masks")
REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same eight drawn images in each format, in folders of their names."""
    folder = tmp_path_factory.mktemp("written")
    for name in FORMATS:
        arguments = ["--from", "synthetic", "--set", "dataset.images=8", "--to", name, str(folder / name)]
        assert run(["data", "convert", *arguments]) == 0
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new(*arguments: str) -> int:
    return run(["new", "spec", *arguments])


def spec(file: str = "experiment.toml") -> dict[str, Any]:
    return tomllib.loads(Path(file).read_text(encoding="utf-8"))


def refusal(capsys: Capture, *arguments: str) -> str:
    assert new(*arguments) == 2
    assert not Path("experiment.toml").exists()
    assert list(Path().glob(".experiment*")) == []
    return capsys.readouterr().err


# --- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_recognised_and_its_spec_is_valid(written: Path, name: str, here: Path, capsys: Capture) -> None:
    shutil.copytree(written / name, here / "my data")
    assert new("--data", "my data", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["data"]["format"], said["data"]["images"]) == (name, 8)
    assert sum(said["data"]["classes"].values()) > 5
    assert spec()["dataset"] == {"use": name, "root": "my data", "split": {"validation": 0.2, "seed": 0}}
    assert spec()["experiment"]["name"] == "my-data"
    assert run(["check", "experiment.toml"]) == 0, capsys.readouterr()
    assert (
        run(["check", "experiment.toml", "--deep", "--set", "models.faster_rcnn.weights=none", *no_weights(said)]) == 0
    )


def no_weights(said: dict[str, Any]) -> list[str]:
    """Nothing is fetched in a test."""
    names = [model["name"] for model in said["decided"]["models"]]
    return [word for name in names for word in ("--set", f"models.{name}.weights=none")]


def test_the_formats_hold_the_same(written: Path, capsys: Capture) -> None:
    """Recognised or told, read by root or by file: it is one dataset."""
    counts = []
    for name in FORMATS:
        assert new("--data", str(written / name), "--json", "--force") == 0
        counts.append(sum(json.loads(capsys.readouterr().out)["data"]["classes"].values()))
    assert len(set(counts)) == 1


@pytest.mark.parametrize(
    ("name", "file", "key"),
    [("coco", "annotations.json", "annotations"), ("csv", "boxes.csv", "file"), ("yolo", "data.yaml", "data")],
)
def test_a_file_may_be_named(written: Path, name: str, file: str, key: str, capsys: Capture) -> None:
    (found,) = [path for path in (written / name).rglob("*") if path.suffix == Path(file).suffix]
    if name == "yolo":
        found = written / "named.yaml"
        found.write_text("path: yolo\ntrain: images\nval: images\nnames: [pedestrian]\n")
    (candidate,) = recognise(found)
    assert (candidate.use, candidate.key) == (name, key)
    if name != "yolo":
        assert new("--data", str(found), "--json") == 0
        assert spec()["dataset"][key] == str(found)


def test_what_somebody_says_wins(written: Path, capsys: Capture) -> None:
    assert new("--data", str(written / "voc"), "--format", "masks", "--set", "dataset.masks=SegmentationObject") == 2
    said = capsys.readouterr().err
    assert "the data is taken for masks (as --format says), and cannot be read" in said
    assert new("--data", str(written / "voc"), "--format", "voc", "--set", "dataset.masks=off") == 0
    assert spec()["dataset"]["masks"] == "off"
    assert "boxes only" in capsys.readouterr().out


def test_paths_among_the_options_are_relative_to_the_spec(written: Path, here: Path) -> None:
    shutil.copytree(written / "csv", here / "data")
    (table,) = (here / "data").glob("*.csv")
    (here / "specs").mkdir()
    assert new("--data", "data", "--set", f"dataset.file=data/{table.name}", "--to", "specs/a.toml") == 0
    assert spec("specs/a.toml")["dataset"]["root"] == "../data"
    assert spec("specs/a.toml")["dataset"]["file"] == f"../data/{table.name}"
    assert run(["check", "specs/a.toml"]) == 0


def test_vocs_masks_are_no_format_of_their_own(here: Path) -> None:
    voc_folder(here, {"a": [voc_object()]})
    picture(here / "SegmentationObject" / "a.png")
    assert [candidate.use for candidate in recognise(here)] == ["voc"]


LABELS_AND_NOTES = {"a": "0 .5 .5 .2 .2\n", "b": "1 .1 .1 .2 .2 .3 .3\n", "empty": "", "train": "images/a.jpg\n"}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda root: (root / "labels").mkdir(), []),
        (lambda root: (root / "notes.txt").write_text("0.5 is not a label\n"), []),
        (lambda root: (root / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n"), ["yolo"]),
        (lambda root: (root / "a.txt").write_text("0 12 30 200 100\n"), []),
        (lambda root: [(root / f"{n}.txt").write_text("0 .5 .5 .2 .2\n") for n in ("a", "b", "notes")], ["yolo"]),
        (lambda root: [(root / f"{n}.txt").write_text(t) for n, t in LABELS_AND_NOTES.items()], ["yolo"]),
        (lambda root: (root / "a.json").write_text('{"images": 3}'), []),
        (lambda root: (root / "a.json").write_text("[" * 100), []),
        (lambda root: (root / "a.csv").write_text("name;xmin;ymin;xmax;ymax\n"), ["csv"]),
        (lambda root: (root / "a.csv").write_text("when,what\n"), []),
        (lambda root: (root / "a.csv").write_text('"'), []),
        (lambda root: (root / "a.xml").write_text("<html/>"), []),
        (lambda root: (root / "a.xml").write_bytes(b"\xff\xfe<annotation>"), ["voc"]),
        (lambda root: (root / "a.yaml").write_text("jobs: []\n"), []),
        (lambda root: (root / "a.yaml").write_text("train: images\nnames: [a]\n"), ["yolo"]),
        (lambda root: picture(root / "images" / "a.png"), []),
        (lambda root: (picture(root / "images" / "a.png"), picture(root / "masks" / "a.png")), ["masks"]),
        (lambda root: (root / "a.json").symlink_to("nowhere"), []),
        (lambda root: (root / "train" / "b.json").mkdir(parents=True), []),
    ],
)
def test_what_is_recognised_and_what_is_not(here: Path, make: Callable[[Path], object], expected: list[str]) -> None:
    root = here / "data"
    root.mkdir()
    make(root)
    assert [candidate.use for candidate in recognise(root)] == expected


@pytest.mark.parametrize("order", [("images", "annotations", "categories"), ("annotations", "images", "categories")])
def test_of_a_large_file_only_the_ends_are_read(
    here: Path, order: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detkit.scaffold.recognise.LOOKED_AT_BYTES", 100)
    rows = {"images": [{"id": 1}] * 90, "annotations": [{"image_id": 1}] * 90, "categories": [{"id": 1}]}
    (here / "large.json").write_text(json.dumps({key: rows[key] for key in order}))
    assert [candidate.use for candidate in recognise(here)] == ["coco"]


def both(here: Path) -> None:
    voc_folder(here / "data", {"a": [voc_object()], "b": [voc_object("dog")]})
    coco_json(here / "data/all.json", [{"id": 1, "file_name": "JPEGImages/a.jpg"}], [])


def test_of_several_formats_one_must_be_said(here: Path, capsys: Capture) -> None:
    both(here)
    said = refusal(capsys, "--data", "data")
    assert "  --format coco  coco: all.json has images, annotations and categories" in said
    assert "  --format voc  voc: Annotations holds 2 XML files of <annotation>" in said
    assert new("--data", "data", "--format", "voc") == 0


def test_a_folder_in_the_folder_is_found(here: Path, capsys: Capture) -> None:
    voc_folder(here / "data/inner", {"a": [voc_object()], "b": [voc_object("dog")]})
    (here / "data/.git").mkdir()
    assert new("--data", "data") == 0
    assert spec()["dataset"]["root"] == "data/inner"
    voc_folder(here / "data/other", {"a": [voc_object()]})
    capsys.readouterr()
    assert new("--data", "data", "--force") == 2
    said = capsys.readouterr().err
    assert "--data data/inner  voc: " in said
    assert "--data data/other  voc: " in said


def test_what_is_not_recognised_is_described(here: Path, capsys: Capture) -> None:
    (here / "data/deep").mkdir(parents=True)
    (here / "data/readme.md").touch()
    said = refusal(capsys, "--data", "data")
    assert "data: no format is recognised; it holds deep/, readme.md" in said
    assert "--format" in said
    assert "detkit new plugin NAME --kind dataset" in said
    assert "there is no folder dat; . holds data" in refusal(capsys, "--data", "dat")
    assert "no dataset named 'vok'; did you mean 'voc'?" in refusal(capsys, "--data", "data", "--format", "vok")


def test_data_that_cannot_be_read_is_said_with_its_place(here: Path, capsys: Capture) -> None:
    coco_json(here / "data/all.json", [{"id": 1, "file_name": "gone.jpg"}], [])
    said = refusal(capsys, "--data", "data")
    assert "the data is taken for coco (all.json has images, annotations and categories), and cannot be read" in said
    assert "detkit data check --from coco --root data" in said
    assert "gone.jpg" in said


def test_one_broken_image_is_only_told(here: Path, capsys: Capture) -> None:
    voc_folder(here / "data", {"a": [voc_object()], "b": [voc_object()]})
    (here / "data/JPEGImages/b.jpg").write_bytes(b"no picture")
    assert new("--data", "data") == 0
    assert "warning: 1 image cannot be read, as " in capsys.readouterr().err


@pytest.mark.skipif(not (REAL / "bccd").is_dir(), reason="../shared/data/bccd is not there")
def test_blood_cells(capsys: Capture) -> None:
    assert new("--data", str(REAL / "bccd"), "--goal", "ap where latency_ms < 50", "--logger", "comet") == 0
    said = capsys.readouterr().out
    assert "is voc: Annotations holds 364 XML files" in said
    assert "split: the data brings its own: train 205, validation 87, test 72" in said
    assert 'degenerate = "drop": 2 boxes have no area (BloodImage_00338.jpg' in said
    assert spec()["dataset"]["degenerate"] == "drop"
    assert "split" not in spec()["dataset"]
    assert spec()["loggers"] == {"console": {}, "csv": {}, "comet": {"project": "BCCD"}}
    assert "--best 'ap where latency_ms < 50'" in Path("experiment.toml").read_text()
    assert run(["check", "experiment.toml"]) == 0


@pytest.mark.skipif(not (REAL / "PennFudanPed").is_dir(), reason="../shared/data/PennFudanPed is not there")
def test_penn_fudan_is_more_than_masks() -> None:
    (candidate,) = recognise(REAL / "PennFudanPed")
    assert candidate.use == "penn_fudan"


# --- what is told ----------------------------------------------------------------------------------------------------


def test_names_that_would_break_a_comment(here: Path) -> None:
    names = {1: 'a "quoted" \\ one', 2: "'#] = [", 3: "\u202eé\u2009]"}
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(1, 7)]
    objects = [{"image_id": n, "category_id": n % 3 + 1, "bbox": [1, 2, 9, 9], "iscrowd": 0} for n in range(1, 7)]
    odd = here / "it's [odd] #1 \\ ö"
    coco_json(odd / "all.json", images, objects, names, pictures=odd)
    assert new("--data", odd.name) == 0
    assert spec()["dataset"]["root"] == odd.name
    assert run(["check", "experiment.toml"]) == 0


def test_nothing_in_a_comment_ends_it() -> None:
    odd = "a\nb\x00c\x7fd\u2028e"
    facts = changed(classes={odd: 1}, without_area=1, first_without_area=odd)
    text = spec_text(
        Candidate("voc", Path("data"), odd),
        facts,
        decided(facts),
        name="x",
        file=Path(f"{odd}.toml"),
        options={},
        loggers=[],
        goal=odd,
    )
    assert "a b?c?d e" in text.replace("'", "")
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert set(tomllib.loads(text)) == {
        "experiment",
        "dataset",
        "input",
        "compute",
        "train",
        "models",
        "metrics",
        "loggers",
    }


def test_a_folder_that_no_spec_can_name(here: Path, capsys: Capture) -> None:
    """Its name is no text: a spec is UTF-8."""
    folder = here / "caf\udce9"
    voc_folder(folder, {"a": [voc_object()], "b": [voc_object("dog")]})
    assert "cannot be named in a spec" in refusal(capsys, "--data", folder.name)


def test_only_datasets_with_a_place_can_be_looked_at(here: Path, capsys: Capture) -> None:
    (here / "data").mkdir()
    assert "synthetic has no option root" in refusal(capsys, "--data", "data", "--format", "synthetic")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--models", "fcos,yolov9"], "--models: no model named 'yolov9'"),
        (["--models", "mask_rcnn"], "mask_rcnn learns from masks, and the data has boxes only"),
        (["--logger", "commet"], "--logger: no logger named 'commet'; did you mean 'comet'?"),
        (["--goal", "ap where"], "ap where"),
        (["--goal", "ap where latency < 50ms"], "units are part of names"),
        (["--name", "a/b"], "[experiment] name"),
        (["--set", "train.epochs=3"], "--set train.epochs: only options of the dataset"),
        (["--set", "dataset.use=coco"], "say it with --format"),
        (["--set", "dataset.difficulty=drop"], "difficulty"),
        (["--to", "data"], "data is a folder; name a file, as data/experiment.toml"),
        (["--to", "data/Annotations/a.xml/b.toml"], "cannot be written"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    here: Path, arguments: list[str], complaint: str, capsys: Capture
) -> None:
    voc_folder(here / "data", {"a": [voc_object()], "b": [voc_object("dog")]})
    assert complaint in refusal(capsys, "--data", "data", *arguments)


def test_nothing_is_overwritten(here: Path, capsys: Capture) -> None:
    voc_folder(here / "data", {"a": [voc_object()], "b": [voc_object("dog")]})
    Path("experiment.toml").write_text("mine")
    assert new("--data", "data") == 2
    assert "experiment.toml is there already, and nothing was written" in capsys.readouterr().err
    assert Path("experiment.toml").read_text() == "mine"
    assert new("--data", "data", "--force") == 0
    assert spec()["dataset"]["use"] == "voc"


def test_in_a_pipe_nothing_is_asked(here: Path) -> None:
    command = [sys.executable, "-m", "detkit", "new", "spec"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False, input="", timeout=60)
    assert asked.returncode == 2
    assert "--data FOLDER is missing" in asked.stderr
    assert asked.stdout == ""


def test_models_and_loggers_as_they_are_named(here: Path, capsys: Capture) -> None:
    voc_folder(here / "data", {"a": [voc_object()], "b": [voc_object("dog")]})
    assert new("--data", "data", "--models", "retinanet, fcos", "--logger", "none", "--name", "cats") == 0
    assert list(spec()["models"]) == ["retinanet", "fcos"]
    assert list(spec()["loggers"]) == ["console", "csv"]
    assert spec()["experiment"]["name"] == "cats"
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "  detkit check experiment.toml --deep",
        "  detkit run experiment.toml",
        "  detkit compare runs/cats",
    ]


def test_a_plugins_model_with_options_of_its_own_is_taken(here: Path) -> None:
    """Without a backbone; found where it is installed, as here beside the bundled ones."""
    chosen = plan(FACTS, CPU, ["fcos"], collect())
    assert chosen.models[0].options == {"backbone": "mobilenet_v2_fpn", "weights": "imagenet"}


# --- questions -------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def asked(monkeypatch: pytest.MonkeyPatch, answers: str, *arguments: str) -> tuple[int, str]:
    """The exit code, and what a terminal shows of questions."""
    shown = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(answers))
    monkeypatch.setattr(sys, "stderr", shown)
    return new(*arguments), shown.getvalue()


def test_a_terminal_is_asked_for_what_no_option_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both(here)
    answers = "dat\ndata\n2\nfcos,nothing\nfcos\nnone\nap where\nap where latency_ms < 50\n"
    code, shown = asked(monkeypatch, answers)
    assert code == 0, shown
    assert "there is no dat" in shown
    assert "1. coco in data: all.json" in shown
    assert "no model named 'nothing'" in shown
    assert "Models [faster_rcnn,fcos]: " in shown
    assert list(spec()["models"]) == ["fcos"]
    assert spec()["dataset"]["use"] == "voc"
    assert "--best 'ap where latency_ms < 50'" in Path("experiment.toml").read_text()


def test_flags_and_yes_leave_nothing_to_ask(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both(here)
    flags = ("--data", "data", "--format", "voc", "--models", "fcos", "--logger", "none", "--goal", "ap")
    assert asked(monkeypatch, "", *flags)[0] == 0
    assert asked(monkeypatch, "", "--data", "data", "--format", "voc", "--yes", "--force")[0] == 0
    code, shown = asked(monkeypatch, "", "--yes", "--force")
    assert code == 2
    assert "--data FOLDER is missing" in shown


# --- decisions -------------------------------------------------------------------------------------------------------

FACTS = DataFacts(
    images=400,
    looked_at=400,
    classes={"cat": 900},
    without_area=0,
    first_without_area="",
    short=1080,
    long=1920,
    aspect=16 / 9,
    object_side=200.0,
    splits={},
    masks=False,
    empty=0,
)
CPU = Machine("cpu", 4)
GPU = Machine("cuda", 16, "H100", 80.0)


def changed(**values: Any) -> DataFacts:
    from dataclasses import replace

    return replace(FACTS, **values)


def decided(facts: DataFacts, machine: Machine = CPU) -> Plan:
    return plan(facts, machine, ["fcos"], collect())


def test_sizes_follow_the_images_the_objects_and_the_machine() -> None:
    assert (decided(FACTS).min_size, decided(FACTS).max_size) == (320, 576)
    assert decided(FACTS, GPU).min_size == 800
    assert decided(changed(short=100, long=120)).min_size == 128  # the next that fits; nothing is blown up to 320
    small = decided(changed(object_side=40.0))  # 12 px at 320
    assert small.min_size == 448
    assert "objects are small" in small.why["input"]
    assert decided(changed(object_side=1.0)).min_size == 640  # twice as much is the most
    assert decided(changed(object_side=None)).min_size == 320


def test_batch_and_epochs_follow_machine_and_images() -> None:
    assert (decided(FACTS).batch_size, decided(FACTS).epochs) == (2, 7)
    assert (decided(FACTS, GPU).batch_size, decided(FACTS, GPU).epochs) == (16, 50)
    assert decided(FACTS, Machine("cuda", 4, "small", 6.0)).batch_size == 2
    assert decided(changed(images=20)).epochs == 50
    assert decided(changed(images=100_000)).epochs == 4
    assert decided(changed(images=4)).batch_size == 1


def test_splits_are_made_where_the_data_has_none() -> None:
    assert (decided(FACTS).validation, decided(FACTS).test) == (0.2, 0.1)
    assert (decided(changed(images=60)).validation, decided(changed(images=60)).test) == (0.2, None)
    own = decided(changed(splits={"train": 300, "validation": 100}))
    assert (own.validation, own.test) == (None, None)
    assert decided(changed(splits={"train": 300, "test": 100})).validation == 0.2
    assert decided(changed(without_area=2)).degenerate == "drop"


def test_no_torch_for_help() -> None:
    code = (
        "import sys\nfrom detkit.cli.main import run\nrun(['new', 'spec', '--help'])\n"
        "print([name for name in ('torch', 'torchvision') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
