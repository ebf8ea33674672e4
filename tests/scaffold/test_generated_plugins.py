"""What `detkit new plugin` writes: its tests pass, tools accept it, runs use it, packages install."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from detkit.cli.main import run
from detkit.cli.new.plugin import KINDS

ROOT = Path(__file__).parents[2]
#: As a user may have it, to whom detkit is a library.
RUFF = """
line-length = 120
target-version = "py311"
[lint]
select = ["E", "F", "W", "I", "B", "UP", "SIM", "C4", "RUF", "PT", "PIE", "RET", "PGH", "BLE", "T20"]
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each kind, which holds the plugin kind_of_mine; and net_of_mine, a package."""
    folder = tmp_path_factory.mktemp("plugins")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for kind in KINDS:
            assert run(["new", "plugin", f"{kind}_of_mine", "--kind", kind, "--to", kind]) == 0
        for kind in ("model", "command"):
            assert run(["new", "plugin", f"packed_{kind}", "--kind", kind, "--package"]) == 0
    return folder


def done(
    *command: str, folder: Path, add: Mapping[str, str] | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """A program of Python's that ended as expected, from that folder, as a user would start it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(add or {})}
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended


# --- their own tests -------------------------------------------------------------------------------------------------


def test_the_tests_of_all_kinds_pass_at_once(plugins: Path) -> None:
    """In one process, for speed; and of the one package that is not the same file as the single plugin."""
    files = [f"{kind}/test_{kind}_of_mine.py" for kind in KINDS] + ["packed_model/tests/test_packed_model.py"]
    paths = ("--rootdir", str(plugins), "-o", f"pythonpath={plugins}/packed_model/src")
    ended = done("pytest", "-q", "-p", "no:cacheprovider", "-rA", *paths, *files, folder=plugins)
    for file in files:
        assert ended.stdout.count(f"PASSED {file}") > 3, f"{file}: {ended.stdout}"
    assert "AdviceNotFollowed" not in ended.stdout, "a template is an example: it follows all advice"


@pytest.mark.slow  # a process of its own waits for torch
def test_the_tests_of_a_package_pass_before_it_is_installed(plugins: Path) -> None:
    ended = done("pytest", "-q", "-p", "no:cacheprovider", folder=plugins / "packed_model")
    assert " passed" in ended.stdout


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("dataset", "self.class_names.index(row.name) + 1", "self.class_names.index(row.name)"),
        ("model", "wanted[index, row, column, labels[number] - 1] = 1", "pass"),
        ("step", "return 1.0 + share * (", "return 2.0 + share * ("),
        ("metric", "found / objects}", "found}"),
        ("logger", '"train/loss" not in values', '"train/loss" in values'),
        ("callback", "self._reached + 1 if good else 0", "self._reached + 1"),
        ("transform", "painted = image.clone()", "painted = image"),
        ("searcher", "draw.shuffle(slices)", "slices = [0] * count"),
        ("command", "sum(epoch", "max(epoch"),
    ],
)
@pytest.mark.slow  # each waits for torch in a process of its own
def test_its_tests_see_a_fault(plugins: Path, kind: str, right: str, wrong: str, tmp_path: Path) -> None:
    source = (plugins / kind / f"{kind}_of_mine.py").read_text()
    assert source.count(right) == 1
    (tmp_path / f"{kind}_of_mine.py").write_text(source.replace(right, wrong))
    (tmp_path / "test_it.py").write_text((plugins / kind / f"test_{kind}_of_mine.py").read_text())
    done("pytest", "-q", "-p", "no:cacheprovider", folder=tmp_path, code=1)


# --- tools -----------------------------------------------------------------------------------------------------------


def test_ruff_accepts_all_of_it(plugins: Path, tmp_path: Path) -> None:
    config = tmp_path / "ruff.toml"
    config.write_text(RUFF)
    for folder in (*KINDS, "packed_model", "packed_command"):
        for command in (("check",), ("format", "--check")):
            done("ruff", *command, "--no-cache", "--config", str(config), ".", folder=plugins / folder)


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_name_breaks_no_line(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["new", "plugin", "a_name_as_long_as_a_name_may_be_", "--kind", kind]) == 2
    assert run(["new", "plugin", "a_name_as_long_as_a_name_may_be1", "--kind", kind]) == 0
    lines = [line for file in tmp_path.glob("*.py") for line in file.read_text().splitlines()]
    assert max(map(len, lines)) <= 120


@pytest.mark.slow  # mypy reads torch
@pytest.mark.timeout(900)
def test_mypy_accepts_all_of_it(plugins: Path, tmp_path: Path) -> None:
    """Strictly, each folder as one that a user is in: test and plugin together."""
    sources = [f"{kind}/{stem}{kind}_of_mine.py" for kind in KINDS for stem in ("", "test_")]
    config = tmp_path / "mypy.ini"
    config.write_text(
        "[mypy]\nstrict = true\nplugins = pydantic.mypy\nexplicit_package_bases = true\n"
        f"mypy_path = {':'.join(str(plugins / kind) for kind in KINDS)}:{plugins / 'packed_model/src'}\n"
        "[mypy-torchvision.*]\nignore_missing_imports = true\n"
    )
    packed = ["packed_model/src/packed_model/__init__.py", "packed_model/src/packed_model/network.py"]
    ended = done("mypy", "--config-file", str(config), *sources, *packed, folder=plugins)
    assert "no issues found" in ended.stdout


@pytest.mark.slow  # mypy reads torch
@pytest.mark.timeout(900)
def test_mypy_accepts_a_package_under_its_own_settings(plugins: Path) -> None:
    ended = done("mypy", "--explicit-package-bases", folder=plugins / "packed_model")
    assert "no issues found in 3 source files" in ended.stdout


# --- runs ------------------------------------------------------------------------------------------------------------


def test_a_run_uses_the_model_and_the_metric(plugins: Path) -> None:
    """Both in one run, of the specs' own tables, with fewer images."""
    model = (plugins / "model/experiment.toml").read_text().replace("[models.fcos]\nbackbone", "[unused]\nbackbone")
    start, rest = model.split("[unused]\n", 1)
    spec = start + "[metrics.metric_of_mine]\n" + rest.split("\n", 1)[1]
    spec = spec.replace('["model_of_mine.py"]', '["model_of_mine.py", "../metric/metric_of_mine.py"]')
    spec = spec.replace("[loggers.console]", '[loggers.console]\nmetrics = ["metric_of_mine/*"]')
    (plugins / "model/both.toml").write_text(spec)
    settings = ("dataset.images=12", "dataset.split.validation=4", "train.epochs=1", "experiment.resamples=0")
    ended = done("detkit", "run", "both.toml", *(f"--set={item}" for item in settings), folder=plugins / "model")
    assert "model_of_mine-seed1  epoch 1/1" in ended.stdout
    assert "metric_of_mine/iou" in ended.stdout


#: What the console shows of the plugin.
SHOWN = {
    "dataset": "dataset_of_mine: 24 images of box, disc",
    "model": "model_of_mine-seed1  epoch 3/3",
    "step": "step_of_mine: bbox_regression x 2",
    "metric": "metric_of_mine/iou 0.",
    "logger": "logger_of_mine: writes into",
    "callback": "fcos-seed1  finished: callback_of_mine: train/epoch_loss is ",
    "transform": "transform_of_mine: paints over part of 80% of the training images",
    "searcher": "search of fcos by searcher_of_mine: 3 trials",
    "command": "fcos-seed1  epoch 2/2",
}


@pytest.mark.slow  # each trains
@pytest.mark.parametrize("kind", KINDS)
def test_the_run_of_a_plugin_shows_that_it_is_used(plugins: Path, kind: str) -> None:
    ended = done("detkit", "run", "experiment.toml", folder=plugins / kind)
    assert SHOWN[kind] in ended.stdout + ended.stderr
    assert "warning" not in ended.stderr
    if kind == "command":
        said = done("command_of_mine", f"runs/{kind}_of_mine", folder=plugins / kind)
        assert "command_of_mine: fcos-seed1 (finished): " in said.stdout


# --- packages --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(plugins: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which both packages are installed; nothing is fetched."""
    target = tmp_path_factory.mktemp("installed")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check")
    packages = (str(plugins / "packed_model"), str(plugins / "packed_command"))
    done("pip", "install", *options, "--target", str(target), *packages, folder=plugins)
    paths = [str(target), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def test_an_installed_package_is_found(installed: dict[str, str], tmp_path: Path) -> None:
    listed = json.loads(done("detkit", "plugins", "--json", folder=tmp_path, add=installed).stdout)
    found = {plugin["name"]: plugin for plugin in listed}
    model, command = found["packed_model"], found["packed_command"]
    assert (model["state"], model["distribution"], model["version"]) == ("loaded", "detkit-packed-model", "0.1.0")
    assert model["offers"] == {"model": ["packed_model"]}
    assert command["offers"] == {"command": ["packed_command"]}


def test_an_installed_package_is_checked_and_typed(plugins: Path, installed: dict[str, str]) -> None:
    ended = done("detkit", "check", "packed_model/experiment.toml", folder=plugins, add=installed)
    assert ended.stdout.startswith("ok: 2 models")
    said = done("detkit", "packed_command", "--help", folder=plugins, add=installed).stdout
    assert "what each run of the recorded EXPERIMENT took" in " ".join(said.split())
    assert "packed_command" in done("detkit", "--help", folder=plugins, add=installed).stdout


def test_an_installed_name_is_taken(plugins: Path, installed: dict[str, str], tmp_path: Path) -> None:
    ended = done("detkit", "new", "plugin", "packed_model", "--kind", "model", folder=tmp_path, add=installed, code=2)
    assert (
        "there is a model 'packed_model' already, of plugin 'packed_model' (detkit-packed-model 0.1.0)" in ended.stderr
    )


def test_the_wheel_of_detkit_would_hold_every_template() -> None:
    """Hatch leaves out what git ignores; the packaging tests look into the wheel itself."""
    ignored = subprocess.run(
        ["git", "status", "--ignored", "--porcelain", "src/detkit/scaffold"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in ignored.stdout.splitlines() if line.startswith("!!") and "__pycache__" not in line] == []
