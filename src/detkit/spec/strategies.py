"""Strategies that cannot work, as far as a spec and a model's options tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detkit.spec.model import ModelUse


def strategy_problems(model: ModelUse, stages: Sequence[str] | None, devices: int) -> Iterator[tuple[str, str]]:
    """Keys of the model's `[train]`, each with what is wrong with it.

    Args:
        stages: of its backbone that hold weights; empty where all begins at random; None where nobody knows yet.
        devices: that train together.
    """
    train = model.train
    last = max(train.unfreeze_epochs or (0,))
    if last > train.epochs:
        yield "unfreeze_epochs", f"epoch {last} is never reached: epochs is {train.epochs}"
    if train.strategy == "gradual" and devices > 1:
        yield "strategy", f'"gradual" works on one device, and [compute] devices is {devices}'
    if stages is None:
        return
    yield from _of_known_stages(model, stages)


def _of_known_stages(model: ModelUse, stages: Sequence[str]) -> Iterator[tuple[str, str]]:
    train = model.train
    if train.strategy in ("transfer", "gradual") and not stages:
        yield (
            "strategy",
            f'"{train.strategy}" keeps what was pretrained, and {model.title} starts from nothing; choose weights, or'
            ' use "finetune" or "scratch"',
        )
    elif train.strategy == "scratch" and stages:
        yield (
            "strategy",
            f'"scratch" starts from nothing, and {model.title} starts from weights; set its weights to "none", or use'
            ' "finetune"',
        )
    elif train.backbone_lr_scale != 1 and not stages:
        yield "backbone_lr_scale", f"is for pretrained weights, and {model.title} starts from nothing; leave it out"
    if train.trainable_layers is not None and not stages:
        yield (
            "trainable_layers",
            f"would freeze layers that have learnt nothing: {model.title} starts from nothing; leave it out, or choose"
            " weights",
        )
    elif train.trainable_layers is not None and train.trainable_layers > len(stages):
        yield (
            "trainable_layers",
            f"is {train.trainable_layers}, but the backbone of {model.title} has {len(stages)} stages:"
            f" {', '.join(stages)}",
        )
    # Beside the backbone's stages, what else of the detector is pretrained makes one.
    if train.unfreeze_epochs and stages and len(train.unfreeze_epochs) > len(stages) + 1:
        given, most = len(train.unfreeze_epochs), len(stages) + 1
        yield "unfreeze_epochs", f"lists {given} epochs, but {model.title} has at most {most} stages to free"
