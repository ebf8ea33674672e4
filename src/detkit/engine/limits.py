"""How much of a run a smoke test takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Optimizer steps in an epoch, images in an evaluation, folds of an experiment. None: all."""

    train_steps: int | None = None
    evaluation_images: int | None = None
    folds: int | None = None
