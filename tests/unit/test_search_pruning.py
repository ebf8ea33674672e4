"""The median rule, against Optuna's own; and what is the best of trials."""

from __future__ import annotations

import json
import random
from typing import Any, Literal

import pytest

from detkit import Objective
from detkit.engine.search_importance import importances
from detkit.engine.search_pruning import Pruning, median_pruning
from detkit.record.search import Trial, TrialState, pareto_front
from detkit.search_space import Choices, Range

AP = Objective("coco/ap", "maximize")


def rows(values: list[float | None]) -> list[dict[str, Any]]:
    return [{"epoch": epoch, "values": {"coco/ap": value}} for epoch, value in enumerate(values, 1)]


def test_a_trial_whose_best_is_worse_than_the_median_is_stopped() -> None:
    pruning = median_pruning([rows([0.1, 0.2, 0.3]), rows([0.2, 0.4]), rows([0.3, 0.6])], AP, 1)
    assert pruning.medians == {1: 0.2, 2: 0.4, 3: 0.3}
    assert pruning.reason(rows([0.0])) == ""  # of an epoch that is not looked at
    assert pruning.reason(rows([0.5, 0.0])) == ""  # it was better before
    assert pruning.reason(rows([0.1, 0.4])) == ""  # as good as the median
    assert pruning.reason(rows([0.1, 0.399])) == (
        "pruned after epoch 2: coco/ap 0.399 at best, and the median of 3 trials was 0.4 by then"
    )
    assert pruning.reason(rows([None, None])) == ""  # it has no value yet
    assert pruning.reason(rows([0.1] * 4)) == ""  # nobody came so far
    assert Pruning.from_dict(json.loads(json.dumps(pruning.to_dict()))) == pruning


def test_of_losses_less_is_better() -> None:
    loss = Objective("coco/ap", "minimize")
    pruning = median_pruning([rows([1.0, 0.5])], loss, 0)
    assert pruning.reason(rows([0.9])) == ""
    assert pruning.reason(rows([1.1])).startswith("pruned after epoch 1: coco/ap 1.1 at best")


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("after_epochs", [0, 2])
def test_it_is_the_rule_of_optunas_median_pruner(direction: Literal["maximize", "minimize"], after_epochs: int) -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    draw, stopped = random.Random(3), 0
    for _ in range(200):
        epochs = draw.randint(1, 5)
        others = [[draw.random() for _ in range(draw.randint(1, epochs))] for _ in range(draw.randint(1, 6))]
        own = [draw.random() for _ in range(epochs)]
        pruning = median_pruning([rows([*values]) for values in others], Objective("coco/ap", direction), after_epochs)
        # Its steps count from 0, and it has no median of trials before there are so many.
        pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=after_epochs)
        study = optuna.create_study(direction=direction, pruner=pruner)
        for values in others:
            trial = study.ask()
            for step, value in enumerate(values):
                trial.report(value, step)
            study.tell(trial, values[-1])
        trial = study.ask()
        for step, value in enumerate(own):
            trial.report(value, step)
            wanted = trial.should_prune()
            assert bool(pruning.reason(rows([*own[: step + 1]]))) == wanted
            stopped += wanted
    assert stopped > 20


# --- the best --------------------------------------------------------------------------------------------------------


def trial(number: int, *values: float, state: TrialState = "finished") -> Trial:
    return Trial("fcos", number, {"train.lr": number / 10}, state, values or None)


def front(trials: list[Trial], *directions: Literal["maximize", "minimize"]) -> list[int]:
    objectives = [Objective(f"m{at}", direction) for at, direction in enumerate(directions)]
    return [found.number for found in pareto_front(trials, objectives)]


def test_the_best_is_finished_has_a_value_and_is_the_first_of_equals() -> None:
    trials = [trial(1, 0.2), trial(2, 0.9, state="pruned"), trial(3), trial(4, 0.5), trial(5, 0.5)]
    assert front(trials, "maximize") == [4]
    assert front(trials, "minimize") == [1]
    assert front([trial(1, state="failed")], "maximize") == []


def test_of_two_objectives_those_are_left_that_none_beats_in_both() -> None:
    trials = [trial(1, 0.5, 30), trial(2, 0.6, 50), trial(3, 0.4, 40), trial(4, 0.6, 45), trial(5, 0.1, 10)]
    assert front(trials, "maximize", "minimize") == [4, 1, 5]


# --- what counts -----------------------------------------------------------------------------------------------------


def test_the_key_that_makes_the_difference_has_the_larger_share() -> None:
    pytest.importorskip("optuna")
    draw = random.Random(0)
    space: dict[str, Range | Choices] = {
        "train.lr": Range(0.001, 1.0, log=True),
        "train.ema": Choices((True, False, 1)),
    }
    trials = []
    for number in range(1, 31):
        rate = 10 ** draw.uniform(-3, 0)
        values = {"train.lr": rate, "train.ema": draw.choice((True, False, 1))}
        trials.append(Trial("fcos", number, values, "finished", (rate,)))
    shares, note = importances(trials, space, AP)
    assert shares is not None
    assert note == ""
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["train.lr"] > 0.8


@pytest.mark.parametrize(
    ("trials", "space", "note"),
    [
        ([trial(1, 0.1)], {"train.lr": Range(0, 1)}, "there is one parameter"),
        ([trial(1, 0.1)], {"a": Range(0, 1), "b": Range(0, 1)}, "1 trials have finished, and it takes 8"),
        (
            [trial(number, 0.1) for number in range(1, 9)],
            {"a": Range(0, 1), "b": Range(0, 1)},
            "all trials gave the same value",
        ),
    ],
)
def test_why_there_are_no_shares(trials: list[Trial], space: dict[str, Any], note: str) -> None:
    assert importances(trials, space, AP) == (None, note)
