"""`detkit new plugin`: which names it takes, which files it writes and replaces, what it says."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from detkit.cli.main import COMMANDS, run
from detkit.cli.new.plugin import KINDS
from detkit.hookspecs import HOOK_API
from detkit.plugins import load_file
from detkit.scaffold.kinds import SCAFFOLDS
from detkit.scaffold.names import LONGEST, PATTERN, suggested
from detkit.scaffold.plugin import TEMPLATES, plugin_files

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def new(*arguments: str) -> int:
    return run(["new", "plugin", *arguments])


def refusal(capsys: Capture, *arguments: str) -> str:
    """What is printed where the command refuses, and leaves nothing."""
    before = sorted(Path().rglob("*"))
    assert new(*arguments) == 2
    assert sorted(Path().rglob("*")) == before
    return capsys.readouterr().err


# --- files -----------------------------------------------------------------------------------------------------------


def test_the_command_knows_every_scaffold() -> None:
    assert set(KINDS) == set(SCAFFOLDS)
    assert {folder.name for folder in TEMPLATES.iterdir() if folder.is_dir()} == {*KINDS, "package"}


def test_a_plugin_is_three_files_and_the_text_says_what_comes_next(tmp_path: Path, capsys: Capture) -> None:
    assert new("my_loss", "--kind", "step") == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["experiment.toml", "my_loss.py", "test_my_loss.py"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        f"plugin my_loss, a training step: the model's own losses with weights. Written into {tmp_path}:"
    )
    assert [line.split()[0] for line in lines[1:4]] == ["my_loss.py", "test_my_loss.py", "experiment.toml"]
    assert lines[-4:] == [
        "next:",
        "  python -m pytest test_my_loss.py",
        "  detkit check experiment.toml",
        "  detkit run experiment.toml",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_has_the_name_and_a_marked_place_and_nothing_to_do(kind: str) -> None:
    for package in (False, True):
        files = plugin_files("some_thing", SCAFFOLDS[kind], package=package)
        texts = {file.path: file.content.decode() for file in files if not file.path.startswith("data/")}
        assert not [path for path, text in texts.items() if "my_plugin" in text or "TODO" in text or "@" + "K" in text]
        code = [text for path, text in texts.items() if path.endswith(".py") and "test_" not in path]
        assert any("# YOUR " in text and " HERE" in text for text in code)
        (first,) = [text for path, text in texts.items() if path in ("some_thing.py", "src/some_thing/__init__.py")]
        assert f"\ndetkit_api = {HOOK_API} " in first
        assert '\nrequires_detkit = ">=0.1" ' in first


@pytest.mark.parametrize("kind", KINDS)
def test_a_generated_spec_is_valid(kind: str, capsys: Capture) -> None:
    assert new("some_thing", "--kind", kind) == 0
    assert run(["check", "experiment.toml"]) == 0, capsys.readouterr()
    stated = tomllib.loads(Path("experiment.toml").read_text())
    # A file's command does nothing in a run.
    assert stated.get("plugins") == (None if kind == "command" else ["some_thing.py"])


def test_a_package_has_what_a_package_needs(tmp_path: Path, capsys: Capture) -> None:
    assert new("my_net", "--kind", "model", "--package") == 0
    names = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()}
    assert names == {
        f"my_net/{name}"
        for name in (
            ".github/workflows/tests.yml",
            ".gitignore",
            "README.md",
            "experiment.toml",
            "pyproject.toml",
            "src/my_net/__init__.py",
            "src/my_net/network.py",
            "src/my_net/py.typed",
            "tests/test_my_net.py",
        )
    }
    project = tomllib.loads(Path("my_net/pyproject.toml").read_text())
    assert project["project"]["name"] == "detkit-my-net"
    assert project["project"]["entry-points"]["detkit.plugins"] == {"my_net": "my_net"}
    assert "plugins" not in tomllib.loads(Path("my_net/experiment.toml").read_text())
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "  python -m pip install -e './my_net[test]'",
        "  python -m pytest my_net",
        "  detkit run my_net/experiment.toml",
    ]


def test_the_package_of_every_other_kind_is_the_file() -> None:
    for scaffold in SCAFFOLDS.values():
        if scaffold.word == "model":
            continue
        single = {file.path: file.content for file in plugin_files("x_y", scaffold, package=False)}
        package = {file.path: file.content for file in plugin_files("x_y", scaffold, package=True)}
        assert package["src/x_y/__init__.py"] == single["x_y.py"]
        assert package["tests/test_x_y.py"] == single["test_x_y.py"]
        assert b"x_y.py" in single["experiment.toml"]
        assert b"x_y.py" not in package["experiment.toml"]


def test_the_models_package_is_the_file_in_two() -> None:
    """The options without torch, the network with it; both as in the single file."""

    def parts(template: str) -> dict[str, str]:
        tree = ast.parse((TEMPLATES / "model" / template).read_text())
        named = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
        return {node.name: ast.unparse(node) for node in named}

    whole, light, network = parts("plugin.py"), parts("package.py"), parts("network.py")
    late = light["build"].replace("    from my_plugin.network import GridDetector\n", "")
    assert {**light, "build": late, **network} == whole
    assert "torch" not in {
        name.split(".")[0]
        for node in ast.walk(ast.parse((TEMPLATES / "model" / "package.py").read_text()))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
    }


def test_a_folder_with_spaces(capsys: Capture) -> None:
    assert new("my_loss", "--kind", "step", "--to", "a b/c") == 0
    assert Path("a b/c/my_loss.py").exists()
    assert "  detkit run 'a b/c/experiment.toml'" in capsys.readouterr().out.splitlines()


def test_as_json(tmp_path: Path, capsys: Capture) -> None:
    assert new("my_data", "--kind", "dataset", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["name"], said["kind"], said["folder"]) == ("my_data", "dataset", str(tmp_path))
    assert {file["path"] for file in said["files"]} == {
        file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()
    }
    assert said["next"][-1] == "detkit run experiment.toml"


def test_a_single_command_says_that_it_is_not_found(capsys: Capture) -> None:
    assert new("how_long", "--kind", "command") == 0
    said = capsys.readouterr().out
    assert "finds commands in installed packages only: --package" in said
    assert "  python how_long.py runs/how_long" in said


# --- old files -------------------------------------------------------------------------------------------------------


def test_nothing_is_overwritten(capsys: Capture) -> None:
    Path("experiment.toml").write_text("mine")
    said = refusal(capsys, "my_loss", "--kind", "step")
    assert "experiment.toml is there already, and nothing was written" in said
    assert "--to" in said
    assert "--force" in said
    assert Path("experiment.toml").read_text() == "mine"


def test_force_says_what_it_replaced(capsys: Capture) -> None:
    Path("experiment.toml").write_text("mine")
    assert new("my_loss", "--kind", "step", "--force") == 0
    said = capsys.readouterr().out
    assert "experiment.toml  a small run that uses it (replaced)" in said
    assert said.count("(replaced)") == 1
    assert "my_loss" in Path("experiment.toml").read_text()
    assert new("my_loss", "--kind", "metric", "--force", "--json") == 0  # its own module is not in its way
    assert all(file["replaced"] for file in json.loads(capsys.readouterr().out)["files"])


def test_a_folder_is_never_replaced(capsys: Capture) -> None:
    Path("experiment.toml").mkdir()
    assert "experiment.toml is a folder" in refusal(capsys, "my_loss", "--kind", "step", "--force")


def test_a_file_in_the_way_of_the_folder(capsys: Capture) -> None:
    Path("here").touch()
    assert "cannot be written: " in refusal(capsys, "my_loss", "--kind", "step", "--to", "here")


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("My-Detector 2", "small letters, digits and single underscores, as my_detector_2"),
        ("MyNet", "as my_net"),
        ("2stage", "as my_plugin_2stage"),
        ("../../etc/passwd", "as etc_passwd"),
        ("a/b", "as a_b"),
        ("a.b", "as a_b"),
        ("", "as my_plugin"),
        ("größe", "as gr_e"),
        ("_hidden", "as hidden"),
        ("__init__", "as init"),
        ("a__b", "as a_b"),
        ("x\n", "as x"),
        ("';rm -rf", "as rm_rf"),
        ("a" * (LONGEST + 1), "at most 32"),
        ("lambda", "a word of Python's own"),
        ("match", "a word of Python's own; as match_metric it would do"),
        ("conftest", "pytest would take"),
        ("test_me", "pytest would take"),
        ("train", "a key of specs that belongs to detkit"),
        ("coco", "there is a metric 'coco' already, of plugin 'coco' (detkit"),
        ("json", "a module of Python itself"),
        ("click", "a module 'click' can be imported already"),
        ("detkit", "a module 'detkit' can be imported already"),
        ("torch", "a module 'torch' can be imported already"),
    ],
)
def test_a_name_that_would_not_work_is_refused(name: str, complaint: str, capsys: Capture) -> None:
    assert complaint in refusal(capsys, "--kind", "metric", "--", name)


@pytest.mark.parametrize("name", ["My-Detector 2", "2stage", "", "größe", "a" * 99, "---", "X" * 40 + "_" * 9])
def test_what_is_suggested_has_the_form(name: str) -> None:
    assert PATTERN.fullmatch(suggested(name))
    assert len(suggested(name)) <= LONGEST


def test_a_name_of_another_kind_is_free() -> None:
    assert new("fcos", "--kind", "metric") == 0


def test_detkits_own_commands_are_taken(capsys: Capture) -> None:
    for name in COMMANDS:
        if name.isidentifier():
            said = refusal(capsys, name, "--kind", "command")
            assert "a command" in said or "Python" in said


def test_a_module_beside_the_new_one_is_in_the_way(tmp_path: Path, capsys: Capture, monkeypatch: Any) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "helpers_of_mine.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    said = refusal(capsys, "helpers_of_mine", "--kind", "metric", "--to", "here")
    assert f"({tmp_path}/elsewhere/helpers_of_mine.py)" in said


def test_a_folder_of_the_name_is_not_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the folder of somebody's images: it is no module, though Python can import it."""
    (tmp_path / "elsewhere" / "cells").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    assert new("cells", "--kind", "dataset", "--to", "here") == 0


def test_a_kind_that_there_is_not(capsys: Capture) -> None:
    assert "'models' is not one of 'dataset', 'model'" in refusal(capsys, "my_net", "--kind", "models")


def test_the_kind_must_be_said(capsys: Capture) -> None:
    assert "Missing option '--kind'" in refusal(capsys, "my_net")


# --- speed -----------------------------------------------------------------------------------------------------------


def test_neither_the_command_nor_a_package_imports_torch(tmp_path: Path) -> None:
    """Of packages `detkit --help` reads the module: it must not wait for torch."""
    code = (
        "import sys\nfrom detkit.cli.main import run\n"
        "codes = [run(['new', 'plugin', f'my_{kind}', '--kind', kind, '--package']) for kind in sys.argv[1:]]\n"
        "sys.path += [f'my_{kind}/src' for kind in sys.argv[1:]]\n"
        "for kind in sys.argv[1:]: __import__(f'my_{kind}')\n"
        "print(codes, [name for name in ('torch', 'torchvision') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *KINDS], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == f"{[0] * len(KINDS)} []"


# --- drawn data ------------------------------------------------------------------------------------------------------


def test_the_drawn_data_is_the_same_each_time_and_no_image_comes_twice() -> None:
    first, second = (plugin_files("my_data", SCAFFOLDS["dataset"], package=False) for _ in range(2))
    assert [file.content for file in first] == [file.content for file in second]
    images = [file.content for file in first if file.path.endswith(".png")]
    assert len(set(images)) == len(images) == 24


def test_the_drawn_data_is_read_by_the_plugin(capsys: Capture) -> None:
    assert new("my_data", "--kind", "dataset") == 0
    module = load_file(Path("my_data.py").resolve())
    from detkit.components import BuildContext

    dataset = module.build(module.TableOptions(root=Path("data").resolve()), BuildContext())
    assert dataset.class_names == ("box", "disc")
    assert min(len(dataset.info(index).annotations) for index in range(len(dataset))) == 0
    for index in range(len(dataset)):  # a box is as tight as the picture: its edge pixels are of the object
        image, target = dataset[index]
        for x0, y0, x1, y1 in target["boxes"].int().tolist():
            inside = (image[:, y0:y1, x0:x1] != _background(image)).any(dim=0)
            assert bool(inside.any(dim=0).all())
            assert bool(inside.any(dim=1).all())


def _background(image: Any) -> Any:
    """The commonest colour, [3, 1, 1]."""
    colours, counts = image.flatten(1).unique(dim=1, return_counts=True)
    return colours[:, counts.argmax()][:, None, None]
