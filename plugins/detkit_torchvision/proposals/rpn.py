"""The proposals of a whole Faster R-CNN with COCO weights, frozen."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn

from detkit import BuildContext, WeightsError
from detkit_torchvision.weights import files

#: Of COCO, with the background, as its weights have them.
COCO_CLASSES = 91


class FrozenRPN(nn.Module):
    """Resizing, backbone and proposal network of a Faster R-CNN; never trained, always in evaluation mode.

    Args:
        detector: TorchVision's; only those parts of it are kept. limit: most boxes, best first.
    """

    def __init__(self, detector: nn.Module, limit: int, key: str) -> None:
        super().__init__()
        whole = cast(Any, detector)
        self.resize, self.backbone, self.rpn = whole.transform, whole.backbone, whole.rpn
        self.rpn._post_nms_top_n = {"training": limit, "testing": limit}
        self.key = f"rpn-{key}-{limit}"
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> FrozenRPN:
        """Stay in evaluation mode, whatever the model around it does."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        from torchvision.models.detection.transform import resize_boxes

        # In float32 whatever the precision around it: what is kept on disk must not depend on it.
        with torch.autocast(image.device.type, enabled=False):
            images, _ = self.resize([image.float()])
            (boxes,), _ = self.rpn(images, self.backbone(images.tensors))
        return cast(Tensor, resize_boxes(boxes, list(images.image_sizes[0]), list(image.shape[-2:])))


def frozen_rpn(limit: int, context: BuildContext) -> FrozenRPN:
    """With TorchVision's COCO weights; with random ones where `context.weights` will be loaded over them.

    Raises:
        WeightsError: the file is not to be had, cut or of another model.
    """
    with torch.random.fork_rng(devices=[]):
        detector = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=COCO_CLASSES)
    asked = files.coco("faster_rcnn", "resnet50_fpn")
    if context.weights is None:
        file = files.fetch(asked, offline=context.offline, messages=context.messages)
        assert file is not None
        state, _ = files.read(file, context.messages)
        try:
            detector.load_state_dict(state)
        except RuntimeError as error:
            raise WeightsError(
                f'weights: {file} is not the Faster R-CNN that proposals = "rpn" takes; get {file.name} again'
            ) from error
    return FrozenRPN(detector, limit, asked.file.stem)
