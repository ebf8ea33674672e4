"""How long an experiment will still take, from the epochs that were measured. Nothing is said before there are some."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from detkit.cli.live.course import BEFORE, TRAINING, VALIDATION, WAITING, ExperimentCourse, RunCourse, done_share
from detkit.record.course import epoch_seconds

#: Before the first epoch has ended, so many steps must have been seen over so many seconds.
FEWEST_STEPS = 3
SHORTEST_S = 2.0


def seconds_left(course: ExperimentCourse, now: float) -> float | None:
    """For all runs that have not ended; None where there is nothing yet to tell it from.

    A run that has not begun takes as long an epoch as those of the same model, or else as all others in the mean;
    before and after its epochs it takes as long as other runs did.
    """
    known = _sum(run_seconds_left(course, run, now) for run in course.runs.values())
    latest = next((run for run in reversed(course.runs.values()) if run.began is not None), None)
    if known is None or latest is None or not course.to_come:
        return known
    next_one = RunCourse("", latest.model, WAITING, latest.epochs)
    one = run_seconds_left(course, next_one, now)
    return None if one is None else known + course.to_come * one


def run_seconds_left(course: ExperimentCourse, run: RunCourse, now: float) -> float | None:
    """For one run; 0 of one that has ended."""
    if run.state not in (WAITING, "running"):
        return 0.0
    epoch = _epoch(course, run)
    if epoch is None or not run.epochs:
        return None
    whole, start, end = sum(epoch), _start(course), _end(course, epoch[1])
    left = max(0, run.epochs - run.epochs_done)
    if run.state == WAITING:
        return start + left * whole + end
    phase = run.progress.get("phase")
    if phase is None or phase in BEFORE:
        return max(0.0, start - (now - (run.began or now))) + left * whole + end
    if run.in_epoch:
        share = done_share(run.progress)
        current = epoch[0] * (1 - share) + epoch[1] if phase == TRAINING else epoch[1] * (1 - share)
        return current + (left - 1) * whole + end
    if phase in (TRAINING, VALIDATION):  # an epoch has just been recorded
        return left * whole + end
    return max(0.0, end - (now - (run.last_epoch or now)))


def _epoch(course: ExperimentCourse, run: RunCourse) -> tuple[float, float] | None:
    """Seconds of training and of evaluation of one epoch of the run."""
    others = [other for other in course.runs.values() if other.rows and other is not run]
    for group in ([run] if run.rows else [], [other for other in others if other.model == run.model], others):
        if group:
            means = [_means(other) for other in group]
            return statistics.fmean(m[0] for m in means), statistics.fmean(m[1] for m in means)
    paces = [pace for other in course.runs.values() if (pace := _pace(other)) is not None]
    own = _pace(run)
    if own is not None:
        return own, 0.0
    return (statistics.fmean(paces), 0.0) if paces else None


def _means(run: RunCourse) -> tuple[float, float]:
    """Over all rows: where not every epoch is evaluated, an epoch has its part of the evaluations."""
    whole = statistics.fmean(map(epoch_seconds, run.rows))
    training = statistics.fmean(float(row["measured"]["train_s"]) for row in run.rows)
    return training, whole - training


def _pace(run: RunCourse) -> float | None:
    """Seconds of training an epoch, from the steps of the first one as they were seen to pass."""
    if run.first_progress is None or run.latest_progress is None or not run.progress.get("total"):
        return None
    (began, first), (latest, done) = run.first_progress, run.latest_progress
    if done - first < FEWEST_STEPS or latest - began < SHORTEST_S or run.progress.get("phase") != TRAINING:
        return None
    return float((latest - began) / (done - first) * run.progress["total"])


def _start(course: ExperimentCourse) -> float:
    """From a run's begin to its first step, as seen so far."""
    seen = [
        r.trained_from - r.began for r in course.runs.values() if r.trained_from is not None and r.began is not None
    ]
    return statistics.fmean(seen) if seen else 0.0


def _end(course: ExperimentCourse, evaluation: float) -> float:
    """From a run's last epoch to its end, as seen so far; before any was seen, one evaluation: the final one."""
    ended = [r for r in course.runs.values() if r.state == "finished" and r.ended is not None]
    seen = [r.ended - r.last_epoch for r in ended if r.last_epoch is not None and r.ended is not None]
    return statistics.fmean(seen) if seen else evaluation


def _sum(parts: Iterable[float | None]) -> float | None:
    total = 0.0
    for part in parts:
        if part is None:
            return None
        total += part
    return total
