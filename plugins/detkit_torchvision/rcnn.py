"""Fast, Faster and Mask R-CNN on feature maps."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead

from detkit import BuildContext
from detkit_torchvision.anchors import Trained, make_anchors, make_pooling
from detkit_torchvision.backbones import Features, Norm
from detkit_torchvision.fast_rcnn import FastRCNN
from detkit_torchvision.heads import MASK_CELLS, Heads
from detkit_torchvision.options import FasterRCNNOptions, FastRCNNOptions, MaskRCNNOptions, RegionOptions
from detkit_torchvision.proposals import make_source


def make_faster_rcnn(
    features: Features,
    options: FasterRCNNOptions,
    heads: Heads,
    norm: Norm,
    trained: Trained,
    *,
    classes: int,
    min_size: int,
    max_size: int,
) -> nn.Module:
    """Faster R-CNN.

    Args:
        norm: of the heads, where they have one. trained: anchors of the weights. classes: with the background.
    """
    return FasterRCNN(  # type: ignore[no-any-return]
        features.module,
        min_size=min_size,
        max_size=max_size,
        **_proposal_network(features, options, heads, min_size, trained),
        **_box_branch(features, options, heads, norm, classes),
    )


def make_mask_rcnn(
    features: Features,
    options: MaskRCNNOptions,
    heads: Heads,
    norm: Norm,
    trained: Trained,
    *,
    classes: int,
    min_size: int,
    max_size: int,
) -> nn.Module:
    """Mask R-CNN. Args: as of `make_faster_rcnn`."""
    mask_norm = norm if options.backbone == "resnet50_fpn_v2" else None
    return MaskRCNN(  # type: ignore[no-any-return]
        features.module,
        min_size=min_size,
        max_size=max_size,
        **_proposal_network(features, options, heads, min_size, trained),
        **_box_branch(features, options, heads, norm, classes),
        mask_roi_pool=make_pooling(features, MASK_CELLS, accelerate=options.accelerate == "auto"),
        mask_head=MaskRCNNHeads(features.width, heads.mask, 1, norm_layer=mask_norm),
        mask_predictor=MaskRCNNPredictor(heads.mask[-1], heads.mask[-1], classes),
    )


def make_fast_rcnn(
    features: Features, options: FastRCNNOptions, heads: Heads, norm: Norm, *, classes: int, context: BuildContext
) -> nn.Module:
    """Fast R-CNN with the source of proposals that the options name. Args: as of `make_faster_rcnn`."""
    return FastRCNN(
        features.module,
        make_source(options, context),
        min_size=context.min_size,
        max_size=context.max_size,
        **_box_branch(features, options, heads, norm, classes),
    )


def _proposal_network(
    features: Features, options: FasterRCNNOptions, heads: Heads, min_size: int, trained: Trained
) -> dict[str, Any]:
    anchors = make_anchors(features, options, min_size, trained)
    depth = 2 if options.backbone == "resnet50_fpn_v2" else 1
    return {
        "rpn_anchor_generator": anchors,
        "rpn_head": RPNHead(features.width, anchors.num_anchors_per_location()[0], conv_depth=depth),
        "rpn_pre_nms_top_n_train": heads.candidates[0],
        "rpn_pre_nms_top_n_test": heads.candidates[1],
        "rpn_post_nms_top_n_train": heads.proposals[0],
        "rpn_post_nms_top_n_test": heads.proposals[1],
    }


def _box_branch(features: Features, options: RegionOptions, heads: Heads, norm: Norm, classes: int) -> dict[str, Any]:
    if options.backbone == "resnet50_fpn_v2":
        shape = (features.width, heads.cells, heads.cells)
        box_head: nn.Module = FastRCNNConvFCHead(shape, [256, 256, 256, 256], [heads.box], norm_layer=norm)
    else:
        box_head = TwoMLPHead(features.width * heads.cells**2, heads.box)
    return {
        "box_roi_pool": make_pooling(features, heads.cells, accelerate=options.accelerate == "auto"),
        "box_head": box_head,
        "box_predictor": FastRCNNPredictor(heads.box, classes),
        "box_batch_size_per_image": options.region_samples or heads.samples,
        "box_score_thresh": options.score_threshold,
        "box_nms_thresh": options.nms_threshold,
        "box_detections_per_img": options.max_detections,
    }
