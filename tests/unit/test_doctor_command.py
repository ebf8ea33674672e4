"""`detkit data check`: what it prints, its exit codes, and that its page lists every check."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from detkit.checks.catalogue import CHECKS
from detkit.cli.main import run
from plugins.format_files import voc_folder, voc_object

ROOT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def formats(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugins at work, also where the installed metadata is older than pyproject.toml."""
    points = [EntryPoint(name, f"detkit_{name}", "detkit.plugins") for name in ("basics", "formats", "pennfudan")]
    monkeypatch.setattr("detkit.plugins.entry_points", lambda **_: points)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """One error, an object without area; two warnings, an object that is there twice in each image."""
    cat = voc_object("cat")
    objects: dict[str, Sequence[str]] = {"a": [cat, cat, voc_object("cat", (5, 5, 5, 9))], "b": [cat, cat]}
    voc_folder(tmp_path / "data", objects, {"train": ["a"], "val": ["b"]})
    file = tmp_path / "spec.toml"
    file.write_text('[dataset]\nuse = "voc"\nroot = "data"\n')
    return file


def test_findings_are_grouped_by_check(spec: Path, capsys: Capture) -> None:
    assert run(["data", "check", str(spec), "--limit", "1"]) == 1
    annotations = spec.parent / "data/Annotations"
    lines = capsys.readouterr().out.splitlines()
    remedies = {check.id: f"  to do: {check.remedy}" for check in CHECKS}
    summaries = {check.id: check.summary for check in CHECKS}
    assert lines == [
        "voc: 2 images, 5 objects, 1 class",
        "",
        f"error box-without-area (1): {summaries['box-without-area']}",
        f"  {annotations / 'a.xml'}, object 2: box (5, 5, 5, 9) has no area",
        remedies["box-without-area"],
        "",
        f"warning object-repeated (2): {summaries['object-repeated']}",
        f"  {annotations / 'a.xml'}, object 1: is the same as object 0: box (1, 2, 11, 12)",
        "  and 1 more; --limit 2 or --json lists them all",
        remedies["object-repeated"],
        "",
        "1 error, 2 warnings, 0 notes",
        "--fix DIR writes a copy in which all is put right that nobody has to decide",
    ]


def test_as_json(spec: Path, capsys: Capture) -> None:
    assert run(["data", "check", str(spec), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found.pop("format_version") >= 1
    findings = found.pop("findings")
    assert findings[0] == {
        "check": "box-without-area",
        "severity": "error",
        "file": str(spec.parent / "data/Annotations/a.xml"),
        "image": "a.jpg",
        "place": "object 2",
        "object": 2,
        "text": "box (5, 5, 5, 9) has no area",
    }
    assert [finding["check"] for finding in findings[1:]] == ["object-repeated"] * 2
    assert found == {
        "dataset": "voc",
        "images": 2,
        "objects": 5,
        "class_names": ["cat"],
        "counts": {"error": 1, "warning": 2, "note": 0},
        "checks": [check.id for check in CHECKS if "found with --decode only" not in check.summary],
    }


@pytest.mark.parametrize(
    ("arguments", "code", "counts"),
    [
        ([], 1, [1, 2, 0]),
        (["--skip", "box-without-area"], 0, [0, 2, 0]),
        (["--skip", "box-without-area", "--strict"], 1, [0, 2, 0]),
        (["--skip", "box-without-area", "--skip", "object-repeated", "--strict"], 0, [0, 0, 0]),
        (["--only", "object-repeated"], 0, [0, 2, 0]),
        (["--only", "object-repeated", "--only", "box-without-area"], 1, [1, 2, 0]),
        (["--set", "dataset.degenerate=drop"], 0, [0, 3, 0]),
        (["--decode"], 1, [1, 2, 0]),
    ],
)
def test_exit_codes(spec: Path, capsys: Capture, arguments: list[str], code: int, counts: list[int]) -> None:
    assert run(["data", "check", str(spec), "--json", *arguments]) == code
    assert list(json.loads(capsys.readouterr().out)["counts"].values()) == counts


def test_nothing_to_say(spec: Path, capsys: Capture) -> None:
    assert run(["data", "check", str(spec), "--only", "mask-empty"]) == 0
    assert capsys.readouterr().out == "voc: 2 images, 5 objects, 1 class\nnothing was found\n"


def test_nothing_of_the_data_is_changed(spec: Path, capsys: Capture) -> None:
    def state() -> dict[Path, tuple[bytes, int]]:
        files = [file for file in spec.parent.rglob("*") if file.is_file()]
        return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}

    before = state()
    run(["data", "check", str(spec), "--decode"])
    assert state() == before


def test_data_that_cannot_be_opened(spec: Path, capsys: Capture) -> None:
    (spec.parent / "data/Annotations/a.xml").write_text("")
    assert run(["data", "check", str(spec)]) == 1
    told = capsys.readouterr()
    assert run(["data", "check", str(spec), "--only", "mask-empty"]) == 1  # not "nothing was found"
    lines = told.out.splitlines()
    assert lines[0] == "voc: cannot be opened"
    assert f"  {spec.parent / 'data/Annotations/a.xml'}: is empty" in lines
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[dataset]\nuse = "vok"\n', "no dataset named 'vok'; did you mean 'voc'?"),
        ('[dataset]\nuse = "voc"\nrout = "data"\n', "rout"),
        ('[dataset]\nuse = "voc"\ndegenerate = "clop"\n', "did you mean 'clip'?"),
        ('[dataset]\nuse = "voc"\n[dataset.split]\nvalidation = -1\n', "validation"),
        ("[dataset\n", "spec.toml:1"),
    ],
)
def test_a_spec_that_cannot_be_read(spec: Path, capsys: Capture, text: str, complaint: str) -> None:
    spec.write_text(text)
    assert run(["data", "check", str(spec)]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "name a SPEC, or --list the checks"),
        (["nowhere.toml"], "nowhere.toml"),
        (["nowhere.toml", "--only", "box-without-aria"], "'box-without-aria'; did you mean 'box-without-area'?"),
        (["nowhere.toml", "--only", "near-duplicate"], "--only near-duplicate looks at pixels: give --decode too"),
        (["nowhere.toml", "--skip", "split-leek"], "no check 'split-leek'; did you mean 'split-leak'?"),
    ],
)
def test_mistakes_of_the_user(capsys: Capture, arguments: list[str], complaint: str) -> None:
    assert run(["data", "check", *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_models_of_the_spec_are_regarded_where_they_can_be_resolved(
    spec: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [EntryPoint(name, f"detkit_{name}", "detkit.plugins") for name in ("formats", "torchvision")]
    monkeypatch.setattr("detkit.plugins.entry_points", lambda **_: points)
    voc_folder(spec.parent / "data", {"a": [voc_object("cat", (1, 2, 3, 4))], "b": []}, {"train": ["a"], "val": ["b"]})
    text = spec.read_text()
    arguments = ["data", "check", str(spec), "--only", "object-smaller-than-anchors", "--json"]
    for models, told in (
        ('[models.fcos]\nbackbone = "tiny_fpn"\n', ["fcos"]),
        ('[models.fcos]\nbackbone = "tiny_fpn"\nenabled = false\n', []),
        ('[models.fcos]\nbackbone = "tiny_fpm"\n[models.retinanet]\n', ["retinanet"]),
        ("[models.nobodys]\n", []),
        ("models = 3\n", []),
    ):
        spec.write_text(models + text + "[input]\nmin_size = 32\n")
        assert run(arguments) == 0
        found = json.loads(capsys.readouterr().out)["findings"]
        assert [one["text"].split(":")[0] for one in found] == told


def test_checks_that_the_spec_skips_are_left_out_unless_they_are_asked_for(spec: Path, capsys: Capture) -> None:
    spec.write_text(spec.read_text() + 'skip_checks = ["object-repeated"]\n')
    assert run(["data", "check", str(spec)]) == 1
    told = capsys.readouterr().out
    assert "left out by skip_checks in the spec: object-repeated" in told.splitlines()
    assert "1 error, 0 warnings, 0 notes" in told
    assert run(["data", "check", str(spec), "--only", "object-repeated", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["warning"] == 2


def test_the_list_of_checks(capsys: Capture) -> None:
    assert run(["data", "check", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [[check.id, check.severity] for check in CHECKS]
    assert run(["data", "check", "--list", "--json"]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == [check.id for check in CHECKS]


def test_the_page_has_every_check() -> None:
    page = (ROOT / "docs/how-to/check-your-data.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (\w+) \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    assert rows == [(check.id, check.severity, check.summary, check.remedy) for check in CHECKS]
