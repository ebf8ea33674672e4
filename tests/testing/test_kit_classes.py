"""The kit's pytest classes, as a plugin's author uses them: subclassed in a file of their own, run by pytest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import detkit.testing
from detkit.testing.rule import rules_of

ROOT = Path(__file__).parents[2]

AUTHORS_FILE = f"""
import pytest
from detkit.plugins import load_file
from pathlib import Path
from detkit.testing import *
from detkit.testing import Scenes, TINY_DETECTOR
from detkit import BOXES_AND_MASKS, DatasetComponent, LoggerComponent, ModelComponent, Options
from testing import wrong_loggers, wrong_models, wrong_steps

every_hook = load_file(Path({str(ROOT / "examples/plugin_in_one_file/every_hook.py")!r}))

class TestStopAfter(CallbackConformance):
    @pytest.fixture
    def component(self):
        return every_hook.STOP_AFTER

    @pytest.fixture
    def options(self):
        return {{"epochs": 2}}

class TestSquares(DatasetConformance):
    @pytest.fixture
    def component(self):
        return every_hook.SQUARES

    def test_dataset_pickles(self):
        "Replaced by its author."

class TestWrongOptions(CallbackConformance):
    @pytest.fixture
    def component(self):
        return every_hook.STOP_AFTER

    @pytest.fixture
    def options(self):
        return {{"epochs": 0}}

class TestNaN(ModelConformance):
    image_size = (64, 64)
    class_names = ("cat", "dog")

    @pytest.fixture(scope="class")
    def component(self):
        return wrong_models.component(
            lambda classes: wrong_models.Bent(classes, losses=wrong_models.divided_by_the_number_of_objects)
        )

class TestAnotherKind(MetricConformance):
    @pytest.fixture
    def component(self):
        return every_hook.STOP_AFTER

class TestOwnStep(ModelConformance):
    @pytest.fixture
    def component(self):
        return wrong_models.component(
            lambda classes: wrong_models.Bent(classes, losses=lambda found, *_: list(found.values()))
        )

    @pytest.fixture
    def training_step(self):
        def step(model, batch):
            return {{"one": model(batch.images, batch.targets)[0], "two": model(batch.images, batch.targets)[1]}}
        return wrong_steps.component(lambda: step)

class TestStepWithModel(TrainingStepConformance):
    @pytest.fixture
    def component(self):
        def step(model, batch):
            return {{"heat": model(batch.images, batch.targets)["heat"] * model.only_here}}
        return wrong_steps.component(lambda: step)

    @pytest.fixture
    def model(self):
        class Special(wrong_models.Bent):
            only_here = 2.0

        class SpecialOptions(Options):
            must_be_there: int

        def build(options, context):
            assert options.must_be_there == 3
            return Special(len(context.class_names))

        return ModelComponent("special", SpecialOptions, build)

    @pytest.fixture
    def model_options(self):
        return {{"must_be_there": 3}}
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest prints of the author's file."""
    folder = tmp_path_factory.mktemp("author")
    (folder / "test_mine.py").write_text(AUTHORS_FILE)
    paths = [str(ROOT / "src"), str(ROOT / "plugins"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "-q", "test_mine.py"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    return done.stdout + done.stderr


def states(outcome: str, cls: str) -> dict[str, str]:
    """Test to what became of it; skipped ones are printed without their names."""
    found = re.findall(rf"^(PASSED|FAILED|ERROR) test_mine\.py::{cls}::(\S+)", outcome, re.MULTILINE)
    return {name: state for state, name in found}


@pytest.mark.parametrize("cls", ["TestStopAfter", "TestSquares", "TestOwnStep", "TestStepWithModel"])
def test_honest_components_pass(outcome: str, cls: str) -> None:
    found = states(outcome, cls)
    assert set(found.values()) == {"PASSED"}
    assert len(found) >= 12


def test_each_rule_is_a_test_of_its_name(outcome: str) -> None:
    rules = {f"test_{each.id.replace('-', '_')}" for each in rules_of("callback")}
    assert set(states(outcome, "TestStopAfter")) <= rules
    assert "test_callback_state_round_trip" in states(outcome, "TestStopAfter")
    assert "a plugin file is imported by the specs that name it alone" in outcome


def test_a_broken_rule_fails_its_test_and_no_other(outcome: str) -> None:
    found = states(outcome, "TestNaN")
    assert sorted(name for name, state in found.items() if state != "PASSED") == ["test_model_losses_finite"]
    assert "rule model-losses-finite: losses are finite numbers" in outcome
    assert "see:      docs/reference/plugin-contract.md#model-losses-finite" in outcome


def test_options_that_do_not_fit_fail_once(outcome: str) -> None:
    found = states(outcome, "TestWrongOptions")
    assert found["test_component_builds"] == "FAILED"
    assert [name for name, state in found.items() if state != "PASSED"] == ["test_component_builds"]
    assert "these options do not fit: epochs:" in outcome


def test_a_component_of_another_kind_is_an_error(outcome: str) -> None:
    found = states(outcome, "TestAnotherKind")
    assert set(found.values()) == {"ERROR"}
    assert (
        "TestAnotherKind is for components of kind metric; the fixture `component` gives a CallbackComponent" in outcome
    )


def test_the_public_names_are_there() -> None:
    for name in detkit.testing.__all__:
        assert getattr(detkit.testing, name).__doc__ or name == "TINY_DETECTOR"
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        detkit.testing.Nothing  # noqa: B018 - it is the access that is tested
