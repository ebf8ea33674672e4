"""Early stopping: end a run whose metric no longer improves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from detkit import RunInfo, UserError, hookimpl
from detkit_basics import EarlyStopOptions


class EarlyStop:
    """Counts evaluated epochs without improvement. Its count goes into the checkpoint, so that a resume goes on."""

    def __init__(self, options: EarlyStopOptions) -> None:
        self._options = options
        lower = options.mode == "min" or (options.mode == "auto" and "loss" in options.metric.rpartition("/")[2])
        self._sign = -1.0 if lower else 1.0
        self._best: float | None = None
        self._best_epoch = 0
        self._waited = 0

    @hookimpl
    def should_stop(self, run: RunInfo, epoch: int, metrics: Mapping[str, float | None]) -> str | None:
        """The reason, once `patience` evaluated epochs brought no improvement.

        Raises:
            UserError: there is no such metric.
        """
        metric = self._options.metric
        if metric not in metrics:
            raise UserError(
                f"[callbacks.early_stop] metric: there is no {metric!r}; there are: {', '.join(sorted(metrics))}"
            )
        value = metrics[metric]
        if value is None or epoch <= self._options.skip_epochs:
            return None
        if self._improves(value):
            self._best, self._best_epoch, self._waited = value, epoch, 0
            return None
        self._waited += 1
        if self._waited < self._options.patience:
            return None
        return self._reason(epoch)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best, "best_epoch": self._best_epoch, "waited": self._waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._best, self._best_epoch, self._waited = state["best"], state["best_epoch"], state["waited"]

    def _improves(self, value: float) -> bool:
        if math.isnan(value):
            return False
        return self._best is None or self._sign * (value - self._best) > self._options.min_delta

    def _reason(self, epoch: int) -> str:
        metric, waited = self._options.metric, self._waited
        since = f"{metric} has not improved for {waited} evaluated epoch{'s' if waited > 1 else ''}"
        best = "it never had a value" if self._best is None else f"best {self._best:.4g} in epoch {self._best_epoch}"
        return f"early_stop: {since}, up to epoch {epoch}; {best}"
