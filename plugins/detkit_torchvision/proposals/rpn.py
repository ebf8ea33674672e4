"""The proposals of a whole Faster R-CNN with COCO weights, frozen."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.transform import resize_boxes

from detkit import BuildContext
from detkit_torchvision.options import FasterRCNNOptions
from detkit_torchvision.sizes import PAPER_MIN_SIZE

#: To which TorchVision resizes for these weights.
PAPER_MAX_SIZE = 1333
#: What the network's names begin with in the state dict of the detector that takes its proposals.
PREFIX = "source.source."


class FrozenRPN(nn.Module):
    """Resizing, backbone and proposal network of a Faster R-CNN; never trained, always in evaluation mode.

    Args:
        detector: the whole; only those parts of it are kept. limit: most boxes, best first.
    """

    def __init__(self, detector: nn.Module, limit: int) -> None:
        super().__init__()
        whole = cast(Any, detector)
        self.resize, self.backbone, self.rpn = whole.transform, whole.backbone, whole.rpn
        self.rpn._post_nms_top_n = {"training": limit, "testing": limit}
        #: Where its weights came from: the `weights_origin` of the whole.
        self.origin: dict[str, Any] = dict(whole.weights_origin)
        self._limit = limit
        self.requires_grad_(False)
        self.eval()

    @property
    def key(self) -> str:
        """Names what it proposes: its weights, and how many."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return f"rpn-{digest.hexdigest()[:16]}-{self._limit}"

    def train(self, mode: bool = True) -> FrozenRPN:
        """Stay in evaluation mode, whatever the model around it does."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        # In float32 whatever the precision around it: what is kept on disk must not depend on it.
        with torch.autocast(image.device.type, enabled=False):
            images, _ = self.resize([image.float()])
            (boxes,), _ = self.rpn(images, self.backbone(images.tensors))
        return cast(Tensor, resize_boxes(boxes, list(images.image_sizes[0]), list(image.shape[-2:])))


def frozen_rpn(limit: int, context: BuildContext) -> FrozenRPN:
    """Of this plugin's own Faster R-CNN with COCO weights, at the size for which they were trained.

    Where `context.weights` will be loaded over it, it is built to fit these.

    Raises:
        WeightsError: the file is not to be had, cut or of another model.
    """
    from detkit_torchvision.detectors import build  # which is made of this module

    options = FasterRCNNOptions(backbone="resnet50_fpn", weights="coco")
    inner = replace(context, min_size=PAPER_MIN_SIZE, max_size=PAPER_MAX_SIZE)
    if context.weights is not None:
        own = {name.removeprefix(PREFIX): value for name, value in context.weights.items() if name.startswith(PREFIX)}
        origin = context.weights_origin.get("proposal_source", {})
        inner = replace(inner, weights=own, weights_origin=origin)
    return FrozenRPN(build("faster_rcnn", options, inner), limit)
