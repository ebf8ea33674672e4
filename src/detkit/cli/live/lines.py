"""The course of runs where no table can be drawn: one line an epoch, and a sign of life in long ones."""

from __future__ import annotations

import time
from collections.abc import Callable

from detkit.cli.live.course import BEFORE, TRAINING, VALIDATION, ExperimentCourse, RunCourse
from detkit.cli.live.forecast import run_seconds_left, seconds_left
from detkit.cli.words import figure, roughly

#: Where an epoch takes long, a line says at most so often how far it is.
INTERVAL_S = 30.0


class Lines:
    """Says what has changed.

    Args:
        say: prints a line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said_at = 0.0
        self._epoch = 0

    def run_started(self, run: RunCourse) -> None:
        """A run begins, or goes on after the epochs that it has."""
        self._said_at = time.monotonic()
        self._epoch = run.epochs_done

    def run_progress(self, course: ExperimentCourse, run: RunCourse, now: float) -> None:
        """A sign of life, where the last line was long ago."""
        if now - self._said_at >= INTERVAL_S:
            self._said_at = now
            done = f"{run.progress['done']}/{run.progress['total']}"
            self._say(f"  {_phase(run)}  {done}{_detail(run)}{_left(course, run, now)}")

    def run_epochs(self, course: ExperimentCourse, run: RunCourse, now: float) -> None:
        """A line for each epoch that was recorded: only what no logger's line has said of it."""
        before, self._epoch = self._epoch, run.epochs_done
        if self._epoch <= before:  # it has gone back
            return
        self._said_at = now
        values = run.values
        best = run.best
        told = ""
        if run.quantity and best is not None and values and values[-1].epoch == self._epoch:
            others = (
                "the best so far" if best.epoch == self._epoch else f"best {figure(best.value)} in epoch {best.epoch}"
            )
            told = f"  {others}" if course.logged else f"  {run.quantity.name} {figure(values[-1].value)} ({others})"
        done = "" if course.logged else " done"
        self._say(f"  epoch {self._epoch}/{run.epochs or '?'}{done}{told}{_left(course, run, now)}")


def _phase(run: RunCourse) -> str:
    phase, epoch = run.progress["phase"], f"epoch {run.progress['epoch']}/{run.progress['epochs']}"
    if phase in BEFORE:
        return str(phase)
    return {TRAINING: epoch, VALIDATION: f"{epoch}, evaluating"}.get(phase, f"{phase} after {epoch}")


def _detail(run: RunCourse) -> str:
    progress = run.progress
    if progress["phase"] != TRAINING:
        return ""
    return f"  loss {progress['loss']:.4g}  lr {progress['lr']:.2g}  {progress['images_per_s']:.1f} img/s"


def _left(course: ExperimentCourse, run: RunCourse, now: float) -> str:
    """Of the run, and of all where there are others to come."""
    own, whole = run_seconds_left(course, run, now), seconds_left(course, now)
    if own is None:
        return ""
    rest = "" if whole is None or whole - own < 1 else f", {roughly(whole)} for all runs"
    return f"  about {roughly(own)} left{rest}"
