"""The console logger: one line an epoch on standard output, which the parent process passes on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase

from detkit import Logger, Messages, Outcome, RunInfo
from detkit_basics import SHOWN_METRICS, ConsoleOptions

#: Only values of single steps have this name; those of epochs have EPOCH_LOSS.
STEP_LOSS = "train/loss"
EPOCH_LOSS = "train/epoch_loss"
RATE = "measured/images_per_s"
#: Of metrics that the options' patterns do not know, so many are shown.
SHOWN_OTHERWISE = 2


class ConsoleLogger(Logger):
    """Prints run, epoch, loss, metrics and speed.

    Args:
        options: which values, how often.
        messages: gets one warning where a metric that the user asked for does not exist.
    """

    def __init__(self, options: ConsoleOptions, messages: Messages) -> None:
        self._options = options
        self._messages = messages
        # The defaults fit some metrics and not others; what the user wrote must fit. The values are compared, since
        # a run reads the resolved spec, in which defaults are written out.
        self._chosen = options.metrics != SHOWN_METRICS
        self._unmatched = set(options.metrics) if self._chosen else set()
        self._run: RunInfo | None = None

    def start(self, run: RunInfo) -> None:
        self._run = run

    def log_metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        if self._run is None or STEP_LOSS in values:
            return
        if epoch % self._options.every_epochs and epoch != self._run.epochs:
            return
        shown = self._shown(values)
        parts = [self._run.run_id, f"epoch {epoch}/{self._run.epochs}"]
        if EPOCH_LOSS in values:
            parts.append(f"loss {_number(values[EPOCH_LOSS])}")
        parts += [f"{name} {_number(values[name])}" for name in shown]
        if RATE in values:
            parts.append(f"{values[RATE]:.1f} img/s")
        _say("  ".join(parts))

    def close(self, outcome: Outcome) -> None:
        if self._run is not None and outcome.state == "finished" and outcome.reason:
            _say(f"{self._run.run_id}  finished: {outcome.reason}")

    def _shown(self, values: Mapping[str, float]) -> list[str]:
        """The names to show, in the order of the options' patterns."""
        patterns = self._options.metrics
        matches = {pattern: [name for name in values if fnmatchcase(name, pattern)] for pattern in patterns}
        measured = [name for name in values if not name.startswith(("train/", "validation/", "measured/"))]
        if measured:
            self._warn_of_unmatched(matches, values)
        shown = list(dict.fromkeys(name for names in matches.values() for name in names))
        if not shown and not self._chosen:
            return measured[:SHOWN_OTHERWISE]
        return shown

    def _warn_of_unmatched(self, matches: Mapping[str, list[str]], values: Mapping[str, float]) -> None:
        missing = sorted(pattern for pattern in self._unmatched if not matches[pattern])
        if missing:
            self._messages.warning(
                f"[loggers.console] metrics: there is no {' and no '.join(missing)}; there are: {', '.join(values)}"
            )
        self._unmatched.clear()


def _number(value: float) -> str:
    return f"{value:.3f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3g}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
