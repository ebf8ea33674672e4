"""A moving average of the weights: `[train] ema_decay`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def averaged_model(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of the model whose weights and norm statistics follow it, slowly.

    `update_parameters(model)` after each step: the first one copies, later ones average.
    """
    averaged = AveragedModel(model, multi_avg_fn=averaging(decay), use_buffers=True)
    averaged.requires_grad_(False)
    return averaged


def averaging(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """The rule for `AveragedModel`: tensors of one device and type, those of the model, and the updates so far.

    Without a warm-up of the decay the random weights of the beginning would count for long: 0.999 forgets half of them
    in 700 steps.
    """

    @torch.no_grad()
    def average(averaged: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            rule = get_ema_multi_avg_fn(decay_after(int(updates), decay))  # type: ignore[no-untyped-call]
            rule(averaged, current, updates)
        else:  # counters
            for mine, its in zip(averaged, current, strict=True):
                mine.copy_(its)

    return average


def decay_after(updates: int, decay: float) -> float:
    """The decay of the next update.

    Source: `num_updates` of TensorFlow's tf.train.ExponentialMovingAverage.
    """
    return min(decay, (1 + updates) / (10 + updates))


def averaged_state(averaged: AveragedModel) -> dict[str, Any]:
    """For a checkpoint: the averaged weights under the model's own names, and the updates so far."""
    return {"model": averaged.module.state_dict(), "updates": int(averaged.n_averaged)}


def load_averaged_state(averaged: AveragedModel, state: dict[str, Any]) -> None:
    """The inverse of `averaged_state`."""
    averaged.module.load_state_dict(state["model"])
    averaged.n_averaged.fill_(state["updates"])
