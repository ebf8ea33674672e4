"""DETR and RT-DETR of Hugging Face's `transformers` for detkit.

    [models.rt_detr]
    size = "r18"
    pretrained = "PekingU/rtdetr_r18vd"

What these models speak, and what detkit speaks, differ in every respect; the translation is the whole of this package:

| | transformers | detkit |
|---|---|---|
| boxes | centre x, centre y, width, height as shares of the image | corners in pixels of the tensor that was given |
| labels | from 0, and perhaps one more for "no object" | from 1 |
| images | one tensor, resized, normalised and padded by a processor | a list of tensors in 0..1, of any sizes |
| losses | one number, and a dict whose names come and go | a dict of the same scalars in every step |

Read next: `options` (what there is), `building` (how a model is put together), `detector` (the translation).
This file imports nothing heavy: `detkit --help` and `detkit check` wait for no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from detkit import BuildContext, ModelComponent, TrainingStepComponent, hookimpl

from detkit_transformers import recipes
from detkit_transformers.options import DetrOptions, Family, RTDetrOptions, SetLossesOptions, SetOptions

if TYPE_CHECKING:
    from detkit import TrainingStep
    from torch import nn

#: The hook API that this was written for: detkit refuses the plugin, with the reason, once that is gone.
detkit_api = 1


def build_detector(family: Family, options: SetOptions, context: BuildContext) -> nn.Module:
    """Build a detector for `context.class_names`.

    Raises:
        DataError: there are no classes.
        UserError: transformers or scipy is not installed.
        WeightsError: the pretrained weights cannot be had, or are of another model.
    """
    from detkit_transformers.building import build

    return build(family, options, context)


def check_detector(family: Family, options: SetOptions, context: BuildContext) -> None:
    """See, without a download, whether `build_detector` can work.

    Raises:
        UserError: transformers or scipy is not installed.
        WeightsError: the pretrained weights are neither on disk nor allowed to be fetched, or are of another model.
    """
    from detkit_transformers.pretrained import check

    check(family, options, context)


def build_step(options: SetLossesOptions, context: BuildContext) -> TrainingStep:
    """Build the training step of `[training_step] use = "set_losses"`."""
    from detkit_transformers.step import SetLosses

    return SetLosses(options)


DETR = ModelComponent(
    name="detr",
    options=DetrOptions,
    build=partial(build_detector, "detr"),
    summary="DETR (Carion et al. 2020): a transformer that predicts a set of objects; needs long training",
    check=partial(check_detector, "detr"),
    recipe=recipes.detr,
    stages=recipes.stages,
    smallest_anchor=recipes.detr_stride,
)
RT_DETR = ModelComponent(
    name="rt_detr",
    options=RTDetrOptions,
    build=partial(build_detector, "rt_detr"),
    summary="RT-DETR (Zhao et al. 2023): a set of objects from three feature maps, in real time",
    check=partial(check_detector, "rt_detr"),
    recipe=recipes.rt_detr,
    stages=recipes.stages,
    smallest_anchor=recipes.rt_detr_stride,
)
RT_DETR_V2 = ModelComponent(
    name="rt_detr_v2",
    options=RTDetrOptions,
    build=partial(build_detector, "rt_detr_v2"),
    summary="RT-DETR v2 (Lv et al. 2024): RT-DETR with a more flexible attention",
    check=partial(check_detector, "rt_detr_v2"),
    recipe=recipes.rt_detr,
    stages=recipes.stages,
    smallest_anchor=recipes.rt_detr_stride,
)
SET_LOSSES = TrainingStepComponent(
    name="set_losses",
    options=SetLossesOptions,
    build=build_step,
    summary="weighs the terms of DETR's and RT-DETR's loss; other models keep their own losses",
)


@hookimpl
def detkit_models() -> Sequence[ModelComponent[Any]]:
    return [DETR, RT_DETR, RT_DETR_V2]


@hookimpl
def detkit_training_steps() -> Sequence[TrainingStepComponent[Any]]:
    return [SET_LOSSES]
