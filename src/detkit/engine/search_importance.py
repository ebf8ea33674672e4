"""How much each parameter of a search makes of its objective, where Optuna is there to tell."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from detkit.record.search import Trial
from detkit.search_space import Choices, Objective, Range

if TYPE_CHECKING:
    from collections.abc import Iterator

#: With fewer trials the shares would say more of chance than of the parameters.
FEWEST_TRIALS = 8


def importances(
    trials: Sequence[Trial], space: Mapping[str, Range | Choices], objective: Objective
) -> tuple[dict[str, float] | None, str]:
    """The share of each parameter, the largest first, all together 1; or None, and why there are none.

    By PED-ANOVA (Watanabe et al., IJCAI 2023), which needs neither a model of the objective nor its randomness.
    """
    finished = [trial for trial in trials if trial.state == "finished" and trial.objectives]
    if len(space) < 2:
        return None, "there is one parameter"
    if len(finished) < FEWEST_TRIALS:
        return None, f"{len(finished)} trials have finished, and it takes {FEWEST_TRIALS}"
    if len({trial.objectives[0] for trial in finished if trial.objectives}) < 2:
        return None, "all trials gave the same value"
    try:
        import optuna
    except ImportError:
        return None, 'Optuna is not installed: pip install "detkit[search]"'
    with _quiet(optuna):
        try:
            study = optuna.create_study(direction=objective.direction)
            study.add_trials([_optuna_trial(optuna, trial, space) for trial in finished])
            found = optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
        except Exception as error:  # noqa: BLE001 - a figure beside the search, by a library: no reason to end it
            return None, f"Optuna cannot tell: {' '.join(str(error).split())}"
    return {key: float(share) for key, share in found.items()}, ""


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the evaluator is experimental
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _optuna_trial(optuna: Any, trial: Trial, space: Mapping[str, Range | Choices]) -> Any:
    assert trial.objectives is not None
    distributions = {key: _distribution(optuna, parameter) for key, parameter in space.items()}
    params = {key: _index(parameter, trial.values[key]) for key, parameter in space.items()}
    return optuna.trial.create_trial(params=params, distributions=distributions, value=trial.objectives[0])


def _distribution(optuna: Any, parameter: Range | Choices) -> Any:
    if isinstance(parameter, Choices):
        return optuna.distributions.CategoricalDistribution(tuple(range(len(parameter.values))))
    if parameter.integer:
        return optuna.distributions.IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return optuna.distributions.FloatDistribution(float(parameter.low), float(parameter.high), log=parameter.log)


def _index(parameter: Range | Choices, value: Any) -> Any:
    """Of choices their place: True and 1 are one value to Python."""
    if isinstance(parameter, Range):
        return value
    return next(at for at, choice in enumerate(parameter.values) if choice == value and type(choice) is type(value))
