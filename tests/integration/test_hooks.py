"""Every hook, offered by one file: named in a spec, and installed as a distribution."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import detkit
from detkit.components import Stateful
from detkit.engine.display import SilentDisplay
from detkit.plugins import collect
from detkit.record.reader import ExperimentRecord
from integration.experiments import EVERY_HOOK, squares_spec, write_spec

OFFERED = {
    "dataset": ["squares"],
    "model": ["centre_point"],
    "training_step": ["weighted"],
    "metric": ["count_error"],
    "logger": ["journal"],
    "callback": ["stop_after"],
    "transform": ["dim"],
    "searcher": ["every"],
    "command": ["squares"],
}


def assert_every_hook_worked(record: ExperimentRecord, stopped_after: int) -> None:
    run = record.run("centre_point")
    assert run.state == "finished"
    facts, summary = run.facts, run.summary
    assert summary is not None
    assert facts["class_names"] == ["square"]  # the dataset
    assert facts["parameters"] == 5_941  # the model: 16 channels
    assert summary["ended"] == f"told to stop after {stopped_after} epochs"  # the callback
    assert summary["primary"] == "count_error/mean"  # the metric
    journal = [json.loads(line) for line in (run.files.folder / "journal.jsonl").read_text().splitlines()]
    assert [entry["event"] for entry in journal][:2] == ["start", "metrics"]  # the logger
    assert journal[-1] == {"event": "close", "state": "finished"}
    augment = facts["spec"]["augment"]
    assert augment == {"dim": {"use": "dim", "enabled": True, "probability": 1.0, "darkest": 0.3}}  # the transform
    first = next(iter(run.steps()))
    assert first["losses"]["loss_sides"] == 0.0  # the step: this term has the weight 0


def experiment(folder: Path, **changes: object) -> Path:
    spec = squares_spec(
        folder / "runs",
        training_step={"use": "weighted", "weights": {"loss_sides": 0.0}},
        loggers={"journal": {}},
        callbacks={"stop_after": {"epochs": 1}},
        augment={"dim": {"probability": 1.0}},
        **changes,
    )
    return write_spec(folder / "experiment.toml", spec)


def test_one_file_named_in_the_spec_offers_every_hook(tmp_path: Path) -> None:
    record = detkit.run(experiment(tmp_path), display=SilentDisplay())
    assert_every_hook_worked(record, stopped_after=1)
    named = [plugin for plugin in record.run("centre_point").facts["plugins"] if plugin["name"] == "every_hook"]
    assert named == [{"name": "every_hook", "version": "", "distribution": "", "source": str(EVERY_HOOK)}]


def test_its_searcher_tries_every_combination_and_goes_on_after_an_interruption() -> None:
    registry = collect([EVERY_HOOK])
    component = registry.find("searcher", "every").component
    options = component.options.model_validate({"points": 2})
    space = detkit.SearchSpace({"train.lr": detkit.Range(1e-4, 1e-2, log=True), "seed": detkit.Choices((1, 2))})

    def begun(max_trials: int | None, state: dict[str, Any] | None = None) -> Any:
        searcher = component.build(options, detkit.BuildContext())
        if state is not None:
            searcher.load_state_dict(state)
        searcher.begin(space, detkit.Objective("coco/ap", "maximize"), max_trials=max_trials)
        return searcher

    assert isinstance(begun(max_trials=None), Stateful)
    searcher = begun(max_trials=None)
    proposals = list(iter(searcher.propose, None))
    assert [(proposal.number, *proposal.values.values()) for proposal in proposals] == [
        (1, 1e-4, 1),
        (2, 1e-4, 2),
        (3, 1e-2, 1),
        (4, 1e-2, 2),
    ]
    for proposal in proposals:
        space.check(proposal.values)
        searcher.tell(proposal, 0.5)
    searcher.close()

    first = begun(max_trials=3)
    assert [first.propose(), first.propose()] == proposals[:2]
    rest = begun(max_trials=3, state=first.state_dict())
    assert [rest.propose(), rest.propose()] == [proposals[2], None]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same file as a distribution with an entry point, built and installed by pip into a folder of its own."""
    pytest.importorskip("hatchling", reason="the build backend of the distribution is not installed")
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    shutil.copy(EVERY_HOOK, source / "squares_plugin.py")
    (source / "pyproject.toml").write_text(
        """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "squares-for-detkit"
version = "1.2.3"
[project.entry-points."detkit.plugins"]
squares = "squares_plugin"
[tool.hatch.build.targets.wheel]
only-include = ["squares_plugin.py"]
"""
    )
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True)
    return site


def detkit_command(*arguments: str, site: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "detkit", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_same_file_installed_as_a_distribution_offers_every_hook(tmp_path: Path, installed: Path) -> None:
    listed = detkit_command("plugins", "--json", site=installed)
    assert listed.returncode == 0, listed.stderr
    plugins = json.loads(listed.stdout)
    rows = plugins["plugins"] if isinstance(plugins, dict) else plugins
    (squares,) = [row for row in rows if row["name"] == "squares"]
    assert (squares["distribution"], squares["version"], squares["state"]) == ("squares-for-detkit", "1.2.3", "loaded")
    assert {kind: list(names) for kind, names in squares["offers"].items()} == OFFERED

    done = detkit_command("run", str(experiment(tmp_path, plugins=[])), site=installed)
    assert done.returncode == 0, done.stderr
    record = detkit.open_record(tmp_path / "runs" / "small")
    assert_every_hook_worked(record, stopped_after=1)

    said = detkit_command("squares", "--images", "2", site=installed)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("image 0: [[")
    assert "Say where the squares are" in detkit_command("--help", site=installed).stdout


def test_installing_a_plugin_changes_no_run(tmp_path: Path, installed: Path) -> None:
    """A spec that names none of its components is the same with and without it."""
    spec = '[dataset]\nuse = "synthetic"\n[models.fcos]\nbackbone = "tiny_fpn"\n'
    (tmp_path / "spec.toml").write_text(spec)
    explained = detkit_command("check", str(tmp_path / "spec.toml"), "--explain", site=installed)
    without = detkit_command("check", str(tmp_path / "spec.toml"), "--explain", site=tmp_path)
    assert explained.returncode == 0
    assert explained.stdout == without.stdout
