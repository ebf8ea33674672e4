"""What models promise of their losses: names, values, gradients; and what else training needs of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from detkit.components import TrainingStep
from detkit.data.seeds import seeded
from detkit.data.types import Batch
from detkit.testing.rule import Broken, NotApplicable, rule
from detkit.testing.rules.common import capabilities
from detkit.testing.scenes import Scenes, scene_batch
from detkit.testing.subject import Subject
from detkit.testing.surroundings import left_alone

GPU = "cuda"
#: Steps of the little training, its rate, its largest norm of a gradient, and how many losses are averaged.
STEPS, RATE, LARGEST_NORM, AVERAGED = 12, 1e-3, 10.0, 3
#: Losses of an image four times in a batch, over those of it alone: a mean gives 1, a sum 4; what is drawn, a little.
COPIES, LARGEST_RATIO = 4, 2.0


def scenes_of(subject: Subject) -> Scenes:
    """What models are shown: with masks where they need them."""
    masks = "masks" in capabilities(subject, "needs")
    return Scenes(8, class_names=subject.class_names, size=subject.size, masks=masks)


def batch_of(subject: Subject, *indices: int) -> Batch:
    """A fresh batch of scenes; 0, 1 and 3 hold objects, 2 holds none."""
    return scene_batch(scenes_of(subject), indices or (0, 1, 2, 3))


def model_of(subject: Subject, *, random_state: int = 0, **changes: Any) -> nn.Module:
    """A fresh model.

    Raises:
        NotApplicable: what is built is no module; `model-module` says so.
    """
    built = subject.build(random_state=random_state, **changes)
    if not isinstance(built, nn.Module):
        raise NotApplicable("it is no module: see the rule model-module")
    return built


def step_of(subject: Subject) -> TrainingStep:
    """The model's own training step where it has one; else `model(images, targets)`."""
    if subject.training_step is None:
        return lambda model, batch: model(batch.images, batch.targets)
    step: TrainingStep = subject.built_beside(subject.training_step, subject.training_step_options)
    return step


def losses_of(subject: Subject, model: nn.Module, batch: Batch, what: str) -> dict[str, Tensor]:
    """The losses of a batch in training mode, with seeded generators.

    Raises:
        Broken: the model raises, or what it returns are no losses.
    """
    step = step_of(subject)
    model.train()
    with seeded(3), subject.doing(f"computing the losses of {what}"):
        losses: Any = step(model, batch)
    return scalar_losses(losses, "model(images, targets) in training mode")


def scalar_losses(given: Any, call: str) -> dict[str, Tensor]:
    """What was given, where it is named scalars.

    Args:
        call: what gave it, as a message names it.

    Raises:
        Broken: it is something else.
    """
    if not isinstance(given, dict) or not given:
        what = "{}" if given == {} else f"a {type(given).__name__}"
        raise Broken(f"{call} gives {what}", "a dict of named scalar losses")
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.ndim != 0:
            shape = f"of shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise Broken(f"the loss {name!r} is {shape}", "a scalar tensor under a name")
    return given


def usual_losses(subject: Subject) -> dict[str, Tensor]:
    """Those of a fresh model and the usual batch; what breaks `model-losses` is told there alone."""

    def computed() -> dict[str, Tensor]:
        return losses_of(subject, model_of(subject), batch_of(subject), "four scenes, one without objects")

    return subject.once("losses", computed)


def losses_or_not(subject: Subject) -> dict[str, Tensor]:
    """`usual_losses` for other rules than `model-losses`.

    Raises:
        NotApplicable: there are none.
    """
    try:
        return usual_losses(subject)
    except Broken as broken:
        raise NotApplicable("it gives no losses: see the rule model-losses") from broken


def total(losses: dict[str, Tensor]) -> Tensor:
    """The sum that is trained on."""
    return torch.stack([value.float() for value in losses.values()]).sum()


@rule("model", "model-module", "what is built is a `torch.nn.Module` with parameters to train")
def is_module(subject: Subject) -> None:
    """The built object is a `torch.nn.Module`, and at least one of its parameters requires a gradient."""
    built = subject.build()
    if not isinstance(built, nn.Module):
        raise Broken(f"it built a {type(built).__name__}", "a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in built.parameters()):
        raise Broken("none of its parameters requires a gradient", "parameters that can be trained")


@rule("model", "model-losses", "in training mode it gives named scalar losses")
def gives_losses(subject: Subject) -> None:
    """`model(images, targets)` in training mode returns a dict, not empty, from names to scalar tensors. Images are a
    list of float32 [3, H, W] in 0..1 of different sizes, odd ones too; targets are plain tensors, some without objects.
    Which losses there are and how they are named is the model's own affair. A model with another convention brings a
    training step of its own: give it as the fixture `training_step`."""
    usual_losses(subject)


@rule("model", "model-losses-finite", "losses are finite numbers")
def losses_finite(subject: Subject) -> None:
    """No loss of a freshly built model is NaN or infinite, whether images have objects or not. The classic fault is a
    division by the number of objects: divide by at least 1."""
    without = losses_of(subject, model_of(subject), batch_of(subject, 2, 6), "scenes without any object")
    for what, losses in (("four scenes", losses_or_not(subject)), ("scenes without any object", without)):
        for name, value in losses.items():
            if not bool(torch.isfinite(value)):
                raise Broken(f"the loss {name!r} of {what} is {float(value.detach())}", "a finite number")


@rule("model", "model-losses-without-objects", "a batch without any object has losses under the same names")
def losses_constant(subject: Subject) -> None:
    """Where no image of a batch has an object, the model gives losses under the names that it always gives, 0 where
    there is nothing to learn: the record's means over an epoch count every image in every term."""
    with_objects = set(losses_or_not(subject))
    without = set(losses_of(subject, model_of(subject), batch_of(subject, 2, 6), "scenes without any object"))
    if with_objects != without:
        raise Broken(
            f"with objects there are {', '.join(sorted(with_objects))}; without, {', '.join(sorted(without))}",
            "the same names",
        )


@rule("model", "model-gradient", "the losses' sum has a finite gradient, with and without objects")
def has_gradient(subject: Subject) -> None:
    """`sum(losses).backward()` works; no gradient is NaN or infinite, and with objects some parameter has one that is
    not 0. A loss that was detached, or made anew from its number, has none. The square root of 0 and the logarithm of 0
    have a finite value and no finite gradient."""
    losses_or_not(subject)
    for indices, what in (((0, 1, 2, 3), "four scenes"), ((2, 6), "scenes without any object")):
        model = model_of(subject)
        summed = total(losses_of(subject, model, batch_of(subject, *indices), what))
        if not summed.requires_grad:
            raise Broken(f"the losses of {what} have no gradient", "losses that depend on the parameters")
        with subject.doing(f"the backward pass of {what}"):
            summed.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        slopes = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
        wrong = [name for name, slope in slopes.items() if not bool(torch.isfinite(slope).all())]
        if wrong and bool(torch.isfinite(summed)):
            raise Broken(f"of {what}, the gradient of {wrong[0]} is not finite", "finite gradients")
        if what == "four scenes" and not any(bool(slope.any()) for slope in slopes.values()):
            raise Broken("with objects, every gradient is 0", "gradients to learn from")


@rule("model", "model-losses-mean", "losses are means over the images of a batch")
def losses_mean(subject: Subject) -> None:
    """A loss does not grow with the number of images: the same image four times in a batch gives about the loss of it
    alone (up to a factor of two, since some models draw samples). The engine weighs each batch by its images, and a
    rate that suits a batch of 2 then suits one of 16."""
    losses_or_not(subject)
    alone = float(total(losses_of(subject, model_of(subject), batch_of(subject, 0), "one scene")).detach())
    copies = batch_of(subject, *([0] * COPIES))
    together = float(total(losses_of(subject, model_of(subject), copies, f"one scene {COPIES} times")).detach())
    if not alone / LARGEST_RATIO <= together <= alone * LARGEST_RATIO:
        raise Broken(
            f"one scene has the loss {alone:.4g}, the same {COPIES} times {together:.4g}", "about the same: a mean"
        )


@rule("model", "model-training-deterministic", "the same seed gives the same losses, bit for bit")
def training_deterministic(subject: Subject) -> None:
    """Built and called with the same state of the global generators, a model gives the same losses: what it draws, it
    draws from torch's generator (or `context.generator()`), and it keeps no clock. On the CPU the engine repeats runs
    bit for bit."""
    first = losses_or_not(subject)
    again = losses_of(subject, model_of(subject), batch_of(subject), "the same scenes")
    changed = [name for name in first if name not in again or not torch.equal(first[name], again[name])]
    if changed:
        raise Broken(f"the second time, the loss {changed[0]!r} is another", "the same bits")


@rule("model", "model-inputs-untouched", "images and targets are not written to")
def inputs_untouched(subject: Subject) -> None:
    """The model leaves the lists of images and targets, and the tensors in them, as they were, in training and in
    evaluation: the training step, the guard against exploding losses and the validation loss use them again."""
    model = model_of(subject)
    for mode in ("training", "evaluation"):
        batch, before = batch_of(subject), batch_of(subject)
        images, targets = list(batch.images), list(batch.targets)
        if mode == "training":
            losses_of(subject, model, batch, "four scenes")
        else:
            with torch.no_grad(), subject.doing("predicting four scenes"):
                model.eval()
                model(batch.images)
        if len(batch.images) != len(images) or len(batch.targets) != len(targets):
            raise Broken(f"in {mode}, the list of images or targets has changed its length", "the same lists")
        what = changed_input(batch, before)
        if what:
            raise Broken(f"in {mode}, it changes {what}", "a copy is changed instead")


def changed_input(batch: Batch, before: Batch) -> str:
    """What of a batch is other than before; empty where nothing is."""
    for place, (image, old) in enumerate(zip(batch.images, before.images, strict=True)):
        if not torch.equal(image, old):
            return f"image {place}"
    for place, (target, was) in enumerate(zip(batch.targets, before.targets, strict=True)):
        if target.keys() != was.keys():
            return f"the fields of target {place} ({', '.join(sorted(target.keys() ^ was.keys()))})"
        for name, value in target.items():
            old = was[name]  # type: ignore[literal-required]  # both have it
            if not (torch.equal(value, old) if isinstance(value, Tensor) else value == old):
                return f"{name} of target {place}"
    return ""


@rule("model", "model-leaves-settings", "calling it changes nothing that belongs to the process")
def leaves_settings(subject: Subject) -> None:
    """A forward pass leaves torch's threads, default dtype and gradient mode, the working directory and the environment
    as they were. In evaluation it leaves the global generators alone too: evaluating more often must not change what is
    trained. It does not switch its own mode (`model.training`)."""
    model = model_of(subject)
    with left_alone("computing losses", with_generators=False):
        losses_of(subject, model, batch_of(subject), "four scenes")
    if not model.training:
        raise Broken("after losses were computed, the model is in evaluation mode", "it stays in training mode")
    model.eval()
    with left_alone("predicting", with_generators=True), torch.no_grad(), subject.doing("predicting four scenes"):
        model(batch_of(subject).images)
    if model.training:
        raise Broken("after a prediction, the model is in training mode", "it stays in evaluation mode")


def trained(subject: Subject) -> tuple[nn.Module, list[float]]:
    """A model after some steps on three scenes, and its losses."""

    def train() -> tuple[nn.Module, list[float]]:
        losses_or_not(subject)
        model = model_of(subject)
        learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(learnt, lr=RATE)
        values = []
        for _ in range(STEPS):
            summed = total(losses_of(subject, model, batch_of(subject, 0, 1, 3), "three scenes"))
            optimizer.zero_grad()
            with subject.doing("the backward pass of three scenes"):
                summed.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(learnt, LARGEST_NORM)
            optimizer.step()
            values.append(float(summed.detach()))
        return model, values

    return subject.once("trained", train)


@rule("model", "model-learns", "twelve steps on three scenes bring its loss down")
def learns(subject: Subject) -> None:
    """Trained on three scenes for twelve steps with AdamW at a rate of 0.001, the loss at the end is below that of the
    beginning. A model whose losses look right and do not depend on what it predicts breaks this rule."""
    _, values = trained(subject)
    first, last = sum(values[:AVERAGED]) / AVERAGED, sum(values[-AVERAGED:]) / AVERAGED
    if not last < first:
        raise Broken(f"the loss goes from {first:.4g} to {last:.4g}", "it falls")


@rule("model", "model-autocast", "it works in mixed precision")
def autocast(subject: Subject) -> None:
    """Under `torch.autocast("cpu", torch.bfloat16)` losses and predictions are computed, and are finite: `[compute]
    precision` may say bf16, and "auto" says so where the hardware has it."""
    losses_or_not(subject)
    model = model_of(subject)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        losses = losses_of(subject, model, batch_of(subject), "four scenes under bfloat16 autocast")
        with subject.doing("predicting four scenes under bfloat16 autocast"):
            outputs = model.eval()(batch_of(subject).images)
    wrong = [name for name, value in losses.items() if not bool(torch.isfinite(value))]
    if wrong:
        raise Broken(f"under bfloat16 autocast the loss {wrong[0]!r} is not finite", "finite losses")
    if any(not bool(torch.isfinite(output["scores"].float()).all()) for output in outputs):
        raise Broken("under bfloat16 autocast scores are not finite", "finite scores")


@rule("model", "model-moves", "it moves to a GPU with `to(device)`")
def moves(subject: Subject) -> None:
    """`model.to(device)` moves all it needs: tensors that are neither parameters nor buffers, and such as are made in
    `forward` without a device, stay on the CPU and break this rule. It is looked at where there is a GPU."""
    if not torch.cuda.is_available():
        raise NotApplicable("there is no GPU here")
    model = model_of(subject).to(GPU)
    batch = scene_batch(scenes_of(subject), (0, 1, 2, 3), GPU)
    losses = losses_of(subject, model, batch, "four scenes on a GPU")
    with torch.no_grad(), subject.doing("predicting four scenes on a GPU"):
        outputs = model.eval()(batch.images)
    for name, value in [*losses.items(), *((key, output[key]) for output in outputs for key in output)]:
        if value.device.type != GPU:
            raise Broken(f"on a GPU, {name} is on {value.device}", "what it gives is on the device of its input")
