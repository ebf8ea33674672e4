"""The one distribution: what pyproject.toml says, what is installed, what lies in plugins/, what a wheel holds."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import detkit
from detkit.plugins import ENTRY_POINT_GROUP, collect

ROOT = Path(__file__).parents[2]
GROUP_HEADER = f"[{ENTRY_POINT_GROUP}]"


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def entries(project: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = project["project"]["entry-points"][ENTRY_POINT_GROUP]
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with the installed hatchling: an isolated build would ask a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


# --- entry points ----------------------------------------------------------------------------------------------------


def test_every_folder_of_plugins_is_an_entry_point(entries: dict[str, str]) -> None:
    folders = {file.parent.name for file in (ROOT / "plugins").glob("*/__init__.py")}
    assert set(entries.values()) == folders


def test_an_entry_point_is_named_like_its_module(entries: dict[str, str]) -> None:
    assert {name: f"detkit_{name}" for name in entries} == entries


def test_the_installed_metadata_has_the_entry_points(entries: dict[str, str]) -> None:
    installed = {
        point.name: point.value
        for point in entry_points(group=ENTRY_POINT_GROUP)
        if point.dist is not None and point.dist.name == "detkit"
    }
    assert installed == entries, (
        "the editable install is older than pyproject.toml; run `make install`, or pip install --editable ."
    )


def test_every_bundled_plugin_loads(entries: dict[str, str]) -> None:
    plugins = {plugin.name: plugin for plugin in collect().plugins}
    assert {name: plugins[name].state for name in entries} == dict.fromkeys(entries, "loaded")


def test_the_version_is_stated_once(project: dict[str, Any]) -> None:
    assert project["project"]["version"] == detkit.__version__


# --- the wheel -------------------------------------------------------------------------------------------------------


def test_the_wheels_packages_are_detkit_and_the_plugins(project: dict[str, Any], entries: dict[str, str]) -> None:
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) == {"src/detkit", *(f"plugins/{module}" for module in entries.values())}


def test_the_wheel_has_these_packages_and_nothing_beside_them(names: set[str], entries: dict[str, str]) -> None:
    tops = {name.split("/", 1)[0] for name in names if ".dist-info/" not in name}
    assert tops == {"detkit", *entries.values()}


def test_the_wheel_has_every_source_file(names: set[str]) -> None:
    sources = {
        file.relative_to(folder).as_posix()
        for folder in (ROOT / "src", ROOT / "plugins")
        for file in folder.glob("*/**/*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert sources - names == set()


def test_every_package_of_the_wheel_is_typed(names: set[str], entries: dict[str, str]) -> None:
    assert {f"{package}/py.typed" for package in ("detkit", *entries.values())} <= names


def test_the_wheel_has_the_licence_and_the_digests(names: set[str]) -> None:
    info = f"detkit-{detkit.__version__}.dist-info"
    assert {f"{info}/licenses/LICENSE", "detkit_pennfudan/digests.txt"} <= names


def test_the_wheel_has_no_tests_and_no_images(names: set[str]) -> None:
    unwanted = (".png", ".jpg", ".jpeg", ".gif", ".zip", ".pt", ".pth", ".pyc")
    tests = ("test_", "conftest")
    assert [
        name for name in names if name.lower().endswith(unwanted) or name.rsplit("/", 1)[-1].startswith(tests)
    ] == []


def test_the_wheels_metadata(wheel: Path, project: dict[str, Any], entries: dict[str, str]) -> None:
    info = f"detkit-{detkit.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        points = archive.read(f"{info}/entry_points.txt").decode()
    assert metadata["License-Expression"] == "MIT"
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["project"]["optional-dependencies"])
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(required) == len(project["project"]["dependencies"])
    section = points.split(GROUP_HEADER, 1)[1].split("[", 1)[0]
    assert dict(line.split(" = ") for line in section.split("\n") if line) == entries


# --- examples --------------------------------------------------------------------------------------------------------

SPECS = sorted((ROOT / "examples").rglob("*.toml"))


#: Those of the example package name models that are there once it is installed: its own test checks them.
OWN = [s for s in SPECS if "plugin_as_package" not in s.parts]


@pytest.mark.parametrize("spec", OWN, ids=lambda s: s.name)
def test_an_example_is_a_valid_spec(spec: Path) -> None:
    command = [sys.executable, "-m", "detkit", "check", str(spec)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_examples_of_the_readme_exist() -> None:
    assert {"quickstart.toml", "penn_fudan.toml"} <= {spec.name for spec in SPECS}
