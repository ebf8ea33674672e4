"""Wrong models: the kit's tiny detector, each bent in one way."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from detkit import BOXES_AND_MASKS, BuildContext, ModelComponent, Part
from detkit.testing import TinyDetector
from testing.wrong_form import NoOptions, Wrong

WRONG: list[Wrong] = []
Bend = Callable[[Any, Any, Any, Any], Any]


class Bent(TinyDetector):
    """The tiny detector, with what functions make of its losses and outputs."""

    def __init__(self, classes: int, losses: Bend | None = None, outputs: Bend | None = None) -> None:
        super().__init__(classes)
        self.losses, self.outputs = losses, outputs

    def forward(self, images: Any, targets: Any = None) -> Any:
        bend = self.losses if self.training else self.outputs
        found = super().forward(images, targets)
        return bend(found, images, targets, self) if bend else found


def component(make: Callable[[int], Any], **more: Any) -> ModelComponent[Any]:
    def build(_options: Any, context: BuildContext) -> Any:
        return make(len(context.class_names))

    return ModelComponent("wrong", NoOptions, build, "a detector", **more)


HONEST = component(Bent)


def _word(function: Bend) -> str:
    return function.__name__.replace("_", " ")


def losses(rule: str, says: str) -> Callable[[Bend], Bend]:
    def added(bend: Bend) -> Bend:
        WRONG.append(Wrong(rule, _word(bend), says, component(lambda classes: Bent(classes, losses=bend))))
        return bend

    return added


def outputs(rule: str, says: str) -> Callable[[Bend], Bend]:
    def added(bend: Bend) -> Bend:
        WRONG.append(Wrong(rule, _word(bend), says, component(lambda classes: Bent(classes, outputs=bend))))
        return bend

    return added


def wrong(rule: str, fault: str, says: str, make: Callable[[int], Any], **more: Any) -> None:
    WRONG.append(Wrong(rule, fault, says, component(make, **more)))


# --- losses ---


@losses("model-losses", "a Tensor")
def the_sum_in_place_of_a_dict(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return sum(found.values())


@losses("model-losses", "of shape [1]")
def losses_with_a_dimension(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return {name: value[None] for name, value in found.items()}


@losses("model-losses", "a float")
def losses_as_numbers(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return {name: float(value) for name, value in found.items()}


@losses("model-losses", "IndexError")
def an_index_into_no_objects(found: Any, _images: Any, targets: Any, _model: Any) -> Any:
    for target in targets:
        target["boxes"][0]
    return found


@losses("model-losses-finite", "scenes without any object is nan")
def divided_by_the_number_of_objects(found: Any, _images: Any, targets: Any, _model: Any) -> Any:
    count = torch.tensor(float(sum(len(target["labels"]) for target in targets)))
    return {**found, "sides": found["sides"] * count / count}


@losses("model-losses-without-objects", "without, heat")
def no_box_loss_without_objects(found: Any, _images: Any, targets: Any, _model: Any) -> Any:
    some = any(len(target["labels"]) for target in targets)
    return found if some else {"heat": found["heat"]}


@losses("model-gradient", "have no gradient")
def detached_losses(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return {name: value.detach() for name, value in found.items()}


@losses("model-gradient", "is not finite")
def the_root_of_nought(found: Any, _images: Any, _targets: Any, model: Any) -> Any:
    return {**found, "extra": torch.sqrt((model.heat.weight * 0).sum())}


@losses("model-gradient", "every gradient is 0")
def losses_times_nought(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return {name: value * 0 + 1 for name, value in found.items()}


@losses("model-losses-mean", "4 times")
def a_sum_over_images(found: Any, images: Any, _targets: Any, _model: Any) -> Any:
    return {name: value * len(images) for name, value in found.items()}


TICKS = itertools.count(1)


@losses("model-training-deterministic", "is another")
def a_clock_in_the_loss(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return {**found, "clock": found["heat"] * (1 + next(TICKS) / 1000)}


@losses("model-inputs-untouched", "in training, it changes image 0")
def images_normalised_in_place(found: Any, images: Any, _targets: Any, _model: Any) -> Any:
    for image in images:
        image.sub_(0.5)
    return found


@losses("model-inputs-untouched", "boxes of target 0")
def boxes_scaled_in_place(found: Any, _images: Any, targets: Any, _model: Any) -> Any:
    for target in targets:
        target["boxes"].mul_(0.5)
    return found


@losses("model-inputs-untouched", "the fields of target 0 (seen)")
def a_field_added_to_targets(found: Any, _images: Any, targets: Any, _model: Any) -> Any:
    for target in targets:
        target["seen"] = True
    return found


@losses("model-leaves-settings", "in evaluation mode")
def leaves_itself_in_evaluation_mode(found: Any, _images: Any, _targets: Any, model: Any) -> Any:
    model.eval()
    return found


@losses("model-learns", "the loss goes from")
def a_loss_of_nothing_predicted(_found: Any, _images: Any, _targets: Any, model: Any) -> Any:
    return {"weights": 1 + (model.heat.bias - model.heat.bias.detach()).sum() * 1e-6}


@losses("model-autocast", "under bfloat16 autocast")
def a_dtype_that_is_fixed(found: Any, _images: Any, _targets: Any, model: Any) -> Any:
    if torch.is_autocast_enabled("cpu"):
        return {**found, "sides": found["sides"] / 0}
    return found


# --- outputs ---


@outputs("model-outputs", "a tuple")
def a_tuple_in_place_of_a_list(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return tuple(found)


@outputs("model-outputs", "gives a list of 1")
def one_output_for_all(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return found[:1]


@outputs("model-outputs", "without scores")
def no_scores(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return [{name: value for name, value in output.items() if name != "scores"} for output in found]


@outputs("model-outputs", "RuntimeError")
def fails_where_nothing_is_found(found: Any, images: Any, _targets: Any, _model: Any) -> Any:
    for image in images:
        if not image.any():
            raise RuntimeError("max of nothing")
    return found


@outputs("model-output-shapes", "torch.int32")
def labels_in_int32(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return [{**output, "labels": output["labels"].int()} for output in found]


@outputs("model-output-shapes", "scores")
def a_column_of_scores(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return [{**output, "scores": output["scores"][:, None]} for output in found]


@outputs("model-output-shapes", "[0]")
def boxes_of_shape_0_where_nothing_is_found(found: Any, images: Any, _targets: Any, _model: Any) -> Any:
    empty = {"boxes": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0)}
    return [output if image.any() else empty for output, image in zip(found, images, strict=True)]


@outputs("model-output-boxes", "a box of scene")
def width_and_height_in_place_of_corners(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return [{**o, "boxes": torch.cat([o["boxes"][:, :2], o["boxes"][:, 2:] - o["boxes"][:, :2]], 1)} for o in found]


@outputs("model-output-boxes", "the image is 128 x 96")
def boxes_of_the_resized_image(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return [{**output, "boxes": output["boxes"] * 3} for output in found]


@outputs("model-output-boxes", "as shares of the image")
def boxes_as_shares_of_the_image(found: Any, images: Any, _targets: Any, _model: Any) -> Any:
    sizes = [torch.tensor([image.shape[2], image.shape[1]] * 2) for image in images]
    return [{**output, "boxes": output["boxes"] / size} for output, size in zip(found, sizes, strict=True)]


@outputs("model-output-labels", "label 0")
def labels_from_0(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return [{**output, "labels": output["labels"] - 1} for output in found]


@outputs("model-output-scores", "the score")
def logits_for_scores(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return [{**output, "scores": torch.logit(output["scores"]) * 3} for output in found]


@outputs("model-output-scores", "the score nan")
def scores_that_are_no_numbers(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return [{**output, "scores": output["scores"] * float("nan")} for output in found]


@outputs("model-output-masks", "has masks")
def masks_that_were_not_announced(found: Any, images: Any, _targets: Any, _model: Any) -> Any:
    return [
        {**output, "masks": torch.rand(len(output["scores"]), 1, *image.shape[-2:])}
        for output, image in zip(found, images, strict=True)
    ]


@outputs("model-evaluation-deterministic", "has other scores")
def noise_in_evaluation(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    return [{**output, "scores": output["scores"] * torch.rand(())} for output in found]


@outputs("model-leaves-settings", "torch's global generator")
def draws_in_evaluation(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    torch.rand(1)
    return found


@outputs("model-leaves-settings", "number of threads")
def threads_set_in_evaluation(found: Any, _images: Any, _targets: Any, _model: Any) -> Any:
    torch.set_num_threads(torch.get_num_threads() + 1)
    return found


@outputs("model-order", "in another place")
def outputs_by_size_of_image(found: Any, images: Any, _targets: Any, _model: Any) -> Any:
    return [found[place] for place in sorted(range(len(found)), key=lambda place: images[place].sum())]


def _masks(masks: Callable[[Any, Any], Any]) -> Callable[[int], Bent]:
    def bend(found: Any, images: Any, _targets: Any, _model: Any) -> Any:
        return [{**output, "masks": masks(output, image)} for output, image in zip(found, images, strict=True)]

    return lambda classes: Bent(classes, outputs=bend)


def gives_masks(_options: Any) -> Any:
    return BOXES_AND_MASKS


wrong("model-output-masks", "no masks that were announced", "has no masks", Bent, gives=gives_masks)
wrong(
    "model-output-masks",
    "masks without a channel",
    "float32",
    _masks(lambda output, image: torch.rand(len(output["scores"]), *image.shape[-2:])),
    gives=gives_masks,
)
wrong(
    "model-output-masks",
    "logits of masks",
    "reach from",
    _masks(lambda output, image: torch.full((len(output["scores"]), 1, *image.shape[-2:]), 3.0)),
    gives=gives_masks,
)

# --- weights ---


class Forgetful(Bent):
    """Counts what it has seen, and not in a buffer: its scores depend on it."""

    seen = 0

    def forward(self, images: Any, targets: Any = None) -> Any:
        self.seen += self.training
        found = super().forward(images, targets)
        if not self.training:
            for output in found:
                output["scores"] = output["scores"] / (1 + self.seen)
        return found


class Unsafe(Bent):
    def state_dict(self, *arguments: Any, **options: Any) -> Any:
        return super().state_dict(*arguments, **options) | {"options": NoOptions()}


class Uncopied(Bent):
    def __deepcopy__(self, memo: Any) -> Any:
        return self


class Unseeded(Bent):
    made = itertools.count()

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        with torch.no_grad():
            self.heat.weight += next(self.made)


class TwoClasses(Bent):
    def __init__(self, _classes: int) -> None:
        super().__init__(2)


class Parted(Bent):
    def __init__(self, classes: int, **attributes: Any) -> None:
        super().__init__(classes)
        self.parts = attributes.get("parts", lambda model: ())(self)
        self.pretrained = attributes.get("pretrained", ())
        self.weights_origin = attributes.get("weights_origin", {})


def needs_a_file(_options: Any, context: BuildContext) -> Any:
    """Builds another network where weights are given."""
    model = Bent(len(context.class_names))
    if context.weights is not None:
        model.body = nn.Sequential(nn.Conv2d(3, 16, 3))
    return model


def shared(model: Any) -> Any:
    return (Part("body", (model.body,)), Part("all", (model.body, model.heat)))


class Flat(nn.Module):
    def forward(self, _images: Any, _targets: Any = None) -> Tensor:
        return torch.zeros(())


wrong("model-module", "a function", "a function", lambda _classes: lambda images: images)
wrong("model-module", "nothing to train", "requires a gradient", lambda _classes: Flat())
wrong("model-state-round-trip", "a counter that is no buffer", "gives other scores", Forgetful)
wrong("model-state-safe", "an object among the weights", "weights", Unsafe)
wrong("model-copies", "a copy that is the model itself", "changing the copy", Uncopied)
wrong("model-build-deterministic", "weights of their own at each build", "heat.weight", Unseeded)
wrong("model-classes", "heads for two classes, whatever is asked", "3 classes", TwoClasses)
wrong("model-parts", "parts that share parameters", "share a parameter", lambda k: Parted(k, parts=shared))
wrong("model-parts", "weights of other names", "'module.body'", lambda k: Parted(k, pretrained=["module.body"]))
wrong("model-parts", "an object in its origin", "weights_origin", lambda k: Parted(k, weights_origin={"at": time}))
wrong("model-component", "a recipe that misspells", "`recipe` sets", Bent, recipe=lambda _options: {"lrr": 0.1})
wrong("model-component", "a list of needs", "`needs` gives", Bent, needs=lambda _options: ["boxes"])
wrong("model-component", "an anchor of 0", "`smallest_anchor` gives", Bent, smallest_anchor=lambda _o, _size: 0)
WRONG.append(
    Wrong(
        "model-builds-from-weights",
        "another network where weights are given",
        "loading the weights",
        ModelComponent("wrong", NoOptions, needs_a_file, "a detector"),
    )
)
