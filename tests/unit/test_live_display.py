"""The display: lines off a terminal, the table on one; what is left of the time; where nothing must be drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from detkit.cli.console import can_draw
from detkit.cli.live import ConsoleDisplay
from detkit.cli.live.course import ExperimentCourse, RunCourse
from detkit.cli.live.forecast import run_seconds_left, seconds_left
from detkit.cli.live.sparkline import UNICODE
from detkit.cli.live.table import frame
from detkit.cli.words import roughly
from detkit.record.files import write_json
from detkit.record.reader import ExperimentRecord, RunRecord
from unit.written_records import begin, fail, finish, train, write_experiment

Capture = pytest.CaptureFixture[str]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


# --- time left -------------------------------------------------------------------------------------------------------


def rows(count: int, train_s: float = 60.0, evaluation_s: float = 10.0) -> list[dict[str, Any]]:
    measured = {"train_s": train_s, "evaluation_s": evaluation_s}
    return [{"epoch": n, "step": n, "values": {}, "measured": measured} for n in range(1, count + 1)]


def course_of(*runs: RunCourse) -> ExperimentCourse:
    course = ExperimentCourse("x", 0.0, {})
    course.runs = {run.run_id: run for run in runs}
    return course


def test_nothing_is_known_before_there_is_data() -> None:
    course = course_of(RunCourse("a", "a", "running", 10, began=0.0), RunCourse("b", "b", "waiting", 10))
    assert seconds_left(course, 5.0) is None
    assert run_seconds_left(course, course.runs["a"], 5.0) is None


def test_of_a_run_in_its_first_epoch_the_pace_of_its_steps_is_known() -> None:
    run = RunCourse("a", "a", "running", 10, began=0.0, trained_from=5.0)
    run.progress = {"phase": "training", "epoch": 1, "epochs": 10, "done": 20, "total": 100}
    run.first_progress, run.latest_progress = (5.0, 0), (25.0, 20)
    # A step a second: 80 more, and 9 epochs of 100.
    assert run_seconds_left(course_of(run), run, 25.0) == pytest.approx(980.0)
    run.latest_progress = (6.0, 2)  # too few, too short
    assert run_seconds_left(course_of(run), run, 6.0) is None


def test_within_an_epoch() -> None:
    run = RunCourse("a", "a", "running", 10, rows(4), began=0.0, trained_from=0.0)
    run.progress = {"phase": "training", "epoch": 5, "epochs": 10, "done": 30, "total": 60}
    course = course_of(run)
    # Half of the training and the evaluation, 5 epochs, and one evaluation for the final figures.
    assert seconds_left(course, 300.0) == pytest.approx(30 + 10 + 5 * 70 + 10)
    run.progress = {"phase": "validation", "epoch": 5, "epochs": 10, "done": 30, "total": 60}
    assert seconds_left(course, 300.0) == pytest.approx(5 + 5 * 70 + 10)
    run.progress = {"phase": "validation", "epoch": 4, "epochs": 10, "done": 60, "total": 60}  # just recorded
    assert seconds_left(course, 300.0) == pytest.approx(6 * 70 + 10)


def test_runs_that_have_not_begun_are_like_those_of_their_model_or_else_like_the_others() -> None:
    done: Any = {"began": 0.0, "trained_from": 7.0, "last_epoch": 100.0, "ended": 120.0}
    fast = RunCourse("a1", "a", "finished", 2, rows(2, 60, 10), **done)
    slow = RunCourse("b1", "b", "finished", 2, rows(2, 200, 30), **done)
    same, other = RunCourse("a2", "a", "waiting", 2), RunCourse("c1", "c", "waiting", 2)
    course = course_of(fast, slow, same, other)
    assert run_seconds_left(course, same, 0.0) == pytest.approx(7 + 2 * 70 + 20)
    assert run_seconds_left(course, other, 0.0) == pytest.approx(7 + 2 * 150 + 20)
    assert seconds_left(course, 0.0) == pytest.approx(147 + 20 + 307 + 20)
    failed = RunCourse("d1", "d", "failed", 2)
    assert run_seconds_left(course_of(fast, failed), failed, 0.0) == 0.0


def test_trials_that_are_known_by_their_number_alone_count(record: ExperimentRecord) -> None:
    course = ExperimentCourse.of(record, record.runs[:1], 0.0)
    finish(train(begin(record.runs[0]), [0.1, 0.2, 0.3]), 0.3)
    course.run_started(record.runs[0], 0.0, after=2)
    course.run_ended(record.runs[0], 300.0)
    assert course.to_come == 2
    # Each as the first one: three epochs, and the final evaluation.
    assert seconds_left(course, 300.0) == pytest.approx(2 * (3 * 70 + 10))
    course.run_started(record.runs[1], 300.0, after=1)
    assert course.to_come == 1
    lines = frame(course, width=100, height=20, now=300.0, glyphs=UNICODE)
    assert "1 of 3 runs done" in lines[0].plain


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "5 s"),
        (41, "40 s"),
        (59, "1 min"),
        (203, "3 min 20 s"),
        (181, "3 min"),
        (2057, "34 min"),
        (27_600, "7 h 40 min"),
    ],
)
def test_rough_durations(seconds: float, words: str) -> None:
    assert roughly(seconds) == words


# --- lines -----------------------------------------------------------------------------------------------------------


def play(display: ConsoleDisplay, record: ExperimentRecord, wanted: Sequence[int] = (0, 1)) -> None:
    """Two runs: one that finishes, with a warning in the middle, and one that fails."""
    runs = [record.runs[number] for number in wanted]
    display.experiment_started(record, runs)
    first, second = runs
    display.run_started(begin(first), 1, 2, resumed=False)
    progress = {"epochs": 3, "total": 10, "loss": 0.5, "lr": 0.01, "images_per_s": 20.0, "eta_s": 1.0}
    display.run_progress(first, {**progress, "phase": "training", "epoch": 1, "done": 1})
    train(first, [0.1])
    display.run_epochs(first, first.epochs())
    display.warning(f"{first.run_id}: a logger has lost its server")
    display.run_line(first, "what a logger prints [1/2]")
    train_more(first, [0.3, 0.2])
    for end in (2, 3):
        display.run_epochs(first, first.epochs()[:end])
    finish(first, 0.3)
    display.run_ended(first)
    display.run_started(begin(second), 2, 2, resumed=False)
    fail(second, "out of memory; lower batch_size")
    display.run_ended(second)
    display.experiment_ended()


def train_more(run: Any, values: Sequence[float]) -> None:
    run.files.metrics.unlink()
    train(run, [0.1, *values])


@pytest.fixture
def record(tmp_path: Path) -> ExperimentRecord:
    return write_experiment(tmp_path / "two", [("fcos", 1), ("retinanet", 1)])


def test_off_a_terminal_there_is_a_line_an_epoch(record: ExperimentRecord, capsys: Capture) -> None:
    play(ConsoleDisplay(), record)
    captured = capsys.readouterr()
    assert captured.out == "what a logger prints [1/2]\n"
    lines = captured.err.splitlines()
    epochs = [line for line in lines if line.startswith("  epoch ")]
    assert [line.split("  about ")[0] for line in epochs] == [
        "  epoch 1/3 done  coco/ap 0.100 (the best so far)",
        "  epoch 2/3 done  coco/ap 0.300 (the best so far)",
        "  epoch 3/3 done  coco/ap 0.200 (best 0.300 in epoch 2)",
    ]
    # Two epochs of 70 s and the final evaluation; another run of three.
    assert epochs[0].endswith("  about 2 min 30 s left, 6 min 10 s for all runs")
    assert "\x1b" not in captured.err
    assert lines[0] == "[1/2] fcos-seed1"
    assert "warning: fcos-seed1: a logger has lost its server" in lines
    assert any(line.startswith("  fcos-seed1 finished in 0 s: coco/ap 0.300 [") for line in lines)
    assert lines[-1] == "  retinanet-seed1 failed after 0 s: out of memory; lower batch_size"


@pytest.mark.parametrize(
    ("table", "logged"),
    [
        ("[loggers.console]", True),
        ('[loggers.mine]\nuse = "console"', True),
        ("[loggers.console]\nenabled = false", False),
        ("[loggers.console]\nevery_epochs = 2", False),
        ("[loggers.csv]", False),
    ],
)
def test_what_the_console_logger_prints_is_not_said_again(
    table: str, logged: bool, record: ExperimentRecord, capsys: Capture
) -> None:
    record.files.spec.write_text(f"{record.files.spec.read_text()}\n{table}\n")
    play(ConsoleDisplay(), record)
    epochs = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  epoch ")]
    assert [line.split("  about ")[0] for line in epochs[1:]] == (
        ["  epoch 2/3  the best so far", "  epoch 3/3  best 0.300 in epoch 2"]
        if logged
        else [
            "  epoch 2/3 done  coco/ap 0.300 (the best so far)",
            "  epoch 3/3 done  coco/ap 0.200 (best 0.300 in epoch 2)",
        ]
    )
    assert "  about 2 min 30 s left" in epochs[0]


def test_with_json_nothing_else_goes_to_stdout(record: ExperimentRecord, capsys: Capture) -> None:
    play(ConsoleDisplay(lines_on_stdout=False), record)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "what a logger prints [1/2]" in captured.err


def test_a_stream_without_the_letters_gets_escapes(record: ExperimentRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    display = ConsoleDisplay()
    display.run_line(record.runs[0], "歩行者 0.5")
    assert raw.getvalue() == rb"\u6b69\u884c\u8005 0.5" + b"\n"


def test_a_long_epoch_gives_a_sign_of_life(
    record: ExperimentRecord, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    display, (run, _) = ConsoleDisplay(), record.runs
    display.experiment_started(record, record.runs)
    display.run_started(begin(run), 1, 2, resumed=False)
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    display._lines._said_at = now[0]
    progress = {
        "phase": "training",
        "epoch": 1,
        "epochs": 3,
        "total": 100,
        "loss": 0.5,
        "lr": 0.01,
        "images_per_s": 2.0,
    }
    for done in range(0, 70, 10):
        now[0] = 1000.0 + done
        display.run_progress(run, {**progress, "done": done})
    said = [line for line in capsys.readouterr().err.splitlines() if "epoch" in line]
    assert [line.split("/100")[0] for line in said] == ["  epoch 1/3  30", "  epoch 1/3  60"]
    assert "loss 0.5  lr 0.01  2.0 img/s  about 4 min 30 s left" in said[0]


def test_a_run_that_went_back_says_nothing_twice(record: ExperimentRecord, capsys: Capture) -> None:
    display, (run, _) = ConsoleDisplay(), record.runs
    display.experiment_started(record, record.runs)
    display.run_started(begin(run), 1, 2, resumed=False)
    train(run, [0.1, 0.2])
    display.run_epochs(run, run.epochs())
    display.run_epochs(run, run.epochs()[:1])
    display.run_epochs(run, run.epochs())
    assert [line.split(" done")[0] for line in capsys.readouterr().err.splitlines()[1:]] == ["  epoch 2/3"] * 2


# --- a terminal ------------------------------------------------------------------------------------------------------


def on_terminal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Terminal:
    made = Terminal()
    for name in ("NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", "COLUMNS": "100", "LINES": "30", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", made)
    monkeypatch.setattr("sys.stderr", made)
    return made


def test_on_a_terminal_there_is_a_table_and_nothing_said_is_lost(
    record: ExperimentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal(monkeypatch)
    play(ConsoleDisplay(), record)
    text = terminal.getvalue()
    for part in (
        "two",
        "0 of 2 runs done",
        "a logger has lost its server",
        "what a logger prints [1/2]",
        "finished in",
    ):
        assert part in text
    assert text.count("\x1b[?25l") == 1
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is shown again


def test_stdout_into_a_file_gets_the_lines_of_loggers(
    record: ExperimentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, file = on_terminal(monkeypatch), io.StringIO()
    monkeypatch.setattr("sys.stdout", file)
    play(ConsoleDisplay(), record)
    assert file.getvalue() == "what a logger prints [1/2]\n"
    assert "what a logger prints" not in terminal.getvalue()


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"CI": "true"}], ids=str)
def test_where_nothing_is_to_be_drawn_there_are_lines(
    environment: dict[str, str], record: ExperimentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal(monkeypatch, **environment)
    assert not can_draw(terminal)
    play(ConsoleDisplay(), record)
    text = terminal.getvalue()
    assert "\x1b[?25l" not in text
    assert "\x1b[2K" not in text
    assert "epoch 1/3 done" in text


def test_a_table_that_cannot_be_drawn_does_not_end_the_training(
    record: ExperimentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("no width")

    terminal = on_terminal(monkeypatch)
    monkeypatch.setattr("detkit.cli.live.screen.frame", broken)
    play(ConsoleDisplay(), record)
    assert "the table cannot be drawn: ZeroDivisionError: no width" in terminal.getvalue()
    assert "fcos-seed1 finished" in terminal.getvalue()


def test_long_work_while_the_table_stands_is_told_in_a_line(
    record: ExperimentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal(monkeypatch)
    display = ConsoleDisplay()
    display.experiment_started(record, record.runs)
    assert terminal.getvalue() == ""  # where nothing is left to run, there is nothing to see
    display.run_started(begin(record.runs[0]), 1, 2, resumed=False)
    with display.progress("sending", 10) as bar:
        bar.advance(5)
    display.experiment_ended()
    assert "sending" in terminal.getvalue()
    assert "runs done" in terminal.getvalue()


def test_trials_that_have_ended_before_do_not_wait(tmp_path: Path) -> None:
    record = write_experiment(tmp_path / "search", [("fcos", seed) for seed in (1, 2, 3, 4)])
    runs = [
        RunRecord(run.experiment, run.run_id, run.model, run.seed, trial=trial)
        for run, trial in zip(record.runs, (1, 2, 3, None), strict=True)
    ]
    write_json(train(begin(runs[0]), [0.1]).files.pruned, {"epoch": 1, "reason": "worse"})
    fail(begin(runs[1]), "no room")
    train(begin(runs[2]), [0.1])
    fail(begin(runs[3]), "no room")
    course = ExperimentCourse.of(record, runs, 0.0)
    assert [run.state for run in course.runs.values()] == ["pruned", "failed", "waiting", "waiting"]


def test_what_was_finished_before_is_in_the_table(record: ExperimentRecord) -> None:
    first, second = record.runs
    finish(train(begin(first), [0.1, 0.3, 0.2]), 0.3)
    train(begin(second), [0.2])  # interrupted: it waits to go on
    course = ExperimentCourse.of(record, record.runs, 0.0)
    states = {run.run_id: (run.state, run.epochs_done, run.epochs) for run in course.runs.values()}
    assert states == {"fcos-seed1": ("finished", 3, 3), "retinanet-seed1": ("waiting", 1, 3)}
    best = course.runs["fcos-seed1"].best
    assert best is not None
    assert (best.value, best.epoch) == (0.3, 2)
    assert seconds_left(course, 0.0) == pytest.approx(2 * 70 + 10)
