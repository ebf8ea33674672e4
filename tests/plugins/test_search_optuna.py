"""The searchers `tpe` and `gp`: that they learn, go on exactly where they were, and say what is missing."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from typing import Any

import pytest

from detkit import BuildContext, Choices, Objective, ParetoSearcher, Proposal, Range, SearchSpace, UserError
from detkit.components import Stateful
from detkit_optuna import GP, TPE

needs_optuna = pytest.mark.skipif(not find_spec("optuna"), reason="optuna is not installed")
needs_scipy = pytest.mark.skipif(not find_spec("scipy"), reason="scipy, which gp needs, is not installed")
BOTH = [
    pytest.param(TPE, id="tpe", marks=needs_optuna),
    pytest.param(GP, id="gp", marks=[needs_optuna, needs_scipy]),
]
AP = Objective("coco/ap", "maximize")
SPACE = SearchSpace(
    {
        "train.lr": Range(1e-5, 1e-1, log=True),
        "choice": Choices((True, 1, "x", 2.5)),
        "train.epochs": Range(1, 8, integer=True),
        "share": Range(0.0, 1.0, step=0.25),
    }
)


def begun(component: Any, *, trials: int = 12, state: Any = None, seed: int = 3, space: SearchSpace = SPACE) -> Any:
    searcher = component.build(component.options(), BuildContext(seed=seed))
    if state is not None:
        searcher.load_state_dict(json.loads(json.dumps(state)))
    searcher.begin(space, AP, max_trials=trials)
    return searcher


def value(proposal: Proposal) -> float | None:
    """Best at a rate of 1e-3; the third trial fails."""
    return None if proposal.number == 3 else -abs(math.log10(float(proposal.values["train.lr"])) + 3)


def gone_through(searcher: Any) -> list[Proposal]:
    found = []
    for proposal in iter(searcher.propose, None):
        found.append(proposal)
        searcher.tell(proposal, value(proposal))
    return found


@pytest.mark.parametrize("component", BOTH)
def test_proposals_are_of_the_space_and_the_same_again(component: Any) -> None:
    found = gone_through(begun(component, trials=8))
    assert [proposal.number for proposal in found] == list(range(1, 9))
    for proposal in found:
        SPACE.check(proposal.values)
        assert isinstance(proposal.values["train.epochs"], int)
    assert found == gone_through(begun(component, trials=8))
    assert found[:1] != gone_through(begun(component, trials=1, seed=4))


@pytest.mark.parametrize("component", BOTH)
def test_a_search_that_is_interrupted_proposes_what_it_would_have(component: Any) -> None:
    whole = gone_through(begun(component, trials=8))
    for stop_at in (1, 6):
        first = begun(component, trials=8)
        assert all(isinstance(first, protocol) for protocol in (Stateful, ParetoSearcher))
        out = None
        for _ in range(stop_at):
            out = first.propose()
            assert out is not None
            if out.number < stop_at:
                first.tell(out, value(out))
        assert out is not None
        rest = begun(component, trials=8, state=first.state_dict())
        rest.tell(out, value(out))
        rest.tell(out, value(out))  # it was killed before that was written down
        assert gone_through(rest) == whole[stop_at:]


@pytest.mark.parametrize(("component", "trials"), [(*param.values, n) for param, n in zip(BOTH, (60, 16), strict=True)])
def test_it_learns(component: Any, trials: int) -> None:
    """The second half of the trials is nearer to the best rate than chance: on average one order of magnitude off."""
    pytest.importorskip("optuna")
    if component is GP:
        pytest.importorskip("scipy")
    space = SearchSpace({"train.lr": Range(1e-5, 1e-1, log=True)})
    values = [value(proposal) or 0.0 for proposal in gone_through(begun(component, trials=trials, space=space))]
    learnt = values[trials // 2 :]
    assert sum(learnt) / len(learnt) > -0.7


@pytest.mark.parametrize("component", BOTH)
def test_two_objectives(component: Any) -> None:
    space = SearchSpace({"train.lr": Range(0.0, 1.0)})
    searcher = component.build(component.options(), BuildContext(seed=3))
    searcher.begin_pareto(space, (AP, Objective("flops", "minimize")), max_trials=8)
    rates = []
    for proposal in iter(searcher.propose, None):
        rate = float(proposal.values["train.lr"])
        rates.append(rate)
        searcher.tell_pareto(proposal, None if proposal.number == 2 else (rate, rate**2))
    assert len(set(rates)) == 8


@pytest.mark.parametrize(("component", "missing"), [(TPE, "optuna"), (GP, "optuna"), (GP, "scipy")])
def test_what_is_missing_is_said_with_the_remedy(component: Any, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detkit_optuna.find_spec", lambda name: None if name == missing else object())
    for asked in (component.check, component.build):
        with pytest.raises(UserError, match=rf'^{component.name} needs {missing}, .*pip install "detkit\[search\]"'):
            asked(component.options(), BuildContext())
