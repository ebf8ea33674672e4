"""RetinaNet and FCOS on feature maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.fcos import FCOSClassificationHead, FCOSHead, FCOSRegressionHead
from torchvision.models.detection.retinanet import RetinaNetHead

from detkit_torchvision import backbones
from detkit_torchvision.anchors import Anchors, Trained, make_anchors, true_strides
from detkit_torchvision.backbones import Features
from detkit_torchvision.heads import SMALL, Heads
from detkit_torchvision.options import FCOSOptions, RetinaNetOptions


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


def make_retinanet(
    features: Features,
    options: RetinaNetOptions,
    heads: Heads,
    trained: Trained,
    *,
    classes: int,
    min_size: int,
    max_size: int,
) -> nn.Module:
    """RetinaNet.

    TorchVision's first version has heads without norms and an L1 loss, and learns slowly from few images; its second
    has group norms and the loss of generalised IoU. The first is built where its COCO weights belong, and the second
    everywhere else.

    Args:
        classes: with the background.
    """
    anchors = make_anchors(features, options, min_size, trained)
    first_version = options.backbone == "resnet50_fpn"
    norm = None if first_version else backbones.group_norm
    head = RetinaNetHead(features.width, anchors.num_anchors_per_location()[0], classes, norm_layer=norm)
    for branch in (head.classification_head, head.regression_head):
        branch.conv = branch.conv[: heads.convs]
    if not first_version:
        head.regression_head._loss_type = "giou"
    return _ForegroundRetinaNet(
        features.module,
        classes,
        min_size=min_size,
        max_size=max_size,
        anchor_generator=anchors,
        head=head,
        score_thresh=options.score_threshold,
        nms_thresh=options.nms_threshold,
        detections_per_img=options.max_detections,
    )


def make_fcos(
    features: Features,
    options: FCOSOptions,
    heads: Heads,
    trained: Trained,
    *,
    classes: int,
    min_size: int,
    max_size: int,
) -> nn.Module:
    """FCOS, its points on the true strides of its maps.

    Args:
        classes: with the background.
    """
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
    strides = true_strides(features, trained)
    points = Anchors([[stride] for stride in features.strides], (1.0,), strides)
    return _ForegroundFCOS(
        features.module,
        classes,
        min_size=min_size,
        max_size=max_size,
        anchor_generator=points,
        head=head,
        score_thresh=options.score_threshold,
        nms_thresh=options.nms_threshold,
        detections_per_img=options.max_detections,
    )
