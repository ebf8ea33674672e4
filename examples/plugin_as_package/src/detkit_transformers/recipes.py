"""What the host asks about a model before it is built; nothing here imports torch.

The recipes are values of `[train]` at a batch of 2, which what the user sets wins over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detkit_transformers.options import SetOptions

#: Stages of the ResNets under these detectors, from the image on.
STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")


def detr(options: SetOptions) -> Mapping[str, Any]:
    """Of DETR: AdamW at 0.0001, gradients clipped at 0.1 (Carion et al. 2020, section 4)."""
    rate = 0.0005 if _tiny(options) else 0.0001
    return {**_SHARED, "lr": rate, "weight_decay": 0.0001, "clip_norm": 0.1}


def rt_detr(options: SetOptions) -> Mapping[str, Any]:
    """Of RT-DETR: AdamW at 0.0001, gradients clipped at 0.1 (Zhao et al. 2023, appendix A)."""
    rate = 0.001 if _tiny(options) else 0.0001
    return {**_SHARED, "lr": rate, "weight_decay": 0.0001, "clip_norm": 1.0 if _tiny(options) else 0.1}


_SHARED: dict[str, Any] = {"optimizer": "adamw", "momentum": 0.9, "schedule": "cosine", "warmup_steps": 100}


def _tiny(options: SetOptions) -> bool:
    return options.pretrained == "none" and options.size == "tiny"


def stages(options: SetOptions) -> Sequence[str]:
    """The backbone's stages that hold weights."""
    return () if options.pretrained == "none" else STAGES


def detr_stride(_options: SetOptions, _min_size: int) -> float:
    """DETR has no anchors; what it looks at is one map of stride 32."""
    return 32.0


def rt_detr_stride(_options: SetOptions, _min_size: int) -> float:
    """RT-DETR's anchors are where its queries begin, and none is bound to its size; its finest map has stride 8."""
    return 8.0
