"""Searches with real processes: trials that fail, that are pruned, that are killed and go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import detkit
from detkit.engine.display import SilentDisplay
from detkit.record.reader import ExperimentRecord, open_record
from detkit.record.streams import read_stream
from integration.experiments import EVERY_HOOK, merged, squares_spec, write_spec
from integration.test_search_engine import told

RATED = Path(__file__).with_name("rated.py")
ROOT = Path(__file__).parents[2]


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
def test_a_trial_that_cannot_be_built_fails_alone(tmp_path: Path) -> None:
    space = {"models.rated.broken": [True, False], "models.rated.quality": [0.8]}
    record = detkit.run(spec_file(tmp_path, {"use": "grid", "space": space}), display=SilentDisplay())
    first, second = record.trials()
    assert (first.state, first.objectives) == ("failed", None)
    assert "RuntimeError: made to fail" in first.reason
    assert (second.state, record.compared[0].trial) == ("finished", 2)


def detkit_run(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT / "src"), str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-m", "detkit", "run", str(file), *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
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
    assert [trial.state for trial in between.trials()] == ["finished", "interrupted"]
    refused = detkit_run(file)
    assert refused.returncode == 2
    assert "stopped in the middle of a trial: rated-trial002-seed1 (interrupted); go on with --resume" in refused.stderr

    ended = detkit_run(file, "--resume")
    assert ended.returncode == 0, ended.stderr
    assert "[2/3] rated-trial002-seed1 (resumed)" in ended.stderr
    after = open_record(between.folder)
    assert told(after) == told(whole)
    assert steps(after) == steps(whole)
    assert json.loads(after.files.search.read_text())["models"]["rated"]["wanted"] == 3
