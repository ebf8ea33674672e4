"""Searches with real processes: trials that fail, that are pruned, that are killed and go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import detkit
from detkit.engine.display import SilentDisplay
from detkit.errors import SearchRefused
from detkit.record.reader import ExperimentRecord, open_record
from detkit.record.streams import read_stream
from integration.experiments import EVERY_HOOK, merged, squares_spec, write_spec
from integration.test_search_engine import told

RATED = Path(__file__).with_name("rated.py")
EXAMPLE = Path(__file__).parents[2] / "examples" / "search.toml"


def spec_file(folder: Path, search: dict[str, Any], **changes: Any) -> Path:
    spec = squares_spec(folder / "runs", train={"epochs": 3, "checkpoint_every_steps": 1}, search=search)
    spec |= {"plugins": [str(EVERY_HOOK), str(RATED)], "models": {"rated": {}}, "metrics": {"score": {}}}
    return write_spec(folder / "spec.toml", merged(spec, {"loggers": {"journal": {}}, **changes}))


def test_trials_in_processes_of_their_own(tmp_path: Path) -> None:
    """The first is good, the second worse, so it is stopped after an epoch."""
    search = {
        "use": "grid",
        "prune": "median",
        "prune_after_trials": 1,
        "prune_after_epochs": 0,
        "space": {"models.rated.quality": [0.8, 0.4]},
    }
    record = detkit.run(spec_file(tmp_path, search), display=SilentDisplay())
    first, second = record.trials()
    assert [trial.state for trial in (first, second)] == ["finished", "pruned"]
    # Six steps an epoch, three epochs.
    assert first.objectives == pytest.approx((0.8 * (1 - 0.9**18),))
    assert second.objectives == pytest.approx((0.4 * (1 - 0.9**6),))
    pruned = record.run(second.runs[0])
    assert pruned.pruned == {"format_version": 1, "epoch": 1, "reason": second.reason}
    assert second.reason.startswith(
        "pruned after epoch 1: score/mean 0.1874 at best, and the median of 1 trials was 0.37"
    )
    assert not pruned.files.summary.exists()
    assert [row["epoch"] for row in pruned.epochs()] == [1]
    assert pruned.files.last.exists()
    # Loggers know that it was pruned, and which values it had.
    journal = list(read_stream(pruned.files.folder / "journal.jsonl"))
    assert journal[-1] == {"event": "close", "state": "pruned"}
    assert pruned.facts["trial"] == {
        "number": 2,
        "values": {"models.rated.quality": 0.4},
        "about": {},
        "objectives": [{"metric": "score/mean", "direction": "maximize"}],
    }


@pytest.mark.slow
def test_an_objective_that_no_run_measures_ends_the_search_before_its_first_training(tmp_path: Path) -> None:
    search = {"use": "grid", "objective": "validation/los", "space": {"models.rated.quality": [0.8, 0.5]}}
    with pytest.raises(
        SearchRefused, match=r"the evaluation has no 'validation/los'; did you mean 'validation/loss'\?"
    ):
        detkit.run(spec_file(tmp_path, search), display=SilentDisplay())
    record = open_record(tmp_path / "runs" / "small")
    assert [list(run.steps()) for run in record.runs] == [[]]


@pytest.mark.slow
def test_a_trial_that_cannot_be_built_fails_alone(tmp_path: Path) -> None:
    space = {"models.rated.broken": [True, False], "models.rated.quality": [0.8]}
    record = detkit.run(spec_file(tmp_path, {"use": "grid", "space": space}), display=SilentDisplay())
    first, second = record.trials()
    assert (first.state, first.objectives) == ("failed", None)
    assert "RuntimeError: made to fail" in first.reason
    assert (second.state, record.compared[0].trial) == ("finished", 2)


def detkit_run(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "detkit", "run", str(file), *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


def steps(record: ExperimentRecord) -> list[list[tuple[Any, ...]]]:
    """Of each run what must not depend on how often it was killed."""
    return [[(row["step"], row["loss"], row["lr"]) for row in run.steps()] for run in record.runs]


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 9])
def test_killed_with_its_processes_and_gone_on_equals_never_killed(step: int, tmp_path: Path) -> None:
    search = {
        "use": "random",
        "trials": 3,
        "space": {"models.rated.quality": {"low": 0.1, "high": 0.9}, "train.batch_size": [2, 4]},
    }
    killer = {"run": "rated-trial002-seed1", "step": step, "marker": "struck"}
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "struck").touch()
    whole = detkit.run(spec_file(tmp_path / "whole", search, callbacks={"killer": killer}), display=SilentDisplay())

    file = spec_file(tmp_path / "killed", search, callbacks={"killer": killer})
    killed = detkit_run(file)
    assert killed.returncode == -signal.SIGKILL
    between = open_record(tmp_path / "killed" / "runs" / "small")
    while between.run("rated-trial002-seed1").state == "running":  # it is killed after its parent
        time.sleep(0.05)
    assert [trial.state for trial in between.trials()] == ["finished", "interrupted"]
    refused = detkit_run(file)
    assert refused.returncode == 2
    assert "stopped in the middle of a trial: rated-trial002-seed1 (interrupted); go on with --resume" in refused.stderr

    ended = detkit_run(file, "--resume")
    assert ended.returncode == 0, ended.stderr
    assert "[1/2] rated-trial002-seed1 (resumed)" in ended.stderr, ended.stderr
    after = open_record(between.folder)
    assert told(after) == told(whole)
    assert steps(after) == steps(whole)
    assert json.loads(after.files.search.read_text())["models"]["rated"]["wanted"] == 3


@pytest.mark.slow
def test_the_example_killed_and_gone_on_loses_no_trial(tmp_path: Path) -> None:
    """Eight trials over the quickstart, with fewer images and epochs, by Optuna; killed when the third has begun."""
    pytest.importorskip("optuna")
    settings = ["dataset.images=40", "dataset.split.validation=8", "train.epochs=3", "search.prune_after_trials=2"]
    options = [word for text in (*settings, f"experiment.output={tmp_path}") for word in ("--set", text)]
    process = subprocess.Popen(
        [sys.executable, "-m", "detkit", "run", str(EXAMPLE), *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    third = tmp_path / "search" / "fcos-trial003-seed1"
    while process.poll() is None and not (third / "steps.jsonl").exists():
        time.sleep(0.1)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    before = open_record(tmp_path / "search").trials()
    assert [trial.number for trial in before] == [1, 2, 3]
    while open_record(tmp_path / "search").run(third.name).state == "running":  # it notices that its parent is gone
        time.sleep(0.1)
    ended = detkit_run(EXAMPLE, *options, "--resume")
    assert ended.returncode == 0, ended.stderr
    trials = open_record(tmp_path / "search").trials()
    assert [trial.number for trial in trials] == list(range(1, 9))
    assert [(trial.values, trial.objectives) for trial in trials[:2]] == [(t.values, t.objectives) for t in before[:2]]
    assert trials[2].values == before[2].values
    assert {trial.state for trial in trials} <= {"finished", "pruned"}
    assert "8 of 8 trials: " in ended.stdout
