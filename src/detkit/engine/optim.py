"""Optimizer and learning rate: the rate is a function of the step, so that a resume needs no state for it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from detkit.errors import RunFailed
from detkit.spec.model import TrainTable

#: The warm-up never takes more than this share of the steps, or a short training would be nothing else.
LONGEST_WARMUP = 0.2


def build_optimizer(model: nn.Module, train: TrainTable) -> Optimizer:
    """Over the parameters that train; weight decay spares norms and biases (one-dimensional parameters).

    Raises:
        RunFailed: no parameter of the model trains.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise RunFailed("no parameter of the model is trainable; there is nothing to train")
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": train.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if train.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=train.lr, betas=(train.momentum, 0.999))
    return torch.optim.SGD(groups, lr=train.lr, momentum=train.momentum)


def learning_rate(step: int, total: int, train: TrainTable) -> float:
    """The rate of a step.

    Args:
        step: counted from 0 within the schedule. total: steps of the whole schedule.

    Source: linear warm-up as in Goyal et al. 2017 (arXiv 1706.02677), cosine as in Loshchilov and Hutter 2017
    (arXiv 1608.03983) without restarts.
    """
    warmup = min(train.warmup_steps, int(total * LONGEST_WARMUP))
    if step < warmup:
        return train.lr * (train.warmup_factor + (1 - train.warmup_factor) * step / warmup)
    if train.schedule == "cosine":
        share = (step - warmup) / max(1, total - warmup)
        return train.lr * 0.5 * (1 + math.cos(math.pi * share))
    if train.schedule == "multistep":
        passed = sum(step >= milestone * total for milestone in train.milestones)
        return float(train.lr * train.gamma**passed)
    return train.lr


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
