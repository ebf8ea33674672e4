"""The host's own keys of `[search]`, and of a range in its space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from detkit.components import Options

#: Quantities beside the metrics' that can be objectives, as summaries name them, and whether more of them is better.
COSTS: Mapping[str, bool] = {
    "latency_ms_median": False,
    "latency_ms_p95": False,
    "inference_memory_bytes": False,
    "train_ms_per_image": False,
    "flops": False,
    "weights_bytes": False,
    "parameters": False,
    "peak_memory_bytes": False,
    "train_s": False,
}
#: Before the name of a loss on the validation images.
LOSSES = "validation"

Prune = Literal["off", "median"]


class SearchTable(Options):
    """`[search]`, beside the searcher's own options"""

    enabled: bool = Field(True, description="false: no search; models are trained as their tables say")
    trials: int | None = Field(
        None, ge=1, description="how many for each model; by default as many as a grid has, and else there is none"
    )
    objective: str | tuple[str, ...] | None = Field(
        None,
        description="what is to be improved, on the validation images: a quantity, as coco/ap, a cost, as"
        " latency_ms_median, or two of them; by default the first metric's primary quantity",
    )
    models: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="keys of [models] that are searched; by default all that a key of space concerns",
    )
    prune: Prune = Field(
        "off",
        description="median: stop a trial whose best value so far is worse than the median of the finished trials in"
        " that epoch",
    )
    prune_after_trials: int = Field(5, ge=1, description="of median: so many trials must have finished")
    prune_after_epochs: int = Field(1, ge=0, description="of median: so many epochs of each trial are not looked at")
    space: dict[str, Any] = Field(description="keys of the spec, each with a list of values or a range")

    @model_validator(mode="after")
    def _pruned_by_one(self) -> Self:
        if self.prune != "off" and len(self.objectives) > 1:
            raise ValueError(f'prune = "{self.prune}" goes with one objective: leave it out, or one of the two')
        if self.prune != "off" and any(name in COSTS for name in self.objectives):
            raise ValueError(f'prune = "{self.prune}" needs an objective that every epoch has, not a cost')
        return self

    @property
    def objectives(self) -> tuple[str, ...]:
        """Their names; none where the first metric's primary quantity is meant."""
        if self.objective is None:
            return ()
        return (self.objective,) if isinstance(self.objective, str) else self.objective


class RangeTable(Options):
    """Of `[search.space]`, where a key has no list"""

    low: float = Field(description="the lowest value")
    high: float = Field(description="the highest value")
    log: bool = Field(False, description="whether each order of magnitude counts alike, as for learning rates")
    integer: bool | None = Field(
        None, description="whether only whole numbers are meant; by default where the key takes no others"
    )
    step: float | None = Field(None, description="the distance of neighbours; by default any number will do")
    points: int | None = Field(None, description="how many values a grid takes from the range")
