"""Wrong training steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch

from detkit import TrainingStepComponent
from testing.wrong_form import NoOptions, Wrong, builds

WRONG: list[Wrong] = []
Step = Callable[[Any, Any], Any]


def component(make: Callable[[], Any]) -> TrainingStepComponent[Any]:
    return TrainingStepComponent("wrong", NoOptions, builds(make), "a step")


def honest(model: Any, batch: Any) -> Any:
    return model(batch.images, batch.targets)


HONEST = component(lambda: honest)


def step(rule: str, says: str) -> Callable[[Step], Step]:
    def added(function: Step) -> Step:
        WRONG.append(Wrong(rule, function.__name__.replace("_", " "), says, component(lambda: function)))
        return function

    return added


@step("step-losses", "gives a Tensor")
def the_sum(model: Any, batch: Any) -> Any:
    return sum(honest(model, batch).values())


@step("step-losses", "gives {}")
def no_losses(model: Any, batch: Any) -> Any:
    honest(model, batch)
    return {}


@step("step-losses-finite", "without any object is nan")
def divided_by_objects(model: Any, batch: Any) -> Any:
    count = torch.tensor(float(sum(len(target["labels"]) for target in batch.targets)))
    return {name: loss * count / count for name, loss in honest(model, batch).items()}


@step("step-losses-without-objects", "without, heat")
def drops_what_is_nought(model: Any, batch: Any) -> Any:
    return {name: loss for name, loss in honest(model, batch).items() if float(loss.detach()) > 0}


@step("step-gradient", "no gradient")
def detaches(model: Any, batch: Any) -> Any:
    return {name: loss.detach() for name, loss in honest(model, batch).items()}


@step("step-losses-mean", "4 times")
def a_sum_over_images(model: Any, batch: Any) -> Any:
    return {name: loss * len(batch.images) for name, loss in honest(model, batch).items()}


@step("step-calls-the-model", "was not called")
def calls_the_module_within(model: Any, batch: Any) -> Any:
    return honest(getattr(model, "module", model), batch)


@step("step-no-gradient", "under no_grad raises")
def differentiates(model: Any, batch: Any) -> Any:
    losses = honest(model, batch)
    torch.autograd.grad(losses["heat"], model.heat.bias, retain_graph=True)
    return losses


@step("step-leaves-the-model", "a gradient in")
def goes_backward_itself(model: Any, batch: Any) -> Any:
    losses = honest(model, batch)
    sum(losses.values()).backward(retain_graph=True)
    return losses


@step("step-leaves-the-model", "changes the parameter")
def takes_the_step_itself(model: Any, batch: Any) -> Any:
    losses = honest(model, batch)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.99)
    return losses


@step("step-leaves-the-model", "evaluation mode")
def leaves_evaluation_mode(model: Any, batch: Any) -> Any:
    losses = honest(model, batch)
    model.eval()
    return losses


@step("step-inputs-untouched", "image 0")
def noise_in_place(model: Any, batch: Any) -> Any:
    for image in batch.images:
        image.add_(0.1)
    return honest(model, batch)


@step("step-inputs-untouched", "another number of images")
def drops_images(model: Any, batch: Any) -> Any:
    batch.images.pop()
    batch.targets.pop()
    return honest(model, batch)


TICKS = itertools.count(1)


@step("step-deterministic", "is another")
def a_weight_that_grows(model: Any, batch: Any) -> Any:
    return {name: loss * (1 + next(TICKS) / 1000) for name, loss in honest(model, batch).items()}


@step("step-leaves-settings", "number of threads")
def sets_threads(model: Any, batch: Any) -> Any:
    torch.set_num_threads(torch.get_num_threads() + 1)
    return honest(model, batch)


class Warming:
    """Honest: the weight rises with each step, and goes into the checkpoint."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, model: Any, batch: Any) -> Any:
        self.steps += 1
        return {name: loss * self.steps / 10 for name, loss in honest(model, batch).items()}

    def state_dict(self) -> Any:
        return {"steps": self.steps}

    def load_state_dict(self, state: Any) -> None:
        self.steps = state["steps"]


class Forgets(Warming):
    def load_state_dict(self, state: Any) -> None:
        self.steps = 0


class Unsafe(Warming):
    def state_dict(self) -> Any:
        return {"steps": self.steps, "self": NoOptions()}


HONEST_STATE = component(Warming)
WRONG += [
    Wrong("step-callable", "a text", "a str", component(lambda: "step")),
    Wrong("step-state-round-trip", "a state that is not taken back", "is another", component(Forgets)),
    Wrong("step-state-round-trip", "an object in the state", "weights only", component(Unsafe)),
]
