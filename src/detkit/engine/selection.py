"""Which epoch is the best one."""

from __future__ import annotations

from collections.abc import Sequence

from detkit.engine.evaluation import Evaluation
from detkit.engine.state import TrainState
from detkit.errors import RunFailed, SearchRefused, did_you_mean
from detkit.spec.model import ModelUse, TrainTable
from detkit.spec.search_table import COSTS, LOSSES


def selecting(evaluation: Evaluation, train: TrainTable) -> str:
    """The quantity that selects: the one that the spec names, else the primary one; empty where there is none."""
    return train.best_by or evaluation.primary


def check_best_by(evaluation: Evaluation, use: ModelUse) -> None:
    """Refuse a `best_by` that can select nothing, before the training.

    Raises:
        RunFailed: the evaluation has no such quantity, or neither more nor less of it is better; says what there is.
    """
    by, there = use.train.best_by, sorted(evaluation.better)
    if by is None or by in there:
        return
    place = f"[models.{use.key}.train] best_by:"
    listed = f"; there are: {', '.join(there)}" if there else ""
    if by in evaluation.values:
        raise RunFailed(f"{place} of {by!r} neither more nor less is better, so it selects nothing{listed}")
    near = did_you_mean(by, there)
    near = near if "did you mean" in near else ""
    loss = by.startswith("validation/") and not use.train.validation_loss
    hint = "; the validation losses are off: set validation_loss = true" if loss else ""
    raise RunFailed(f"{place} the evaluation has no {by!r}{hint or near}{listed}")


def check_objectives(evaluation: Evaluation, objectives: Sequence[str]) -> None:
    """Refuse a search whose objective is not measured, before the training of its first trial.

    Args:
        objectives: names of those of the run's search; costs are measured at its end.

    Raises:
        SearchRefused: the evaluation has no such quantity; says what there is.
    """
    for name in objectives:
        if name not in evaluation.values and name not in COSTS:
            there = sorted(evaluation.values)
            near = did_you_mean(name, there)
            listed = near if "did you mean" in near else f"; there are: {', '.join(there)}"
            off = name.startswith(f"{LOSSES}/") and not any(other.startswith(f"{LOSSES}/") for other in there)
            hint = "; the validation losses are off: set [train] validation_loss = true" if off else listed
            raise SearchRefused(f"[search] objective: the evaluation has no {name!r}{hint}")


def is_best(state: TrainState, evaluation: Evaluation, train: TrainTable) -> bool:
    """Whether the epoch just evaluated is selected over those before it: an earlier one wins a tie.

    Of the first `skip_best_epochs` the last one is, until a later one comes: a run that ends among them has a best
    epoch too. Where nothing selects (no metric with a primary quantity, no validation loss) the last epoch is the best.
    """
    by = selecting(evaluation, train)
    if not by or state.best_epoch is None or min(state.epoch, state.best_epoch) <= train.skip_best_epochs:
        return True
    value = evaluation.values.get(by)
    if state.best_value is None:
        return value is not None
    if value is None:
        return False
    higher = evaluation.better.get(by, True)
    return value > state.best_value if higher else value < state.best_value
