"""What a run saves, and takes back: the checkpoint of the best epoch, and the one that an exact resume needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from detkit.components import Stateful
from detkit.engine.attribution import attributed
from detkit.engine.checkpoint import (
    capture_generators,
    load_checkpoint,
    load_weights,
    restore_generators,
    save_checkpoint,
)
from detkit.engine.ema import averaged_state, load_averaged_state
from detkit.engine.evaluation import Evaluation
from detkit.engine.guard import has_finite_weights
from detkit.engine.run import Run
from detkit.engine.selection import selecting
from detkit.engine.state import TrainState
from detkit.record.files import duplicate


def save_best(run: Run, state: TrainState, evaluation: Evaluation) -> None:
    """The weights that were evaluated, and what is needed to use them, without what is needed to go on training."""
    if run.fabric.is_global_zero:
        by = selecting(evaluation, run.train)
        selected = {"epoch": state.epoch, "step": state.step, "by": by, "value": state.best_value}
        save_checkpoint(
            run.layout.best,
            {
                "run_id": run.info.run_id,
                "model": run.evaluated_model.state_dict(),
                "class_names": list(run.info.class_names),
                "origin": run.origin,
                "selected": selected,
                "thresholds": evaluation.thresholds,
            },
        )
        keep_best(run, state)


def keep_best(run: Run, state: TrainState) -> None:
    """Where the run may go back: keep the best so far under a name of its own, which no later best takes."""
    if run.train.on_nonfinite == "rollback" and state.best_epoch is not None:
        duplicate(run.layout.best, run.layout.best_of(state.best_epoch))


def bring_back_best(run: Run, state: TrainState) -> None:
    """Make `best.pt` the best of the training that goes on from `state`, whatever epochs were best after it.

    Called when the run goes back and, since it may have been killed while it did or before it saved an epoch's end,
    when it is resumed. Where no file holds it, no epoch is the best for now. All processes call it.
    """
    if run.train.on_nonfinite != "rollback":
        return
    kept = run.layout.best_of(state.best_epoch) if state.best_epoch is not None else None
    if run.fabric.broadcast(kept is not None and kept.exists()):
        if kept is not None and run.fabric.is_global_zero:
            duplicate(kept, run.layout.best)
    else:
        state.best_epoch, state.best_value = None, None


def forget_bests(run: Run, state: TrainState) -> None:
    """Keep those that the last checkpoint and the previous one may need: of their training the latest two."""
    for_now = [] if state.ended else [epoch for epoch, _ in run.layout.bests() if epoch <= (state.best_epoch or 0)][-2:]
    for epoch, file in run.layout.bests():
        if epoch not in for_now:
            file.unlink()


def save_last(run: Run, state: TrainState) -> None:
    """Everything that an exact resume needs. The streams reach the disk first: the checkpoint states their lengths.

    Weights that are not finite are not saved: from the checkpoint before them the run can go on. Where the run may go
    back, the checkpoint of an earlier step is kept beside it.
    """
    generators = [capture_generators()]
    if run.fabric.world_size > 1:
        gathered: list[dict[str, object]] = [{}] * run.fabric.world_size
        torch.distributed.all_gather_object(gathered, generators[0])
        generators = gathered
    if not run.fabric.is_global_zero:
        return
    if not has_finite_weights(run.bare_model):
        run.messages.warning(f"after step {state.step} the weights are not finite; the checkpoint before it is kept")
        return
    if run.train.on_nonfinite == "rollback" and state.saved < state.step and run.layout.last.exists():
        duplicate(run.layout.last, run.layout.previous)
    state.saved = state.step
    save_checkpoint(
        run.layout.last,
        {
            "run_id": run.info.run_id,
            "model": run.bare_model.state_dict(),
            "ema": averaged_state(run.averaged) if run.averaged else None,
            "origin": run.origin,
            "thresholds": state.thresholds,  # where the best checkpoint has its own, for whoever predicts with this one
            "optimizer": run.optimizer.state_dict(),
            "scaler": run.fabric.strategy.precision.state_dict(),
            "components": component_states(run),
            "generators": generators,
            "state": state.to_dict(),
            "streams": run.recorder.sync(),
        },
    )
    forget_bests(run, state)
    if state.ended:
        run.layout.previous.unlink(missing_ok=True)


def begin_extension(run: Run, state: TrainState) -> None:
    """Let a run that has ended go on with a further epoch.

    Saved at once: the run may go back to this checkpoint, and must not find there that it has ended.
    """
    state.ended = ""
    state.next_epoch()
    if run.fabric.is_global_zero:
        keep_best(run, state)
    save_last(run, state)


def component_states(run: Run) -> dict[str, object]:
    """Of the callbacks, and of a training step that has one (a teacher, a queue)."""
    states: dict[str, object] = {"callbacks": run.events.state_dict()}
    step = run.training_step
    if isinstance(step, Stateful):
        with attributed(run.step_use, "giving its state"):
            states["training_step"] = step.state_dict()
    return states


def restore(run: Run, checkpoint: Mapping[str, Any]) -> None:
    """Put a checkpoint back into everything that it was taken from."""
    load_weights(run.bare_model, checkpoint["model"], run.layout.last)
    if run.averaged:
        load_averaged_state(run.averaged, checkpoint["ema"])
    run.optimizer.load_state_dict(checkpoint["optimizer"])
    run.fabric.strategy.precision.load_state_dict(checkpoint["scaler"])
    run.events.load_state_dict(checkpoint["components"]["callbacks"])
    if "training_step" in checkpoint["components"]:
        with attributed(run.step_use, "taking back its state"):
            run.training_step.load_state_dict(checkpoint["components"]["training_step"])  # type: ignore[attr-defined]  # it saved one
    run.recorder.cut(checkpoint["streams"])
    generators = checkpoint["generators"]
    if run.fabric.global_rank < len(generators):  # fewer where it was saved by fewer processes, to be evaluated here
        restore_generators(generators[run.fabric.global_rank])


def checkpoint_before(run: Run, state: TrainState) -> dict[str, Any] | None:
    """The latest checkpoint since which a step was taken; None where there is none.

    Going back to one that was saved just before the step that failed would change nothing: the same weights, images and
    random numbers give the same loss, whatever the rate.
    """
    run.fabric.barrier()  # the first process may still be writing it
    for file in (run.layout.last, run.layout.previous):
        if file.exists():
            checkpoint = load_checkpoint(file, run_id=run.info.run_id)
            if checkpoint["state"]["step"] < state.step:
                return checkpoint
    return None


def roll_back(run: Run, state: TrainState, checkpoint: Mapping[str, Any]) -> None:
    """Go back to a checkpoint, and on from there at a lower rate.

    Saved again at once: a run that is killed now must not come back with the rate that made it explode, and forget how
    often it went back.
    """
    restore(run, checkpoint)
    then = TrainState.from_dict(checkpoint["state"])
    bring_back_best(run, then)
    state.go_back(then, run.train.rollback_lr_scale)
    run.messages.info(
        f"back after step {state.step}, in epoch {state.epoch}; from here the learning rate is {state.lr_scale:g} times"
        " what the schedule says"
    )
    run.fabric.barrier()  # all have read it
    save_last(run, state)
