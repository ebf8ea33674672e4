"""Optuna's samplers behind detkit's contract.

What was tried and what it gave is all the state there is: a study is made anew from it for each proposal, and the
sampler gets a seed of that proposal. So a search that was interrupted proposes what it would have proposed, without a
storage of Optuna's beside the record's own file.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from detkit import Choices, Objective, Proposal, Range, SearchSpace

Sampler = Any
#: From a seed, the number of trials at random before, and the number of parameters.
MakeSampler = Callable[[int, int, int], Sampler]

#: Of all trials, the share that is drawn at random before the sampler learns, and its bounds.
STARTUP_SHARE, FEWEST_STARTUP, MOST_STARTUP = 0.25, 2, 10


class OptunaSearcher:
    """`detkit.Searcher` and `detkit.ParetoSearcher` over a sampler."""

    def __init__(self, make_sampler: MakeSampler, seed: int, startup_trials: int | None) -> None:
        """Args: startup_trials: at random before it learns; None: a share of all trials."""
        self._make_sampler = make_sampler
        self._seed = seed
        self._startup_trials = startup_trials
        self._proposed = 0
        self._told: list[dict[str, Any]] = []
        self._space: SearchSpace
        self._directions: list[Any]
        self._max_trials: int | None = None

    def begin(self, space: SearchSpace, objective: Objective, *, max_trials: int | None) -> None:
        self.begin_pareto(space, (objective,), max_trials=max_trials)

    def begin_pareto(self, space: SearchSpace, objectives: Sequence[Objective], *, max_trials: int | None) -> None:
        self._space = space
        self._directions = [objective.direction for objective in objectives]
        self._max_trials = max_trials

    def propose(self) -> Proposal | None:
        if self._max_trials is not None and self._proposed >= self._max_trials:
            return None
        number = self._proposed + 1
        distributions = {key: distribution(parameter) for key, parameter in self._space.parameters.items()}
        with quiet():
            sampler = self._make_sampler((self._seed * 1_000_003 + number) % 2**32, self._startup(), len(distributions))
            study = optuna.create_study(directions=self._directions, sampler=sampler)
            study.add_trials([self._trial(row, distributions) for row in self._told])
            params = study.ask(distributions).params
        self._proposed = number
        values = {key: decoded(self._space.parameters[key], value) for key, value in params.items()}
        return Proposal(number, values)

    def tell(self, proposal: Proposal, value: float | None, /) -> None:
        self.tell_pareto(proposal, None if value is None else (value,))

    def tell_pareto(self, proposal: Proposal, values: Sequence[float] | None, /) -> None:
        # Told again: the search was killed before that was saved, or a failed trial was tried once more.
        self._told = [row for row in self._told if row["number"] != proposal.number]
        finite = values is not None and all(map(math.isfinite, values))
        told = list(values) if values is not None and finite else None
        self._told.append({"number": proposal.number, "values": dict(proposal.values), "objectives": told})

    def close(self) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"proposed": self._proposed, "told": list(self._told)}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        self._proposed, self._told = int(state["proposed"]), list(state["told"])

    def _startup(self) -> int:
        if self._startup_trials is not None:
            return self._startup_trials
        share = math.ceil(STARTUP_SHARE * self._max_trials) if self._max_trials is not None else MOST_STARTUP
        return min(max(share, FEWEST_STARTUP), MOST_STARTUP)

    def _trial(self, row: Mapping[str, Any], distributions: Mapping[str, Any]) -> Any:
        """A trial that failed is one that Optuna leaves out."""
        objectives = row["objectives"]
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState.FAIL if objectives is None else optuna.trial.TrialState.COMPLETE,
            params={key: encoded(self._space.parameters[key], value) for key, value in row["values"].items()},
            distributions=dict(distributions),
            values=objectives,
        )


def tpe(seed: int, startup: int, multivariate: bool) -> Sampler:
    """Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011."""
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=multivariate)


def gp(seed: int, startup: int) -> Sampler:
    """A Gaussian process with a Matern kernel; expected improvement, or that of the hypervolume."""
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup)


def distribution(parameter: Range | Choices) -> Any:
    """As Optuna knows it. Choices are their numbers: to Python True is 1, to a spec it is not."""
    if isinstance(parameter, Choices):
        return CategoricalDistribution(tuple(range(len(parameter.values))))
    if parameter.integer:
        step = int(parameter.step) if parameter.step is not None else 1
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log, step=step)
    return FloatDistribution(float(parameter.low), float(parameter.high), log=parameter.log, step=parameter.step)


def decoded(parameter: Range | Choices, value: Any) -> Any:
    """From Optuna's value to that of the spec."""
    if isinstance(parameter, Choices):
        return parameter.values[value]
    if parameter.integer:
        return int(value)
    # Six digits: what nobody could tell apart is not worth reading.
    return min(max(float(f"{value:.6g}"), parameter.low), parameter.high)


def encoded(parameter: Range | Choices, value: Any) -> Any:
    """From the spec's value to Optuna's."""
    if isinstance(parameter, Choices):
        return next(at for at, choice in enumerate(parameter.values) if choice == value and type(choice) is type(value))
    return int(value) if parameter.integer else float(value)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's lines on standard error, and its remarks that a feature is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
