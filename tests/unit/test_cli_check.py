"""`detkit check`: what it prints, and its exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from detkit.cli.main import run
from detkit.errors import Problem
from detkit.spec.model import ExperimentSpec

WriteFile = Callable[[str, str], Path]
Capture = pytest.CaptureFixture[str]

GOOD = """
    plugins = ["toys.py"]
    [experiment]
    seeds = [1, 2, 3]
    [dataset]
    use = "penn_fudan"
    [models.fcos]
    [models.retinanet]
    [models.off]
    use = "fcos"
    enabled = false
    [loggers.comet]
    enabled = false
"""
BAD = """
    plugins = ["toys.py"]
    [dataset]
    use = "pen_fudan"
    [models.fcos]
    x = 1
"""


@pytest.fixture
def good(toys: Path, write: WriteFile) -> Path:
    return write("good.toml", GOOD)


def test_a_good_spec_is_one_line(good: Path, capsys: Capture) -> None:
    assert run(["check", "good.toml"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"ok: 2 models, 6 runs on penn_fudan, recorded in {good.parent}/runs/good\n"
    assert captured.err == ""


def test_one_is_not_plural(good: Path, capsys: Capture) -> None:
    arguments = ["--set", "models.retinanet.enabled=false", "--set", "experiment.seeds=[1]"]
    assert run(["check", "good.toml", *arguments]) == 0
    assert capsys.readouterr().out.startswith("ok: 1 model, 1 run on ")


def test_all_problems_and_exit_code_2(toys: Path, write: WriteFile, capsys: Capture) -> None:
    write("bad.toml", BAD)
    assert run(["check", "bad.toml", "--set", "train.epohcs=1", "--enable-logger", "comet"]) == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "bad.toml:3: [dataset] use: no dataset named 'pen_fudan'; did you mean 'penn_fudan'?",
        "bad.toml:5: [models.fcos] x: unknown key; there are: anchors, augment, backbone, enabled, file, files, input,"
        " score, train, use",
        "command line: [train] epohcs: unknown key; did you mean 'epochs'? (from --set train.epohcs=1)",
        "command line: --enable-logger comet: the spec has no logger 'comet'; it has none",
    ]
    assert captured.err == "error: 4 problems in bad.toml\n"


def test_problems_as_json(toys: Path, write: WriteFile, capsys: Capture) -> None:
    write("bad.toml", BAD)
    assert run(["check", "bad.toml", "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert report["problems"][0] == {
        "file": "bad.toml",
        "line": 3,
        "table": "dataset",
        "key": "use",
        "message": "no dataset named 'pen_fudan'; did you mean 'penn_fudan'?",
    }


def test_a_file_that_is_not_there(toys: Path, capsys: Capture) -> None:
    assert run(["check", "none.toml"]) == 2
    assert capsys.readouterr().out == "none.toml: there is no such file\n"


def test_an_override_that_is_none(good: Path, capsys: Capture) -> None:
    assert run(["check", "good.toml", "--set", "epochs"]) == 2
    assert capsys.readouterr().out == (
        "command line: --set takes KEY=VALUE with a dotted key, as --set train.epochs=3; got 'epochs'\n"
    )


def test_a_blocked_plugin(good: Path, capsys: Capture) -> None:
    assert run(["check", "good.toml", "--no-plugin", "toys"]) == 2
    assert "plugin 'toys'" in capsys.readouterr().out
    assert run(["check", "good.toml", "--no-plugin", "x"]) == 2
    assert capsys.readouterr().err.startswith("error: --no-plugin x: there is no such plugin")


def test_explain(good: Path, capsys: Capture) -> None:
    assert run(["check", "good.toml", "--explain", "--set", "train.epochs=3", "--enable-logger", "comet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines}
    assert lines[0].split() == ["key", "value", "origin"]
    assert rows["models.fcos.train.epochs"].split(maxsplit=2)[1:] == ["3", "command line --set train.epochs=3"]
    assert rows["models.fcos.train.lr"].split(maxsplit=2)[1:] == ["0.001", "recipe of model fcos"]
    assert rows["experiment.seeds"].split(maxsplit=4)[1:] == ["[1,", "2,", "3]", "spec good.toml:3"]
    assert rows["compute.device"].split(maxsplit=2)[1:] == ['"auto"', "default"]
    assert rows["loggers.comet.enabled"].split(maxsplit=2)[1:] == ["true", "command line --enable-logger comet"]
    assert lines[-1].startswith("ok: 2 models, 6 runs")


def test_explain_as_json(good: Path, capsys: Capture) -> None:
    assert run(["check", "good.toml", "--explain", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["models"], report["runs"]) == (True, 2, 6)
    assert {"key": "experiment.seeds", "value": [1, 2, 3], "origin": "spec", "where": "good.toml", "line": 3} in report[
        "values"
    ]


def test_deep_asks_the_engine(good: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ExperimentSpec] = []

    def deep_check(spec: ExperimentSpec, messages: object) -> list[Problem]:
        asked.append(spec)
        return [Problem("good.toml", 5, "dataset", "root", "there is no folder data")]

    prepare = ModuleType("detkit.engine.prepare")
    monkeypatch.setattr(prepare, "deep_check", deep_check, raising=False)
    monkeypatch.setitem(sys.modules, "detkit.engine.prepare", prepare)
    assert run(["check", "good.toml", "--deep"]) == 2
    assert capsys.readouterr().out == "good.toml:5: [dataset] root: there is no folder data\n"
    assert asked[0].experiment.name == "good"
