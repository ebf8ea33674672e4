"""Which curves are sent: Comet takes 1,000 an experiment, and a metric may give a hundred an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detkit import Curve, Messages, RunInfo

if TYPE_CHECKING:
    from comet_ml import CometExperiment

#: Comet's limit of curves an experiment (its documentation); what is beyond is dropped there.
LIMIT = 1000


class Curves:
    """Shares the limit between the evaluations that come: each sends its first curves, up to its share.

    Those over all classes go first within a share. What is left in the end, one share at least, is for the selected
    epoch, whose curves are sent as far as they were not.
    """

    def __init__(self, run: RunInfo, messages: Messages, *, done: int = 0) -> None:
        """Args: done: epochs that were evaluated before a resume."""
        self._messages = messages
        train = run.parameters.get("spec", {}).get("model", {}).get("train", {})
        every = int(train.get("eval_every_epochs", 1))
        evaluations = max(-(-run.epochs // every), done + 1)
        # What was sent before a resume is not known: at most this, whatever the number of epochs was then.
        self._left = LIMIT - done * (LIMIT // (done + 1))
        self._share = self._left // (evaluations - done + 1)
        self._sent: set[tuple[int, str]] = set()
        self._waiting: list[tuple[str, Curve, int]] = []
        self._epoch = 0
        self._told = False

    def add(self, name: str, curve: Curve, *, step: int, epoch: int) -> None:
        """A curve of an evaluation, to be sent with the others of its epoch."""
        if epoch != self._epoch:
            self._waiting, self._epoch = [], epoch
        self._waiting.append((name, curve, step))

    def send(self, experiment: CometExperiment) -> None:
        """Send what waits, as far as the share of its evaluation goes."""
        waiting, self._waiting = self._waiting, []
        self._send(experiment, waiting, self._epoch, self._share)

    def send_selected(self, experiment: CometExperiment, curves: dict[str, Curve], *, step: int, epoch: int) -> None:
        """Send those of the selected epoch that were not sent with it."""
        left = [(name, curve, step) for name, curve in curves.items() if (epoch, name) not in self._sent]
        self._send(experiment, left, epoch, self._left)

    def _send(self, experiment: CometExperiment, curves: list[tuple[str, Curve, int]], epoch: int, count: int) -> None:
        # metric/quantity is over all classes, metric/quantity/class of one. Sorting keeps the metric's own order.
        chosen = sorted(curves, key=lambda item: item[0].count("/") > 1)[: min(count, self._left)]
        self._left -= len(chosen)
        for name, curve, step in chosen:
            self._sent.add((epoch, name))
            experiment.log_curve(
                name,
                list(curve.x),
                list(curve.y),
                step=step,
                metadata={"x": curve.x_name, "y": curve.y_name, "epoch": epoch},
            )
        if len(curves) > len(chosen) and not self._told:
            self._told = True
            self._messages.info(
                f"comet: {len(chosen)} of {len(curves)} curves an evaluation are sent, because Comet takes"
                f" {LIMIT:,} curves an experiment: those over all classes first, and at the end more of the selected"
                " epoch's; the record has them all"
            )
