"""Channels last where autocast computes in half precision: oneDNN and cuDNN have their fast kernels for it there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def channels_last_in_half_precision(backbone: nn.Module) -> None:
    """Let what goes into the backbone lie with its channels last under autocast; all behind it follows.

    Convolutions keep to the layout of what they get, and the values are the same, so neither the weights nor what is
    saved changes. In float32 it gives nothing (measured), and the input stays as it is.
    """
    backbone.register_forward_pre_hook(_lay_out)


def _lay_out(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    images = inputs[0]
    if isinstance(images, Tensor) and torch.is_autocast_enabled(images.device.type):
        return (images.contiguous(memory_format=torch.channels_last), *inputs[1:])
    return inputs
