"""The events of a run, on a plugin manager of that run's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pluggy

from detkit.components import Outcome, RunInfo, Stateful
from detkit.engine.attribution import attributed
from detkit.errors import ComponentError, did_you_mean
from detkit.hookspecs import PROJECT, RunEvents
from detkit.spec.model import Use

EVENTS = frozenset(name for name in vars(RunEvents) if not name.startswith("_"))


class Events:
    """Calls the callbacks of a run in the spec's order; what one raises names it."""

    def __init__(self, callbacks: Iterable[tuple[Use, object]]) -> None:
        self._callbacks = {use.key: (use, callback) for use, callback in callbacks}
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(RunEvents)
        for key, (use, callback) in self._callbacks.items():
            with attributed(use, "registering its events"):
                self._manager.register(callback, name=key)
        unknown = {name for name in vars(self._manager.hook) if not name.startswith("_")} - EVENTS
        for name in sorted(unknown):
            raise ComponentError(
                f"a callback implements {name!r}, which is no event of a run{did_you_mean(name, EVENTS)}"
            )

    def run_started(self, run: RunInfo) -> None:
        self._call("run_started", run=run)

    def step_ended(self, run: RunInfo, step: int, losses: Mapping[str, float]) -> None:
        self._call("step_ended", run=run, step=step, losses=losses)

    def epoch_ended(self, run: RunInfo, epoch: int, metrics: Mapping[str, float | None]) -> None:
        self._call("epoch_ended", run=run, epoch=epoch, metrics=metrics)

    def should_stop(self, run: RunInfo, epoch: int, metrics: Mapping[str, float | None]) -> str | None:
        """The reasons of all callbacks that want to stop, or None."""
        answers = self._call("should_stop", run=run, epoch=epoch, metrics=metrics)
        return "; ".join(answer for answer in answers if answer) or None

    def run_ended(self, run: RunInfo, outcome: Outcome) -> None:
        self._call("run_ended", run=run, outcome=outcome)

    def state_dict(self) -> dict[str, Any]:
        states = {}
        for key, (use, callback) in self._callbacks.items():
            if isinstance(callback, Stateful):
                with attributed(use, "giving its state"):
                    states[key] = callback.state_dict()
        return states

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for key, (use, callback) in self._callbacks.items():
            if key in state and isinstance(callback, Stateful):
                with attributed(use, "taking back its state"):
                    callback.load_state_dict(state[key])

    def _call(self, event: str, **arguments: Any) -> list[Any]:
        # pluggy's own call would stop at the first exception without naming its plugin, and begins with the last one.
        implementations = {i.plugin_name: i for i in getattr(self._manager.hook, event).get_hookimpls()}
        answers = []
        for key, (use, _) in self._callbacks.items():
            if key in implementations:
                implementation = implementations[key]
                with attributed(use, f"handling {event}"):
                    answers.append(implementation.function(*(arguments[name] for name in implementation.argnames)))
        return answers
