"""The training loop. `train` is the whole of it; what it calls stands below, in the order of use."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from detkit.components import Stateful
from detkit.data.loading import RawBatch, to_device, training_loader
from detkit.data.sampling import StepPlan, share_of
from detkit.engine.attribution import attributed, out_of_memory_named
from detkit.engine.checkpoint import capture_generators, save_checkpoint
from detkit.engine.evaluation import Evaluation, evaluate
from detkit.engine.losses import compute_losses
from detkit.engine.optim import learning_rate, set_learning_rate
from detkit.engine.run import Run
from detkit.engine.state import TrainState
from detkit.engine.system import memory_bytes, peak_memory_bytes
from detkit.errors import Interrupted, NonFiniteLoss


def train(run: Run, state: TrainState) -> None:
    """Train from where `state` is to the end.

    Raises:
        Interrupted: a stop was requested; the checkpoint to resume from is on disk.
        RunFailed: a component failed, a loss is not finite, memory ran out.
    """
    while not state.ended:
        run.model.train()
        run.strategy.begin_epoch(state.epoch)
        plan = run.plan(state.epoch)[state.position :]
        batches = load_batches(run, plan)
        for step_plan in plan:
            stop = train_step(run, state, step_plan, batches)
            if stop:
                save_last(run, state)
                raise Interrupted(f"stopped after step {state.step}, in epoch {state.epoch}")
            if run.train.checkpoint_every_steps and state.step % run.train.checkpoint_every_steps == 0:
                save_last(run, state)

        evaluation = evaluate_epoch(run, state)
        values: dict[str, float | None] = {f"train/epoch_{term}": value for term, value in state.mean_losses().items()}
        values |= evaluation.values if evaluation else {}
        run.recorder.epoch(state.epoch, state.step, values, measure_epoch(run, state, evaluation))
        run.events.epoch_ended(run.info, state.epoch, values)
        reason = run.events.should_stop(run.info, state.epoch, values) if evaluation else None
        reason = run.fabric.broadcast(reason)
        if evaluation and is_best(state, evaluation):
            state.best_epoch, state.best_value = state.epoch, evaluation.values.get(evaluation.primary)
            save_best(run, state, evaluation)
        if reason or state.epoch == run.train.epochs:
            state.ended = reason or f"all {run.train.epochs} epochs trained"
        else:
            state.next_epoch()
        save_last(run, state)


def load_batches(run: Run, plan: Sequence[StepPlan]) -> Iterator[RawBatch]:
    """This process's share of every batch, in order."""
    fabric = run.fabric
    shares = [share_of(batch, fabric.global_rank, fabric.world_size) for step in plan for batch in step]
    pin = fabric.device.type == "cuda"
    return training_loader(run.dataset, shares, seed=run.seed, workers=run.workers, pin_memory=pin)


def train_step(run: Run, state: TrainState, plan: StepPlan, batches: Iterator[RawBatch]) -> bool:
    """One optimizer step, told to the record, the callbacks and whoever watches.

    Returns:
        Whether any process was asked to stop.
    """
    began = time.perf_counter()
    rate = learning_rate(state.step - run.schedule[0], run.schedule[1] - run.schedule[0], run.train)
    losses, stop = optimizer_step(run, state, plan, batches, rate)
    images = sum(len(batch) for batch in plan)
    seconds = time.perf_counter() - began
    state.add_step(losses, images, seconds)
    run.recorder.step(state.epoch, state.step, losses, rate, {"step_s": seconds, "images_per_s": images / seconds})
    run.events.step_ended(run.info, state.step, losses)
    show_progress(run, state, losses, rate)
    return stop


def optimizer_step(
    run: Run, state: TrainState, plan: StepPlan, batches: Iterator[RawBatch], rate: float
) -> tuple[dict[str, float], bool]:
    """Forward and backward over the step's batches, then one step of the optimizer.

    Each batch counts by its share of the step's images, so that the gradient is that of the whole step's mean loss,
    whatever the number of processes and batches.

    Returns:
        The loss terms as means over the step's images in all processes; whether any process was asked to stop.
    """
    fabric = run.fabric
    images_in_step = sum(len(batch) for batch in plan)
    terms: dict[str, Tensor] = {}
    for number, items in enumerate(plan):
        images, targets = next(batches)
        batch = to_device(images, targets, fabric.device)
        share = len(batch.images) * fabric.world_size / images_in_step
        with fabric.no_backward_sync(run.model, enabled=number + 1 < len(plan)):
            samples = ", ".join(str(item.sample) for item in items)
            losses = compute_losses(run, run.model, batch, f"step {state.step + 1} (images {samples})")
            with out_of_memory_named(f"going backward in step {state.step + 1}"):
                fabric.backward(torch.stack(list(losses.values())).sum() * share)
        for term, value in losses.items():
            weighted = value.detach().float() * share
            terms[term] = terms[term] + weighted if term in terms else weighted
    values, stop = average(run, terms)
    refuse_nonfinite(run, state, plan, values)
    if run.train.clip_norm is not None:
        norm = fabric.clip_gradients(run.model, run.optimizer, max_norm=run.train.clip_norm, error_if_nonfinite=False)
        if run.info.precision != "fp16":  # where the scaler skips a step whose gradients overflowed
            refuse_nonfinite(run, state, plan, {"the gradient's norm": float(norm or 0.0)})
    set_learning_rate(run.optimizer, rate)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    return values, stop


def average(run: Run, terms: Mapping[str, Tensor]) -> tuple[dict[str, float], bool]:
    """The terms over all processes, read from the device at once; and whether any process wants to stop."""
    vector = torch.stack([*terms.values(), torch.zeros((), device=run.fabric.device)])
    vector[-1] = float(bool(run.stop))
    if run.fabric.world_size > 1:
        torch.distributed.all_reduce(vector)
        vector[:-1] /= run.fabric.world_size
    *values, stop = vector.tolist()
    return dict(zip(terms, values, strict=True)), stop > 0


def refuse_nonfinite(run: Run, state: TrainState, plan: StepPlan, values: Mapping[str, float]) -> None:
    """Stop before a step that would make every weight NaN. All processes have the same values, and stop together."""
    wrong = {name: value for name, value in values.items() if not math.isfinite(value)}
    if wrong:
        listed = ", ".join(f"{name} is {value}" for name, value in wrong.items())
        names = ", ".join(run.dataset.info(item.sample).label for batch in plan for item in batch)
        raise NonFiniteLoss(
            f"{listed} in step {state.step + 1}, epoch {state.epoch}; the images are {names};"
            f" lower [models.{run.use.key}.train] lr (now {run.train.lr:g}), lengthen warmup_steps, or set clip_norm"
        )


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


def is_best(state: TrainState, evaluation: Evaluation) -> bool:
    """Whether this epoch is selected over those before it: an earlier one wins a tie.

    Where nothing selects (no metric with a primary quantity, no validation loss) the last epoch is.
    """
    value = evaluation.values.get(evaluation.primary)
    if not evaluation.primary or state.best_epoch is None:
        return True
    if state.best_value is None:
        return value is not None
    if value is None:
        return False
    higher = evaluation.better.get(evaluation.primary, True)
    return value > state.best_value if higher else value < state.best_value


def save_best(run: Run, state: TrainState, evaluation: Evaluation) -> None:
    """Weights and what is needed to use them, without what is needed to go on training."""
    if run.fabric.is_global_zero:
        selected = {"epoch": state.epoch, "step": state.step, "by": evaluation.primary, "value": state.best_value}
        save_checkpoint(
            run.layout.best,
            {
                "run_id": run.info.run_id,
                "model": run.bare_model.state_dict(),
                "class_names": list(run.info.class_names),
                "origin": run.origin,
                "selected": selected,
                "thresholds": {key: dict(result.thresholds) for key, result in evaluation.results.items()},
            },
        )


def save_last(run: Run, state: TrainState) -> None:
    """Everything that an exact resume needs. The streams reach the disk first: the checkpoint states their lengths."""
    generators = [capture_generators()]
    if run.fabric.world_size > 1:
        gathered: list[dict[str, object]] = [{}] * run.fabric.world_size
        torch.distributed.all_gather_object(gathered, generators[0])
        generators = gathered
    if run.fabric.is_global_zero:
        save_checkpoint(
            run.layout.last,
            {
                "run_id": run.info.run_id,
                "model": run.bare_model.state_dict(),
                "origin": run.origin,
                "optimizer": run.optimizer.state_dict(),
                "scaler": run.fabric.strategy.precision.state_dict(),
                "components": component_states(run),
                "generators": generators,
                "state": state.to_dict(),
                "streams": run.recorder.sync(),
            },
        )


def component_states(run: Run) -> dict[str, object]:
    """Of the callbacks, and of a training step that has one (a teacher, a queue)."""
    states: dict[str, object] = {"callbacks": run.events.state_dict()}
    step = run.training_step
    if isinstance(step, Stateful):
        with attributed(run.step_use, "giving its state"):
            states["training_step"] = step.state_dict()
    return states
