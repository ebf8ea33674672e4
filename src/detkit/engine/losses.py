"""The training step, called and held to its contract: in training and for the validation loss alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from detkit.components import TrainingStep
from detkit.data.types import Batch
from detkit.engine.attribution import attributed, passed_through
from detkit.errors import ComponentError
from detkit.spec.model import Use


class Trained(Protocol):
    """What of a run its training step concerns."""

    @property
    def use(self) -> Use: ...

    @property
    def bare_model(self) -> nn.Module: ...

    @property
    def step_use(self) -> Use: ...

    @property
    def training_step(self) -> TrainingStep: ...


def compute_losses(run: Trained, model: nn.Module, batch: Batch, place: str) -> dict[str, Tensor]:
    """The named scalar losses of a batch.

    Args:
        model: as fabric set it up, or the module itself. place: where the run is, for messages.

    Raises:
        ComponentError: the step or the model failed (named), or what came back are no losses.
    """
    try:
        losses = run.training_step(model, batch)
    except Exception as error:  # foreign code: the model's own fault, or that of the step around it
        in_model = passed_through(error, model) or passed_through(error, run.bare_model)
        at_fault = run.use if in_model else run.step_use
        with attributed(at_fault, f"computing the losses of {place}"):
            raise
    if not isinstance(losses, dict) or not losses:
        raise ComponentError(f"{run.step_use.title} returned {losses!r}; it must be a dict of named losses")
    for term, value in losses.items():
        if not isinstance(value, Tensor) or value.ndim != 0:
            raise ComponentError(f"{run.step_use.title}: the loss {term!r} must be a scalar tensor, it is {value!r}")
    return losses


def add_weighted(terms: dict[str, Tensor], losses: Mapping[str, Tensor], share: float) -> None:
    """Add a batch's losses to those of its step, by the batch's share of the step's images."""
    for term, value in losses.items():
        weighted = value.detach().float() * share
        terms[term] = terms[term] + weighted if term in terms else weighted
