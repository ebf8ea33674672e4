"""`detkit plugins`, `detkit plugins show`, `detkit schema`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import detkit
from detkit.cli.main import run

WriteFile = Callable[[str, str], Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def spec(toys: Path, write: WriteFile) -> Path:
    write("broken.py", "1 / 0")
    write("late.toml", 'extends = "a.toml"\nplugins = ["toys.py", "broken.py"]\n')
    return write("a.toml", 'plugins = ["toys.py", "broken.py"]\n[anything]\n')


def test_list(spec: Path, capsys: Capture) -> None:
    assert run(["plugins", "--spec", "a.toml"]) == 0
    captured = capsys.readouterr()
    header, toys, broken, api = captured.out.splitlines()
    assert header.split() == ["plugin", "version", "from", "state", "offers"]
    assert toys.split()[:3] == ["toys", str(spec.parent / "toys.py"), "loaded"]
    assert "training step: standard; metric: coco, mask_ap;" in toys
    assert api == f"detkit {detkit.__version__}, hook API {detkit.HOOK_API}"
    assert broken.endswith("failed  ZeroDivisionError: division by zero")
    assert captured.err == (
        f"warning: plugin 'broken' ({spec.parent}/broken.py) failed: ZeroDivisionError: division by zero\n"
    )


def test_list_as_json_with_one_blocked(spec: Path, capsys: Capture) -> None:
    assert run(["plugins", "--spec", "a.toml", "--no-plugin", "toys", "--json"]) == 0
    toys, broken = json.loads(capsys.readouterr().out)
    assert toys == {
        "name": "toys",
        "version": "",
        "distribution": "",
        "source": str(spec.parent / "toys.py"),
        "state": "blocked",
        "reason": "by --no-plugin",
        "offers": {},
        "requires_detkit": None,
        "detkit_api": None,
        "deprecations": [],
    }
    assert broken["state"] == "failed"


def test_show(spec: Path, capsys: Capture) -> None:
    assert run(["plugins", "--spec", "a.toml", "show", "fcos"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "model fcos"
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[2:]]
    assert rows == [
        ["option", "type", "default", "description"],
        ["backbone", 'one of "resnet50_fpn", "mobilenet_v2"', '"resnet50_fpn"', "the body"],
        ["file", "path", "none", "a weight file"],
        ["files", "array of path", "[]", "more of them"],
        ["anchors", "table", "{sizes = [32, 64], ratio = 1.0}", "the anchors"],
        ["anchors.sizes", "array of whole number", "[32, 64]", "pixels"],
        ["anchors.ratio", "number, above 0", "1.0", "width over height"],
        ["score", "number", "0.05", "lowest score"],
    ]


def test_show_after_the_name_and_a_required_option_as_json(spec: Path, capsys: Capture) -> None:
    assert run(["plugins", "show", "shapes", "--spec", "a.toml", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["plugin"]) == ("dataset", "toys")
    assert found["options"][0] == {
        "name": "images",
        "type": "whole number, at least 1",
        "default": "required",
        "description": "how many",
    }


def test_show_of_something_without_options_and_of_nothing(spec: Path, capsys: Capture) -> None:
    assert run(["plugins", "show", "console", "--spec", "a.toml"]) == 0
    assert capsys.readouterr().out.endswith("  has no options\n")
    assert run(["plugins", "show", "fcoss", "--spec", "a.toml"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: no component named 'fcoss'; did you mean 'fcos'?; plugin 'broken'"
    )
    assert run(["plugins", "show", "toys", "--spec", "a.toml"]) == 2
    assert capsys.readouterr().err.startswith("error: 'toys' is a plugin that offers dataset: penn_fudan, shapes;")


def test_a_plugin_file_that_is_missing(write: WriteFile, toys: Path, capsys: Capture) -> None:
    write("a.toml", 'plugins = ["none.py"]')
    assert run(["plugins", "--spec", "a.toml"]) == 2
    assert capsys.readouterr().err.startswith("error: a.toml:1: plugins[0]: there is no file ")


# --- schema ----------------------------------------------------------------------------------------------------------


def test_schema_with_the_spec_s_plugins(spec: Path, capsys: Capture) -> None:
    assert run(["schema", "a.toml"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("warning: without plugin 'broken'")
    schema = json.loads(captured.out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "model.fcos" in schema["$defs"]
    assert "anyOf" in schema


def test_schema_of_a_spec_that_extends_requires_nothing(spec: Path, capsys: Capture) -> None:
    assert run(["schema", "late.toml"]) == 0
    assert "anyOf" not in json.loads(capsys.readouterr().out)
    assert run(["schema", "--partial"]) == 0
    assert "anyOf" not in json.loads(capsys.readouterr().out)


def test_schema_to_a_file(spec: Path, capsys: Capture) -> None:
    assert run(["schema", "--output", "s.json"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "wrote s.json\n")
    assert json.loads(Path("s.json").read_text(encoding="utf-8"))["title"] == "detkit spec"
    assert run(["schema", "--output", "none/s.json"]) == 2
    assert capsys.readouterr().err == "error: none/s.json cannot be written: No such file or directory\n"
