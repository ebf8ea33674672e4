"""Guard rails: which optimizer step must not be taken, and what becomes of the run then."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from lightning_fabric import Fabric
from torch import nn

from detkit.engine.limits import Limits
from detkit.engine.run import Run
from detkit.engine.state import TrainState
from detkit.errors import NonFiniteLoss

#: Fewer losses than these have no median that a next one could be held against.
FEWEST_LOSSES = 10
Answer = Literal["skip", "rollback"]


def loss_fault(losses: Mapping[str, float], recent: Sequence[float], explosion: float | None) -> str:
    """What is wrong with the losses of a step; empty where nothing is.

    Args:
        losses: the terms, means over all processes. recent: sums of the terms of the steps before.
        explosion: so many times their median is too much.
    """
    wrong = [f"{term} is {value}" for term, value in losses.items() if not math.isfinite(value)]
    if wrong:
        return ", ".join(wrong)
    if explosion is None or len(recent) < FEWEST_LOSSES:
        return ""
    total, median = sum(losses.values()), statistics.median(recent)
    if median <= 0 or total <= explosion * median:  # where losses can be negative, a multiple says nothing
        return ""
    term, value = max(losses.items(), key=lambda item: item[1])
    return (
        f"the loss is {total:.4g}, {total / median:.0f} times the median of the steps before it ({median:.4g});"
        f" {term} is {value:.4g}"
    )


def gradient_fault(norm: float, scaler: torch.amp.GradScaler | None) -> str:
    """What is wrong with the gradient's norm; empty where nothing is.

    In fp16 a gradient overflows from time to time because it was scaled: the scaler passes over that step and scales
    less. Only where it does not scale up at all any more, the fault is the model's.
    """
    if math.isfinite(norm) or (scaler is not None and scaler.get_scale() > 1):
        return ""
    return f"the gradient's norm is {norm}"


def scaler_of(fabric: Fabric) -> torch.amp.GradScaler | None:
    """fp16's scaler of gradients; None in other precisions."""
    scaler: torch.amp.GradScaler | None = getattr(fabric.strategy.precision, "scaler", None)
    return scaler


def drop_gradients(fabric: Fabric, optimizer: torch.optim.Optimizer, *, unscaled: bool) -> None:
    """Forget the gradients of a step that is not taken.

    Args:
        unscaled: whether fp16's scaler has looked at them. It refuses to look at others before its own update, which
            lowers the scale where these were not finite.
    """
    scaler = scaler_of(fabric)
    if scaler is not None and unscaled:
        scaler.update()
    optimizer.zero_grad(set_to_none=True)


def has_finite_weights(model: nn.Module) -> bool:
    """Whether every parameter is finite, and no buffer (a norm's statistics) is NaN: it may be infinite, as masks are.

    Reads all of them: once an epoch and a checkpoint, not once a step.
    """
    fine = [torch.isfinite(parameter.detach()).all() for parameter in model.parameters()]
    fine += [~torch.isnan(buffer).any() for buffer in model.buffers() if buffer.is_floating_point()]
    return not fine or bool(torch.stack(fine).all())


def refuse_start(run: Run) -> None:
    """Refuse to train from weights that are not finite: no loss could be.

    Raises:
        NonFiniteLoss: some are not.
    """
    if not has_finite_weights(run.bare_model):
        raise NonFiniteLoss(f"{run.use.title} begins with weights that are not finite; look at where they come from")


def answer(run: Run, state: TrainState, fault: str, place: str, *, skippable: bool, earlier: bool) -> Answer:
    """What becomes of the run: `[train] on_nonfinite`. The same in all processes, whose losses are the same.

    Args:
        fault: what is wrong. place: where, as "in step 7, epoch 1; the images are ...".
        skippable: whether it is a step, written down, that can be left out; else the weights are spoilt.
        earlier: whether there is a checkpoint to which going back would help.

    Raises:
        NonFiniteLoss: the policy is to stop, or the others cannot help or are used up.
    """
    train = run.train
    look = f"; look closer with: {replay_command(run, state.step + 1)}" if skippable and run.limits == Limits() else ""
    if train.on_nonfinite == "skip" and skippable and state.skipped < train.max_skips:
        count = f"{state.skipped + 1} of at most {train.max_skips}"
        run.messages.warning(f"{fault} {place}; the step is skipped ({count}){look}")
        return "skip"
    if train.on_nonfinite == "rollback" and earlier and state.rollbacks < train.max_rollbacks:
        count = f"{state.rollbacks + 1} of at most {train.max_rollbacks}"
        run.messages.warning(f"{fault} {place}; the run goes back to an earlier checkpoint ({count}){look}")
        return "rollback"
    raise NonFiniteLoss(f"{fault} {place}{_no_help(run, state, earlier=earlier)}; {_advice(run, state)}{look}")


def replay_command(run: Run, step: int) -> str:
    return f"detkit replay {shlex.quote(str(run.layout.folder))} --step {step}"


def _no_help(run: Run, state: TrainState, *, earlier: bool) -> str:
    """Why the policy, where it is not to stop, does not help any more."""
    train = run.train
    if train.on_nonfinite == "skip" and state.skipped >= train.max_skips:
        return f"; max_skips = {train.max_skips} is used up"
    if train.on_nonfinite == "rollback" and not earlier:
        return "; there is no earlier checkpoint to go back to, from which it could come out otherwise"
    return f"; max_rollbacks = {train.max_rollbacks} is used up" if train.on_nonfinite == "rollback" else ""


def _advice(run: Run, state: TrainState) -> str:
    rate = run.train.lr * state.lr_scale
    return f"lower [models.{run.use.key}.train] lr (now {rate:g}), lengthen warmup_steps, or set clip_norm"
