"""Stopping a trial of a search that is worse than the others were: the median rule.

Trials run one after another. So all that the rule compares with is known when a trial begins, stands in its run.json,
and the trial's own process decides: the same, however often it is interrupted.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from detkit.record.streams import read_stream
from detkit.search_space import Objective

if TYPE_CHECKING:
    from detkit.engine.run import Run
    from detkit.engine.state import TrainState

#: One evaluated epoch of a record: `epoch` and `values`, among others.
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pruning:
    """What a trial is compared with.

    Attributes:
        objective: whose values are compared. trials: how many others there are.
        after_epochs: so many epochs are not looked at.
        medians: epoch to the median over the other trials of what they had then, for those epochs that they evaluated.
    """

    objective: Objective
    trials: int
    after_epochs: int
    medians: Mapping[int, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as run.json has them."""
        return {**asdict(self), "medians": {str(epoch): median for epoch, median in self.medians.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` gave."""
        medians = {int(epoch): median for epoch, median in values["medians"].items()}
        return cls(Objective(**values["objective"]), values["trials"], values["after_epochs"], medians)

    def reason(self, rows: Sequence[Row]) -> str:
        """Why the trial is stopped after the last of its evaluated epochs; empty where it is not.

        It is, where the best value that it ever had is worse than the median of that epoch: the rule of Optuna's
        MedianPruner (and of Golovin et al., Google Vizier, KDD 2017, section 3.2.2, which takes running averages).
        """
        epoch = rows[-1]["epoch"]
        best = best_value(rows, self.objective)
        median = self.medians.get(epoch)
        if epoch <= self.after_epochs or median is None or best is None:
            return ""
        worse = best < median if self.objective.direction == "maximize" else best > median
        if not worse:
            return ""
        return (
            f"pruned after epoch {epoch}: {self.objective.metric} {best:.4g} at best, and the median of"
            f" {self.trials} trials was {median:.4g} by then"
        )


def best_value(rows: Sequence[Row], objective: Objective) -> float | None:
    """The best value of the evaluated epochs; None where none has one."""
    values = [value for row in rows if (value := row["values"].get(objective.metric)) is not None]
    return (max if objective.direction == "maximize" else min)(values, default=None)


def median_pruning(others: Sequence[Sequence[Row]], objective: Objective, after_epochs: int) -> Pruning:
    """What a trial is compared with.

    Args:
        others: of each finished trial its evaluated epochs.
    """
    by_epoch: dict[int, list[float]] = {}
    for rows in others:
        for row in rows:
            value = row["values"].get(objective.metric)
            if value is not None:
                by_epoch.setdefault(row["epoch"], []).append(value)
    medians = {epoch: statistics.median(values) for epoch, values in sorted(by_epoch.items())}
    return Pruning(objective, len(others), after_epochs, medians)


def prune_reason(run: Run, state: TrainState) -> str:
    """Why the run is to be stopped after the epoch that was just evaluated; empty where it goes on.

    Only the first process has the record; the others are told.
    """
    if run.pruning is None or not run.fabric.is_global_zero or state.epoch == run.train.epochs:
        return ""
    return run.pruning.reason(list(read_stream(run.layout.metrics)))
