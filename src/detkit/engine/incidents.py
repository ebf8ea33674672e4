"""Incidents: steps that were not taken, written down so that they can be replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detkit.components import Stateful
from detkit.data.loading import RawBatch, to_device
from detkit.data.sampling import Item
from detkit.engine.attribution import attributed
from detkit.engine.checkpoint import load_checkpoint, save_checkpoint
from detkit.engine.run import Run
from detkit.engine.state import TrainState
from detkit.errors import DetkitError
from detkit.record.layout import RunLayout

#: Of a run, the latest so many are kept: each holds the whole model.
KEPT = 5


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward pass of a step in this process: its images, and the generators' states before it."""

    items: Sequence[Item]
    batch: RawBatch
    generators: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Attempt:
    """An optimizer step, taken unless it has a fault.

    Attributes:
        losses: the terms, means over its images in all processes. rate: the learning rate.
        fault: why it was not taken; empty where it was. stop: whether any process was asked to stop.
        passes: of this process. buffers: the model's, before the first of them.
    """

    losses: Mapping[str, float]
    rate: float
    fault: str
    stop: bool
    passes: Sequence[Pass]
    buffers: Mapping[str, Tensor]


def copied_buffers(model: nn.Module) -> dict[str, Tensor]:
    """The norms' statistics, say: a forward pass moves them before anybody can see that its loss is not finite."""
    # With the further names of a buffer that has several, as a state dict has them.
    return {name: buffer.detach().clone() for name, buffer in model.named_buffers(remove_duplicate=False)}


@torch.no_grad()
def put_back_buffers(model: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    """What `copied_buffers` gave; a buffer that the model has made or resized since is left as it is."""
    for name, buffer in model.named_buffers(remove_duplicate=False):
        if name in buffers and buffers[name].shape == buffer.shape:
            buffer.copy_(buffers[name])


def write_incident(run: Run, state: TrainState, attempt: Attempt) -> None:
    """Write down what replays a step. All processes call it; the first one writes.

    Where it cannot be written, a warning says why: the fault itself is the news.
    """
    passes, trouble = _written_passes(run, attempt)
    if run.fabric.world_size > 1:
        gathered: list[Any] = [None] * run.fabric.world_size
        torch.distributed.all_gather_object(gathered, (passes, trouble))
        passes = [one for of_process, _ in gathered for one in of_process]
        trouble = next((its for _, its in gathered if its), "")
    if not run.fabric.is_global_zero:
        return
    try:
        if trouble:
            raise DetkitError(trouble)
        _write(run, state, attempt, passes)
    except Exception as error:  # noqa: BLE001 - foreign states and targets; the fault must be told whatever they are
        known = isinstance(error, DetkitError)
        why = str(error) if known else f"{type(error).__name__}: {error}"
        run.messages.warning(f"step {state.step + 1} cannot be replayed, it could not be written: {why}")
        return
    for old in sorted(incident_files(run.layout), key=lambda old: old.stat().st_mtime_ns)[:-KEPT]:
        old.unlink()


def _write(run: Run, state: TrainState, attempt: Attempt, passes: Sequence[Mapping[str, Any]]) -> None:
    weights = run.bare_model.state_dict()
    save_checkpoint(
        run.layout.incident(state.step + 1),
        {
            "run_id": run.info.run_id,
            "step": state.step + 1,
            "epoch": state.epoch,
            "fault": attempt.fault,
            "losses": dict(attempt.losses),
            "rate": attempt.rate,
            "precision": run.info.precision,
            "device": run.info.device,
            "processes": run.fabric.world_size,
            "model": {name: attempt.buffers.get(name, value) for name, value in weights.items()},
            "origin": run.origin,
            "scaler": run.fabric.strategy.precision.state_dict(),
            "training_step": _step_state(run),  # as the passes have left it: nobody copies it before each step
            "passes": list(passes),
        },
    )


def _written_passes(run: Run, attempt: Attempt) -> tuple[list[dict[str, Any]], str]:
    """This process's passes, or why they cannot be written: other processes wait for either."""
    try:
        return [_written_pass(run, one) for one in attempt.passes], ""
    except Exception as error:  # noqa: BLE001 - targets hold what a dataset puts there
        return [], f"{type(error).__name__}: {error}"


def _written_pass(run: Run, one: Pass) -> dict[str, Any]:
    # From what was loaded, a second time: a model may have changed the tensors that it was given.
    batch = to_device(*one.batch, run.fabric.device)
    return {
        "indices": [item.sample for item in one.items],
        "names": [run.dataset.info(item.sample).label for item in one.items],
        "images": [image.cpu() for image in batch.images],
        "targets": [{name: _plain(value) for name, value in target.items()} for target in batch.targets],
        "generators": dict(one.generators),
    }


def _plain(value: Any) -> Any:
    """Tensors on the CPU; numpy's arrays as tensors, and Python's own numbers in place of numpy's."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return torch.from_numpy(value.copy())
    return value.item() if isinstance(value, np.generic) else value


def _step_state(run: Run) -> Any:
    if not isinstance(run.training_step, Stateful):
        return None
    with attributed(run.step_use, "giving its state"):
        return run.training_step.state_dict()


def incident_files(layout: RunLayout) -> list[Path]:
    """In the order of their steps."""
    return sorted(layout.incidents.glob("step-*.pt"))


def read_incident(file: Path, *, lazily: bool = False) -> dict[str, Any]:
    """What `write_incident` wrote; `lazily` where its tensors are not wanted, which are as large as the model.

    Raises:
        WeightsError: the file is cut, or something else.
    """
    return load_checkpoint(file, lazily=lazily)
