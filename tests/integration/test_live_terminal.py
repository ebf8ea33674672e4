"""The table on a real pseudo-terminal: what is on the screen, and how it is left after Ctrl-C and at the end."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from integration.experiments import squares_spec, write_spec

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals on Windows", allow_module_level=True)

from integration.terminal import Screen, Terminal

ENVIRONMENT = {**os.environ, "TERM": "xterm-256color"} | dict.fromkeys(("NO_COLOR", "CI", "COLUMNS", "LINES"), "")

#: A display as `detkit run` drives it, without any training: it goes on until Ctrl-C.
DRIVER = """
import signal, sys, time
from pathlib import Path
from detkit.cli.live import ConsoleDisplay
from detkit.errors import Interrupted
from unit.written_records import begin, train, write_experiment

# As `detkit run` does: a shell that starts the tests in its background has them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
record = write_experiment(Path(sys.argv[1]) / "two", [("fcos", seed) for seed in range(int(sys.argv[2]))])
display = ConsoleDisplay()
run = record.runs[len(record.runs) // 2]
try:
    display.experiment_started(record, record.runs)
    display.run_started(begin(run), 1, len(record.runs), resumed=False)
    train(run, [0.1, 0.3])
    display.run_epochs(run, run.epochs())
    display.warning("the first warning, which must stay")
    for done in range(10_000):
        progress = {"phase": "training", "epoch": 3, "epochs": 3, "done": done, "total": 10_000, "loss": 0.5}
        display.run_progress(run, {**progress, "lr": 0.01, "images_per_s": 20.0})
        time.sleep(0.01)
except KeyboardInterrupt:
    display.warning("the last warning, which must stay")
    sys.exit(130)
finally:
    display.run_ended(run)
    display.experiment_ended()
"""


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Those that a test has opened; closed at its end."""
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def shown(output: str) -> Screen:
    screen = Screen()
    screen.feed(output)
    return screen


def drive(
    folder: Path, terminals: list[Terminal], *, runs: int = 2, width: int = 80, height: int = 24, **environment: str
) -> Terminal:
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    more = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment}
    command = [sys.executable, "-c", DRIVER, str(folder), str(runs)]
    terminals.append(Terminal(command, {**ENVIRONMENT, **more}, width=width, height=height))
    return terminals[-1]


@pytest.mark.parametrize(("width", "height"), [(60, 24), (100, 24), (40, 8)])
def test_ctrl_c_leaves_the_terminal_clean(tmp_path: Path, terminals: list[Terminal], width: int, height: int) -> None:
    terminal = drive(tmp_path, terminals, width=width, height=height)
    terminal.read_until(lambda output: "epoch 3/3" in shown(output).text and "0.300 (2)" in output, 30)
    during = shown(terminal.output)
    terminal.send("\x03")
    assert terminal.wait(30) == 130
    after = shown(terminal.output)
    assert not during.cursor
    assert "of 2 runs done" in during.text
    assert "0.300 (2)" in during.text
    assert all(len(line) <= width for line in during.text.splitlines())
    assert after.cursor
    assert terminal.modes == terminal.before
    for gone in ("runs done", "best (epoch)", "epoch 3/3"):
        assert gone not in after.text
    kept = " ".join(after.text.split())  # a narrow terminal breaks the lines
    assert "warning: the first warning, which must stay" in kept
    assert "warning: the last warning, which must stay" in kept


def test_more_runs_than_lines(tmp_path: Path, terminals: list[Terminal]) -> None:
    terminal = drive(tmp_path, terminals, runs=40, height=10)
    terminal.read_until(lambda output: "fcos-seed20  epoch 3/3" in shown(output).text, 30)
    during = shown(terminal.output).text
    terminal.send("\x03")
    terminal.wait(30)
    for part in ("… above: 19 waiting", "fcos-seed19  waiting", "fcos-seed21  waiting", "… below: 18 waiting"):
        assert part in during
    assert "runs done" not in shown(terminal.output).text


def test_an_ascii_terminal_gets_ascii(tmp_path: Path, terminals: list[Terminal]) -> None:
    terminal = drive(tmp_path, terminals, PYTHONIOENCODING="ascii:strict")
    terminal.read_until(lambda output: "#" in output and "0.300 (2)" in output, 60)
    terminal.send("\x03")
    terminal.wait(30)
    assert terminal.output.isascii()
    assert "Traceback" not in terminal.output


def test_a_dumb_terminal_gets_lines(tmp_path: Path, terminals: list[Terminal]) -> None:
    terminal = drive(tmp_path, terminals, TERM="dumb")
    terminal.read_until(lambda output: "epoch 2/3 done" in output, 60)
    terminal.send("\x03")
    terminal.wait(30)
    assert "\x1b[" not in terminal.output


def start(folder: Path, terminals: list[Terminal], *, epochs: int, keys: Sequence[str] = ("centre_point",)) -> Terminal:
    models = {key: {"use": "centre_point"} for key in keys}
    # A model of the example under another key, too: the plugin's own is always there.
    spec = squares_spec(folder / "runs", train={"epochs": epochs}, models=models)
    command = [sys.executable, "-m", "detkit", "run", str(write_spec(folder / "spec.toml", spec))]
    terminals.append(Terminal(command, ENVIRONMENT, width=100, height=24))
    return terminals[-1]


@pytest.mark.slow
def test_a_run_that_is_stopped_leaves_the_terminal_clean(tmp_path: Path, terminals: list[Terminal]) -> None:
    terminal = start(tmp_path, terminals, epochs=2000)
    # Not every epoch is painted: some take less than the time between two pictures.
    terminal.read_until(lambda output: re.search(r"epoch (?!1/)\d+/2000", output) is not None, 300)
    terminal.send("\x03")
    assert terminal.wait(120) == 130
    screen = shown(terminal.output)
    assert screen.cursor
    assert terminal.modes == terminal.before
    assert "runs done" in terminal.output
    assert "runs done" not in screen.text
    told = " ".join(screen.text.split())
    assert "warning: stopping after this step" in told
    assert told.endswith(f"stopped; go on with: detkit run {tmp_path}/runs/small/spec.toml --resume")


@pytest.mark.slow
def test_at_the_end_the_table_gives_way_to_the_results(tmp_path: Path, terminals: list[Terminal]) -> None:
    terminal = start(tmp_path, terminals, epochs=2, keys=("centre_point", "second"))
    assert terminal.wait(400) == 0
    screen = shown(terminal.output)
    assert screen.cursor
    assert "runs done" in terminal.output
    told = screen.text
    assert "runs done" not in told
    for part in ("[1/2] centre_point-seed1", "[2/2] second-seed1", "second-seed1 finished in ", "record: ", "next: "):
        assert part in told
