"""Where a training is: everything that a resume needs to know beside weights and generators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

#: So many of the latest losses are remembered.
WINDOW = 50


@dataclass(slots=True)
class TrainState:
    """Attributes:
    epoch: the one being trained, from 1. position: its optimizer steps that are done. step: those done in all.
    loss_sums: of the epoch so far, each term's sum over images. images: the epoch's so far.
    best_epoch, best_value: the selected epoch, and its value of the quantity that selects.
    thresholds: what the metrics chose in the last evaluation: the metric's key to class name to score.
    ended: why the training is over; empty while it goes on. pruned: whether other trials of its search were better.
    recent: the losses of the latest steps that were taken, to which a next one is compared.
    skipped: steps that were not taken. rollbacks: how often the run went back to a checkpoint.
    lr_scale: what the schedule's rate is multiplied by; below 1 after going back. saved: step of the last checkpoint.
    measured: seconds of training and evaluation so far, and the images that were trained in them, over all sittings and
        with what was abandoned by going back.
    """

    epoch: int = 1
    position: int = 0
    step: int = 0
    loss_sums: dict[str, float] = field(default_factory=dict)
    images: int = 0
    best_epoch: int | None = None
    best_value: float | None = None
    thresholds: dict[str, dict[str, float]] = field(default_factory=dict)
    ended: str = ""
    pruned: bool = False
    recent: list[float] = field(default_factory=list)
    skipped: int = 0
    rollbacks: int = 0
    lr_scale: float = 1.0
    saved: int = 0
    measured: dict[str, float] = field(
        default_factory=lambda: {"train_s": 0.0, "train_images": 0, "evaluation_s": 0.0, "epoch_train_s": 0.0}
    )

    def add_step(self, losses: Mapping[str, float], images: int, seconds: float) -> None:
        """Count an optimizer step. `losses` are means over its images."""
        self.position += 1
        self.step += 1
        self.images += images
        for name, value in losses.items():
            self.loss_sums[name] = self.loss_sums.get(name, 0.0) + value * images
        self.recent = [*self.recent, sum(losses.values())][-WINDOW:]
        self._measure(images, seconds)

    def skip_step(self, images: int, seconds: float) -> None:
        """Count a step whose losses are not worth counting: its images were seen, and nothing was learnt from them."""
        self.position += 1
        self.step += 1
        self.skipped += 1
        self._measure(images, seconds)

    def go_back(self, then: TrainState, rate_scale: float) -> None:
        """Be where the run was then, at a lower rate; what it has cost since and how often it went back stays."""
        spent = {name: self.measured[name] for name in ("train_s", "train_images", "evaluation_s")}
        kept = {"rollbacks": self.rollbacks + 1, "lr_scale": self.lr_scale * rate_scale}
        for name, value in {**then.to_dict(), **kept}.items():
            setattr(self, name, value)
        self.measured |= spent

    def _measure(self, images: int, seconds: float) -> None:
        self.measured["train_images"] += images
        self.measured["train_s"] += seconds
        self.measured["epoch_train_s"] += seconds

    def mean_losses(self) -> dict[str, float]:
        """Of the epoch so far, over images; their sum under `loss`. Empty where every step was skipped."""
        if not self.images:
            return {}
        means = {name: value / self.images for name, value in self.loss_sums.items()}
        return {"loss": sum(means.values()), **means}

    def next_epoch(self) -> None:
        self.epoch += 1
        self.position = 0
        self.images = 0
        self.loss_sums = {}
        self.measured["epoch_train_s"] = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)
