"""Optimizer and learning rate: the rate is a function of the step, so that a resume needs no state for it."""

from __future__ import annotations

import math

import torch
from torch.optim import Optimizer

from detkit.engine.strategy import Strategy
from detkit.spec.model import TrainTable

#: The warm-up never takes more than this share of the steps, or a short training would be nothing else.
LONGEST_WARMUP = 0.2
#: Shares of the rate with which one cycle begins (torch's own) and ends.
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1e-4


def build_optimizer(strategy: Strategy, train: TrainTable) -> Optimizer:
    """Over everything that ever trains."""
    groups = strategy.optimizer_groups(train.weight_decay)
    if train.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=train.lr, betas=(train.momentum, 0.999))
    return torch.optim.SGD(groups, lr=train.lr, momentum=train.momentum)


def learning_rate(step: int, total: int, train: TrainTable, steps_per_epoch: int) -> float:
    """The rate of a step.

    Args:
        step: counted from 0 within the schedule. total: steps of the whole schedule.
        steps_per_epoch: what `warmup_epochs` counts in.

    Source: linear warm-up as in Goyal et al. 2017 (arXiv 1706.02677), cosine as in Loshchilov and Hutter 2017
    (arXiv 1608.03983) without restarts.
    """
    if train.schedule == "onecycle":
        return train.lr * _one_cycle(step, total, train.rise)
    warmup = _warmup_steps(total, train, steps_per_epoch)
    if step < warmup:
        return train.lr * (train.warmup_factor + (1 - train.warmup_factor) * step / warmup)
    if train.schedule == "cosine":
        share = (step - warmup) / max(1, total - warmup)
        return train.lr * 0.5 * (1 + math.cos(math.pi * share))
    if train.schedule == "multistep":
        passed = sum(step >= milestone * total for milestone in train.milestones)
        return float(train.lr * train.gamma**passed)
    return train.lr


def _warmup_steps(total: int, train: TrainTable, steps_per_epoch: int) -> int:
    if train.warmup_epochs is not None:
        return round(train.warmup_epochs * steps_per_epoch)
    return min(train.warmup_steps, int(total * LONGEST_WARMUP))


def _one_cycle(step: int, total: int, rise: float) -> float:
    """The share of the highest rate: half a cosine up, half a cosine down.

    The rates of torch's OneCycleLR in two phases. Its momentum is not cycled.

    Source: Smith and Topin 2018 (arXiv 1708.07120).
    """
    peak = max(0.0, rise * total - 1)
    if step < peak:
        return _cosine(ONE_CYCLE_START, 1.0, step / peak)
    return _cosine(1.0, ONE_CYCLE_END, (step - peak) / max(1.0, total - 1 - peak))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Give each group its share of the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
