"""Fast R-CNN (Girshick 2015): no network proposes boxes; a source outside of the model does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes

#: TorchVision's values of Faster R-CNN: ImageNet's colours, and what counts as an object in training.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
FOREGROUND_IOU = 0.5
BACKGROUND_IOU = 0.5
POSITIVE_SHARE = 0.25


class FastRCNN(GeneralizedRCNN):  # type: ignore[misc]  # TorchVision has no types
    """`GeneralizedRCNN` with a source of proposals in the place of the RPN.

    Its contract is that of all detectors, `model(images, targets)`: the source sees the images as they arrive.

    Args:
        source: an image, float32 [3, H, W] in 0..1, to boxes, float32 [N, 4], (x0, y0, x1, y1) in its pixels. Learns
            nothing.
        box_head, ...: as TorchVision's `FasterRCNN` names them.
    """

    def __init__(
        self,
        backbone: nn.Module,
        source: nn.Module,
        *,
        min_size: int,
        max_size: int,
        box_roi_pool: nn.Module,
        box_head: nn.Module,
        box_predictor: nn.Module,
        box_batch_size_per_image: int,
        box_score_thresh: float,
        box_nms_thresh: float,
        box_detections_per_img: int,
    ) -> None:
        roi_heads = RoIHeads(
            box_roi_pool,
            box_head,
            box_predictor,
            FOREGROUND_IOU,
            BACKGROUND_IOU,
            box_batch_size_per_image,
            POSITIVE_SHARE,
            None,
            box_score_thresh,
            box_nms_thresh,
            box_detections_per_img,
        )
        transform = GeneralizedRCNNTransform(min_size, max_size, list(IMAGE_MEAN), list(IMAGE_STD))
        super().__init__(backbone, _GivenProposals(), roi_heads, transform)
        self.source = source

    def forward(self, images: list[Tensor], targets: list[dict[str, Any]] | None = None) -> Any:
        with torch.no_grad():
            proposals = [self.source(image) for image in images]
        self.rpn.given = [(boxes, image.shape[-2:]) for boxes, image in zip(proposals, images, strict=True)]
        try:
            return super().forward(images, targets)
        finally:
            self.rpn.given = []


class _GivenProposals(nn.Module):
    """Stands where the RPN stands, and hands on what it was given, in the pixels of the resized images.

    Attributes:
        given: an image's boxes, and its size before it was resized.
    """

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[Tensor, torch.Size]] = []

    def forward(
        self, images: ImageList, _features: dict[str, Tensor], _targets: Any = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        resized = [
            resize_boxes(boxes, list(before), list(after))
            for (boxes, before), after in zip(self.given, images.image_sizes, strict=True)
        ]
        return resized, {}
