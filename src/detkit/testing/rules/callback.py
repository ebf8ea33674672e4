"""What callbacks promise."""

from __future__ import annotations

import pluggy

from detkit.hookspecs import PROJECT, RunEvents
from detkit.testing.rule import Broken, rule
from detkit.testing.subject import Subject


@rule("callback", "callback-hooks", "a callback implements at least one event, and each that it names is marked")
def has_hooks(subject: Subject) -> None:
    """Its methods implement some of `detkit.hookspecs.RunEvents`, each marked `@hookimpl`, with arguments that the
    event has. A method that has an event's name and no mark would never be called."""
    built = subject.build()
    events = {name for name in vars(RunEvents) if not name.startswith("_")}
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(RunEvents)
    with subject.doing("registering its hooks"):
        manager.register(built)
        manager.check_pending()
    marked = {call.name for call in manager.get_hookcallers(built) or ()}
    unmarked = sorted(name for name in events - marked if callable(getattr(built, name, None)))
    if unmarked:
        raise Broken(f"{', '.join(unmarked)} without @hookimpl", "@hookimpl (from detkit import hookimpl) above it")
    if not marked:
        raise Broken(f"a {type(built).__name__} without any event", f"at least one of {', '.join(sorted(events))}")
