"""What searchers promise."""

from __future__ import annotations

import json
from typing import Any

from detkit.components import ParetoSearcher, Searcher, SearcherComponent, Stateful
from detkit.search_space import Choices, Objective, Proposal, Range, SearchSpace
from detkit.testing.rule import Broken, NotApplicable, rule
from detkit.testing.rules.common import plain_values
from detkit.testing.subject import Subject
from detkit.testing.surroundings import left_alone

#: A space of every kind of parameter, which nobody could take for a small one.
SPACE = SearchSpace(
    {
        "train.lr": Range(1e-4, 1e-1, log=True),
        "train.batch_size": Range(2, 8, integer=True),
        "train.momentum": Range(0.8, 0.95, step=0.05),
        "train.ema": Choices((True, False)),
        "train.optimizer": Choices(("sgd", "adamw")),
        "models.fcos.score": Range(0.05, 0.5, points=3),
    }
)
#: Small enough to be searched to its end.
SMALL = SearchSpace({"train.batch_size": Range(2, 4, integer=True), "train.optimizer": Choices(("sgd", "adamw"))})
MOST = 12
BETTER = Objective("coco/ap", "maximize")
FASTER = Objective("latency_ms_median", "minimize")


def searcher_of(subject: Subject) -> Searcher:
    """A fresh one.

    Raises:
        NotApplicable: it is no searcher; `searcher-methods` says so.
    """
    built = subject.build()
    if not all(callable(getattr(built, name, None)) for name in ("begin", "propose", "tell", "close")):
        raise NotApplicable("it is no searcher: see the rule searcher-methods")
    return built  # type: ignore[no-any-return]  # it has the methods


def begun(
    subject: Subject, space: SearchSpace = SPACE, objective: Objective = BETTER, most: int | None = MOST
) -> Searcher:
    """One that has begun.

    Raises:
        NotApplicable: it refuses the space, with a `UserError`.
    """
    searcher = searcher_of(subject)
    with subject.doing("begin", may_refuse=True):
        searcher.begin(space, objective, max_trials=most)
    return searcher


def proposed(subject: Subject, searcher: Searcher) -> Proposal | None:
    """What it proposes.

    Raises:
        Broken: it raises, or gives something else.
    """
    with subject.doing("propose"):
        found: Any = searcher.propose()
    if found is not None and not isinstance(found, Proposal):
        raise Broken(f"propose gives a {type(found).__name__}", "a detkit.Proposal, or None")
    return found


def tell(subject: Subject, searcher: Searcher, proposal: Proposal, value: float | None) -> None:
    """Tell it a value."""
    with subject.doing(f"tell({value})"):
        searcher.tell(proposal, value)


def value_of(proposal: Proposal) -> float:
    """What a trial gives: a function of its values."""
    return sum(len(str(value)) for value in proposal.values.values()) / 100


def searched(subject: Subject, searcher: Searcher, count: int) -> list[Proposal]:
    """So many trials at most, one after another."""
    found = []
    for _ in range(count):
        proposal = proposed(subject, searcher)
        if proposal is None:
            break
        found.append(proposal)
        tell(subject, searcher, proposal, value_of(proposal))
    return found


@rule("searcher", "searcher-methods", "a searcher has `begin`, `propose`, `tell` and `close`")
def has_methods(subject: Subject) -> None:
    """The built object has the four methods of `detkit.Searcher`."""
    built = subject.build()
    missing = [name for name in ("begin", "propose", "tell", "close") if not callable(getattr(built, name, None))]
    if missing:
        raise Broken(f"a {type(built).__name__} without {', '.join(missing)}", "the methods of detkit.Searcher")


@rule("searcher", "searcher-space", "proposals give every parameter a value that it may have")
def respects_space(subject: Subject) -> None:
    """`propose` returns a `detkit.Proposal` whose values name every parameter of the space, and no other, each within
    its range (ends included, whole where the range is of whole numbers) or among its choices. Values are plain: a bool,
    int, float or text as a spec writes them, not numpy's; `about` holds plain values too. At least one trial is
    proposed."""
    searcher = begun(subject)
    trials = searched(subject, searcher, MOST)
    if not trials:
        raise Broken("it proposes nothing", "at least one trial")
    for proposal in trials:
        try:
            SPACE.check(proposal.values)
        except ValueError as error:
            raise Broken(f"trial {proposal.number}: {error}", "values of the space") from error
        if wrong := plain_values(dict(proposal.values), "values") or plain_values(dict(proposal.about), "about"):
            raise Broken(f"trial {proposal.number}: {wrong}", "plain values")


@rule("searcher", "searcher-numbers", "trials are numbered 1, 2, 3")
def numbered(subject: Subject) -> None:
    """`Proposal.number` counts from 1, without gaps, whether trials have been told yet or not."""
    searcher = begun(subject)
    numbers = [proposal.number for proposal in (proposed(subject, searcher) for _ in range(4)) if proposal is not None]
    if numbers != list(range(1, len(numbers) + 1)):
        raise Broken(f"trials are numbered {numbers}", f"{list(range(1, len(numbers) + 1))}")


@rule("searcher", "searcher-several-out", "several trials may be out, and are told in any order")
def several_out(subject: Subject) -> None:
    """Proposals can be asked for before the ones before were told, and their values come back in any order, with None
    for a trial that failed."""
    searcher = begun(subject)
    out = [proposal for proposal in (proposed(subject, searcher) for _ in range(4)) if proposal is not None]
    for place, proposal in enumerate(reversed(out)):
        tell(subject, searcher, proposal, None if place == 1 else value_of(proposal))
    proposed(subject, searcher)


@rule("searcher", "searcher-failed-trials", "it goes on where every trial fails")
def failed_trials(subject: Subject) -> None:
    """Told None for every trial, and once the same value for all, it goes on to propose (or ends), and does not
    raise."""
    for value in (None, 0.5):
        searcher = begun(subject)
        for _ in range(MOST):
            proposal = proposed(subject, searcher)
            if proposal is None:
                break
            tell(subject, searcher, proposal, value)


@rule("searcher", "searcher-end", "a search that is over stays over, after as many trials as announced")
def end(subject: Subject) -> None:
    """Where the component's `trials_in` gives a number, the searcher proposes as many trials of the space, no two
    alike, and then None, again and again. Where it gives None, the search goes on for ever, or ends when it likes."""
    component = subject.component
    assert isinstance(component, SearcherComponent)
    with subject.doing("`trials_in`"):
        announced = component.trials_in(subject.options, SMALL)
    if announced is not None and not (isinstance(announced, int) and announced >= 1):
        raise Broken(f"`trials_in` gives {announced!r}", "a whole number of trials, or None")
    searcher = begun(subject, SMALL, most=announced)
    trials = searched(subject, searcher, (announced or 3 * MOST) + 1)
    if announced is None:
        return
    if len(trials) != announced:
        many = f"{len(trials)} trials" if len(trials) <= announced else "more"
        raise Broken(f"`trials_in` announces {announced} trials, and it proposes {many}", "as many as announced")
    if len({json.dumps(dict(trial.values), sort_keys=True) for trial in trials}) < len(trials):
        raise Broken("it tries the same values twice", "different trials")
    if proposed(subject, searcher) is not None:
        raise Broken("after None it proposes again", "a search that is over stays over")


@rule("searcher", "searcher-deterministic", "the same seed gives the same search")
def deterministic(subject: Subject) -> None:
    """Built with the same `context.seed`, and told the same, a searcher proposes the same values, whatever the global
    generators did meanwhile. One that asks a server may be exempt: it then has an option for the server's seed."""
    first = searched(subject, begun(subject), MOST)
    second = searched(subject, begun(subject), MOST)
    for one, other in zip(first, second, strict=False):
        if dict(one.values) != dict(other.values):
            raise Broken(f"trial {one.number} is {dict(one.values)}, and then {dict(other.values)}", "the same values")
    if len(first) != len(second):
        raise Broken(f"it proposes {len(first)} trials, and then {len(second)}", "as many")


@rule("searcher", "searcher-state-round-trip", "with its state loaded, the search goes on where it was")
def state_round_trip(subject: Subject) -> None:
    """A searcher with `state_dict` and `load_state_dict` gives plain values (the state goes into search.json). Loaded
    into a fresh one, before `begin`, which gets the same arguments, the next trial has the next number, and its values
    are those that the first one proposes next. Without state a search that was interrupted begins anew."""
    first = begun(subject)
    if not isinstance(first, Stateful):
        raise NotApplicable("it has no state")
    trials = searched(subject, first, 3)
    with subject.doing("state_dict"):
        state = first.state_dict()
    if wrong := plain_values(state, "its state"):
        raise Broken(wrong, "plain values: they go into search.json")
    second = searcher_of(subject)
    assert isinstance(second, Stateful)
    with subject.doing("load_state_dict, then begin"):
        second.load_state_dict(json.loads(json.dumps(state)))
        second.begin(SPACE, BETTER, max_trials=MOST)
    one, other = proposed(subject, first), proposed(subject, second)
    if (one is None) != (other is None):
        raise Broken("after a resume the search is over, or not, where it was otherwise", "it goes on as before")
    if one is None or other is None:
        return
    if other.number != len(trials) + 1:
        raise Broken(
            f"after {len(trials)} trials and a resume the next is numbered {other.number}", f"{len(trials) + 1}"
        )
    if dict(one.values) != dict(other.values):
        raise Broken(f"after a resume it proposes {dict(other.values)}, without one {dict(one.values)}", "the same")


@rule("searcher", "searcher-told-again", "a value that was told may be told again")
def told_again(subject: Subject) -> None:
    """What was told after the state was saved last is told again after a resume: the second time changes nothing, or at
    least does not raise."""
    searcher = begun(subject)
    for proposal in searched(subject, searcher, 2):
        tell(subject, searcher, proposal, value_of(proposal))
    proposed(subject, searcher)


@rule("searcher", "searcher-directions", "it takes both directions, and searches without an end")
def directions(subject: Subject) -> None:
    """`begin` takes an objective to minimize as one to maximize, and `max_trials` of None; a space or a length that it
    cannot do, it refuses in `begin` with a `UserError` that says what to do."""
    searched(subject, begun(subject, objective=FASTER), 3)
    searched(subject, begun(subject, most=None), 3)


@rule("searcher", "searcher-close", "it can be closed whenever the search ends, and again")
def closes(subject: Subject) -> None:
    """`close` works before `begin`, right after it, with trials that are out, and a second time: whatever ends a
    search, it is closed."""
    early = searcher_of(subject)
    with subject.doing("close, before begin"):
        early.close()
    searcher = begun(subject)
    proposed(subject, searcher)
    with subject.doing("close, with a trial that is out, and again"):
        searcher.close()
        searcher.close()


@rule("searcher", "searcher-pareto", "with `pareto`, it looks for the best of two objectives")
def pareto(subject: Subject) -> None:
    """Where the component says `pareto`, the built object is a `detkit.ParetoSearcher` too, and keeps the same promises
    with `begin_pareto` and `tell_pareto`; where it does not say so, it is none."""
    component = subject.component
    assert isinstance(component, SearcherComponent)
    searcher: Any = searcher_of(subject)
    if isinstance(searcher, ParetoSearcher) != component.pareto:
        is_ = "is a" if isinstance(searcher, ParetoSearcher) else "is no"
        raise Broken(
            f"the component says pareto = {component.pareto}, and what it builds {is_} ParetoSearcher", "the two agree"
        )
    if not component.pareto:
        raise NotApplicable("it looks for one objective only")
    with subject.doing("begin_pareto", may_refuse=True):
        searcher.begin_pareto(SPACE, (BETTER, FASTER), max_trials=MOST)
    for number in range(1, 6):
        proposal = proposed(subject, searcher)
        if proposal is None:
            break
        try:
            SPACE.check(proposal.values)
        except ValueError as error:
            raise Broken(f"trial {number} for two objectives: {error}", "values of the space") from error
        with subject.doing("tell_pareto"):
            searcher.tell_pareto(proposal, None if number == 2 else (value_of(proposal), 10.0 * number))


@rule("searcher", "searcher-leaves-settings", "searching changes nothing that belongs to the process")
def leaves_settings(subject: Subject) -> None:
    """It leaves the global generators, torch's threads, default dtype and gradient mode, the working directory and the
    environment as they were: what it draws, it draws from a generator of its own, seeded with `context.seed`."""
    searcher = searcher_of(subject)
    with left_alone("a search", with_generators=True):
        with subject.doing("begin", may_refuse=True):
            searcher.begin(SPACE, BETTER, max_trials=MOST)
        searched(subject, searcher, 4)
