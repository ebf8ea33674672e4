"""`--set`: keys and values as TOML, else text; where its paths resolve; what it says when wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from detkit.errors import SpecError
from detkit.spec.loader import load_spec
from detkit.spec.overrides import parse_override, parse_overrides

WriteFile = Callable[[str, str], Path]

SPEC = """
    plugins = ["toys.py"]
    [dataset]
    use = "penn_fudan"
    [models.fcos]
"""


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("train.epochs=3", "train.epochs", 3),
        ("train.lr = 1e-3", "train.lr", 0.001),
        ("a=true", "a", True),
        ("a=", "a", ""),
        ("a=b=c", "a", "b=c"),
        ("a=data/x y", "a", "data/x y"),
        ('a="3"', "a", "3"),
        ("a=[1, 2]", "a", [1, 2]),
        ("a={ b = 1 }", "a", {"b": 1}),
        ("a=0123", "a", "0123"),
        ("a=2024-05-06", "a", date(2024, 5, 6)),
        ("a=1\nb=2", "a", "1\nb=2"),
        ('"x=y".z=1', '"x=y".z', 1),
        ("'x.y'.z=1", "'x.y'.z", 1),
    ],
)
def test_keys_and_values(text: str, key: str, value: Any) -> None:
    assert parse_override(text) == (key, value)


@pytest.mark.parametrize("text", ["", "train.epochs", "=3", "a b=3", "#=3", "[t]=3", "a\nb=3"])
def test_what_is_no_override(text: str) -> None:
    with pytest.raises(
        SpecError, match=r"^command line: --set takes KEY=VALUE with a dotted key, as --set train.epochs=3"
    ):
        parse_override(text)


def test_several_with_the_last_one_winning_and_all_problems() -> None:
    assert list(parse_overrides(["a=1", "b=2", "a=3"]).items()) == [("b", 2), ("a", 3)]
    with pytest.raises(SpecError) as caught:
        parse_overrides(["a", "b=1", "c"])
    assert len(caught.value.problems) == 2


def problems(file: Path, changes: dict[str, Any]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_spec(file, set=changes)
    return [str(problem) for problem in caught.value.problems]


def test_values_win_and_tables_are_made(toys: Path, write: WriteFile) -> None:
    file = write("a.toml", SPEC)
    spec = load_spec(
        file,
        set={
            "models.fcos.anchors.sizes": [8],
            "models.own.use": "retinanet",
            "experiment": {"name": "n", "seeds": (1, 2)},
            "dataset.root": Path("/abs"),
        },
    )
    assert spec.models["fcos"].options.model_dump()["anchors"] == {"sizes": (8,), "ratio": 1.0}
    assert list(spec.models) == ["fcos", "own"]
    assert (spec.experiment.name, spec.experiment.seeds) == ("n", (1, 2))
    assert spec.dataset.options.model_dump()["root"] == Path("/abs")


def test_none_takes_a_key_out(toys: Path, write: WriteFile) -> None:
    file = write("a.toml", SPEC + "score = 0.5\n[train]\nlr = 0.3\n")
    spec = load_spec(file, set={"train.lr": None, "models.fcos.score": None, "models.x.y": None})
    assert spec.models["fcos"].train.lr == 0.001
    assert spec.models["fcos"].options.model_dump()["score"] == 0.05


def test_messages_show_what_was_typed(toys: Path, write: WriteFile) -> None:
    file = write("a.toml", SPEC)
    changes = {"train.epohcs": 3, "modles.fcos.x": 1, "compute.devices": 0, "loggers.comet.project": 7, "input": {1}}
    assert problems(file, changes) == [
        "command line: [modles]: there is no table [modles]; did you mean 'models'? (from --set modles.fcos.x=1)",
        "command line: [compute] devices: must be at least 1 (from --set compute.devices=0)",
        "command line: [train] epohcs: unknown key; did you mean 'epochs'? (from --set train.epohcs=3)",
        "command line: [loggers.comet] project: must be text, not 7; for text write --set"
        " loggers.comet.project='\"7\"' (from --set loggers.comet.project=7)",
        "command line: input: a set cannot stand in a spec (from --set input={1})",
    ]


def test_keys_that_cannot_be_set(toys: Path, write: WriteFile) -> None:
    file = write("a.toml", SPEC)
    assert problems(file, {"extends": "b.toml"}) == [
        "command line: extends: a spec file states what it extends; it cannot be set (from --set extends=b.toml)"
    ]
    assert problems(file, {"a b": 1}) == ["command line: 'a b' is not a dotted key as TOML writes them"]


def test_where_paths_resolve(toys: Path, write: WriteFile, tmp_path: Path) -> None:
    write(
        "base/base.toml",
        '[dataset]\nroot = "in_base"\n[models.fcos]\nfiles = ["one", "two"]\n[experiment]\noutput = "o"\n',
    )
    file = write("specs/a.toml", SPEC.replace("toys.py", "../toys.py"))
    text = 'extends = "../base/base.toml"\n' + file.read_text(encoding="utf-8") + '\nfile = "in_spec"\n'
    file.write_text(text, encoding="utf-8")

    spec = load_spec(file)
    options = spec.models["fcos"].options.model_dump()
    assert spec.dataset.options.model_dump()["root"] == tmp_path / "base" / "in_base"
    assert spec.experiment.output == tmp_path / "base" / "o"
    assert options["files"] == [tmp_path / "base" / "one", tmp_path / "base" / "two"]
    assert options["file"] == tmp_path / "specs" / "in_spec"

    elsewhere = tmp_path / "elsewhere"
    over = load_spec(
        file,
        set={"dataset.root": "./here", "models.fcos.files": ["x"], "experiment.output": "p"},
        working_folder=elsewhere,
    )
    assert over.dataset.options.model_dump()["root"] == elsewhere / "here"
    assert over.models["fcos"].options.model_dump()["files"] == [elsewhere / "x"]
    assert over.experiment.output == elsewhere / "p"


def test_defaults_that_are_paths_resolve_beside_the_spec(toys: Path, write: WriteFile, tmp_path: Path) -> None:
    write("base/base.toml", '[dataset]\nuse = "penn_fudan"\n[models.fcos]\n[experiment]\nname = "n"\n')
    spec = load_spec(write("specs/a.toml", 'extends = "../base/base.toml"\nplugins = ["../toys.py"]\n'))
    assert spec.dataset.options.model_dump()["root"] == tmp_path / "specs" / "data"
    assert spec.experiment.output == tmp_path / "specs" / "runs"
