"""Honest plugins that are unlike the bundled ones keep every rule."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from detkit import (
    BOXES,
    BuildContext,
    CallbackComponent,
    Choices,
    Dataset,
    DatasetComponent,
    Logger,
    LoggerComponent,
    LoggerRefused,
    MetricComponent,
    MetricResult,
    ModelComponent,
    Scalar,
    SearcherComponent,
    TrainingStepComponent,
    TransformComponent,
    UserError,
    hookimpl,
)
from detkit.testing import Scenes, TinyDetector
from detkit.testing.rule import Verdict, rules_of
from detkit.testing.runner import judge
from detkit.testing.subject import Subject, kind_of
from testing import wrong_searchers
from testing.wrong_form import NoOptions, builds


def verdicts(component: Any, folder: Path, **more: Any) -> dict[str, Verdict]:
    subject = Subject(kind_of(component), component, folder=folder, **more)
    return {rule.id: judge(rule, subject) for rule in rules_of(subject.kind)}


def broken(found: dict[str, Verdict]) -> list[str]:
    return [verdict.message for verdict in found.values() if verdict.state in ("broken", "noted")]


# --- datasets ---


class Plants(Dataset):
    """One class, boxes without masks, crowds, image ids as they come, and one image without objects alone."""

    class_names = ("a plant",)
    provides = BOXES

    def __init__(self, images: int) -> None:
        self._scenes = Scenes(images, class_names=("x",), masks=False, crowds=True, objects=(3, 0))

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int, /) -> Any:
        image, target = self._scenes[index]
        grain = torch.randint(0, 3, image.shape, dtype=torch.uint8)  # from the generators that the engine seeds
        return tv_tensors.Image(image.as_subclass(torch.Tensor) // 2 + grain), {**target, "weather": "fine"}


@pytest.mark.parametrize("images", [1, 5])
def test_a_dataset_of_one_class_with_random_grain_and_fields_of_its_own(images: int, tmp_path: Path) -> None:
    found = verdicts(DatasetComponent("plants", NoOptions, builds(lambda: Plants(images)), "plants"), tmp_path)
    assert broken(found) == []


# --- models ---


def build_for_one_class(_options: Any, context: BuildContext) -> Any:
    if len(context.class_names) != 1:
        raise UserError("this model finds one class")
    return TinyDetector(1)


def test_a_model_for_one_class_only(tmp_path: Path) -> None:
    found = verdicts(ModelComponent("one", NoOptions, build_for_one_class, "finds one class"), tmp_path)
    assert broken(found) == []
    assert found["model-losses"].state == found["model-output-labels"].state == "kept"
    assert found["model-classes"].reason == "it is built for one class only"


class Quiet(TinyDetector):
    """It finds nothing that it is not sure of, has dropout, batch norm and one loss, and draws in training."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.body = nn.Sequential(*self.body[:4], nn.BatchNorm2d(16), nn.Dropout(0.1), *self.body[4:])

    def forward(self, images: Any, targets: Any = None) -> Any:
        found = super().forward(images, targets)
        if self.training:
            return {"everything": sum(found.values()) * (1 + 0.01 * torch.rand(()))}
        sure = [output["scores"] > 0.999 for output in found]
        return [{name: value[keep] for name, value in output.items()} for output, keep in zip(found, sure, strict=True)]


def test_a_model_that_finds_nothing(tmp_path: Path) -> None:
    def build(_options: Any, context: BuildContext) -> Any:
        return Quiet(len(context.class_names))

    assert broken(verdicts(ModelComponent("quiet", NoOptions, build, "finds nothing"), tmp_path)) == []


# --- steps, metrics ---


class Memory:
    """A step with random numbers and no state, and one term more than the model has."""

    def __call__(self, model: Any, batch: Any) -> Any:
        losses = model([image + 0.01 * torch.rand(()) for image in batch.images], batch.targets)
        return {**losses, "weights": sum(each.square().mean() for each in model.parameters()) * 1e-4}


def test_a_step_that_draws(tmp_path: Path) -> None:
    assert broken(verdicts(TrainingStepComponent("memory", NoOptions, builds(Memory), "draws"), tmp_path)) == []


class Counts:
    """Numbers without a primary one, a direction of which is none, one that is better when lower, with a unit."""

    def reset(self) -> None:
        self.rows: list[tuple[int, int]] = []

    def update(self, predictions: Any, truths: Any) -> None:
        self.rows += [(len(p), len(t.annotations)) for p, t in zip(predictions, truths, strict=True)]

    def compute(self) -> MetricResult:
        found, there = (sum(row[k] for row in self.rows) for k in (0, 1))
        return MetricResult(
            {
                "found": Scalar(found, None, "boxes"),
                "too_many": Scalar(found / there if there else None, higher_is_better=False),
            }
        )


class Misses(Counts):
    """Lower is better, from 0 without an end, and primary."""

    def compute(self) -> MetricResult:
        off = sum(abs(found - there) for found, there in self.rows)
        return MetricResult({"off": Scalar(off, higher_is_better=False, unit="boxes", primary=True)})


@pytest.mark.parametrize("make", [Counts, Misses])
def test_a_metric_that_is_no_share(make: Any, tmp_path: Path) -> None:
    found = verdicts(MetricComponent("counts", NoOptions, builds(make), "numbers"), tmp_path)
    assert broken(found) == []
    assert found["metric-perfect"].state == ("skipped" if make is Counts else "kept")


# --- loggers, callbacks ---


def test_a_logger_that_does_nothing_and_one_that_refuses(tmp_path: Path) -> None:
    found = verdicts(LoggerComponent("silent", NoOptions, builds(Logger), "nothing"), tmp_path)
    assert broken(found) == []

    class Locked(Logger):
        def start(self, run: Any) -> None:
            raise LoggerRefused("there is no key: set KEY")

    found = verdicts(LoggerComponent("locked", NoOptions, builds(Locked), "a server"), tmp_path)
    assert broken(found) == []
    assert found["logger-whole-run"].reason == (
        "start (a whole run) is refused: there is no key: set KEY; give other options"
    )


class Watch:
    """It only looks, at a metric that the run does not have."""

    @hookimpl
    def epoch_ended(self, metrics: Any) -> None:
        if "mine/speed" not in metrics:
            raise UserError("there is no mine/speed")


def test_a_callback_that_refuses_the_run(tmp_path: Path) -> None:
    found = verdicts(CallbackComponent("watch", NoOptions, builds(Watch), "looks"), tmp_path)
    assert broken(found) == []
    assert "is refused: there is no mine/speed" in found["callback-whole-run"].reason


# --- transforms, searchers ---


def shrink(image: Any, target: Any, draw: Any) -> Any:
    """Another size, drawn from the global generators, which are seeded for the call."""
    height, width = (max(8, round(side * random.uniform(0.5, 1.5))) for side in image.shape[-2:])
    changed = {"boxes": functional.resize(target["boxes"], [height, width])}
    if "masks" in target:
        changed["masks"] = functional.resize(target["masks"], [height, width])
    return functional.resize(image, [height, width]), {**target, **changed}


def leave_out(image: Any, target: Any, draw: Any) -> Any:
    """No objects at all, in half of the images."""
    if draw.chance(0.5):
        return image, target
    return tv_tensors.Image(torch.zeros_like(image)), {
        name: value[:0] if isinstance(value, torch.Tensor) else value for name, value in target.items()
    } | {"boxes": tv_tensors.wrap(target["boxes"][:0], like=target["boxes"])}


def invert(image: Any, target: Any, draw: Any) -> Any:
    """Dark objects on a bright ground."""
    return functional.invert(image), target


@pytest.mark.parametrize("change", [shrink, leave_out, invert])
def test_a_transform_of_another_size_without_objects_or_inverted(change: Any, tmp_path: Path) -> None:
    assert broken(verdicts(TransformComponent("change", NoOptions, builds(lambda: change), "changes"), tmp_path)) == []


class OnlyChoices(wrong_searchers.Random):
    def begin(self, space: Any, objective: Any, *, max_trials: Any) -> None:
        if not all(isinstance(parameter, Choices) for parameter in space.parameters.values()):
            raise UserError("it searches choices only")
        super().begin(space, objective, max_trials=max_trials)


def test_a_searcher_that_refuses_ranges(tmp_path: Path) -> None:
    component = SearcherComponent(
        "choices", NoOptions, lambda _o, context: OnlyChoices(context), "choices", pareto=True
    )
    found = verdicts(component, tmp_path)
    assert broken(found) == []
    assert "begin is refused: it searches choices only" in found["searcher-space"].reason
