"""Who fails, what happens: by role. A run that fails leaves its cause; the others go on; loggers never matter."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import detkit
from detkit.cli.main import run as command_line
from detkit.compare.leaderboard import make_leaderboard
from detkit.errors import ComputeError, LoggerRefused, SpecError
from detkit.record.files import read_json
from detkit.record.reader import ExperimentRecord
from integration.experiments import EVERY_HOOK, RecordingDisplay, squares_spec, write_spec

PLUGIN = Path(__file__).with_name("failing.py")


def run(folder: Path, display: RecordingDisplay | None = None, **changes: Any) -> ExperimentRecord:
    spec = squares_spec(folder / "runs", plugins=[str(EVERY_HOOK), str(PLUGIN)], **changes)
    return detkit.run(write_spec(folder / "spec.toml", spec), display=display or RecordingDisplay())


def test_loggers_that_raise_or_hang_change_nothing_but_one_warning_each(tmp_path: Path) -> None:
    display = RecordingDisplay()
    began = time.monotonic()
    record = run(tmp_path, display, loggers={"raises": {}, "sleeps": {}, "journal": {}})
    took = time.monotonic() - began
    only = record.runs[0]
    assert only.state == "finished"
    assert len(only.epochs()) == 2
    for key, says in (
        ("raises", "raised in log_parameters: RuntimeError: no"),
        ("sleeps", "did not finish within 1 s"),
    ):
        warnings = [text for text in display.warnings if f"logger {key!r}" in text]
        assert len(warnings) == 1, display.warnings
        assert says in warnings[0]
        assert "plugin 'failing'" in warnings[0]
        assert "detkit upload" in warnings[0]  # the one command that sends it later
    states = read_json(only.files.loggers)["loggers"]
    assert states["journal"] == {"complete": True, "trouble": ""}
    assert not states["raises"]["complete"]
    # `sleeps` sleeps for an hour; nobody waited for it.
    assert took < 120


def test_a_logger_that_refuses_its_configuration_stops_before_training(tmp_path: Path) -> None:
    with pytest.raises(LoggerRefused, match="no key for the service; set SERVICE_KEY"):
        run(tmp_path, loggers={"refuses": {}})
    assert not (tmp_path / "runs" / "small" / "centre_point-seed1" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("raises", "model 'broken' (plugin 'failing' ({plugin})) failed while computing the losses of step 3"),
        ("killed", "killed by the operating system (SIGKILL), most often because memory ran out"),
        ("nan", "loss_heat is nan in step 3, epoch 1; the images are image"),
        ("memory", "out of memory while computing the losses of step 3"),
        ("labels", "predicted the labels [7] for image"),
        ("exits", "the process ended with exit code 9; the last it printed:\ngood bye"),
    ],
)
def test_a_run_that_fails_takes_no_other_along(way: str, says: str, tmp_path: Path) -> None:
    record = run(tmp_path, models={"broken": {"way": way}, "centre_point": {}}, train={"epochs": 1})
    broken, other = record.run("broken"), record.run("centre_point")
    assert (broken.state, other.state) == ("failed", "finished")
    assert says.format(plugin=PLUGIN) in (broken.failure or {})["message"]
    board = make_leaderboard(record)
    assert [row.model for row in board.rows] == ["centre_point", "broken"]
    assert says.format(plugin=PLUGIN) in board.rows[1].causes["broken-seed1"]


def test_the_exit_code_says_that_a_run_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = squares_spec(tmp_path / "runs", plugins=[str(EVERY_HOOK), str(PLUGIN)], models={"broken": {"way": "raises"}})
    del spec["models"]["centre_point"]
    assert command_line(["run", str(write_spec(tmp_path / "spec.toml", spec))]) == 1
    said = capsys.readouterr()
    assert "broken-seed1 failed: model 'broken'" in said.out
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize("component", ["callback", "metric", "step", "dataset"])
def test_a_failing_component_is_named_with_its_plugin(component: str, tmp_path: Path) -> None:
    ways: dict[str, dict[str, Any]] = {
        "callback": {"callbacks": {"broken_callback": {}}},
        "metric": {"metrics": {"broken_metric": {}}},
        "step": {"training_step": {"use": "broken_step"}},
        "dataset": {"dataset": {"use": "broken_dataset"}},
    }
    message = (run(tmp_path, **ways[component]).runs[0].failure or {})["message"]
    if component == "dataset":
        assert "image 3 (image 3) cannot be read: OSError: cannot identify image file" in message
    else:
        assert f"broken_{component}" in message
        assert f"plugin 'failing' ({PLUGIN})" in message


def test_a_model_that_needs_masks_is_refused_on_boxes(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="masks"):
        run(tmp_path, models={"mask_rcnn": {"backbone": "tiny_fpn"}})


def test_what_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ComputeError, match="fp16 does not work on a CPU"):
        run(tmp_path, compute={"precision": "fp16"})
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root every folder can be written; a file in the place of the folder cannot be."""
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(detkit.RecordError, match="cannot write"):
        run(tmp_path)
    assert (tmp_path / "runs").read_text() == "a file"


def test_smoke_rehearses_every_model_and_every_logger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = squares_spec(
        tmp_path / "runs",
        plugins=[str(EVERY_HOOK), str(PLUGIN)],
        models={"broken": {"way": "raises_at_once"}},
        loggers={"raises": {}},
    )
    code = command_line(["run", str(write_spec(tmp_path / "spec.toml", spec)), "--smoke"])
    said = capsys.readouterr().out
    assert code == 1
    assert "failed while computing the losses of a validation batch: ValueError: a fault in the model" in said
    assert "logger raises: raised in log_parameters" in said
    assert "estimated for the whole:" in said
    assert not (tmp_path / "runs").exists()
