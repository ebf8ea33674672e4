"""The hooks, in two Protocols. Read this first.

`OfferHooks` are what a plugin module implements: each returns components, and nothing happens until a spec names one.
`RunEvents` are what a callback implements: a component that a spec names under `[callbacks.NAME]`.

An implementation is a function (or method) of the same name, marked with `detkit.hookimpl`:

    from detkit import hookimpl

    @hookimpl
    def detkit_models():
        return [MY_DETECTOR]

A plugin may state beside its hooks which detkit it needs, `requires_detkit = ">=0.1"`, and which hook API it was
written for, `detkit_api = 1`: see `detkit.requirements` and docs/reference/stability.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pluggy

from detkit.components import (
    CallbackComponent,
    Command,
    DatasetComponent,
    LoggerComponent,
    MetricComponent,
    ModelComponent,
    Outcome,
    RunInfo,
    SearcherComponent,
    TrainingStepComponent,
    TransformComponent,
)

PROJECT = "detkit"

#: The version of the hook API: of the hooks and events below, and of what components and what they build must do. It
#: rises by one with a release in which a plugin that kept the contract may no longer work.
HOOK_API = 1
#: The oldest for which plugins may be written that this release still loads.
OLDEST_HOOK_API = 1

hookspec = pluggy.HookspecMarker(PROJECT)
#: Marks a function or method as the implementation of the hook or event of its name.
hookimpl = pluggy.HookimplMarker(PROJECT)


class OfferHooks(Protocol):
    """Called once per process, when plugins are collected. Pure: return module constants, import nothing heavy.

    What raises marks the plugin as failed: `detkit plugins` shows why, and a spec that names one of its components is
    refused with that cause. Other plugins and runs go on.
    """

    @hookspec
    def detkit_datasets(self) -> Sequence[DatasetComponent[Any]]:
        """Datasets, named by `[dataset] use`."""

    @hookspec
    def detkit_models(self) -> Sequence[ModelComponent[Any]]:
        """Detectors, named by `use` in `[models.KEY]`, or by the key itself."""

    @hookspec
    def detkit_training_steps(self) -> Sequence[TrainingStepComponent[Any]]:
        """Training steps, named by `[training_step] use`; "standard" unless the spec says otherwise."""

    @hookspec
    def detkit_metrics(self) -> Sequence[MetricComponent[Any]]:
        """Metrics, named by `[metrics.KEY]`; the first enabled one selects the best checkpoint."""

    @hookspec
    def detkit_loggers(self) -> Sequence[LoggerComponent[Any]]:
        """Loggers, named by `[loggers.KEY]`."""

    @hookspec
    def detkit_callbacks(self) -> Sequence[CallbackComponent[Any]]:
        """Callbacks, named by `[callbacks.KEY]`."""

    @hookspec
    def detkit_transforms(self) -> Sequence[TransformComponent[Any]]:
        """Transforms of training images, named by `[augment.KEY]`; applied in the order of the spec's tables."""

    @hookspec
    def detkit_searchers(self) -> Sequence[SearcherComponent[Any]]:
        """Searchers, named by `[search] use`: they propose the values that trials have."""

    @hookspec
    def detkit_commands(self) -> Sequence[Command]:
        """Commands of the `detkit` program. These alone need no spec: a command does nothing until it is typed."""


class RunEvents(Protocol):
    """Called in every process of a run, on the training thread, in the order of the spec's `[callbacks]`.

    What raises stops the run, naming the callback and its plugin; other runs go on. Epochs and steps count from 1.
    An implementation may leave out arguments that it does not use.
    """

    @hookspec
    def run_started(self, run: RunInfo) -> None:
        """Before the first step; model, data and optimizer are ready. Also when a run is resumed."""

    @hookspec
    def step_ended(self, run: RunInfo, step: int, losses: Mapping[str, float]) -> None:
        """After an optimizer step, with its loss terms; not after one that was skipped for its loss."""

    @hookspec
    def epoch_ended(self, run: RunInfo, epoch: int, metrics: Mapping[str, float | None]) -> None:
        """After every epoch, and its evaluation where one was due, with all that went into the record for it."""

    @hookspec
    def should_stop(self, run: RunInfo, epoch: int, metrics: Mapping[str, float | None]) -> str | None:
        """After `epoch_ended` of an evaluated epoch: a reason to stop training here, or None. The run then finishes."""

    @hookspec
    def run_ended(self, run: RunInfo, outcome: Outcome) -> None:
        """Once, when the run ends in whatever way that leaves the process alive."""
