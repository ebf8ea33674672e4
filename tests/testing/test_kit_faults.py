"""Each rule has been seen to fail: deliberately wrong plugins, one fault each, and the honest ones beside them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from detkit.testing.rule import all_rules, rules_of
from detkit.testing.runner import judge
from detkit.testing.subject import Subject, kind_of
from testing import (
    wrong_callbacks,
    wrong_common,
    wrong_datasets,
    wrong_loggers,
    wrong_metrics,
    wrong_models,
    wrong_searchers,
    wrong_steps,
    wrong_transforms,
)
from testing.wrong_form import Wrong

RULES = all_rules()
MODULES = (
    wrong_common,
    wrong_datasets,
    wrong_models,
    wrong_steps,
    wrong_metrics,
    wrong_loggers,
    wrong_callbacks,
    wrong_transforms,
    wrong_searchers,
)
EVERY: list[Wrong] = [wrong for module in MODULES for wrong in module.WRONG]
HONEST = {
    f"{module.__name__}.{name}": component
    for module in MODULES
    for name, component in vars(module).items()
    if name.startswith("HONEST")
}
#: Rules that have a test of their own, below.
ELSEWHERE = {"component-import-light", "model-moves"}


@pytest.fixture
def subject_of(tmp_path: Path) -> Any:
    def made(component: Any, given: Any = None, **more: Any) -> Subject:
        return Subject(kind_of(component), component, given or {}, folder=tmp_path, **more)

    return made


@pytest.mark.parametrize("wrong", EVERY, ids=lambda wrong: wrong.name)
def test_a_fault_is_caught_and_told(wrong: Wrong, subject_of: Any) -> None:
    subject = subject_of(wrong.component, wrong.given, **wrong.more)
    verdict = judge(RULES[wrong.rule], subject)
    assert verdict.state == ("noted" if verdict.rule.advice else "broken"), verdict
    assert wrong.says in verdict.found
    assert f"rule {wrong.rule}: " in verdict.message
    assert f"docs/reference/plugin-contract.md#{wrong.rule}" in verdict.message
    assert verdict.expected


@pytest.mark.parametrize("name", HONEST)
def test_the_honest_ones_keep_every_rule(name: str, subject_of: Any) -> None:
    subject = subject_of(HONEST[name])
    verdicts = [judge(rule, subject) for rule in rules_of(subject.kind)]
    assert [verdict.message for verdict in verdicts if verdict.state in ("broken", "noted")] == []
    kept = [verdict.rule.id for verdict in verdicts if verdict.state == "kept"]
    assert len(kept) > len(verdicts) / 2


def test_a_heavy_import_is_noted(subject_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "transformers.py").write_text("")
    (tmp_path / "heavy_plugin.py").write_text("import json, transformers")
    (tmp_path / "light_plugin.py").write_text("def build():\n    import transformers")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    rule = RULES["component-import-light"]
    heavy = judge(rule, subject_of(wrong_steps.HONEST, module="heavy_plugin"))
    assert (heavy.state, heavy.found) == ("noted", "importing heavy_plugin imports transformers")
    assert rule.place in heavy.message
    assert judge(rule, subject_of(wrong_steps.HONEST, module="light_plugin")).state == "kept"
    assert judge(rule, subject_of(wrong_steps.HONEST, module="no_such_plugin")).state == "skipped"


class Staying(wrong_models.Bent):
    """Keeps a tensor that is neither parameter nor buffer."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.scale = torch.ones(3, 1, 1)

    def forward(self, images: Any, targets: Any = None) -> Any:
        return super().forward([image * self.scale for image in images], targets)


class Returning(wrong_models.Bent):
    """Its losses are on the CPU wherever it is."""

    def forward(self, images: Any, targets: Any = None) -> Any:
        found = super().forward(images, targets)
        return {name: torch.zeros(()) for name in found} if self.training else found


def look_at_moving(subject_of: Any) -> None:
    rule = RULES["model-moves"]
    assert judge(rule, subject_of(wrong_models.HONEST)).state == "kept"
    verdict = judge(rule, subject_of(wrong_models.component(Staying)))
    assert verdict.state == "broken"
    assert verdict.found.startswith("computing the losses of four scenes on a GPU raises RuntimeError: ")
    verdict = judge(rule, subject_of(wrong_models.component(Returning)))
    assert (verdict.state, verdict.found) == ("broken", "on a GPU, heat is on cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_tensor_that_does_not_move_to_the_gpu(subject_of: Any) -> None:
    look_at_moving(subject_of)


def test_a_tensor_that_does_not_move_to_a_device_without_memory(
    subject_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's "meta" stands for the GPU: tensors without values, which do not mix with those of the CPU either."""
    monkeypatch.setattr("detkit.testing.rules.model.GPU", "meta")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    look_at_moving(subject_of)


def test_every_rule_is_broken_by_some_plugin() -> None:
    seen = Counter(wrong.rule for wrong in EVERY)
    assert sorted(set(RULES) - set(seen) - ELSEWHERE) == []
    assert len(EVERY) >= 40
    assert len({wrong.name for wrong in EVERY}) == len(EVERY)
