"""Comet's Optimizer as a searcher: its server chooses what to try; here values are translated and carried."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from detkit import BuildContext, Choices, DetkitError, Objective, Proposal, Range, SearchSpace, UserError
from detkit_comet.access import asking, require_access, status_of
from detkit_comet.client import load_client

if TYPE_CHECKING:
    from detkit_comet import CometOptimizerOptions

WHO = "comet_optimizer"
#: More values than that are no grid that anybody would wait for.
MOST_STEPS = 1000
#: The client itself tries once. A server that restarts is tried again after so many seconds each.
PAUSES_S = (0.5, 2.0)
#: What passes by itself: the server, or what stands before it, is busy or restarts.
PASSING = (429, 502, 503, 504)

GO_ON = "; the trials that have ended are kept: go on with the search when it answers"

T = TypeVar("T")


# --- parameters ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a space, as Comet knows it.

    Attributes:
        key: of the spec. name: in Comet.
        declared: what Comet is told about it.
        decode: from what Comet proposes to a value of the spec; raises ValueError.
    """

    key: str
    name: str
    declared: Mapping[str, Any]
    decode: Callable[[Any], bool | int | float | str]


def translate(space: SearchSpace, algorithm: str) -> list[Parameter]:
    """The parameters as Comet takes them.

    Dots become two underscores: whether the server takes dots in names is nowhere said.

    Raises:
        UserError: a parameter cannot be said in Comet's terms.
    """
    names: dict[str, str] = {}
    found = []
    for key, parameter in space.parameters.items():
        name = key.replace(".", "__")
        if name in names:
            raise UserError(f"{WHO}: {names[name]} and {key} would have one name in Comet, {name}; search one of them")
        names[name] = key
        found.append(
            _range(key, name, parameter, algorithm) if isinstance(parameter, Range) else _choices(key, name, parameter)
        )
    return found


def _range(key: str, name: str, parameter: Range, algorithm: str) -> Parameter:
    # Comet's ranges have no steps, and its grids one number of points for all of them.
    if parameter.step is not None or (parameter.points is not None and algorithm == "grid"):
        if parameter.step is not None and (parameter.high - parameter.low) / parameter.step >= MOST_STEPS:
            raise UserError(f"{WHO}: {key} has more than {MOST_STEPS} steps; leave the step out, or make it larger")
        return _choices(key, name, Choices(parameter.grid(2)))
    declared = {
        "type": "integer" if parameter.integer else "float",
        "min": int(parameter.low) if parameter.integer else parameter.low,
        "max": int(parameter.high) if parameter.integer else parameter.high,
        "scalingType": "loguniform" if parameter.log else "uniform",
    }

    def decode(value: Any) -> int | float:
        number = float(value)
        if parameter.integer and math.isclose(number, round(number), rel_tol=1e-9):
            return round(number)
        # A logarithm and back may leave the range by a rounding error.
        nearest = min(max(number, parameter.low), parameter.high)
        return nearest if math.isclose(number, nearest, rel_tol=1e-9) else number

    return Parameter(key, name, declared, decode)


def _choices(key: str, name: str, parameter: Choices) -> Parameter:
    values = parameter.values
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):

        def nearest(value: Any) -> bool | int | float | str:
            number = float(value)
            return next((choice for choice in values if math.isclose(number, float(choice), rel_tol=1e-9)), number)

        return Parameter(key, name, {"type": "discrete", "values": list(values)}, nearest)
    # Comet's categories are texts. Booleans and numbers among them travel as JSON writes them.
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    if len(set(texts)) < len(texts):
        texts = [json.dumps(value) for value in values]
    meanings = dict(zip(texts, values, strict=True))
    return Parameter(
        key, name, {"type": "categorical", "values": texts}, lambda value: meanings.get(str(value), str(value))
    )


# --- the searcher ----------------------------------------------------------------------------------------------------


class CometSearcher:
    """`detkit.Searcher` over `comet_ml.Optimizer`. The server holds the search; its id is all the state there is."""

    def __init__(self, options: CometOptimizerOptions, context: BuildContext) -> None:
        self._options = options
        self._seed = context.seed % 2**32 if options.seed is None else options.seed
        self._messages = context.messages
        self._id = ""
        self._proposed = 0
        self._told: list[int] = []
        self._optimizer: Any = None

    def state_dict(self) -> dict[str, Any]:
        return {"id": self._id, "proposed": self._proposed, "told": list(self._told)}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        self._id, self._proposed, self._told = state["id"], state["proposed"], list(state.get("told", []))

    def begin(self, space: SearchSpace, objective: Objective, *, max_trials: int | None) -> None:
        """As `detkit.Searcher.begin`: found a search on the server, or go on with the one of the loaded state.

        `COMET_OPTIMIZER_ID` names one to join, as it does for Comet's client.
        """
        self._space, self._objective = space, objective
        self._parameters = translate(space, self._options.algorithm)
        key = require_access(WHO, self._options.timeout_s)
        # Thirty seconds by default.
        os.environ.setdefault("COMET_OPTIMIZER_TIMEOUT_HTTP", str(self._options.timeout_s))
        named = os.environ.get("COMET_OPTIMIZER_ID")
        if named and self._id and named != self._id:
            raise UserError(
                f"{WHO}: COMET_OPTIMIZER_ID names the search {named}, but this one is {self._id}; unset the variable"
            )
        joined = named or self._id
        with asking(WHO, UserError):
            config = joined or self._configuration(max_trials)
            self._optimizer = load_client().Optimizer(config, verbose=0, api_key=key)
            self._id = self._optimizer.get_id()
            if joined:
                self._require_same(self._optimizer.status())
            else:
                self._warn_of_unused()
        self._messages.info(
            f"{WHO}: {'goes on with' if joined else 'began'} the search {self._id} ({self._options.algorithm}) on Comet"
        )

    def propose(self) -> Proposal | None:
        """As `detkit.Searcher.propose`.

        Raises:
            DetkitError: the server does not answer, or what it proposes is not of the space.
        """
        assignment = self._ask(self._optimizer.next_data)
        if assignment is None:
            return None
        with asking(WHO, DetkitError):
            proposed = assignment["parameters"]
            values = {parameter.key: parameter.decode(proposed[parameter.name]) for parameter in self._parameters}
            about = {
                "optimizer_id": self._id,
                "optimizer_pid": assignment["pid"],
                "optimizer_trial": assignment["trial"],
                "optimizer_count": assignment.get("count"),
                "optimizer_metric": self._objective.metric,
                "optimizer_objective": self._objective.direction,
            }
        try:
            self._space.check(values)
        except ValueError as error:
            raise DetkitError(f"{WHO}: Comet proposes what was not asked for: {error}; use another searcher") from None
        self._proposed += 1
        return Proposal(self._proposed, values, about)

    def tell(self, proposal: Proposal, value: float | None, /) -> None:
        """As `detkit.Searcher.tell`; a value that is not finite is as good as none.

        The client would read the value from an experiment that it runs in this process. A trial runs in another, so
        the value goes to the server by the same request, by itself.

        A trial that was told before (it failed, and was tried once more) may be closed on the server: a warning then.

        Raises:
            DetkitError: the server does not answer, or does not take it.
        """
        try:
            self._tell(proposal, value)
        except DetkitError as error:
            if proposal.number not in self._told:
                raise
            self._messages.warning(f"trial {proposal.number} was told Comet before, and stays there as it was: {error}")
        self._told = sorted({*self._told, proposal.number})

    def _tell(self, proposal: Proposal, value: float | None) -> None:
        told = value is not None and math.isfinite(value)
        reply = self._ask(
            lambda: self._optimizer._api.optimizer_update(
                self._id,
                proposal.about["optimizer_pid"],
                proposal.about["optimizer_trial"],
                status="completed" if told else "aborted",
                score=value if told else None,
            )
        )
        if isinstance(reply, dict) and reply.get("code", 200) != 200:
            raise DetkitError(
                f"{WHO}: Comet does not take the value of trial {proposal.number}: {reply.get('message', reply)}"
            )

    def close(self) -> None:
        """Nothing is open: the search stays on the server, where another may join it."""

    def _chosen(self) -> dict[str, Any]:
        """What the user set, under Comet's names. What is left out has the server's own default."""
        options = self._options
        values = {
            "gridSize": options.grid_size,
            "randomize": options.randomize,
            "minSampleSize": options.min_sample_size,
            "retryLimit": options.retry_limit,
            "retryAssignLimit": options.retry_assign_limit,
        }
        return {name: value for name, value in values.items() if value is not None}

    def _warn_of_unused(self) -> None:
        known = {item["name"] for item in self._optimizer._api.optimizer_spec(self._options.algorithm)}
        unknown = sorted(self._chosen().keys() - known)
        if unknown:
            self._messages.warning(
                f"{WHO}: Comet's {self._options.algorithm} search names no {', '.join(unknown)}: it may not use it"
            )

    def _configuration(self, max_trials: int | None) -> dict[str, Any]:
        options = self._options
        most = [number for number in (options.max_combinations, max_trials) if number is not None]
        return {
            "algorithm": options.algorithm,
            "name": options.name,
            "trials": 1,
            "parameters": {parameter.name: dict(parameter.declared) for parameter in self._parameters},
            "spec": {
                "metric": self._objective.metric,
                "objective": self._objective.direction,
                "seed": self._seed,
                # 0 is "as many as there are".
                "maxCombo": min(most, default=0),
                **self._chosen(),
            },
        }

    def _require_same(self, status: Mapping[str, Any]) -> None:
        """Refuse a search that looks for something else.

        Raises:
            UserError: says in what it differs.
        """
        there = {name: _comparable(declared) for name, declared in status["parameters"].items()}
        asked = {parameter.name: _comparable(parameter.declared) for parameter in self._parameters}
        wanted = {
            "algorithm": (status["algorithm"], self._options.algorithm),
            "metric": (status["spec"].get("metric"), self._objective.metric),
            "objective": (status["spec"].get("objective"), self._objective.direction),
            "parameters": (there, asked),
        }
        for what, (theirs, ours) in wanted.items():
            if theirs != ours:
                raise UserError(
                    f"{WHO}: the search {self._id} on Comet has other {what}: {theirs}, and not {ours};"
                    " leave them as they were, or begin a new search"
                )

    def _ask(self, request: Callable[[], T]) -> T:
        """Send a request, again where its failure may pass."""
        with asking(WHO, DetkitError, GO_ON):
            for pause in PAUSES_S:
                try:
                    return request()
                except Exception as error:
                    if not _passing(error):
                        raise
                time.sleep(pause)
            return request()


def _passing(error: Exception) -> bool:
    import requests

    # One that took its time once would take it again.
    lost = isinstance(error, requests.ConnectionError) and not isinstance(error, requests.Timeout)
    return lost or status_of(error) in PASSING


def _comparable(declared: Mapping[str, Any]) -> dict[str, Any]:
    """What a parameter is, without what the server adds and the order in which it gives values."""
    kept = {name: declared[name] for name in ("type", "min", "max", "scalingType") if declared.get(name) is not None}
    return kept | ({"values": sorted(map(str, declared["values"]))} if "values" in declared else {})


# --- the trial's own experiment --------------------------------------------------------------------------------------


def log_trial(
    experiment: Any, about: Mapping[str, Any], values: Mapping[str, bool | int | float | str], value: float | None
) -> None:
    """Mark the experiment of a trial as part of its search, as the client marks those that it makes itself.

    Args:
        experiment: of comet_ml, alive, in whatever process the trial ran.
        about, values: of the proposal. value: what the trial gave; None where it failed.
    """
    experiment.log_others(about)
    experiment.log_optimization(
        optimization_id=about["optimizer_id"],
        metric_name=about["optimizer_metric"],
        metric_value=value,
        parameters=dict(values),
        objective=about["optimizer_objective"],
    )
