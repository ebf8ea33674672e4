"""A callback for detkit: it stops a run as soon as a number is good enough, and keeps a note of when that was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from detkit import BuildContext, CallbackComponent, Messages, Options, Outcome, RunInfo, UserError, hookimpl
from pydantic import Field

requires_detkit = ">=0.1"  # another detkit says that the plugin does not fit, before it imports it
detkit_api = 1  # and so does one whose hooks are no longer those that it was written for


class GoalOptions(Options):
    """What a spec may say in [callbacks.KEY]. `detkit plugins show` prints the descriptions."""

    metric: str = Field("coco/ap50", min_length=1, description="the number to watch, as the record names it")
    goal: float = Field(0.9, allow_inf_nan=False, description="what it must reach")
    better: Literal["higher", "lower"] = Field("higher", description="which way it improves: lower for losses")
    epochs: int = Field(1, ge=1, description="in so many evaluated epochs one after another")


class Goal:
    """Implements some of `detkit.hookspecs.RunEvents`: run_started, step_ended, epoch_ended, should_stop, run_ended.

    Each is marked `@hookimpl`, and may leave out arguments that it does not use.
    """

    def __init__(self, options: GoalOptions, messages: Messages) -> None:
        self._options = options
        self._messages = messages
        self._reached = 0  # epochs one after another
        self._first: int | None = None

    # YOUR RULE HERE: why a run should stop, or None to go on.
    @hookimpl
    def should_stop(self, epoch: int, metrics: Mapping[str, float | None]) -> str | None:
        """Asked after every evaluated epoch. Epochs count from 1; a number that does not apply is None."""
        wanted = self._options
        if wanted.metric not in metrics:
            there = ", ".join(sorted(metrics))
            raise UserError(f"{COMPONENT.name}: there is no number {wanted.metric!r}; there are: {there}")
        value = metrics[wanted.metric]
        good = value is not None and (value >= wanted.goal if wanted.better == "higher" else value <= wanted.goal)
        self._reached = self._reached + 1 if good else 0
        if self._reached < wanted.epochs:
            return None
        self._first = epoch - wanted.epochs + 1
        return f"{COMPONENT.name}: {wanted.metric} is {value:.3g}, which is good enough ({wanted.goal:g})"

    @hookimpl
    def run_ended(self, run: RunInfo, outcome: Outcome) -> None:
        """Called once, however the run ended."""
        when = f"since epoch {self._first}" if self._first else "not reached"
        self._messages.info(f"{COMPONENT.name}: {run.run_id} {outcome.state}, goal {when}")

    # What these two give goes into the checkpoint, so that a resumed run goes on as if it had never stopped.

    def state_dict(self) -> dict[str, Any]:
        return {"reached": self._reached, "first": self._first}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._reached, self._first = state["reached"], state["first"]


def build(options: GoalOptions, context: BuildContext) -> Goal:
    """What a run calls."""
    return Goal(options, context.messages)


COMPONENT = CallbackComponent(
    name="my_plugin",  # what a spec writes in `use`, or as the key in [callbacks.KEY]
    options=GoalOptions,
    build=build,
    summary="stops a run that is good enough",
)


@hookimpl
def detkit_callbacks() -> list[CallbackComponent[Any]]:
    return [COMPONENT]
