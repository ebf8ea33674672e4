"""Detectors on top of backbones: anchors, pooling and heads, then the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.fcos import FCOSClassificationHead, FCOSHead, FCOSRegressionHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from detkit import BuildContext, DataError
from detkit_torchvision import (
    DetectorOptions,
    Family,
    FasterRCNNOptions,
    FCOSOptions,
    MaskRCNNOptions,
    RetinaNetOptions,
    backbones,
    files,
    loading,
)
from detkit_torchvision.backbones import Features

#: The input size of the papers, at which their anchors span 32 to 512 px (Lin et al. 2017, FPN, section 4.1).
PAPER_MIN_SIZE = 800
PAPER_LARGEST_ANCHOR = 512
RATIOS = (0.5, 1.0, 2.0)
OCTAVE = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
SINGLE_MAP_SIZES = 5
#: The side to which RoIs are pooled for their masks.
MASK_CELLS = 14


@dataclass(frozen=True, slots=True)
class Heads:
    """Sizes of the heads.

    Attributes:
        box: width of the two layers after pooling. cells: side to which RoIs are pooled for them.
        mask: widths of the mask head.
        convs: layers of the one-stage heads.
        candidates: boxes of each map that enter the RPN's suppression, in training and in evaluation.
        proposals: RoIs that the RPN hands on, in training and in evaluation.
        samples: RoIs an image on which the box head is trained.
    """

    box: int
    cells: int
    mask: tuple[int, ...]
    convs: int
    candidates: tuple[int, int]
    proposals: tuple[int, int]
    samples: int


#: TorchVision's own sizes.
STANDARD = Heads(
    box=1024, cells=7, mask=(256, 256, 256, 256), convs=4, candidates=(2000, 1000), proposals=(2000, 1000), samples=512
)
#: Of tiny_fpn: on a CPU, suppression and pooling would otherwise take most of a step.
SMALL = Heads(box=256, cells=5, mask=(64, 64), convs=2, candidates=(300, 150), proposals=(150, 100), samples=64)


def build(family: Family, options: DetectorOptions, context: BuildContext) -> nn.Module:
    """See `detkit_torchvision.build_detector`."""
    if not context.class_names:
        raise DataError(f"{family}: the dataset names no classes, so there is nothing to detect")
    file = files.fetch(family, options, offline=context.offline, messages=context.messages)
    state, digest = files.read(file, context.messages) if file else (None, "")
    of_detector = state is not None and loading.is_detector(state)

    # Random weights follow from the context's seed alone, whatever was drawn before.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        net = backbones.network(options.backbone, backbones.norm_for(state))
        stages = backbones.stages(options.backbone, net)
        taken = loading.load_network(net, state, file) if state and file and not of_detector else None
        features = backbones.features(options.backbone, net, dense=family in ("retinanet", "fcos"))
        model = _detector(family, features, options, context)
    _compute_in_float32(model)
    if state and file and of_detector:
        taken = loading.load_detector(model, state, file, own_classes=options.weights == "coco")
        if options.weights == "coco" and family != "fcos":
            # These were trained when FrozenBatchNorm2d had no epsilon; TorchVision's builders do the same.
            overwrite_eps(model, 0.0)
    if options.trainable_layers is not None:
        backbones.freeze(stages, options.trainable_layers)
    _tell_origin(model, family, options, file, digest, taken, context)
    return model


def _tell_origin(
    model: nn.Module,
    family: Family,
    options: DetectorOptions,
    file: Path | None,
    digest: str,
    taken: loading.Taken | None,
    context: BuildContext,
) -> None:
    origin: dict[str, str | int] = {"source": options.weights if isinstance(options.weights, str) else "file"}
    if file and taken:
        new = len(model.state_dict()) - taken.taken
        origin |= {"file": file.name, "sha256": digest, "taken": taken.taken, "dropped": len(taken.dropped), "new": new}
        context.messages.info(
            f"{family}: {file.name}: {taken.taken} tensors taken,"
            f" {len(taken.dropped)} dropped{loading.some(taken.dropped)}, {new} new"
        )
    model.weights_origin = origin  # type: ignore[assignment]


# --- anchors and pooling ---------------------------------------------------------------------------------------------


class Anchors(AnchorGenerator):  # type: ignore[misc]  # TorchVision has no types
    """TorchVision's anchors, in float32 under autocast too, and on the true strides where they are given.

    TorchVision makes them in the features' type (bf16 rounds 500 to 500 +- 2) and infers strides from sizes, which
    for a map of 2 cells in 96 px gives 48 instead of 64.
    """

    def __init__(
        self, sizes: Sequence[Sequence[float]], ratios: Sequence[float], strides: Sequence[int] | None
    ) -> None:
        super().__init__(tuple(map(tuple, sizes)), (tuple(ratios),) * len(sizes))
        self.strides = strides

    def set_cell_anchors(self, dtype: torch.dtype, device: torch.device) -> None:
        super().set_cell_anchors(torch.float32, device)

    def grid_anchors(self, grid_sizes: list[Any], strides: list[list[Tensor]]) -> list[Tensor]:
        if self.strides is not None:
            strides = [
                [torch.tensor(true, device=inferred.device) for inferred in pair]
                for true, pair in zip(self.strides, strides, strict=True)
            ]
        anchors: list[Tensor] = super().grid_anchors(grid_sizes, strides)
        return anchors


def anchor_sizes(features: Features, min_size: int, given: tuple[float, ...] | None) -> list[list[float]]:
    """Sides of the anchors of each map, in resized pixels.

    They halve from the coarsest map on, whose anchors have the papers' share of the input size; with a single map all
    sizes lie on it.
    """
    count = len(features.strides) if len(features.strides) > 1 else SINGLE_MAP_SIZES
    largest = PAPER_LARGEST_ANCHOR * min_size / PAPER_MIN_SIZE
    sizes = list(given) if given else [largest / 2 ** (count - 1 - level) for level in range(count)]
    return [sizes] if len(features.strides) == 1 else [[size] for size in sizes]


def _anchors(features: Features, options: FasterRCNNOptions | RetinaNetOptions, min_size: int) -> Anchors:
    octave = OCTAVE if isinstance(options, RetinaNetOptions) else (1.0,)
    if options.weights == "coco":
        sizes = anchor_sizes(features, PAPER_MIN_SIZE, None)
        # TorchVision truncates RetinaNet's sizes, and so do weights trained with them.
        return Anchors([[int(size * step) for size in level for step in octave] for level in sizes], RATIOS, None)
    sizes = anchor_sizes(features, min_size, options.anchor_sizes)
    return Anchors([[size * step for size in level for step in octave] for level in sizes], RATIOS, features.strides)


def _pooling(features: Features, cells: int) -> MultiScaleRoIAlign:
    strides = features.strides[: features.pooled]
    pooling = MultiScaleRoIAlign(list(features.names[: features.pooled]), cells, sampling_ratio=2)
    # TorchVision infers these from the first batch and keeps them: one small image there would spoil the whole run.
    pooling.scales = [1 / stride for stride in strides]
    levels = [stride.bit_length() - 1 for stride in strides]
    # Which level a RoI is pooled from counts in its own pixels (FPN, equation 1) and does not shrink with the input as
    # anchors do: it decides how many cells the RoI has. (Measured with tiny_fpn at 128 px: AP 0.25 against 0.16.)
    pooling.map_levels = LevelMapper(levels[0], levels[-1])
    return pooling


# --- families --------------------------------------------------------------------------------------------------------


def _detector(family: Family, features: Features, options: DetectorOptions, context: BuildContext) -> nn.Module:
    heads = SMALL if options.backbone == "tiny_fpn" else STANDARD
    classes = len(context.class_names) + 1  # TorchVision counts the background, as class 0
    sizes = {"min_size": context.min_size, "max_size": context.max_size}
    match family:
        case "faster_rcnn":
            arguments = _rcnn(features, cast(FasterRCNNOptions, options), context, heads, classes)
            return FasterRCNN(features.module, **sizes, **arguments)  # type: ignore[no-any-return]
        case "mask_rcnn":
            mask_options = cast(MaskRCNNOptions, options)
            arguments = _rcnn(features, mask_options, context, heads, classes)
            arguments |= {
                "mask_roi_pool": _pooling(features, MASK_CELLS),
                "mask_head": MaskRCNNHeads(features.width, heads.mask, 1),
                "mask_predictor": MaskRCNNPredictor(heads.mask[-1], heads.mask[-1], classes),
            }
            return MaskRCNN(features.module, **sizes, **arguments)  # type: ignore[no-any-return]
        case "retinanet":
            return _retinanet(features, cast(RetinaNetOptions, options), context, heads, classes, sizes)
        case "fcos":
            return _fcos(features, cast(FCOSOptions, options), heads, classes, sizes)


def _rcnn(
    features: Features, options: FasterRCNNOptions, context: BuildContext, heads: Heads, classes: int
) -> dict[str, Any]:
    return {
        "rpn_anchor_generator": _anchors(features, options, context.min_size),
        "rpn_pre_nms_top_n_train": heads.candidates[0],
        "rpn_pre_nms_top_n_test": heads.candidates[1],
        "rpn_post_nms_top_n_train": heads.proposals[0],
        "rpn_post_nms_top_n_test": heads.proposals[1],
        "box_roi_pool": _pooling(features, heads.cells),
        "box_head": TwoMLPHead(features.width * heads.cells**2, heads.box),
        "box_predictor": FastRCNNPredictor(heads.box, classes),
        "box_batch_size_per_image": heads.samples,
        "box_score_thresh": options.score_threshold,
        "box_nms_thresh": options.nms_threshold,
        "box_detections_per_img": options.max_detections,
    }


class _ForegroundRetinaNet(RetinaNet):  # type: ignore[misc]  # TorchVision has no types
    def postprocess_detections(self, head_outputs: Any, anchors: Any, image_shapes: Any) -> Any:
        return super().postprocess_detections(_without_background(head_outputs), anchors, image_shapes)


class _ForegroundFCOS(FCOS):  # type: ignore[misc]  # TorchVision has no types
    def postprocess_detections(self, head_outputs: Any, anchors: Any, image_shapes: Any) -> Any:
        return super().postprocess_detections(_without_background(head_outputs), anchors, image_shapes)


def _without_background(head_outputs: dict[str, list[Tensor]]) -> dict[str, list[Tensor]]:
    """Take class 0 out of the running: TorchVision's one-stage heads have it, and an untrained FCOS predicts it."""
    logits = [
        level.index_fill(-1, torch.tensor([0], device=level.device), float("-inf"))
        for level in head_outputs["cls_logits"]
    ]
    return {**head_outputs, "cls_logits": logits}


def _retinanet(
    features: Features,
    options: RetinaNetOptions,
    context: BuildContext,
    heads: Heads,
    classes: int,
    sizes: dict[str, int],
) -> nn.Module:
    anchors = _anchors(features, options, context.min_size)
    norm = backbones.group_norm if heads is SMALL else None
    head = RetinaNetHead(features.width, anchors.num_anchors_per_location()[0], classes, norm_layer=norm)
    for branch in (head.classification_head, head.regression_head):
        branch.conv = branch.conv[: heads.convs]
    return _ForegroundRetinaNet(
        features.module,
        classes,
        **sizes,
        anchor_generator=anchors,
        head=head,
        score_thresh=options.score_threshold,
        nms_thresh=options.nms_threshold,
        detections_per_img=options.max_detections,
    )


def _fcos(features: Features, options: FCOSOptions, heads: Heads, classes: int, sizes: dict[str, int]) -> nn.Module:
    head = FCOSHead(features.width, 1, classes, heads.convs)
    if heads is SMALL:
        # FCOSHead norms in 32 groups, which at this width are of 2 channels, and takes no other norm.
        norm = backbones.group_norm
        head.classification_head = FCOSClassificationHead(features.width, 1, classes, heads.convs, norm_layer=norm)
        head.regression_head = FCOSRegressionHead(features.width, 1, heads.convs, norm_layer=norm)
    # TorchVision begins with distances around 0 under a ReLU: half are cut, and where all of an object's are, its box
    # has no gradient and never comes to be (one seed in three with tiny_fpn). At one stride they are alive.
    nn.init.constant_(head.regression_head.bbox_reg.bias, 1.0)
    # FCOS's points are anchors as large as their stride: its ranges of sizes and its box code count in strides.
    strides = None if options.weights == "coco" else features.strides
    points = Anchors([[stride] for stride in features.strides], (1.0,), strides)
    return _ForegroundFCOS(
        features.module,
        classes,
        **sizes,
        anchor_generator=points,
        head=head,
        score_thresh=options.score_threshold,
        nms_thresh=options.nms_threshold,
        detections_per_img=options.max_detections,
    )


# --- precision -------------------------------------------------------------------------------------------------------


def _compute_in_float32(model: nn.Module) -> None:
    """Let the heads hand on float32 under autocast: in bf16 a box at 500 px is off by up to 2 px."""
    for name in ("head", "rpn.head", "roi_heads.box_predictor", "roi_heads.mask_predictor"):
        try:
            module = model.get_submodule(name)
        except AttributeError:
            continue
        module.register_forward_hook(_to_float32)


def _to_float32(_module: nn.Module, _inputs: Any, outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return {name: value.float() for name, value in outputs.items()}
    return type(outputs)(_to_float32(_module, _inputs, output) for output in outputs)
