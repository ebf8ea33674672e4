"""A recipe for each detector: values of `[train]` at a batch of 2, which what the user sets wins over.

One rate for all would compare rates: what one family needs makes another go astray.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detkit_torchvision.options import DetectorOptions

SGD: dict[str, Any] = {"optimizer": "sgd", "weight_decay": 0.0005}
ADAMW: dict[str, Any] = {"optimizer": "adamw", "weight_decay": 0.01}


def rcnn(options: DetectorOptions) -> Mapping[str, Any]:
    """Of Fast, Faster and Mask R-CNN.

    Chosen with Mask R-CNN on Penn-Fudan at 320 px, from ImageNet: box AP after two epochs was 0.01 with SGD at 0.005,
    and 0.35 with this.
    """
    return _recipe(options, tiny_lr=0.001, warmup_steps=100, pretrained={**ADAMW, "lr": 0.0003})


def retinanet(options: DetectorOptions) -> Mapping[str, Any]:
    """Of RetinaNet.

    On Penn-Fudan at 320 px, from ImageNet: AP after three epochs was 0.32 with this, and 0.10 with AdamW at 0.001,
    which spoils the backbone; SGD at 0.004 was at 0.02 after one, and this at 0.08.
    """
    return _recipe(options, tiny_lr=0.003, warmup_steps=200, pretrained={**ADAMW, "lr": 0.0003})


def fcos(options: DetectorOptions) -> Mapping[str, Any]:
    """Of FCOS, whose heads have norms, and which SGD serves well.

    0.0025 is TorchVision's 0.02 for R-CNNs at 16 images (references/detection), for 2. On Penn-Fudan at 320 px, from
    ImageNet, AP after two epochs was 0.30.
    """
    return _recipe(options, tiny_lr=0.003, warmup_steps=200, pretrained={**SGD, "lr": 0.0025})


def _recipe(
    options: DetectorOptions, *, tiny_lr: float, warmup_steps: int, pretrained: dict[str, Any]
) -> Mapping[str, Any]:
    """The recipe for pretrained weights; what starts from nothing learns faster with AdamW."""
    shared: dict[str, Any] = {"momentum": 0.9, "schedule": "cosine", "warmup_steps": warmup_steps}
    if options.backbone == "tiny_fpn":
        return shared | ADAMW | {"lr": tiny_lr}
    if options.weights == "none":
        return shared | ADAMW | {"lr": 0.0005}
    return shared | pretrained
