"""Replay an incident: the very training step that was refused, and what can be seen when looking closely at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from detkit.components import Messages, TrainingStep
from detkit.data.types import Batch
from detkit.engine.attribution import attributed
from detkit.engine.checkpoint import capture_generators, load_weights, restore_generators
from detkit.engine.compute import Compute, make_fabric, resolve_compute
from detkit.engine.guard import scaler_of
from detkit.engine.incidents import read_incident
from detkit.engine.losses import add_weighted, compute_losses
from detkit.engine.prepare import build_context
from detkit.engine.strategy import Strategy, plan_strategy
from detkit.errors import DetkitError, RecordError, did_you_mean
from detkit.record.files import read_json
from detkit.record.layout import ExperimentLayout
from detkit.record.reader import RunRecord
from detkit.spec.loader import load_spec
from detkit.spec.model import ExperimentSpec, ModelUse, Use

#: So many parameters are shown, the largest first.
WEIGHTS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ImageLosses:
    """One image as a batch of its own. trouble: why it has no losses (a norm may not take a batch of one)."""

    name: str
    losses: Mapping[str, float] = field(default_factory=dict)
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class BadOutput:
    """The first module whose output was not finite: `count` of `total` values."""

    module: str
    kind: str
    count: int
    total: int


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What the replay of a step found.

    Attributes:
        step, epoch, fault, rate, precision: of the incident, and the device it was `recorded_on`.
        recorded, replayed: the loss terms.
        images: each one alone.
        first_bad: None where every module's output was finite.
        gradient_norms: by part of the model. largest_weights: parameter to its largest absolute value.
    """

    step: int
    epoch: int
    fault: str
    rate: float
    precision: str
    recorded_on: str
    replayed_on: str
    recorded: Mapping[str, float]
    replayed: Mapping[str, float]
    images: Sequence[ImageLosses]
    first_bad: BadOutput | None
    gradient_norms: Mapping[str, float]
    largest_weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Rebuilt:
    """The model and the step of an incident, as they were before it."""

    fabric: Fabric
    use: ModelUse
    bare_model: nn.Module
    model: nn.Module
    strategy: Strategy
    step_use: Use
    training_step: TrainingStep


def reproduce(run: RunRecord, file: Path, messages: Messages) -> Reproduction:
    """Replay the incident in `file`. On the CPU the losses are the recorded ones, bit for bit.

    Raises:
        UserError: the incident, or what it was made with (a plugin, a device), is not there.
        ComponentError: the model or the step cannot be built or fails.
    """
    incident = read_incident(file)
    before = capture_generators()
    try:
        rebuilt = _rebuild(run, incident, file, messages)
        replayed, first_bad = _replay_step(rebuilt, incident)
        norms = _gradient_norms(rebuilt)
        images = [image for one in incident["passes"] for image in _each_alone(rebuilt, incident, one)]
    finally:
        restore_generators(before)
    return Reproduction(
        **{key: incident[key] for key in ("step", "epoch", "fault", "rate", "precision")},
        recorded_on=incident["device"],
        replayed_on=str(rebuilt.fabric.device),
        recorded=incident["losses"],
        replayed=replayed,
        images=images,
        first_bad=first_bad,
        gradient_norms=norms,
        largest_weights=_largest_weights(incident["model"], dict(rebuilt.bare_model.named_parameters())),
    )


def _rebuild(run: RunRecord, incident: Mapping[str, Any], file: Path, messages: Messages) -> _Rebuilt:
    experiment = ExperimentLayout(run.experiment)
    spec = load_spec(run.files.own_spec, blocked=read_json(experiment.experiment)["blocked"])
    if run.model not in spec.models:
        raise RecordError(f"{run.files.own_spec} has no model {run.model!r} now{did_you_mean(run.model, spec.models)}")
    use = spec.models[run.model]
    fabric = make_fabric(_compute(spec, incident))

    def build(component: Use) -> Any:
        context = build_context(
            spec,
            component,
            messages=messages,
            class_names=tuple(run.facts["class_names"]),
            input_size=use.input,
            device=str(fabric.device),
            seed=run.seed,
            run_id=run.run_id,
            run_folder=run.files.folder,
            weights=incident["model"] if component is use else None,
            weights_origin=incident["origin"]["weights"] if component is use else None,
        )
        with attributed(component, "being built"):
            return component.offered.component.build(component.options, context)

    model, step = build(use), build(spec.training_step)
    load_weights(model, incident["model"], file)
    if incident["training_step"] is not None:
        with attributed(spec.training_step, "taking back its state"):
            step.load_state_dict(incident["training_step"])
    strategy = plan_strategy(
        model, use.train, pretrained=incident["origin"]["pretrained"], starts=incident["origin"].get("starts")
    )
    set_up = fabric.setup_module(model)
    model.train()
    strategy.begin_epoch(incident["epoch"])
    fabric.strategy.precision.load_state_dict(incident["scaler"])
    return _Rebuilt(fabric, use, model, set_up, strategy, spec.training_step, step)


def _compute(spec: ExperimentSpec, incident: Mapping[str, Any]) -> Compute:
    """The incident's precision, on its kind of device where this machine has it."""
    table = spec.compute.model_copy(update={"devices": 1, "precision": incident["precision"], "device": "auto"})
    recorded_on = incident["device"].split(":")[0]
    try:
        return replace(resolve_compute(table.model_copy(update={"device": recorded_on})), strategy="auto")
    except DetkitError:
        return replace(resolve_compute(table), strategy="auto")


def _replay_step(rebuilt: _Rebuilt, incident: Mapping[str, Any]) -> tuple[dict[str, float], BadOutput | None]:
    """The step up to its gradients, which stay in the model. As `loop.optimizer_step`, with all processes' passes."""
    images_in_step = sum(len(one["images"]) for one in incident["passes"])
    terms: dict[str, Tensor] = {}
    with _watched(rebuilt.bare_model) as bad:
        for one in incident["passes"]:
            restore_generators(one["generators"])
            losses = _losses(rebuilt, _batch(one, rebuilt.fabric.device))
            share = len(one["images"]) * incident["processes"] / images_in_step
            rebuilt.fabric.backward(torch.stack(list(losses.values())).sum() * share / incident["processes"])
            add_weighted(terms, losses, share)
    replayed = {term: float(value) / incident["processes"] for term, value in terms.items()}
    return replayed, bad[0] if bad else None


def _losses(rebuilt: _Rebuilt, batch: Batch) -> dict[str, Tensor]:
    return compute_losses(rebuilt, rebuilt.model, batch, "the replay")


def _batch(one: Mapping[str, Any], device: torch.device, only: slice = slice(None)) -> Batch:
    """Copies: a model may change what it is given."""
    targets = [
        {name: value.to(device, copy=True) if isinstance(value, Tensor) else value for name, value in target.items()}
        for target in one["targets"][only]
    ]
    return Batch([image.to(device, copy=True) for image in one["images"][only]], targets)  # type: ignore[arg-type]  # as written


def _each_alone(rebuilt: _Rebuilt, incident: Mapping[str, Any], one: Mapping[str, Any]) -> Iterator[ImageLosses]:
    """Each image of a pass, from the same weights and with the same random numbers."""
    for number, name in enumerate(one["names"]):
        rebuilt.bare_model.load_state_dict(incident["model"])
        restore_generators(one["generators"])
        batch = _batch(one, rebuilt.fabric.device, slice(number, number + 1))
        try:
            with torch.no_grad():
                losses = _losses(rebuilt, batch)
        except DetkitError as error:
            yield ImageLosses(name, trouble=str(error))
        else:
            yield ImageLosses(name, {term: float(value) for term, value in losses.items()})


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[BadOutput]]:
    """Collect the first module whose output is not finite. A module within another ends before it, and comes first."""
    found: list[BadOutput] = []

    def watch(name: str) -> Any:
        def look(module: nn.Module, _inputs: Any, output: Any) -> None:
            values = list(_floats(output))
            count = sum(int((~torch.isfinite(value)).sum()) for value in values) if not found else 0
            if count:
                total = sum(value.numel() for value in values)
                found.append(BadOutput(name or "the model", type(module).__name__, count, total))

        return look

    handles = [module.register_forward_hook(watch(name)) for name, module in model.named_modules()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _floats(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output.detach()
    elif isinstance(output, Mapping):
        yield from (value for child in output.values() for value in _floats(child))
    elif isinstance(output, (list, tuple)):
        yield from (value for child in output for value in _floats(child))


def _gradient_norms(rebuilt: _Rebuilt) -> dict[str, float]:
    """By part, before clipping."""
    scaler = scaler_of(rebuilt.fabric)
    scale = scaler.get_scale() if scaler else 1.0
    norms = {}
    for name, parameters in _parameters_by_part(rebuilt.strategy).items():
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if gradients:
            norms[name] = float(torch.nn.utils.get_total_norm(gradients)) / scale
    return norms


def _parameters_by_part(strategy: Strategy) -> dict[str, list[nn.Parameter]]:
    parts: dict[str, list[nn.Parameter]] = {}
    for piece in strategy.slices:
        parts.setdefault(piece.part, []).extend(piece.parameters)
    return parts


def _largest_weights(weights: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> dict[str, float]:
    """Those that are not finite first."""
    largest = {name: float(weights[name].abs().max()) for name in parameters if name in weights}
    order = sorted(largest, key=lambda name: largest[name] if largest[name] == largest[name] else float("inf"))
    return {name: largest[name] for name in reversed(order[-WEIGHTS_SHOWN:])}
