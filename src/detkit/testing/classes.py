"""The kit as pytest classes: subclass the one of your component's kind and give it one fixture.

    from detkit.testing import ModelConformance
    from my_plugin import MY_DETECTOR

    class TestMyDetector(ModelConformance):
        @pytest.fixture
        def component(self):
            return MY_DETECTOR

Each rule is one test, named after it: `test_model_losses_finite` looks at `model-losses-finite`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from detkit.plugins import Kind
from detkit.testing.rule import Rule, rules_of
from detkit.testing.runner import judge
from detkit.testing.subject import CLASS_NAMES, SIZE, Subject, kind_of

SUBJECTS = pytest.StashKey[dict[str, Subject]]()


#: What a user may give beside the component.
FIXTURES = ("options", "training_step", "training_step_options", "model", "model_options")


class RuleBroken(AssertionError):
    """A rule of the contract is broken; the text is the kit's whole message."""


class AdviceNotFollowed(UserWarning):
    """Something that a plugin need not do, and had better do."""


class Conformance:
    """What all the classes have in common.

    Fixtures that a subclass, its module or a conftest gives:
        component: the component constant. Must be there.
        options: its options as a spec has them, a mapping; {} where there is no such fixture.
        training_step: for models with a step of their own, its component; training_step_options: its options.
        model: for training steps that need a certain model, its component; model_options: its options.

    Attributes:
        class_names: of the drawn scenes that the component is shown.
        image_size: their height and width, pixels.
    """

    kind: ClassVar[Kind]
    class_names: ClassVar[tuple[str, ...]] = CLASS_NAMES
    image_size: ClassVar[tuple[int, int]] = SIZE

    @pytest.fixture
    def detkit_subject(self, request: pytest.FixtureRequest, component: Any) -> Subject:
        """The component with its options, as rules take it.

        Raises:
            TypeError: the fixture `component` gives something of another kind.
        """
        given = {name: _optional(request, name) for name in FIXTURES}
        key = repr((id(component), given))
        subjects = _subjects(request)
        if key not in subjects:
            if kind_of(component) != self.kind:
                raise TypeError(
                    f"{type(self).__name__} is for components of kind {self.kind}; the fixture `component` gives a"
                    f" {type(component).__name__}"
                )
            module = component.build.__module__ if hasattr(component.build, "__module__") else ""
            subjects[key] = Subject(
                self.kind,
                component,
                given["options"] or {},
                class_names=self.class_names,
                size=self.image_size,
                **_place(module),
                training_step=given["training_step"],
                model=given["model"],
                training_step_options=given["training_step_options"] or {},
                model_options=given["model_options"] or {},
            )
        return subjects[key]


def _subjects(request: pytest.FixtureRequest) -> dict[str, Subject]:
    """Those of the test class: its tests share what is slow to make, as long as component and options are the same."""
    holder = request.node.getparent(pytest.Class) or request.node
    if SUBJECTS not in holder.stash:
        subjects: dict[str, Subject] = {}
        holder.stash[SUBJECTS] = subjects
        holder.addfinalizer(lambda: _close_all(subjects))
    found: dict[str, Subject] = holder.stash[SUBJECTS]
    return found


def _close_all(subjects: dict[str, Subject]) -> None:
    for subject in subjects.values():
        subject.close()


def _optional(request: pytest.FixtureRequest, name: str) -> Any:
    try:
        return request.getfixturevalue(name)
    except pytest.FixtureLookupError as error:
        if error.argname != name:
            raise
        return None


def _place(module: str) -> dict[str, Any]:
    """Where the plugin's code is: its module, or the file that detkit loaded under a name of its own."""
    if module.startswith("detkit_file_"):
        return {"file": Path(str(sys.modules[module].__file__))}
    return {"module": module.split(".")[0]}


def _test_of(rule: Rule) -> Callable[[Any, Subject], None]:
    def test(self: Any, detkit_subject: Subject) -> None:
        verdict = judge(rule, detkit_subject)
        if verdict.state == "broken":
            raise RuleBroken(verdict.message)
        if verdict.state == "noted":
            warnings.warn(AdviceNotFollowed(verdict.message), stacklevel=2)
        if verdict.state == "skipped":
            if rule.id == "component-builds":
                pytest.fail(f"rule {rule.id}: {verdict.reason}\n  see: {rule.place}")
            pytest.skip(verdict.reason)

    test.__name__ = f"test_{rule.id.replace('-', '_')}"
    test.__doc__ = f"{rule.statement} ({rule.place})"
    return test


def _with_rules(cls: type[Conformance]) -> type[Conformance]:
    for rule in rules_of(cls.kind):
        test = _test_of(rule)
        test.__qualname__ = f"{cls.__qualname__}.{test.__name__}"
        test.__module__ = cls.__module__
        setattr(cls, test.__name__, test)
    return cls


class DatasetConformance(Conformance):
    """The rules for datasets."""

    kind = "dataset"


class ModelConformance(Conformance):
    """The rules for models."""

    kind = "model"


class TrainingStepConformance(Conformance):
    """The rules for training steps."""

    kind = "training_step"


class MetricConformance(Conformance):
    """The rules for metrics."""

    kind = "metric"


class LoggerConformance(Conformance):
    """The rules for loggers."""

    kind = "logger"


class CallbackConformance(Conformance):
    """The rules for callbacks."""

    kind = "callback"


class TransformConformance(Conformance):
    """The rules for transforms of training images."""

    kind = "transform"


class SearcherConformance(Conformance):
    """The rules for searchers."""

    kind = "searcher"


CLASSES: tuple[type[Conformance], ...] = (
    DatasetConformance,
    ModelConformance,
    TrainingStepConformance,
    MetricConformance,
    LoggerConformance,
    CallbackConformance,
    TransformConformance,
    SearcherConformance,
)
for _class in CLASSES:
    _with_rules(_class)
