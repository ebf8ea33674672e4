"""Wrong callbacks: an honest one with patience, bent in one way each."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, ClassVar

import torch

from detkit import CallbackComponent, hookimpl
from testing.wrong_form import NoOptions, Wrong, builds

WRONG: list[Wrong] = []


class Patience:
    """Stops after two epochs in which the AP has not risen: honest."""

    def __init__(self) -> None:
        self.best, self.waited = -1.0, 0

    @hookimpl
    def should_stop(self, epoch: int, metrics: Any) -> Any:
        value = metrics["coco/ap"]
        if value is None:
            return None
        self.waited = 0 if value > self.best else self.waited + 1
        self.best = max(self.best, value)
        return self.reason(epoch) if self.waited >= 2 else None

    def reason(self, epoch: int) -> Any:
        return f"no better up to epoch {epoch}"

    def state_dict(self) -> Any:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Any) -> None:
        self.best, self.waited = state["best"], state["waited"]


def component(make: Callable[[], Any]) -> CallbackComponent[Any]:
    return CallbackComponent("wrong", NoOptions, builds(make), "patience")


HONEST = component(Patience)


def wrong(rule: str, fault: str, says: str) -> Callable[[type], type]:
    def added(cls: type) -> type:
        WRONG.append(Wrong(rule, fault, says, component(cls)))
        return cls

    return added


@wrong("callback-hooks", "an event without a mark", "run_ended without @hookimpl")
class Unmarked(Patience):
    def run_ended(self, run: Any) -> None: ...


@wrong("callback-hooks", "a misspelt event", "epoch_end")
class Misspelt(Patience):
    @hookimpl
    def epoch_end(self, run: Any) -> None: ...


@wrong("callback-hooks", "an argument that the event lacks", "batch")
class Argument(Patience):
    @hookimpl
    def step_ended(self, batch: Any) -> None: ...


@wrong("callback-hooks", "no event at all", "without any event")
class Nothing: ...


@wrong("callback-whole-run", "losses of certain names", "KeyError")
class LossNames(Patience):
    @hookimpl
    def step_ended(self, losses: Any) -> None:
        losses["loss_classifier"]


@wrong("callback-decisions", "True for a reason", "gives True")
class TrueReason(Patience):
    def reason(self, epoch: int) -> Any:
        return True


@wrong("callback-ends", "an end after an epoch", "AttributeError")
class NeedsEpoch(Patience):
    @hookimpl
    def epoch_ended(self, epoch: int) -> None:
        self.last = epoch

    @hookimpl
    def run_ended(self, run: Any) -> None:
        del self.last


@wrong("callback-missing-values", "None compared", "TypeError")
class Compared(Patience):
    @hookimpl
    def should_stop(self, epoch: int, metrics: Any) -> Any:
        return "good enough" if metrics["coco/ap"] > 0.9 else None


@wrong("callback-inputs-untouched", "metrics taken out", "metrics")
class Taking(Patience):
    @hookimpl
    def epoch_ended(self, metrics: Any) -> None:
        metrics.pop("train/epoch_box")


@wrong("callback-repeats", "a count on the class", "decides otherwise")
class OnTheClass(Patience):
    seen: ClassVar[list[int]] = []

    @hookimpl
    def should_stop(self, epoch: int, metrics: Any) -> Any:
        self.seen.append(epoch)
        return "enough" if len(self.seen) > 8 else None


@wrong("callback-resume", "only from the beginning", "AssertionError")
class FromTheBeginning(Patience):
    @hookimpl
    def run_started(self, run: Any) -> None:
        assert run.start_step == 0


@wrong("callback-state-round-trip", "a best value that is not taken back", "after a resume")
class Forgets(Patience):
    def load_state_dict(self, state: Any) -> None:
        self.waited = state["waited"]


@wrong("callback-state-round-trip", "an object in the state", "weights only")
class Unsafe(Patience):
    def state_dict(self) -> Any:
        return {**super().state_dict(), "random": random.Random(0)}


@wrong("callback-state-round-trip", "a state only later", "state_dict raises")
class Later(Patience):
    @hookimpl
    def run_started(self, run: Any) -> None:
        self.run = run.run_id

    def state_dict(self) -> Any:
        return {**super().state_dict(), "run": self.run}


@wrong("callback-leaves-settings", "draws for its decision", "torch's global generator")
class Draws(Patience):
    @hookimpl
    def epoch_ended(self, epoch: int) -> None:
        torch.rand(1)
