"""How many processes load images: measured on the first steps of the training itself, which are what they are anyway.

What is loaded does not depend on it, so the number can change between two batches.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

T = TypeVar("T")
B = TypeVar("B")

#: Batches of a measurement, and those before them that are not counted: oneDNN compiles, workers start.
MEASURED, WARM_UP = 8, 4
#: Below this share of a step's time loading is not worth a process.
SHARE = 0.05
#: Nor is it where all that it takes in the rest of the run is less than this, seconds.
LEAST_SAVED_S = 15.0
#: More workers must make steps faster by this share, or fewer stay.
GAIN = 0.03
#: Free shared memory below which no workers are started, bytes.
LEAST_SHARED = 500_000_000


class WorkerChoice:
    """Loads batches with a fixed number of workers, or with the number under which steps are the fastest.

    Args:
        workers: the number, or "auto".
        tell: gets the line that says what was chosen, and why.
        obstacle: why no workers can be started; "auto" then keeps to none, and says so where they would be of use.
        processes: that train together on this machine: they share its cores.
        measurements: how often "auto" measures, at most once an epoch: a second time where the first epoch is not like
            the others, since it fills a cache.
        clock: seconds.
    """

    def __init__(
        self,
        workers: int | Literal["auto"],
        tell: Callable[[str], None],
        *,
        obstacle: str = "",
        processes: int = 1,
        measurements: int = 1,
        clock: Callable[[], float] = time.perf_counter,
        cores: int | None = None,
    ) -> None:
        self.workers = 0 if workers == "auto" else workers
        self._tell = tell
        self._left = measurements if workers == "auto" else 0
        self._clock = clock
        self._obstacle = obstacle
        most = max(0, (cores or _cores()) // processes)
        self._candidates = [count for count in (1, 2, 4, 6, 8, 12, 16) if count <= most]

    def batches(self, plan: Sequence[B], load: Callable[[Sequence[B], int], Iterator[T]], epochs: int) -> Iterator[T]:
        """The batches of a plan in order.

        Args:
            load: gives those of a part of the plan with a number of workers.
            epochs: that are left, this one included.
        """
        if not self._left or len(plan) < 2 * (WARM_UP + MEASURED):
            yield from load(plan, self.workers)
            return
        self.workers = 0
        trial = _Trial(self._clock)
        done = 0
        yield from trial.run(load(plan[: WARM_UP + MEASURED], 0), skip=WARM_UP)
        done += WARM_UP + MEASURED
        share = trial.load_s / trial.step_s if trial.step_s else 0.0
        saved = trial.load_s * (len(plan) * epochs - done)
        if share < SHARE or saved < LEAST_SAVED_S:
            self._left -= 1
            why = f"{share:.0%} of a step's time" if share < SHARE else f"about {saved:.0f} s in the whole run"
            self._tell(f"loading takes {why}: no processes of its own for it (workers = 0)")
            yield from load(plan[done:], 0)
            return
        if self._obstacle:
            self._left -= 1
            self._tell(f"loading takes {share:.0%} of a step's time, but {self._obstacle} (workers = 0)")
            yield from load(plan[done:], 0)
            return
        steps = {0: trial.step_s}
        for count in self._candidates:
            size = WARM_UP + 2 * count + MEASURED  # each worker has two batches ready
            if len(plan) - done < size:
                break
            trial = _Trial(self._clock)
            yield from trial.run(load(plan[done : done + size], count), skip=size - MEASURED)
            done += size
            steps[count] = trial.step_s
            if trial.step_s > steps[self.workers] * (1 - GAIN):
                break
            self.workers = count
        self._left -= 1
        measured = ", ".join(f"{count}: {seconds * 1000:.0f} ms" for count, seconds in steps.items())
        self._tell(
            f"loading took {share:.0%} of a step's time; a step with so many processes for it takes {measured}:"
            f" workers = {self.workers}"
        )
        yield from load(plan[done:], self.workers)


def obstacle(shared: Path = Path("/dev/shm")) -> str:
    """Why workers cannot be started here of a program's own accord; empty where they can.

    Where they are not forked they cannot import plugin files. Their batches come through shared memory; where that is
    short, as in a container of Docker's defaults, they die of a bus error.
    """
    if sys.platform != "linux":
        return "processes for it are started on Linux alone unless a number is set"
    try:
        free = shutil.disk_usage(shared).free
    except OSError:
        return ""
    if free >= LEAST_SHARED:
        return ""
    room = f"{shared} has only {free / 1e6:.0f} MB free"
    return f"{room}, too little for processes (docker run --shm-size=2g makes it larger)"


class _Trial:
    """Times batches: `load_s`, for how long one is waited for, and `step_s`, from one to the next; medians."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.load_s = self.step_s = 0.0

    def run(self, batches: Iterator[T], *, skip: int) -> Iterator[T]:
        loads, steps = [], []
        while True:
            asked = self._clock()
            batch = next(batches, None)
            if batch is None:
                break
            loads.append(self._clock() - asked)
            yield batch
            steps.append(self._clock() - asked)
        if loads[skip:]:
            self.load_s, self.step_s = statistics.median(loads[skip:]), statistics.median(steps[skip:])


def _cores() -> int:
    """That this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1
