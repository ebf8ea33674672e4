"""What models promise of their predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from detkit.data.seeds import seeded
from detkit.testing.rule import Broken, NotApplicable, rule
from detkit.testing.rules.common import capabilities
from detkit.testing.rules.dataset_target import described
from detkit.testing.rules.model import batch_of, model_of, trained
from detkit.testing.subject import Subject

#: Boxes may reach out of the image by so much, pixels: of rounding, when they are scaled back.
OUTSIDE_PX = 1.0
#: Predictions of the same image in another place of the batch may differ by so much, pixels and score.
ORDER_PX, ORDER_SCORE = 0.5, 0.01


def images_of(subject: Subject) -> dict[str, Tensor]:
    """What is predicted: scenes of several sizes, one without objects, a black one, and noise."""
    scenes = batch_of(subject, 0, 1, 2, 3).images
    height, width = subject.size
    noise = torch.rand((3, height, width), generator=torch.Generator().manual_seed(5))
    named = {f"scene {place}": image for place, image in enumerate(scenes)}
    return {**named, "a black image": torch.zeros(3, height, width), "an image of noise": noise}


def predict(subject: Subject, model: nn.Module, images: list[Tensor], what: str) -> list[Any]:
    """Outputs in evaluation mode.

    Raises:
        Broken: it raises, or they are no list of one dict an image.
    """
    model.eval()
    with torch.no_grad(), seeded(4), subject.doing(f"predicting {what}"):
        outputs: Any = model(list(images))
    if not isinstance(outputs, list) or len(outputs) != len(images):
        shown = f"a {type(outputs).__name__}" + (f" of {len(outputs)}" if isinstance(outputs, list) else "")
        raise Broken(f"for {len(images)} images it gives {shown}", "a list with one dict an image")
    for output in outputs:
        wrong = isinstance(output, Mapping) and [
            name for name in ("boxes", "labels", "scores") if not isinstance(output.get(name), Tensor)
        ]
        if wrong or not isinstance(output, Mapping):
            raise Broken(
                f"of an image it gives a {type(output).__name__}" + (f" without {', '.join(wrong)}" if wrong else ""),
                "a dict with the tensors boxes, labels and scores",
            )
    return outputs


def outputs_of(subject: Subject) -> Iterator[tuple[str, Tensor, Any]]:
    """(image's name and the model's state, image, output), of a fresh model and of one trained a little.

    Raises:
        NotApplicable: there are no outputs; `model-outputs` says so.
    """
    images = images_of(subject)
    for state in ("fresh", "trained"):
        try:
            outputs = subject.once(f"outputs {state}", lambda state=state: _outputs(subject, state, images))  # type: ignore[misc]  # the default is a text
        except Broken as broken:
            raise NotApplicable("it gives no outputs: see the rule model-outputs") from broken
        for (name, image), output in zip(images.items(), outputs, strict=True):
            yield f"{name} ({state} model)", image, output


def _outputs(subject: Subject, state: str, images: dict[str, Tensor]) -> list[Any]:
    if state == "fresh":
        return predict(subject, model_of(subject), list(images.values()), "six images")
    try:
        model, _ = trained(subject)
    except (Broken, NotApplicable):
        return predict(subject, model_of(subject), list(images.values()), "six images")
    return predict(subject, model, list(images.values()), "six images after twelve steps of training")


@rule("model", "model-outputs", "in evaluation mode it gives a list with one dict an image")
def gives_outputs(subject: Subject) -> None:
    """`model(images)` in evaluation mode returns a list as long as the images, of dicts with the tensors `boxes`,
    `labels` and `scores`: of scenes, of a black image, of noise, of sizes mixed in one batch, and of one image alone.
    Targets are not given. Where nothing is found, N is 0."""
    images = images_of(subject)
    subject.once("outputs fresh", lambda: _outputs(subject, "fresh", images))
    subject.once("outputs trained", lambda: _outputs(subject, "trained", images))
    for name in ("scene 0", "a black image"):
        predict(subject, model_of(subject), [images[name]], f"{name} alone")


@rule("model", "model-output-shapes", "boxes are float32 [N, 4], labels int64 [N], scores float32 [N]")
def output_shapes(subject: Subject) -> None:
    """`boxes` is float32 of shape [N, 4], `labels` int64 [N] and `scores` float32 [N], with one N: [0, 4], [0] and [0]
    where nothing is found."""
    for name, _, output in outputs_of(subject):
        boxes, labels, scores = output["boxes"], output["labels"], output["scores"]
        count = scores.shape[0] if scores.ndim else 0
        for key, value, dtype, shape in (
            ("boxes", boxes, torch.float32, (count, 4)),
            ("labels", labels, torch.int64, (count,)),
            ("scores", scores, torch.float32, (count,)),
        ):
            if value.dtype != dtype or tuple(value.shape) != shape:
                wanted = f"{dtype} {list(shape)}"
                raise Broken(f"{key} of {name} are {described(value)}, with {count} scores", wanted)


@rule("model", "model-output-boxes", "boxes are (x0, y0, x1, y1) in pixels of the image it was given")
def output_boxes(subject: Subject) -> None:
    """Boxes are finite, have x0 <= x1 and y0 <= y1, and lie in the image, whatever size the model works at: those that
    reach out of it are clipped (a pixel is allowed for rounding). A box that is wider than the image has a lower IoU
    than what is seen of it. Where all boxes of all scenes lie in 0..1, they are shares of the image, as DETR's."""
    furthest = []
    for name, image, output in outputs_of(subject):
        height, width = image.shape[-2:]
        if output["boxes"].ndim != 2:
            raise NotApplicable("boxes have another shape: see the rule model-output-shapes")
        for box in output["boxes"].float().tolist():
            x0, y0, x1, y1 = box
            if not all(abs(number) < float("inf") for number in box) or x0 > x1 or y0 > y1:
                raise Broken(f"a box of {name} is {box}", "finite, x0 <= x1 and y0 <= y1")
            if min(x0, y0) < -OUTSIDE_PX or x1 > width + OUTSIDE_PX or y1 > height + OUTSIDE_PX:
                raise Broken(f"a box of {name} is {box}; the image is {width} x {height}", "boxes inside the image")
            furthest.append(max(x1, y1))
    if furthest and 0 < max(furthest) <= 1:
        raise Broken(
            f"all {len(furthest)} boxes lie in 0..1, as shares of the image",
            "pixels: times the image's width and height",
        )


@rule("model", "model-output-labels", "labels are in 1..K")
def output_labels(subject: Subject) -> None:
    """Predicted labels are in 1..K, K the number of `context.class_names`: label k is `class_names[k - 1]`. Neither the
    background (0) nor a class of the weights that the model started from is predicted. A model built for one class is
    looked at too: all that it can predict is 1."""
    for name, _, output in outputs_of(subject):
        _check_labels(name, output, len(subject.class_names))
    if len(subject.class_names) == 1:
        return
    try:
        single = model_of(subject, class_names=subject.class_names[:1])
    except NotApplicable:  # the rule model-classes is about that
        return
    images = images_of(subject)
    for name, output in zip(images, predict(subject, single, list(images.values()), "six images"), strict=True):
        _check_labels(f"{name} (model for one class)", output, 1)


def _check_labels(name: str, output: Any, classes: int) -> None:
    wrong = [label for label in output["labels"].flatten().tolist() if not 1 <= label <= classes]
    if wrong:
        there = "is one class" if classes == 1 else f"are {classes} classes"
        raise Broken(f"{name} has the label {wrong[0]}; there {there}", f"labels in 1..{classes}")


@rule("model", "model-output-scores", "scores are finite and in 0..1")
def output_scores(subject: Subject) -> None:
    """Scores are probabilities or what is read as such: finite, in 0..1; logits go through a sigmoid or softmax first.
    Detections may come in any order."""
    for name, _, output in outputs_of(subject):
        wrong = [score for score in output["scores"].flatten().tolist() if not 0 <= score <= 1]
        if wrong:
            raise Broken(f"{name} has the score {wrong[0]:.4g}", "scores in 0..1")


@rule("model", "model-output-masks", "masks are there where `gives` says so, float [N, 1, H, W] in 0..1")
def output_masks(subject: Subject) -> None:
    """A model whose component `gives` masks returns `masks` of every image: probabilities in 0..1, float, of shape
    [N, 1, H, W] with the image's own height and width, N = 0 included. One that gives none returns none."""
    gives = "masks" in capabilities(subject, "gives")
    for name, image, output in outputs_of(subject):
        masks = output.get("masks")
        if (masks is not None) != gives:
            raise Broken(
                f"the output of {name} has {'masks' if masks is not None else 'no masks'}",
                f"`gives` says {'boxes and masks' if gives else 'boxes only'}",
            )
        if masks is None:
            continue
        shape = (len(output["scores"]), 1, *image.shape[-2:])
        if not isinstance(masks, Tensor) or not masks.is_floating_point() or tuple(masks.shape) != shape:
            raise Broken(f"the masks of {name} are {described(masks)}", f"float {list(shape)}")
        if masks.numel() and not (float(masks.min()) >= 0 and float(masks.max()) <= 1):
            raise Broken(f"the masks of {name} reach from {float(masks.min()):.3g} to {float(masks.max()):.3g}", "0..1")


@rule("model", "model-evaluation-deterministic", "the same images give the same predictions, bit for bit")
def evaluation_deterministic(subject: Subject) -> None:
    """In evaluation mode a model draws nothing: images predicted twice give the same bits, and the calls in between, of
    other images or in training mode, leave no trace but in the weights and buffers."""
    model, images = model_of(subject), images_of(subject)
    first = predict(subject, model, list(images.values()), "six images")
    predict(subject, model, [images["an image of noise"]], "noise")
    torch.rand(17)  # another state of the generator
    model.eval()
    with torch.no_grad(), seeded(9), subject.doing("predicting six images again"):
        second = model(list(images.values()))
    for name, one, other in zip(images, first, second, strict=True):
        changed = [key for key in one if not torch.equal(one[key], other[key])]
        if changed:
            raise Broken(f"the second time, {name} has other {changed[0]}", "the same bits")


@rule("model", "model-order", "an image's predictions do not depend on its place in the batch")
def order(subject: Subject) -> None:
    """The images of a batch in another order give the same predictions in that order (but for rounding): outputs belong
    to the images in the places of the list, and nothing of one image reaches another."""
    model, images = model_of(subject), list(images_of(subject).items())
    first = predict(subject, model, [image for _, image in images], "six images")
    second = predict(subject, model, [image for _, image in reversed(images)], "six images in the opposite order")
    for (name, _), one, other in zip(images, first, reversed(second), strict=True):
        if len(one["scores"]) != len(other["scores"]):
            raise Broken(
                f"{name} has {len(one['scores'])} detections, in another place {len(other['scores'])}", "as many"
            )
        for key, most in (("scores", ORDER_SCORE), ("boxes", ORDER_PX)):
            a, b = (_by_score(output)[key].float() for output in (one, other))
            if a.shape == b.shape and a.numel() and float((a - b).abs().max()) > most:
                raise Broken(f"in another place, {name} has other {key}", "the same, but for rounding")


def _by_score(output: Any) -> dict[str, Tensor]:
    order_ = torch.argsort(output["scores"], descending=True, stable=True)
    return {"scores": output["scores"][order_], "boxes": output["boxes"][order_]}
