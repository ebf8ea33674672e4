"""What callbacks promise."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import pluggy

from detkit.components import Outcome, Stateful
from detkit.hookspecs import PROJECT, RunEvents
from detkit.testing.made_run import STEPS_PER_EPOCH, Event, made_info, run_events
from detkit.testing.rule import Broken, NotApplicable, rule
from detkit.testing.rules.training_step import saved_and_loaded
from detkit.testing.subject import Subject
from detkit.testing.surroundings import left_alone

EVENTS = frozenset(name for name in vars(RunEvents) if not name.startswith("_"))
EPOCHS = 6


def manager_of(built: object) -> pluggy.PluginManager:
    """The hooks of a callback, as the engine calls them."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(RunEvents)
    manager.register(built)
    manager.check_pending()
    return manager


def registered(subject: Subject, built: object) -> pluggy.PluginManager:
    """`manager_of`.

    Raises:
        NotApplicable: it cannot be registered; `callback-hooks` says so.
    """
    try:
        return manager_of(built)
    except Exception as error:  # pluggy's own errors, and what foreign objects raise when they are looked at
        raise NotApplicable("its hooks cannot be registered: see the rule callback-hooks") from error


def happen(subject: Subject, built: object, events: Iterable[Event]) -> list[Any]:
    """Let events happen to a callback; what `should_stop` gave each time.

    Raises:
        Broken: it raises. NotApplicable: it refuses, with a `UserError`.
    """
    manager = registered(subject, built)
    decisions: list[Any] = []
    for event in events:
        with subject.doing(event.name, may_refuse=True):
            found = getattr(manager.hook, event.name)(**event.arguments)
        if event.name == "should_stop":
            decisions.append(found[0] if found else None)
    return decisions


def ended(outcome: Outcome, subject: Subject) -> Event:
    """The last event."""
    return Event("run_ended", {"run": made_info(subject.scratch("run"), epochs=EPOCHS), "outcome": outcome})


def events_of(subject: Subject, **changes: Any) -> list[Event]:
    """Those of a run of six epochs."""
    info = made_info(subject.scratch("run"), epochs=EPOCHS, class_names=subject.class_names, **changes)
    first = 1 + info.start_step // STEPS_PER_EPOCH
    return list(run_events(info, epochs=EPOCHS, from_epoch=first))


@rule("callback", "callback-hooks", "a callback implements at least one event, and each that it names is marked")
def has_hooks(subject: Subject) -> None:
    """Its methods implement some of `detkit.hookspecs.RunEvents`, each marked `@hookimpl`, with arguments that the
    event has. A method that has an event's name and no mark would never be called; a marked one that is no event is a
    misspelt one."""
    built = subject.build()
    with subject.doing("registering its hooks"):
        manager = manager_of(built)
    marked = {call.name for call in manager.get_hookcallers(built) or ()}
    unmarked = sorted(name for name in EVENTS - marked if callable(getattr(built, name, None)))
    if unmarked:
        raise Broken(f"{', '.join(unmarked)} without @hookimpl", "@hookimpl (from detkit import hookimpl) above it")
    if not marked:
        raise Broken(f"a {type(built).__name__} without any event", f"at least one of {', '.join(sorted(EVENTS))}")


@rule("callback", "callback-whole-run", "it takes the events of a whole run")
def whole_run(subject: Subject) -> None:
    """No event of an ordinary run raises: the start, steps with their losses, epochs with their metrics, the end. A
    `UserError` is an honest refusal, as of a metric that the run does not measure (the kit's run has coco/ap,
    coco/ap50, coco/mask_ap, torchmetrics/map, validation/loss, train/epoch_loss)."""
    happen(subject, subject.build(), [*events_of(subject), ended(Outcome("finished", "done"), subject)])


@rule("callback", "callback-decisions", "`should_stop` gives a reason, or None")
def decisions(subject: Subject) -> None:
    """`should_stop` returns None to go on, or a text that is not empty: the reason, which the record and the console
    show. True is no reason."""
    for found in happen(subject, subject.build(), events_of(subject)):
        if found is not None and not (isinstance(found, str) and found.strip()):
            raise Broken(f"should_stop gives {found!r}", "a reason, or None")


@rule("callback", "callback-ends", "it takes the end of a run, whatever ended it and wherever it was")
def ends(subject: Subject) -> None:
    """`run_ended` works with every outcome, right after `run_started`, in the middle of an epoch and after the last: a
    run fails where it likes."""
    for outcome in (Outcome("failed", "out of luck"), Outcome("interrupted"), Outcome("pruned", "others are better")):
        for count in (1, 3, STEPS_PER_EPOCH + 2):
            happen(subject, subject.build(), [*events_of(subject)[:count], ended(outcome, subject)])


@rule("callback", "callback-missing-values", "it takes metrics that have no value")
def missing_values(subject: Subject) -> None:
    """Values of metrics may be None (no ground truth of a size, nothing predicted), each of them and all of them: it
    goes on, and counts that neither as better nor as worse."""
    events = [
        Event(event.name, {**event.arguments, "metrics": dict.fromkeys(event.arguments["metrics"])})
        if "metrics" in event.arguments
        else event
        for event in events_of(subject)
    ]
    happen(subject, subject.build(), events)


@rule("callback", "callback-inputs-untouched", "losses and metrics are not written to")
def inputs_untouched(subject: Subject) -> None:
    """The mappings that it is given are those of the record and of other callbacks: it changes copies."""
    events = events_of(subject)
    before = copy.deepcopy([dict(event.arguments) for event in events])
    happen(subject, subject.build(), events)
    for event, old in zip(events, before, strict=True):
        for name in ("losses", "metrics"):
            if event.arguments.get(name) != old.get(name):
                raise Broken(f"in {event.name} it changes {name}", "a copy is changed instead")


@rule("callback", "callback-repeats", "two that were built decide alike, and share nothing")
def repeats(subject: Subject) -> None:
    """Fresh callbacks decide alike about the same run, one after another and side by side: each run of an experiment
    has its own. What is kept on the class, or decided by a clock or the global generators, breaks it."""
    events = events_of(subject)
    first, second, third = subject.build(), subject.build(), subject.build()
    wanted = happen(subject, first, events)
    if happen(subject, second, events) != wanted:
        raise Broken("a second callback decides otherwise about the same run", "the same decisions")
    if happen(subject, third, events) != wanted:
        raise Broken("a third callback decides otherwise about the same run", "the same decisions")


@rule("callback", "callback-resume", "it takes a run that goes on")
def resume(subject: Subject) -> None:
    """A resumed run calls `run_started` with `run.start_step` above 0, after the state was loaded where there is one,
    and goes on with the next epoch."""
    happen(subject, subject.build(), events_of(subject, start_step=2 * STEPS_PER_EPOCH))


@rule("callback", "callback-state-round-trip", "with its state loaded, it decides as if nothing had happened")
def state_round_trip(subject: Subject) -> None:
    """A callback with `state_dict` and `load_state_dict` gives tensors and plain values, also before the first event,
    which `torch.load(weights_only=True)` brings back. A fresh one with the state of epoch 3 loaded decides about the
    other epochs as the first one does, and has the same state in the end. A callback that counts and has no state
    counts anew after each resume."""
    first = subject.build()
    if not isinstance(first, Stateful):
        raise NotApplicable("it has no state")
    saved_and_loaded(subject, first)
    events = events_of(subject)
    half = next(place for place, event in enumerate(events) if event.arguments.get("epoch") == 4) - STEPS_PER_EPOCH
    happen(subject, first, events[:half])
    state = saved_and_loaded(subject, first)
    second = subject.build()
    with subject.doing("load_state_dict"):
        second.load_state_dict(state)
    rest = [Event("run_started", {"run": made_info(subject.scratch("run"), epochs=EPOCHS, start_step=half)})]
    one, other = happen(subject, first, events[half:]), happen(subject, second, [*rest, *events[half:]])
    if one != other:
        raise Broken(f"after a resume it decides {other}, without one {one}", "the same decisions")
    if saved_and_loaded(subject, first) != saved_and_loaded(subject, second):
        raise Broken("after a resume its state is another in the end", "the same state")


@rule("callback", "callback-leaves-settings", "events change nothing that belongs to the process")
def leaves_settings(subject: Subject) -> None:
    """It is called on the training thread, and leaves the global generators, torch's threads, default dtype and
    gradient mode, the working directory and the environment as they were."""
    built = subject.build()
    with left_alone("taking the events of a run", with_generators=True):
        happen(subject, built, events_of(subject))
