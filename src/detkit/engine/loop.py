"""The training loop. `train` is the whole of it; what it calls stands below, in the order of use."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from detkit.data.loading import RawBatch, to_device, training_loader
from detkit.data.sampling import Item, StepPlan, share_of
from detkit.engine import guard
from detkit.engine.attribution import out_of_memory_named
from detkit.engine.checkpoint import capture_generators
from detkit.engine.evaluation import Evaluation, evaluate
from detkit.engine.incidents import Attempt, Pass, copied_buffers, put_back_buffers, write_incident
from detkit.engine.losses import add_weighted, compute_losses
from detkit.engine.optim import learning_rate, set_learning_rate
from detkit.engine.run import Run
from detkit.engine.saving import checkpoint_before, roll_back, save_best, save_last
from detkit.engine.search_pruning import prune_reason
from detkit.engine.selection import is_best, selecting
from detkit.engine.state import TrainState
from detkit.engine.system import memory_bytes, peak_memory_bytes
from detkit.errors import Interrupted, NonFiniteLoss

#: How a run goes on after a step: with the next one, not at all, or from its last checkpoint.
Course = Literal["on", "stop", "back"]


def train(run: Run, state: TrainState) -> None:
    """Train from where `state` is to the end.

    Raises:
        Interrupted: a stop was requested; the checkpoint to resume from is on disk.
        RunFailed: a component failed, a loss is not finite, memory ran out.
    """
    if state.step == 0:
        guard.refuse_start(run)
        if run.train.on_nonfinite == "rollback":
            save_last(run, state)
    while not state.ended:
        begin_epoch(run, state)
        plan = run.plan(state.epoch)[state.position :]
        batches = load_batches(run, plan)
        for step_plan in plan:
            course = train_step(run, state, step_plan, batches)
            if course == "back":  # `state` is where it went back to
                break
            if course == "stop":
                save_last(run, state)
                raise Interrupted(f"stopped after step {state.step}, in epoch {state.epoch}")
            if run.train.checkpoint_every_steps and state.step % run.train.checkpoint_every_steps == 0:
                save_last(run, state)
        else:
            end_epoch(run, state)


def begin_epoch(run: Run, state: TrainState) -> None:
    """Training mode, with frozen what the strategy freezes in this epoch; what it frees is told."""
    run.model.train()
    run.strategy.begin_epoch(state.epoch)
    freed = dict.fromkeys(piece.part for piece in run.strategy.changes_at(state.epoch))
    if freed and state.position == 0:
        run.messages.info(f"epoch {state.epoch}: trained from here on: {', '.join(freed)}")


def load_batches(run: Run, plan: Sequence[StepPlan]) -> Iterator[RawBatch]:
    """This process's share of every batch, in order."""
    fabric = run.fabric
    shares = [share_of(batch, fabric.global_rank, fabric.world_size) for step in plan for batch in step]
    pin = fabric.device.type == "cuda"

    def load(part: Sequence[Sequence[Item]], workers: int) -> Iterator[RawBatch]:
        return training_loader(run.dataset, part, seed=run.seed, workers=workers, pin_memory=pin, make=run.augmentation)

    epoch = plan[0][0][0].epoch if plan else 1
    return run.loading.batches(shares, load, run.train.epochs - epoch + 1)


def train_step(run: Run, state: TrainState, plan: StepPlan, batches: Iterator[RawBatch]) -> Course:
    """One optimizer step, told to the record, the callbacks and whoever watches; or refused."""
    began = time.perf_counter()
    first, end = run.schedule
    rate = state.lr_scale * learning_rate(state.step - first, end - first, run.train, run.info.steps_per_epoch)
    attempt = optimizer_step(run, state, plan, batches, rate)
    images = sum(len(batch) for batch in plan)
    seconds = time.perf_counter() - began
    measured = {"step_s": seconds, "images_per_s": images / seconds}
    if attempt.fault:
        return refuse_step(run, state, plan, attempt, measured)
    state.add_step(attempt.losses, images, seconds)
    run.recorder.step(state.epoch, state.step, attempt.losses, rate, measured)
    run.events.step_ended(run.info, state.step, attempt.losses)
    show_progress(run, state, attempt.losses, rate)
    return "stop" if attempt.stop else "on"


def optimizer_step(run: Run, state: TrainState, plan: StepPlan, batches: Iterator[RawBatch], rate: float) -> Attempt:
    """Forward and backward over the step's batches, then one step of the optimizer, unless something is wrong with it.

    Each batch counts by its share of the step's images, so that the gradient is that of the whole step's mean loss,
    whatever the number of processes and batches.
    """
    fabric = run.fabric
    images_in_step = sum(len(batch) for batch in plan)
    terms: dict[str, Tensor] = {}
    passes: list[Pass] = []
    buffers = copied_buffers(run.bare_model)
    for number, items in enumerate(plan):
        raw = next(batches)
        batch = to_device(*raw, fabric.device)
        passes.append(Pass(share_of(items, fabric.global_rank, fabric.world_size), raw, capture_generators()))
        share = len(batch.images) * fabric.world_size / images_in_step
        with fabric.no_backward_sync(run.model, enabled=number + 1 < len(plan)):
            samples = ", ".join(str(item.sample) for item in items)
            losses = compute_losses(run, run.model, batch, f"step {state.step + 1} (images {samples})")
            with out_of_memory_named(f"going backward in step {state.step + 1}"):
                fabric.backward(torch.stack(list(losses.values())).sum() * share)
        add_weighted(terms, losses, share)
    values, stop = average(run, terms)
    fault = guard.loss_fault(values, state.recent, run.train.explosion)
    if fault:
        guard.drop_gradients(fabric, run.optimizer, unscaled=False)
    else:
        fault = apply_gradients(run, rate)
    return Attempt(values, rate, fault, stop, passes, buffers)


def average(run: Run, terms: Mapping[str, Tensor]) -> tuple[dict[str, float], bool]:
    """The terms over all processes, read from the device at once; and whether any process wants to stop."""
    vector = torch.stack([*terms.values(), torch.zeros((), device=run.fabric.device)])
    vector[-1] = float(bool(run.stop))
    if run.fabric.world_size > 1:
        torch.distributed.all_reduce(vector)
        vector[:-1] /= run.fabric.world_size
    *values, stop = vector.tolist()
    return dict(zip(terms, values, strict=True)), stop > 0


def apply_gradients(run: Run, rate: float) -> str:
    """Clip the gradients and step. Returns what is wrong with them instead, where something is; nothing moves then."""
    largest = run.train.clip_norm or math.inf
    norm = run.fabric.clip_gradients(run.model, run.optimizer, max_norm=largest, error_if_nonfinite=False)
    fault = guard.gradient_fault(0.0 if norm is None else norm.item(), guard.scaler_of(run.fabric))
    if fault:
        guard.drop_gradients(run.fabric, run.optimizer, unscaled=True)
        return fault
    set_learning_rate(run.optimizer, rate)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    if run.averaged:
        run.averaged.update_parameters(run.bare_model)
    return ""


def refuse_step(run: Run, state: TrainState, plan: StepPlan, attempt: Attempt, measured: Mapping[str, float]) -> Course:
    """Write the step down, and skip it, go back, or stop the run. All processes have the same values, and do the same.

    Raises:
        NonFiniteLoss: the run stops here.
    """
    write_incident(run, state, attempt)
    names = ", ".join(run.dataset.info(item.sample).label for batch in plan for item in batch)
    place = f"in step {state.step + 1}, epoch {state.epoch}; the images are {names}"
    if went_back(run, state, attempt.fault, place, skippable=True):
        return "back"
    put_back_buffers(run.bare_model, attempt.buffers)
    state.skip_step(sum(map(len, plan)), measured["step_s"])
    run.recorder.step(state.epoch, state.step, attempt.losses, attempt.rate, measured, skipped=True)
    return "stop" if attempt.stop else "on"


def went_back(run: Run, state: TrainState, fault: str, place: str, *, skippable: bool) -> bool:
    """Answer a fault: go back to a checkpoint, or return False where the step is to be skipped.

    Raises:
        NonFiniteLoss: the run stops here.
    """
    earlier = checkpoint_before(run, state) if run.train.on_nonfinite == "rollback" else None
    answer = guard.answer(run, state, fault, place, skippable=skippable, earlier=earlier is not None)
    if answer == "rollback" and earlier is not None:
        roll_back(run, state, earlier)
        return True
    return False


def show_progress(run: Run, state: TrainState, losses: Mapping[str, float], rate: float) -> None:
    """Tell where the run is and how long the rest will take, at the pace of this epoch."""
    steps = run.info.steps_per_epoch
    pace = state.measured["epoch_train_s"] / state.position
    epochs_left = run.train.epochs - state.epoch
    evaluation = state.measured["evaluation_s"] / max(1, state.epoch - 1)
    run.recorder.progress(
        phase="training",
        epoch=state.epoch,
        epochs=run.train.epochs,
        done=state.position,
        total=steps,
        loss=sum(losses.values()),
        lr=rate,
        images_per_s=state.images / state.measured["epoch_train_s"],
        eta_s=pace * (steps - state.position + epochs_left * steps) + evaluation * (epochs_left + 1),
    )


def end_epoch(run: Run, state: TrainState) -> None:
    """Evaluate, write the record, tell the callbacks, save; or go back, where the last step has spoilt the weights."""
    place = f"after step {state.step}, at the end of epoch {state.epoch}"
    if not run.fabric.broadcast(guard.has_finite_weights(run.bare_model)):
        went_back(run, state, "the weights are not finite", place, skippable=False)
        return
    try:
        evaluation = evaluate_epoch(run, state)
    except NonFiniteLoss as error:  # the weights are finite, and huge; all processes raise it
        went_back(run, state, str(error), place, skippable=False)
        return
    values: dict[str, float | None] = {f"train/epoch_{term}": value for term, value in state.mean_losses().items()}
    values |= evaluation.values if evaluation else {}
    run.recorder.epoch(state.epoch, state.step, values, measure_epoch(run, state, evaluation))
    run.events.epoch_ended(run.info, state.epoch, values)
    reason = run.events.should_stop(run.info, state.epoch, values) if evaluation else None
    reason = run.fabric.broadcast(reason)
    pruned = run.fabric.broadcast(prune_reason(run, state)) if evaluation and not reason else ""
    if evaluation:
        state.thresholds = evaluation.thresholds
    if evaluation and is_best(state, evaluation, run.train):
        state.best_epoch = state.epoch
        state.best_value = evaluation.values.get(selecting(evaluation, run.train))
        save_best(run, state, evaluation)
    if reason or pruned or state.epoch == run.train.epochs:
        state.pruned = bool(pruned)
        state.ended = reason or pruned or f"all {run.train.epochs} epochs trained"
    else:
        state.next_epoch()
    save_last(run, state)


def evaluate_epoch(run: Run, state: TrainState) -> Evaluation | None:
    """Evaluate on the validation split, and record it; None where no evaluation is due in this epoch."""
    last = state.epoch == run.train.epochs
    if not last and state.epoch % run.train.eval_every_epochs:
        return None
    try:
        evaluation = evaluate(
            run, run.splits.validation, name="validation", epoch=state.epoch, losses=run.train.validation_loss
        )
    except Interrupted:
        save_last(run, state)  # the epoch is trained: a resume begins with its evaluation
        raise
    state.measured["evaluation_s"] += evaluation.seconds
    run.recorder.predictions(state.epoch, state.step, evaluation.predictions)
    run.recorder.results(state.epoch, state.step, evaluation.results)
    return evaluation


def measure_epoch(run: Run, state: TrainState, evaluation: Evaluation | None) -> dict[str, float]:
    """What depends on the machine and the moment."""
    return {
        "images_per_s": state.images / state.measured["epoch_train_s"],
        "train_s": state.measured["epoch_train_s"],
        "evaluation_s": evaluation.seconds if evaluation else 0.0,
        "memory_bytes": memory_bytes(),
        "peak_memory_bytes": peak_memory_bytes(run.info.device),
    }
