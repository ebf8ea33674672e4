"""The tutorial on plugins, done as a user would: its commands in an empty folder, and nothing else.

`python` and `detkit` are those of this environment. Installing a package fetches nothing: what it needs is there.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial" / "first-plugin.md"
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def typed() -> list[str]:
    """What the page tells people to type, in order."""
    text = PAGE.read_text(encoding="utf-8")
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


class Shell:
    """Remembers its folder, and where packages were installed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.target = folder, folder / "site"
        self.said: dict[str, str] = {}

    def type(self, line: str) -> None:
        """Run one line; one that fails is the page's fault."""
        words = shlex.split(line)
        if words[0] == "cd":
            self.folder = self.folder / words[1]
            return
        if words[0] == "mkdir":
            (self.folder / words[1]).mkdir()
            return
        if words[:4] == ["python", "-m", "pip", "install"]:
            package = words[-1].partition("[")[0]
            options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target", str(self.target))
            words = ["python", "-m", "pip", "install", *options, package]
        command = [sys.executable, *(words[1:] if words[0] == "python" else ["-m", *words])]
        paths = [str(self.target), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
        ended = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        self.said[line] = ended.stdout + ended.stderr
        assert ended.returncode == 0, f"$ {line}\n{self.said[line]}"


def test_the_page_has_commands_of_known_programs() -> None:
    lines = typed()
    assert len(lines) > 10
    assert {line.split()[0] for line in lines} == {"mkdir", "cd", "detkit", "python"}


def test_what_the_first_command_says_is_on_the_page(tmp_path: Path) -> None:
    """And the page's claim about its length."""
    shell = Shell(tmp_path)
    for line in typed()[:3]:
        shell.type(line)
    text = PAGE.read_text(encoding="utf-8")
    said = shell.said[typed()[2]].replace(str(tmp_path) + "/", "")
    assert f"```text\n{chr(10).join(said.splitlines()[:4])}\n```" in text
    (lines,) = re.findall(r"a whole detector in (\d+) lines", text)
    assert abs(int(lines) - len((shell.folder / "my_grid.py").read_text().splitlines())) <= 5
    for name in re.findall(r"`((?:Grid|build|COMPONENT|detkit_)\w*)`", text):
        assert name in (shell.folder / "my_grid.py").read_text()


@pytest.mark.slow  # it trains three times
def test_the_tutorial_works_from_an_empty_folder(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    for line in typed():
        shell.type(line)
    said = shell.said
    assert " passed" in said["python -m pytest test_my_grid.py"]
    assert " passed" in said["python -m pytest our_grid"]
    assert "my_grid-seed1  finished" in said["detkit run experiment.toml"]
    assert "fcos" in said["detkit run experiment.toml"]
    assert "our_grid-seed1  finished" in said["detkit run our_grid/experiment.toml"]
    assert (tmp_path / "my-detector/runs/wider/my_grid-seed1").is_dir()
