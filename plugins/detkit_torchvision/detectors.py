"""A detector put together: a backbone's feature maps, a family's heads, weights, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import nn
from torchvision.models.detection._utils import overwrite_eps

from detkit import BuildContext, DataError, Part
from detkit_torchvision import backbones
from detkit_torchvision.accelerate import channels_last_in_half_precision, fold_frozen_norms
from detkit_torchvision.anchors import COCO, Trained, stated_anchors, trained_anchors
from detkit_torchvision.backbones import Features, Norm
from detkit_torchvision.heads import SMALL, STANDARD
from detkit_torchvision.one_stage import make_fcos, make_retinanet
from detkit_torchvision.options import (
    DetectorOptions,
    Family,
    FasterRCNNOptions,
    FastRCNNOptions,
    FCOSOptions,
    MaskRCNNOptions,
    RetinaNetOptions,
)
from detkit_torchvision.precision import compute_in_float32
from detkit_torchvision.proposals import source_origin
from detkit_torchvision.rcnn import make_fast_rcnn, make_faster_rcnn, make_mask_rcnn
from detkit_torchvision.weights import files, loading
from detkit_torchvision.weights.origin import names_in, tell_origin

#: Where a detector's state dict has anything but its backbone's network.
HEADS = ("backbone.fpn.", "rpn.", "roi_heads.", "head.", "source.")
#: Modules of the heads, and what people call them.
PARTS = {
    "rpn.head": "proposal network",
    "roi_heads.box_head": "box head",
    "roi_heads.box_predictor": "box predictor",
    "roi_heads.mask_head": "mask head",
    "roi_heads.mask_predictor": "mask predictor",
    "head.classification_head": "classification head",
    "head.regression_head": "regression head",
    "source": "proposal source",
}


def build(family: Family, options: DetectorOptions, context: BuildContext) -> nn.Module:
    """See `detkit_torchvision.build_detector`."""
    if not context.class_names:
        raise DataError(f"{family}: the dataset names no classes, so there is nothing to detect")
    weights = _own_weights(family, options, context)
    state = weights.tensors if weights else context.weights or {}
    said = _said_before(family, options, weights, context)

    # Random weights follow from the context's seed alone, whatever was drawn before.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        norm, head_norm = _norms(state)
        net = backbones.network(options.backbone, norm)
        if options.accelerate == "auto":
            fold_frozen_norms(net)
        stages = backbones.stages(options.backbone, net)
        of_detector = weights is not None and loading.is_detector(weights.tensors)
        taken = loading.load_network(net, weights.tensors, weights.file) if weights and not of_detector else None
        dense = family in ("retinanet", "fcos")
        features = backbones.features(options.backbone, net, dense=dense, norm=head_norm)
        model = _detector(family, features, options, context, head_norm, trained_anchors(said))
    compute_in_float32(model)
    if options.accelerate == "auto":
        fold_frozen_norms(model)  # of the heads
        channels_last_in_half_precision(model.get_submodule("backbone"))
    if taken is not None:
        taken = loading.Taken(names_in(model, net, taken.taken), taken.dropped)
    if weights and of_detector:
        taken = _load_detector(model, family, options, weights, context)
    if "norm_eps" in said:
        overwrite_eps(model, said["norm_eps"])
    parts = _parts(model, features, stages)
    source = options.weights if isinstance(options.weights, str) else "file"
    origin: dict[str, Any] = {"source": source}
    if weights and taken:
        origin = tell_origin(model, family, source, weights, taken, parts, context.messages)
    if family == "fast_rcnn":
        origin |= source_origin(cast(Any, model).source)
    elif anchors := stated_anchors(model):
        origin["anchors"] = anchors
    if "norm_eps" in said:
        origin["norm_eps"] = said["norm_eps"]
    model.parts = parts  # type: ignore[assignment]  # nn.Module's own attributes are typed
    model.pretrained = taken.taken if taken else frozenset()  # type: ignore[assignment]
    model.weights_origin = origin  # type: ignore[assignment]
    return model


def _own_weights(family: Family, options: DetectorOptions, context: BuildContext) -> files.Weights | None:
    """The file that the model starts from; None where others will be loaded over it."""
    if context.weights is not None:
        return None
    file = files.fetch(files.wanted(family, options), offline=context.offline, messages=context.messages)
    return files.read(file, context.messages) if file else None


def _said_before(
    family: Family, options: DetectorOptions, weights: files.Weights | None, context: BuildContext
) -> Mapping[str, Any]:
    """What the weights go with, beside names and shapes: anchors, and the epsilon of frozen norms."""
    if options.weights == "coco" or (weights is not None and weights.coco):
        # The first ones were trained when FrozenBatchNorm2d had no epsilon; TorchVision's builders do the same.
        first_version = options.backbone == "resnet50_fpn" and family != "fcos"
        return {"anchors": COCO, **({"norm_eps": 0.0} if first_version else {})}
    if weights is None:
        return context.weights_origin
    if not loading.is_detector(weights.tensors):
        return {}
    if family in ("faster_rcnn", "mask_rcnn", "retinanet") and "anchors" not in weights.origin:
        context.messages.warning(
            f"{family}: {weights.file.name} does not say with which anchors it was trained; they follow from [input]"
            " min_size, unless you set anchor_sizes"
        )
    return weights.origin


def _load_detector(
    model: nn.Module, family: Family, options: DetectorOptions, weights: files.Weights, context: BuildContext
) -> loading.Taken:
    """The layers that count classes stay new where the file's classes are not the context's, by name or by number."""
    others = bool(weights.class_names) and weights.class_names != tuple(context.class_names)
    # A source of proposals has its own weights already.
    foreign = ("rpn.", "source.") if family == "fast_rcnn" else ("source.",)
    return loading.load_detector(
        model,
        weights.tensors,
        weights.file,
        own_classes=options.weights == "coco" or weights.coco or others,
        foreign=foreign,
        may_lack=("source.",),
    )


def _norms(names: Iterable[str]) -> tuple[Norm, Norm]:
    """The norms of the network and of the heads: what is pretrained keeps its statistics, what is new has groups."""
    names = list(names)
    of_heads = [name for name in names if name.startswith(HEADS) and not name.startswith("source.")]
    of_network = [name for name in names if not name.startswith(HEADS)]
    return backbones.norm_for(of_network), backbones.norm_for(of_heads)


def _detector(
    family: Family,
    features: Features,
    options: DetectorOptions,
    context: BuildContext,
    norm: Norm,
    trained: Trained,
) -> nn.Module:
    heads = SMALL if options.backbone == "tiny_fpn" else STANDARD
    classes = len(context.class_names) + 1  # TorchVision counts the background, as class 0
    sizes = {"classes": classes, "min_size": context.min_size, "max_size": context.max_size}
    match family:
        case "fast_rcnn":
            fast = cast(FastRCNNOptions, options)
            return make_fast_rcnn(features, fast, heads, norm, classes=classes, context=context)
        case "faster_rcnn":
            return make_faster_rcnn(features, cast(FasterRCNNOptions, options), heads, norm, trained, **sizes)
        case "mask_rcnn":
            return make_mask_rcnn(features, cast(MaskRCNNOptions, options), heads, norm, trained, **sizes)
        case "retinanet":
            return make_retinanet(features, cast(RetinaNetOptions, options), heads, trained, **sizes)
        case "fcos":
            return make_fcos(features, cast(FCOSOptions, options), heads, trained, **sizes)


def _parts(model: nn.Module, features: Features, stages: dict[str, tuple[nn.Module, ...]]) -> tuple[Part, ...]:
    """From the image to the predictions."""
    inside = {id(module) for module in features.module.modules()}
    backbone = [
        Part(f"backbone {name}", kept, backbone=True)
        for name, modules in stages.items()
        # Layers behind the last map are cut off.
        if (kept := tuple(module for module in modules if id(module) in inside))
    ]
    there = dict(model.named_modules())
    heads = [Part(title, (there[name],)) for name, title in PARTS.items() if name in there]
    return (*backbone, Part("neck", (backbones.neck(features),)), *heads)
