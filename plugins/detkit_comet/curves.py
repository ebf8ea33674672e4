"""Which curves are sent: Comet takes 1,000 an experiment, and a metric may give a hundred an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detkit import Curve, Messages, RunInfo
from detkit_comet.sent import SentBook

if TYPE_CHECKING:
    from comet_ml import CometExperiment

#: Comet's limit of curves an experiment (its documentation); what is beyond is dropped there.
LIMIT = 1000


class Curves:
    """Shares the limit between the evaluations that come: each sends its first curves, up to its share.

    Those over all classes go first within a share. What is left in the end, one share at least, is for the selected
    epoch, whose curves are sent as far as they were not.
    """

    def __init__(self, run: RunInfo, messages: Messages, sent: SentBook, *, done: int = 0) -> None:
        """Args: sent: what the experiment holds. done: epochs that were evaluated before a resume."""
        self._messages = messages
        self._sent = sent
        train = run.parameters.get("spec", {}).get("model", {}).get("train", {})
        every = int(train.get("eval_every_epochs", 1))
        coming = max(-(-run.epochs // every) - done, 0)
        self._share = max(0, LIMIT - sent.curves) // (coming + 1)
        self._waiting: list[tuple[str, Curve]] = []
        self._step = self._epoch = 0
        self._told = False

    def add(self, name: str, curve: Curve, *, step: int, epoch: int) -> None:
        """A curve of an evaluation, to be sent with the others of its epoch."""
        if epoch != self._epoch:
            self._waiting, self._step, self._epoch = [], step, epoch
        self._waiting.append((name, curve))

    def send(self, experiment: CometExperiment) -> None:
        """Send what waits, as far as the share of its evaluation goes."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._send(experiment, _in_order(waiting), self._step, self._epoch, self._share)

    def send_selected(self, experiment: CometExperiment, curves: dict[str, Curve], *, step: int, epoch: int) -> None:
        """Send those of the selected epoch that were not sent with it."""
        left = _in_order(list(curves.items()))[self._sent.curves_of(epoch) :]
        if left:
            self._send(experiment, left, step, epoch, LIMIT)

    def _send(
        self, experiment: CometExperiment, curves: list[tuple[str, Curve]], step: int, epoch: int, most: int
    ) -> None:
        chosen = curves[: max(0, min(most, LIMIT - self._sent.curves))]
        for name, curve in chosen:
            experiment.log_curve(
                name,
                list(curve.x),
                list(curve.y),
                step=step,
                metadata={"x": curve.x_name, "y": curve.y_name, "epoch": epoch},
            )
        self._sent.add_curves(epoch, len(chosen))
        if len(curves) > len(chosen) and not self._told:
            self._told = True
            self._messages.info(
                f"comet: {len(chosen)} of {len(curves)} curves an evaluation are sent, because Comet takes"
                f" {LIMIT:,} curves an experiment: those over all classes first, and at the end more of the selected"
                " epoch's; the record has them all"
            )


def _in_order(curves: list[tuple[str, Curve]]) -> list[tuple[str, Curve]]:
    """metric/quantity, over all classes, before metric/quantity/class of one; by name, as the record has them."""
    return sorted(curves, key=lambda item: (item[0].count("/") > 1, item[0]))
