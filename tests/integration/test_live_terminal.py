"""`detkit run` on a real pseudo-terminal: what is on the screen, and how it is left after Ctrl-C and at the end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from integration.experiments import squares_spec, write_spec

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals on Windows", allow_module_level=True)

from integration.terminal import Screen, Terminal

#: What the shell gives to programs that draw.
ENVIRONMENT = {**os.environ, "TERM": "xterm-256color"} | dict.fromkeys(("NO_COLOR", "CI"), "")


def start(folder: Path, *, width: int, height: int = 24, epochs: int, **environment: str) -> Terminal:
    models = {"centre_point": {}, "second": {"use": "centre_point"}}
    spec = squares_spec(folder / "runs", train={"epochs": epochs}, models=models)
    file = write_spec(folder / "spec.toml", spec)
    command = [sys.executable, "-m", "detkit", "run", str(file)]
    return Terminal(command, {**ENVIRONMENT, **environment}, width=width, height=height)


def shown(output: str) -> Screen:
    screen = Screen()
    screen.feed(output)
    return screen


def test_ctrl_c_leaves_the_terminal_clean(tmp_path: Path) -> None:
    terminal = start(tmp_path, width=60, epochs=2000)
    try:
        terminal.read_until(lambda output: "epoch 3/2000" in output, 120)
        during = shown(terminal.output)
        assert not during.cursor
        terminal.send("\x03")
        assert terminal.wait(60) == 130
        modes = terminal.modes
    finally:
        terminal.close()
    screen = shown(terminal.output)
    assert screen.cursor
    assert modes == terminal.before
    assert "0 of 2 runs done" in during.text  # the table was there
    for gone in ("runs done", "best (epoch)", "training  "):
        assert gone not in screen.text
    lines = screen.text.split()
    assert " ".join(lines).endswith(f"stopped; go on with: detkit run {tmp_path}/runs/small/spec.toml --resume")
    assert "warning: stopping after this step" in screen.text
    assert all(len(line.rstrip()) <= 60 for line in during.text.splitlines())


def test_at_the_end_the_table_gives_way_to_the_results(tmp_path: Path) -> None:
    terminal = start(tmp_path, width=100, epochs=2)
    try:
        assert terminal.wait(120) == 0
    finally:
        terminal.close()
    screen = shown(terminal.output)
    assert screen.cursor
    assert "runs done" in terminal.output
    assert "runs done" not in screen.text
    told = screen.text
    for part in ("[1/2] centre_point-seed1", "[2/2] second-seed1", "second-seed1 finished in ", "record: ", "next: "):
        assert part in told
    # Four lines at most under the table and its notes.
    closing = told[told.index("validation images: ") :].strip().splitlines()[1:]
    assert (
        3 <= len([line for line in closing if line.startswith(("record", "report", "next", "second", "centre"))]) <= 4
    )


def test_an_ascii_terminal_gets_ascii(tmp_path: Path) -> None:
    terminal = start(tmp_path, width=80, epochs=3, PYTHONIOENCODING="ascii:strict", PYTHONUTF8="0", LC_ALL="C")
    try:
        assert terminal.wait(120) == 0
    finally:
        terminal.close()
    during = terminal.output[: terminal.output.rindex("runs done")]
    assert during.isascii()
    assert "####" in during
