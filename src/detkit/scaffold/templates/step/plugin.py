"""A training step for detkit: the model's own losses, each with a weight, which may grow in the first steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from detkit import BuildContext, Options, TrainingStepComponent, hookimpl
from pydantic import Field

if TYPE_CHECKING:  # for type checkers only: importing torch takes seconds
    from detkit.data.types import Batch
    from torch import Tensor, nn

requires_detkit = ">=0.1"  # another detkit says that the plugin does not fit, before it imports it
detkit_api = 1  # and so does one whose hooks are no longer those that it was written for


class WeightedOptions(Options):
    """What a spec may say in [training_step]. `detkit plugins show` prints the descriptions."""

    weights: dict[str, float] = Field({}, description="name of a loss to its weight; 1 for those that are not named")
    rise_steps: int = Field(0, ge=0, description="steps over which weights go from 1 to what they are told to be")


class WeightedStep:
    """Called for each batch, in training and, without gradients, for the validation loss."""

    def __init__(self, weights: Mapping[str, float], rise_steps: int) -> None:
        self._weights = weights
        self._rise_steps = rise_steps
        self._steps = 0

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses, means over the images of the batch. detkit adds them up and goes backward.

        Args:
            batch: `images`, float32 [3, H, W] in 0..1 each, and their `targets`, on the run's device.
        """
        losses: dict[str, Tensor] = model(batch.images, batch.targets)
        unknown = sorted(set(self._weights) - set(losses))
        if unknown:
            there = ", ".join(losses)
            raise ValueError(f"{COMPONENT.name}: the model has no loss {unknown[0]!r}; its losses are {there}")
        share = min(1.0, self._steps / self._rise_steps) if self._rise_steps else 1.0
        if next(iter(losses.values())).requires_grad:  # the validation loss is no step of the training
            self._steps += 1
        # YOUR LOSSES HERE: change these, leave some out, or add others, as of the model's features or of a teacher.
        return {name: loss * self._weight(name, share) for name, loss in losses.items()}

    def _weight(self, name: str, share: float) -> float:
        return 1.0 + share * (self._weights.get(name, 1.0) - 1.0)

    # What these two give goes into the checkpoint, so that a resumed run goes on as if it had never stopped.

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._steps = int(state["steps"])


def build(options: WeightedOptions, context: BuildContext) -> WeightedStep:
    """What a run calls."""
    told = ", ".join(f"{name} x {weight:g}" for name, weight in options.weights.items()) or "all losses as they are"
    context.messages.info(f"{COMPONENT.name}: {told}")
    return WeightedStep(options.weights, options.rise_steps)


COMPONENT = TrainingStepComponent(
    name="my_plugin",  # what a spec writes in `use`
    options=WeightedOptions,
    build=build,
    summary="the model's own losses with weights",
)


@hookimpl
def detkit_training_steps() -> list[TrainingStepComponent[Any]]:
    return [COMPONENT]
