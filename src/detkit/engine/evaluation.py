"""Predictions on a split, compared with its ground truth by every metric; and the validation loss."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torchvision.ops import StochasticDepth

from detkit.components import Dataset
from detkit.data.loading import fetch, stacked, to_device
from detkit.data.seeds import derive_seed, seeded
from detkit.data.targets import prediction_from_output
from detkit.data.types import Batch, ModelOutput, Prediction
from detkit.engine.attribution import attributed
from detkit.engine.losses import compute_losses
from detkit.engine.measuring import directions, measure, named_scalars, primary_of
from detkit.engine.run import Run
from detkit.errors import ComponentError, Interrupted, NonFiniteLoss
from detkit.figures import MetricResult
from detkit.spec.model import Use

#: Layers that behave differently in training and keep statistics or draw numbers; a validation loss wants neither.
EVALUATED_LAYERS = (_NormBase, _DropoutNd, StochasticDepth)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Of one split.

    Attributes:
        predictions: ordered by image id; empty in processes beside the first.
        results: by the metric's key; empty in processes beside the first.
        values: every scalar as `key/quantity`, and `validation/...` losses; the same in all processes.
        better: quantity to whether higher is better, for those of which one is.
        primary: the quantity that selects, where a metric has one.
        seconds: it took.
    """

    predictions: Sequence[Prediction] = ()
    results: Mapping[str, MetricResult] = field(default_factory=dict)
    values: Mapping[str, float | None] = field(default_factory=dict)
    better: Mapping[str, bool] = field(default_factory=dict)
    primary: str = ""
    seconds: float = 0.0

    @property
    def thresholds(self) -> dict[str, dict[str, float]]:
        """What the metrics chose: the metric's key to class name to score."""
        return {key: dict(result.thresholds) for key, result in self.results.items()}


def evaluate(
    run: Run,
    indices: Sequence[int],
    *,
    name: str,
    epoch: int,
    losses: bool,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
) -> Evaluation:
    """Evaluate the model as it is; the average of its weights where there is one.

    Batches are formed before they are dealt out, so that predictions do not depend on the number of processes.

    Args:
        indices: into the dataset. name: what it is for, for progress and seeds. losses: measure those too.
        thresholds: what the metrics chose on other images, by their keys.

    Raises:
        Interrupted: a stop was requested (in a run of one process; several finish the evaluation).
        NonFiniteLoss: predictions are not finite, of whichever process: all raise it, so that all go on alike.
        ComponentError: the model or a metric failed or broke its contract.
    """
    began = time.perf_counter()
    indices = run.evaluated(indices)
    size = run.train.eval_batch_size
    batches = [indices[start : start + size] for start in range(0, len(indices), size)]
    own = list(enumerate(batches))[run.fabric.global_rank :: run.fabric.world_size]
    _share_buffers(run)
    was_training = run.evaluated_model.training
    done: list[_Evaluated] = []
    fault = ""
    with torch.no_grad(), run.fabric.autocast():
        for number, batch_indices in own:
            run.recorder.progress(phase=name, epoch=epoch, epochs=run.info.epochs, done=len(done), total=len(own))
            _stop_if_requested(run)
            batch = load_batch(run.dataset, batch_indices, run.seed, run.fabric.device)
            try:
                predictions = _predict(run, batch_indices, batch)
            except NonFiniteLoss as error:  # not yet: the other processes wait for this one's batches
                fault = str(error)
                break
            terms = _losses(run, batch, number) if losses else {}
            done.append(_Evaluated(number, predictions, terms))
    run.evaluated_model.train(was_training)
    done = _gather(run, done, fault)
    evaluation = Evaluation()
    if run.fabric.is_global_zero:
        predictions = sorted((p for batch in done for p in batch.predictions), key=lambda p: p.image_id)
        by_id = {info.image_id: info for info in run.truths.values()}
        truths = [by_id[prediction.image_id] for prediction in predictions]
        chosen = thresholds or {}
        results = {
            key: measure(use, metric, predictions, truths, thresholds=chosen.get(key))
            for key, (use, metric) in run.metrics.items()
        }
        evaluation = _evaluation(predictions, results, _mean_losses(done), time.perf_counter() - began)
    return _broadcast(run, evaluation)


class _Evaluated(NamedTuple):
    """One batch: its number among those of all processes, its predictions, its mean losses."""

    number: int
    predictions: list[Prediction]
    losses: dict[str, float]


def load_batch(dataset: Dataset, indices: Sequence[int], seed: int, device: torch.device) -> Batch:
    """Images and targets as they are evaluated.

    Args:
        seed: of the run. A dataset with random numbers gives the same ones at every evaluation, and does not move
            those of training.

    Raises:
        DataError: a sample cannot be read; names the image.
    """
    samples = []
    for index in indices:
        with seeded(derive_seed(seed, "evaluated item", index)):
            samples.append(fetch(dataset, index))
    images, targets = stacked(samples)
    return to_device(images, targets, device)


def _predict(run: Run, indices: Sequence[int], batch: Batch) -> list[Prediction]:
    run.evaluated_model.eval()
    names = ", ".join(run.truths[index].label for index in indices)
    outputs = model_outputs(run.use, run.evaluated_model, batch.images, len(run.info.class_names), names)
    return [
        prediction_from_output(run.truths[index].image_id, output)
        for index, output in zip(indices, outputs, strict=True)
    ]


def model_outputs(
    use: Use, model: nn.Module, images: Sequence[Tensor], classes: int, names: str
) -> Sequence[ModelOutput]:
    """What a model in evaluation mode finds in images (float32 [3, H, W] in 0..1, on its device).

    Args:
        use: the model's component. classes: how many there are. names: of the images, for messages.

    Raises:
        ComponentError: the model failed or broke its contract. OutOfMemory.
        NonFiniteLoss: boxes or scores are not finite.
    """
    with attributed(use, f"predicting {names}"):
        outputs = model(list(images))
    if not isinstance(outputs, list) or len(outputs) != len(images):
        raise ComponentError(
            f"{use.title} returned {_kind(outputs)} for {len(images)} images; it must be a list of dicts"
        )
    for output in outputs:
        _check_output(use, output, classes, names)
    return outputs


def _check_output(use: Use, output: ModelOutput, classes: int, names: str) -> None:
    """Hold the model to its contract: what breaks it would be a wrong number, or a crash far from its cause."""
    for key in ("boxes", "labels", "scores"):
        if not isinstance(output, Mapping) or key not in output:
            raise ComponentError(f"{use.title} returned {_kind(output)} without {key!r} for {names}")
    count = len(output["scores"])
    if output["boxes"].shape != (count, 4) or output["labels"].shape != (count,):
        shapes = {key: tuple(value.shape) for key, value in output.items() if isinstance(value, Tensor)}
        raise ComponentError(f"{use.title} returned shapes that do not fit each other for {names}: {shapes}")
    labels = output["labels"]
    if count and (int(labels.min()) < 1 or int(labels.max()) > classes):
        wrong = sorted({label for label in labels.tolist() if not 1 <= label <= classes})
        raise ComponentError(
            f"{use.title} predicted the labels {wrong} for {names}; the {classes} classes are 1 to {classes}"
        )
    if not bool(torch.isfinite(output["boxes"]).all()) or not bool(torch.isfinite(output["scores"]).all()):
        raise NonFiniteLoss(f"{use.title} predicted boxes or scores that are not finite for {names}: it has diverged")


def _kind(value: object) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, Sequence) else "")


def _losses(run: Run, batch: Batch, number: int) -> dict[str, float]:
    """The training step's terms with norm and dropout in evaluation mode; training's generators do not move."""
    device = run.fabric.device
    set_loss_mode(run.evaluated_model)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed(run.seed, "validation loss", number))
        losses = compute_losses(run, run.evaluated_model, batch, "a validation batch")
    return {"loss": float(sum(value.item() for value in losses.values())), **{k: v.item() for k, v in losses.items()}}


def set_loss_mode(model: nn.Module) -> None:
    """Training mode, so that the model gives losses, but for the layers that would move statistics or draw numbers."""
    model.train()
    for module in model.modules():
        if isinstance(module, EVALUATED_LAYERS):
            module.eval()


def _evaluation(
    predictions: Sequence[Prediction],
    results: Mapping[str, MetricResult],
    losses: Mapping[str, float | None],
    seconds: float,
) -> Evaluation:
    scalars = named_scalars(results)
    better = directions(scalars) | dict.fromkeys(losses, False)
    primary = primary_of(scalars) or ("validation/loss" if "validation/loss" in losses else "")
    values = {**{name: scalar.value for name, scalar in scalars.items()}, **losses}
    return Evaluation(predictions, results, values, better, primary, seconds)


def _share_buffers(run: Run) -> None:
    """Give all processes the first one's norm statistics, as a single process would have them."""
    if run.fabric.world_size > 1:
        for buffer in run.evaluated_model.buffers():
            torch.distributed.broadcast(buffer, 0)


def _gather(run: Run, own: list[_Evaluated], fault: str) -> list[_Evaluated]:
    """The batches of all processes in the order in which one process would have taken them.

    Raises:
        NonFiniteLoss: any process has a fault.
    """
    parts: list[Any] = [(own, fault)]
    if run.fabric.world_size > 1:
        parts *= run.fabric.world_size
        torch.distributed.all_gather_object(parts, (own, fault))
    faults = [its for _, its in parts if its]
    if faults:
        raise NonFiniteLoss(faults[0])
    return sorted((batch for part, _ in parts for batch in part), key=lambda batch: batch.number)


def _mean_losses(batches: Sequence[_Evaluated]) -> dict[str, float | None]:
    """Means over images, summed in the order of the batches: floating-point sums depend on it."""
    images = sum(len(batch.predictions) for batch in batches)
    sums: dict[str, float] = {}
    for batch in batches:
        for term, value in batch.losses.items():
            sums[term] = sums.get(term, 0.0) + value * len(batch.predictions)
    means = {f"validation/{term}": value / images for term, value in sums.items()}
    # One image whose loss overflows must not cost the epoch its record: the mean does not apply, then.
    return {name: value if math.isfinite(value) else None for name, value in means.items()}


def _broadcast(run: Run, evaluation: Evaluation) -> Evaluation:
    """The first process's values, for all: what follows from them (best, stop) must be the same everywhere."""
    if run.fabric.world_size == 1:
        return evaluation
    shared = [(evaluation.values, evaluation.better, evaluation.primary, evaluation.seconds)]
    torch.distributed.broadcast_object_list(shared, src=0)
    if run.fabric.is_global_zero:
        return evaluation
    values, better, primary, seconds = shared[0]
    return Evaluation(values=values, better=better, primary=primary, seconds=seconds)


def _stop_if_requested(run: Run) -> None:
    if run.fabric.world_size == 1 and run.stop:
        raise Interrupted("stopped during an evaluation")
