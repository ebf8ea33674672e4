"""TorchVision's detectors: Fast, Faster and Mask R-CNN, RetinaNet and FCOS over several backbones.

A spec names a detector and says from which weights it starts:

    [models.faster_rcnn]
    backbone = "resnet50_fpn"
    weights = "coco"

Anchors and RoI pooling follow from the backbone's feature maps and from `[input] min_size`; only COCO weights keep the
anchors with which they were trained. Read next: `options` (what there is), `detectors` (how it is put together).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from detkit import BOXES_AND_MASKS, BuildContext, ModelComponent, hookimpl
from detkit_torchvision import recipes
from detkit_torchvision.options import (
    DetectorOptions,
    Family,
    FasterRCNNOptions,
    FastRCNNOptions,
    FCOSOptions,
    MaskRCNNOptions,
    RetinaNetOptions,
    stages,
)
from detkit_torchvision.sizes import smallest_anchor

if TYPE_CHECKING:
    from torch import nn


def build_detector(family: Family, options: DetectorOptions, context: BuildContext) -> nn.Module:
    """Build a detector for `context.class_names`, with its weights.

    Its attributes `parts`, `pretrained` and `weights_origin` are those of `detkit.components.Parted`. The last holds
    plain values: source ("coco", "imagenet", "file", "none") and, where there is one, the file's name and sha256, how
    many tensors of each part were taken, and the names of those that were dropped and of those that are new.

    Raises:
        DataError: there are no classes.
        WeightsError: the weights are missing, cut or of another model.
        UserError: a source of proposals is not installed.
    """
    from detkit_torchvision.detectors import build

    return build(family, options, context)


def check_detector(family: Family, options: DetectorOptions, context: BuildContext) -> None:
    """See whether the weights can be had, and where the file is there, that it fits; nothing is downloaded.

    Raises:
        WeightsError: the weights are missing with no network allowed, cut or of another model.
        UserError: a source of proposals is not installed.
    """
    from detkit_torchvision.weights import files

    if isinstance(options, FastRCNNOptions):
        from detkit_torchvision.proposals import check_source

        check_source(options, context)
    file = files.find(files.wanted(family, options), offline=context.offline)
    if file is not None:
        fitted = options.model_copy(update={"proposals": "grid"})  # its file may not be there yet
        build_detector(family, fitted, BuildContext(class_names=context.class_names or ("object",), offline=True))


def _masks(_options: MaskRCNNOptions) -> frozenset[Literal["boxes", "masks"]]:
    return BOXES_AND_MASKS


FAST_RCNN = ModelComponent(
    name="fast_rcnn",
    options=FastRCNNOptions,
    build=partial(build_detector, "fast_rcnn"),
    summary="Fast R-CNN (Girshick 2015): classifies boxes that come from outside, from a grid or selective search",
    check=partial(check_detector, "fast_rcnn"),
    recipe=recipes.rcnn,
    stages=stages,
    smallest_anchor=smallest_anchor,
)
FASTER_RCNN = ModelComponent(
    name="faster_rcnn",
    options=FasterRCNNOptions,
    build=partial(build_detector, "faster_rcnn"),
    summary="Faster R-CNN (Ren et al. 2015): proposals, then classes and boxes",
    check=partial(check_detector, "faster_rcnn"),
    recipe=recipes.rcnn,
    stages=stages,
    smallest_anchor=smallest_anchor,
)
MASK_RCNN = ModelComponent(
    name="mask_rcnn",
    options=MaskRCNNOptions,
    build=partial(build_detector, "mask_rcnn"),
    summary="Mask R-CNN (He et al. 2017): Faster R-CNN with a mask for each object",
    check=partial(check_detector, "mask_rcnn"),
    needs=_masks,
    gives=_masks,
    recipe=recipes.rcnn,
    stages=stages,
    smallest_anchor=smallest_anchor,
)
RETINANET = ModelComponent(
    name="retinanet",
    options=RetinaNetOptions,
    build=partial(build_detector, "retinanet"),
    summary="RetinaNet (Lin et al. 2017): one stage, anchors, focal loss",
    check=partial(check_detector, "retinanet"),
    recipe=recipes.retinanet,
    stages=stages,
    smallest_anchor=smallest_anchor,
)
FCOS = ModelComponent(
    name="fcos",
    options=FCOSOptions,
    build=partial(build_detector, "fcos"),
    summary="FCOS (Tian et al. 2019): one stage, no anchors",
    check=partial(check_detector, "fcos"),
    recipe=recipes.fcos,
    stages=stages,
    smallest_anchor=smallest_anchor,
)


@hookimpl
def detkit_models() -> Sequence[ModelComponent[Any]]:
    return [FAST_RCNN, FASTER_RCNN, MASK_RCNN, RETINANET, FCOS]
