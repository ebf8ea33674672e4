"""Options of the searchers that no other test sets: what each changes."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import pytest

from detkit import BuildContext, Objective, Range, SearchSpace
from detkit_comet import CometOptimizerOptions
from detkit_comet.search import CometSearcher
from detkit_optuna import GP, TPE

needs_optuna = pytest.mark.skipif(not find_spec("optuna"), reason="optuna is not installed")
needs_scipy = pytest.mark.skipif(not find_spec("scipy"), reason="scipy, which gp needs, is not installed")
BOTH = [
    pytest.param(TPE, id="tpe", marks=needs_optuna),
    pytest.param(GP, id="gp", marks=[needs_optuna, needs_scipy]),
]
SPACE = SearchSpace({"train.lr": Range(1e-5, 1e-1, log=True), "train.momentum": Range(0.0, 0.99)})


def proposed(component: Any, *, trials: int, sign: int = 1, own_seed: int = 3, **options: Any) -> list[dict[str, Any]]:
    """The values of all trials, where the value of each is its rate's distance from 1e-3, times the sign."""
    searcher = component.build(component.options(**options), BuildContext(seed=own_seed))
    searcher.begin(SPACE, Objective("coco/ap", "maximize"), max_trials=trials)
    found = []
    for proposal in iter(searcher.propose, None):
        found.append(dict(proposal.values))
        rate, momentum = float(proposal.values["train.lr"]), float(proposal.values["train.momentum"])
        searcher.tell(proposal, sign * (abs(math.log10(rate) + 3) + momentum))
    return found


@pytest.mark.parametrize("component", BOTH)
def test_trials_at_the_start_do_not_depend_on_what_the_others_gave(component: Any) -> None:
    for startup in (3, 5):
        one, other = (proposed(component, trials=7, sign=sign, startup_trials=startup) for sign in (1, -1))
        assert one[:startup] == other[:startup]
        assert one[startup:] != other[startup:]


@pytest.mark.parametrize("component", BOTH)
def test_a_seed_of_its_own_takes_the_place_of_the_run_s(component: Any) -> None:
    assert proposed(component, trials=2, own_seed=3) != proposed(component, trials=2, own_seed=4)
    assert proposed(component, trials=2, own_seed=3, seed=9) == proposed(component, trials=2, own_seed=9)


@needs_optuna
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_tpe_may_look_at_parameters_together() -> None:
    alone = proposed(TPE, trials=8, startup_trials=4)
    together = proposed(TPE, trials=8, startup_trials=4, multivariate=True)
    assert alone[:4] == together[:4]
    assert alone[4:] != together[4:]


def test_comets_optimizer_is_told_what_was_set_and_nothing_else() -> None:
    pytest.importorskip("comet_ml")

    def chosen(**options: Any) -> dict[str, Any]:
        return CometSearcher(CometOptimizerOptions(**options), BuildContext())._chosen()

    assert chosen() == {}
    assert chosen(algorithm="grid", randomize=False) == {"randomize": False}
    assert chosen(algorithm="random", min_sample_size=7, retry_assign_limit=2) == {
        "minSampleSize": 7,
        "retryAssignLimit": 2,
    }
