"""What training steps promise."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor, nn

from detkit.components import Stateful, TrainingStep
from detkit.data.seeds import seeded
from detkit.data.types import Batch
from detkit.testing.rule import Broken, NotApplicable, rule
from detkit.testing.rules.model import COPIES, LARGEST_RATIO, batch_of, changed_input, scalar_losses, total
from detkit.testing.subject import Subject
from detkit.testing.surroundings import left_alone


def step_of(subject: Subject) -> TrainingStep:
    """A fresh step.

    Raises:
        NotApplicable: it cannot be called; `step-callable` says so.
    """
    built = subject.build()
    if not callable(built):
        raise NotApplicable("it cannot be called: see the rule step-callable")
    return built  # type: ignore[no-any-return]  # it is called as a step


def model_for(subject: Subject) -> nn.Module:
    """What the step is tried with: the model that was given, else the kit's own."""
    from detkit.testing.detector import TINY_DETECTOR

    model: nn.Module = subject.built_beside(subject.model or TINY_DETECTOR, subject.model_options)
    return model.train()


def losses_of(subject: Subject, step: TrainingStep, model: nn.Module, batch: Batch, what: str) -> dict[str, Tensor]:
    """Raises: Broken: the step raises, or gives no losses."""
    with seeded(3), subject.doing(f"the step on {what}"):
        losses: Any = step(model, batch)
    return scalar_losses(losses, "step(model, batch)")


def usual_losses(subject: Subject) -> dict[str, Tensor]:
    """Those of a fresh step and model.

    Raises:
        NotApplicable: there are none; `step-losses` says so.
    """
    try:
        return losses_of(subject, step_of(subject), model_for(subject), batch_of(subject), "four scenes")
    except Broken as broken:
        raise NotApplicable("it gives no losses: see the rule step-losses") from broken


@rule("training_step", "step-callable", "what is built can be called")
def is_callable(subject: Subject) -> None:
    """The built object is called as `step(model, batch)`."""
    built = subject.build()
    if not callable(built):
        raise Broken(f"it built a {type(built).__name__}, which cannot be called", "step(model, batch)")


@rule("training_step", "step-losses", "it gives named scalar losses")
def gives_losses(subject: Subject) -> None:
    """`step(model, batch)` returns a dict, not empty, from names to scalar tensors. The kit calls it with a small
    detector of its own; a step that needs a certain model is given that as the fixture `model`."""
    losses_of(subject, step_of(subject), model_for(subject), batch_of(subject), "four scenes")


@rule("training_step", "step-losses-finite", "losses are finite, with and without objects")
def losses_finite(subject: Subject) -> None:
    """No loss is NaN or infinite where the model's own are finite, whether images have objects or not."""
    usual_losses(subject)
    for indices, what in (((0, 1, 2, 3), "four scenes"), ((2, 6), "scenes without any object")):
        losses = losses_of(subject, step_of(subject), model_for(subject), batch_of(subject, *indices), what)
        for name, value in losses.items():
            if not bool(torch.isfinite(value)):
                raise Broken(f"the loss {name!r} of {what} is {float(value.detach())}", "a finite number")


@rule("training_step", "step-losses-without-objects", "a batch without any object has losses under the same names")
def losses_constant(subject: Subject) -> None:
    """The names of the losses do not depend on what is in the images: the record's means over an epoch count every
    image in every term."""
    with_objects = set(usual_losses(subject))
    batch = batch_of(subject, 2, 6)
    without = set(losses_of(subject, step_of(subject), model_for(subject), batch, "scenes without any object"))
    if with_objects != without:
        raise Broken(
            f"with objects there are {', '.join(sorted(with_objects))}; without, {', '.join(sorted(without))}",
            "the same names",
        )


@rule("training_step", "step-gradient", "the losses' sum has a finite gradient")
def has_gradient(subject: Subject) -> None:
    """`sum(losses).backward()` reaches the model's parameters, with a gradient that is finite and not all 0: the engine
    does the backward pass. A step that detaches the losses, or does the backward pass itself, leaves nothing to do."""
    usual_losses(subject)
    model = model_for(subject)
    summed = total(losses_of(subject, step_of(subject), model, batch_of(subject), "four scenes"))
    if not summed.requires_grad:
        raise Broken("the losses have no gradient", "losses that depend on the model's parameters")
    with subject.doing("the backward pass"):
        summed.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    slopes = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    if not all(bool(torch.isfinite(slope).all()) for slope in slopes):
        raise Broken("a gradient is not finite", "finite gradients")
    if not any(bool(slope.any()) for slope in slopes):
        raise Broken("every gradient is 0", "gradients to learn from")


@rule("training_step", "step-losses-mean", "losses are means over the images of the batch")
def losses_mean(subject: Subject) -> None:
    """A loss does not grow with the number of images: the same image four times gives about the loss of it alone (up to
    a factor of two). The engine weighs each batch by its images."""
    usual_losses(subject)
    values = []
    for indices in ((0,), (0,) * COPIES):
        losses = losses_of(subject, step_of(subject), model_for(subject), batch_of(subject, *indices), "one scene")
        values.append(float(total(losses).detach()))
    alone, together = values
    if not alone / LARGEST_RATIO <= together <= alone * LARGEST_RATIO:
        raise Broken(f"one scene has the loss {alone:.4g}, the same {COPIES} times {together:.4g}", "about the same")


@rule("training_step", "step-calls-the-model", "it calls the model that it is given")
def calls_model(subject: Subject) -> None:
    """The forward pass goes through `model(...)`, of the model that is passed in: over several devices that is a
    wrapper which gathers the gradients, and a step that keeps a model of its own, or calls `model.forward` or parts of
    it past the wrapper, trains each device apart."""
    usual_losses(subject)
    wrapper = _Wrapper(model_for(subject)).train()
    losses_of(subject, step_of(subject), wrapper, batch_of(subject), "four scenes, with the model in a wrapper")
    if not wrapper.calls:
        raise Broken("the model that was passed in was not called", "model(...)")


class _Wrapper(nn.Module):
    """As those of distributed training: attributes of the model within are there, its call goes through here."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.calls = 0

    def forward(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        return self.module(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


@rule("training_step", "step-no-gradient", "it works where no gradient is wanted")
def without_gradient(subject: Subject) -> None:
    """Under `torch.no_grad()` the step gives its losses too: the validation loss is computed so."""
    usual_losses(subject)
    with torch.no_grad():
        losses_of(subject, step_of(subject), model_for(subject), batch_of(subject), "four scenes under no_grad")


@rule("training_step", "step-leaves-the-model", "weights, gradients and mode of the model stay as they were")
def leaves_model(subject: Subject) -> None:
    """The step computes losses and nothing else: it changes no parameter, sets no gradient, and leaves the model in
    training mode. Sum, guard, backward, clipping and the optimizer are the engine's."""
    usual_losses(subject)
    model = model_for(subject)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    losses_of(subject, step_of(subject), model, batch_of(subject), "four scenes")
    for name, value in model.named_parameters():
        if not torch.equal(value, before[name]):
            raise Broken(f"it changes the parameter {name}", "parameters as they were")
        if value.grad is not None:
            raise Broken(f"it leaves a gradient in {name}", "no backward pass in the step")
        if not value.requires_grad:
            raise Broken(f"it freezes {name}", "parameters as they were")
    if not all(module.training for module in model.modules()):
        raise Broken("it leaves the model in evaluation mode", "training mode")


@rule("training_step", "step-inputs-untouched", "the batch is not written to")
def inputs_untouched(subject: Subject) -> None:
    """Images and targets of the batch stay as they were: what replays an exploding loss, and the validation loss, use
    them after the step. A step that changes images works on copies."""
    usual_losses(subject)
    batch, before = batch_of(subject), batch_of(subject)
    losses_of(subject, step_of(subject), model_for(subject), batch, "four scenes")
    if len(batch.images) != len(before.images) or len(batch.targets) != len(before.targets):
        raise Broken("the batch has another number of images", "the same lists")
    if what := changed_input(batch, before):
        raise Broken(f"it changes {what}", "a copy is changed instead")


@rule("training_step", "step-deterministic", "the same seed gives the same losses, bit for bit")
def deterministic(subject: Subject) -> None:
    """With the same state of the global generators, a fresh step gives the same losses for the same model and batch:
    what it draws, it draws from torch's generator, or from `context.generator()`."""
    first = usual_losses(subject)
    again = losses_of(subject, step_of(subject), model_for(subject), batch_of(subject), "four scenes")
    changed = [name for name in first if name not in again or not torch.equal(first[name], again[name])]
    if changed:
        raise Broken(f"the second time, the loss {changed[0]!r} is another", "the same bits")


@rule("training_step", "step-leaves-settings", "a step changes nothing that belongs to the process")
def leaves_settings(subject: Subject) -> None:
    """It leaves torch's threads, default dtype and gradient mode, the working directory and the environment as they
    were."""
    usual_losses(subject)
    step, model, batch = step_of(subject), model_for(subject), batch_of(subject)
    with left_alone("a step", with_generators=False):
        losses_of(subject, step, model, batch, "four scenes")


@rule("training_step", "step-state-round-trip", "its state can be saved, and loaded into another")
def state_round_trip(subject: Subject) -> None:
    """A step with `state_dict` and `load_state_dict` (a teacher, a queue, a schedule) gives tensors and plain values,
    which `torch.load(weights_only=True)` brings back; loaded into a fresh step, that gives the losses that the first
    would have given next, bit for bit."""
    step = step_of(subject)
    if not isinstance(step, Stateful):
        raise NotApplicable("it has no state")
    usual_losses(subject)
    for _ in range(2):
        losses_of(subject, step, model_for(subject), batch_of(subject), "four scenes")
    state = saved_and_loaded(subject, step)
    other = step_of(subject)
    assert isinstance(other, Stateful)
    with subject.doing("load_state_dict"):
        other.load_state_dict(state)
    first = losses_of(subject, step, model_for(subject), batch_of(subject, 1, 3), "two scenes")
    second = losses_of(subject, other, model_for(subject), batch_of(subject, 1, 3), "two scenes")
    changed = [name for name in first if name not in second or not torch.equal(first[name], second[name])]
    if changed:
        raise Broken(f"with the state loaded, the loss {changed[0]!r} is another", "the same bits")


def saved_and_loaded(subject: Subject, stateful: Stateful) -> dict[str, Any]:
    """A component's state after a checkpoint.

    Raises:
        Broken: it is no dict, or cannot be saved.
    """
    with subject.doing("state_dict"):
        state: Any = stateful.state_dict()
    if not isinstance(state, dict):
        raise Broken(f"state_dict gives a {type(state).__name__}", "a dict of tensors and plain values")
    stream = io.BytesIO()
    with subject.doing("saving its state and loading it as weights only"):
        torch.save(state, stream)
        stream.seek(0)
        return dict(torch.load(stream, weights_only=True))
