"""Two processes train one model over gloo, and the numbers are those of one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli
import tomli_w
import torch

import detkit
from detkit.engine.display import SilentDisplay
from detkit.errors import Interrupted
from detkit.record.reader import RunRecord
from integration.experiments import EVERY_HOOK, squares_spec, write_spec

LINEAR = Path(__file__).with_name("linear.py")


def run_linear(folder: Path, devices: int, **train: Any) -> RunRecord:
    """14 training images in batches of 4: the last one holds 2; with batches of 3 too, one of which holds 2."""
    spec = squares_spec(
        folder / "runs",
        plugins=[str(EVERY_HOOK), str(LINEAR)],
        dataset={"images": 18},
        compute={"devices": devices},
        train={
            "epochs": 1,
            "batch_size": 4,
            "optimizer": "sgd",
            "lr": 0.1,
            "momentum": 0.0,
            "weight_decay": 0.0,
            "schedule": "constant",
            "warmup_steps": 0,
            **train,
        },
        training_step={"use": "witness", "folder": str(folder)},
    )
    spec["models"] = {"linear": {}}
    run = detkit.run(write_spec(folder / "spec.toml", spec), display=SilentDisplay()).runs[0]
    assert run.state == "finished", run.failure
    return run


def seen(folder: Path, rank: int) -> list[list[int]]:
    return [json.loads(line) for line in (folder / f"rank-{rank}.jsonl").read_text().splitlines()]


def train_ids(run: RunRecord) -> list[int]:
    splits = json.loads((run.experiment / "data" / "splits.json").read_text())
    return sorted(row["image_id"] for row in splits["train"])


@pytest.mark.parametrize(
    ("train", "alike"),
    [
        pytest.param({}, {}, id="even"),
        pytest.param({"batch_size": 3}, {}, id="uneven shares"),
        pytest.param({"batch_size": 3, "accumulate": 2}, {}, id="accumulated", marks=pytest.mark.slow),
        # A last batch of one image cannot be shared: it joins the one before it.
        pytest.param({"batch_size": 13}, {"batch_size": 14}, id="a last image alone", marks=pytest.mark.slow),
    ],
)
def test_two_processes_see_each_image_once_and_step_as_one(
    train: dict[str, Any], alike: dict[str, Any], tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    alone, together = run_linear(one, 1, **(train | alike)), run_linear(two, 2, **train)

    first, second = seen(two, 0), seen(two, 1)
    assert len(first) == len(second)
    assert all(first)
    assert all(second)
    assert sorted(image for batch in first + second for image in batch) == train_ids(together)

    # A step moves the weights by lr x gradient, so equal weights after every step are equal gradients.
    weights = [torch.load(run.files.last, weights_only=True)["model"] for run in (alone, together)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-6, atol=1e-6)
    for single, shared in zip(alone.steps(), together.steps(), strict=True):
        assert shared["loss"] == pytest.approx(single["loss"], rel=1e-5)


def test_evaluating_one_checkpoint_with_one_and_with_two_gives_identical_metrics(tmp_path: Path) -> None:
    """The run has finished; with its summary taken away, the engine only scores its checkpoint again."""
    spec = squares_spec(tmp_path / "runs", dataset={"images": 24, "split": {"validation": 7}}, metrics={"coco": {}})
    run = detkit.run(write_spec(tmp_path / "spec.toml", spec), display=SilentDisplay()).runs[0]
    assert run.summary is not None
    before = run.summary["scored"]
    predictions = run.files.predictions("validation").read_bytes()

    folder = tmp_path / "two" / "small"
    shutil.copytree(run.experiment, folder)
    resolved = tomli.loads((folder / "spec.toml").read_text())
    resolved["compute"]["devices"] = 2
    (folder / "spec.toml").write_bytes(tomli_w.dumps(resolved).encode())
    copy = detkit.open_record(folder).runs[0]
    copy.files.summary.unlink()
    copy.files.predictions("validation").unlink()
    subprocess.run([sys.executable, "-m", "detkit.engine", str(copy.files.folder)], check=True)

    assert copy.facts["compute"]["processes"] == 2
    assert copy.summary is not None
    assert copy.summary["scored"] == before
    assert copy.files.predictions("validation").read_bytes() == predictions


def test_asked_to_stop_both_stop_and_the_first_saves(tmp_path: Path) -> None:
    """Fabric kills the first process 5 s after another has ended with an error; here none does."""
    plugin = tmp_path / "slow.py"
    plugin.write_text(
        """
import os, signal, time
from detkit import CallbackComponent, Logger, LoggerComponent, Options, hookimpl

class NoOptions(Options):
    pass

class StopsItself:
    @hookimpl
    def step_ended(self, step):
        if step == 2 and os.environ.get("LOCAL_RANK", "0") == "0":
            os.kill(os.getpid(), signal.SIGTERM)

class SlowToClose(Logger):
    def __init__(self, folder):
        self.folder = folder
    def close(self, outcome):
        time.sleep(8)
        (self.folder / "closed").write_text(outcome.state)

@hookimpl
def detkit_callbacks():
    return [CallbackComponent("stops_itself", NoOptions, lambda options, context: StopsItself())]

@hookimpl
def detkit_loggers():
    return [LoggerComponent("slow", NoOptions, lambda options, context: SlowToClose(context.run_folder))]
"""
    )
    spec = squares_spec(
        tmp_path / "runs",
        plugins=[str(EVERY_HOOK), str(plugin)],
        compute={"devices": 2},
        callbacks={"stops_itself": {}},
        loggers={"slow": {}},
    )
    with pytest.raises(Interrupted, match="--resume"):
        detkit.run(write_spec(tmp_path / "spec.toml", spec), display=SilentDisplay())
    run = detkit.open_record(tmp_path / "runs" / "small").runs[0]
    assert run.state == "interrupted"
    assert torch.load(run.files.last, weights_only=True)["state"]["step"] == 3
    assert (run.files.folder / "closed").read_text() == "interrupted"


def test_a_process_that_fails_ends_the_run(tmp_path: Path) -> None:
    """The other process waits in a collective; the run must not."""
    plugin = tmp_path / "failing.py"
    plugin.write_text(
        """
import os
from detkit import CallbackComponent, Options, hookimpl

class NoOptions(Options):
    pass

class Failing:
    @hookimpl
    def step_ended(self, step):
        if step == 2 and os.environ.get("LOCAL_RANK") == "1":
            raise RuntimeError("the second process has had enough")

FAILING = CallbackComponent("failing", NoOptions, lambda options, context: Failing())

@hookimpl
def detkit_callbacks():
    return [FAILING]
"""
    )
    spec = squares_spec(
        tmp_path / "runs", plugins=[str(EVERY_HOOK), str(plugin)], compute={"devices": 2}, callbacks={"failing": {}}
    )
    run = detkit.run(write_spec(tmp_path / "spec.toml", spec), display=SilentDisplay()).runs[0]
    assert run.state == "failed"
    assert "the second process has had enough" in (run.failure or {})["message"]
    assert "callback 'failing' (plugin 'failing'" in (run.failure or {})["message"]
