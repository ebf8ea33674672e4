"""`workers = "auto"`: which number is chosen at which speeds, with a clock of the test's own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from detkit.data.workers import MEASURED, WARM_UP, WorkerChoice, obstacle


class Machine:
    """Loads a batch in `load_s` by itself, or has the consumer wait `waits[workers]`; a step takes `step_s` beside."""

    def __init__(
        self, load_s: float, step_s: float, waits: Mapping[int, float] | None = None, slower: float = 0
    ) -> None:
        self.now = 0.0
        self.load_s, self.step_s, self.waits, self.slower = load_s, step_s, waits or {}, slower
        self.parts: list[tuple[int, int]] = []
        self.lines: list[str] = []

    def load(self, part: Sequence[int], workers: int) -> Iterator[int]:
        self.parts.append((workers, len(part)))
        for number, item in enumerate(part):
            start_up = 2.0 if not number else 0.0
            self.now += self.load_s if not workers else self.waits[workers] + start_up
            yield item

    def run(self, choice: WorkerChoice, batches: int = 200, epochs: int = 10) -> list[int]:
        seen = []
        for item in choice.batches(range(batches), self.load, epochs):
            seen.append(item)
            self.now += self.step_s + self.slower * choice_workers(self)
        assert seen == list(range(batches))
        return [workers for workers, _ in self.parts]

    def choice(self, workers: int | str = "auto", cores: int = 8, **other: Any) -> WorkerChoice:
        return WorkerChoice(workers, self.lines.append, clock=lambda: self.now, cores=cores, **other)  # type: ignore[arg-type]  # "auto"


def choice_workers(machine: Machine) -> int:
    return machine.parts[-1][0]


def test_a_number_is_taken_as_it_is() -> None:
    machine = Machine(1.0, 1.0, {3: 0.1})
    choice = machine.choice(3)
    assert machine.run(choice) == [3]
    assert (choice.workers, machine.lines) == (3, [])


def test_little_loading_is_not_worth_a_process() -> None:
    machine = Machine(0.01, 1.0)
    choice = machine.choice()
    assert machine.run(choice) == [0, 0]
    assert choice.workers == 0
    assert machine.lines == ["loading takes 1% of a step's time: no processes of its own for it (workers = 0)"]


def test_a_short_run_is_not_worth_a_process() -> None:
    machine = Machine(0.01, 0.02)
    assert machine.run(machine.choice(), batches=100, epochs=2) == [0, 0]
    assert machine.lines == ["loading takes about 2 s in the whole run: no processes of its own for it (workers = 0)"]


def test_too_few_batches_are_not_measured() -> None:
    machine = Machine(1.0, 0.1)
    choice = machine.choice()
    assert machine.run(choice, batches=2 * (WARM_UP + MEASURED) - 1) == [0]
    assert machine.lines == []


def test_more_workers_are_tried_while_steps_become_faster() -> None:
    machine = Machine(0.4, 0.1, {1: 0.3, 2: 0.1, 4: 0.0, 6: 0.0})
    choice = machine.choice()
    assert machine.run(choice) == [0, 1, 2, 4, 6, 4]
    assert choice.workers == 4
    (line,) = machine.lines
    assert line == (
        "loading took 80% of a step's time; a step with so many processes for it takes 0: 500 ms, 1: 400 ms, 2: 200 ms,"
        " 4: 100 ms, 6: 100 ms: workers = 4"
    )
    assert machine.run(choice) == [0, 1, 2, 4, 6, 4, 4]  # the next epoch


def test_workers_that_take_the_cores_of_the_training_are_given_up() -> None:
    machine = Machine(0.1, 0.2, {1: 0.0}, slower=0.2)
    choice = machine.choice(cores=2)
    assert machine.run(choice) == [0, 1, 0]
    assert choice.workers == 0


def test_cores_are_shared_and_no_epoch_is_too_short_for_a_trial() -> None:
    machine = Machine(0.5, 0.1, {1: 0.3, 2: 0.1})
    choice = machine.choice(cores=8, processes=4)
    assert machine.run(choice) == [0, 1, 2, 2]
    short = Machine(5.0, 0.1, {1: 0.3, 2: 0.1})
    assert short.run(short.choice(), batches=30) == [0, 1, 1]


def test_it_measures_again_where_the_first_epoch_filled_a_cache() -> None:
    machine = Machine(0.4, 0.1, {1: 0.0, 2: 0.0})
    choice = machine.choice(measurements=2)
    assert machine.run(choice) == [0, 1, 2, 1]
    machine.load_s = 0.001
    machine.parts.clear()
    assert machine.run(choice) == [0, 0]
    assert choice.workers == 0
    assert len(machine.lines) == 2


def test_what_stands_in_the_way_is_told_where_it_matters() -> None:
    machine = Machine(0.4, 0.1)
    choice = machine.choice(obstacle="there is no room")
    assert machine.run(choice) == [0, 0]
    assert machine.lines == ["loading takes 80% of a step's time, but there is no room (workers = 0)"]
    quick = Machine(0.001, 0.1)
    quick.run(quick.choice(obstacle="there is no room"))
    assert "room" not in quick.lines[0]


def test_little_shared_memory_stands_in_the_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = SimpleNamespace(free=64_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(sys, "platform", "linux")
    assert obstacle(tmp_path).startswith(f"{tmp_path} has only 64 MB free, too little for processes (docker run")
    usage.free = 10**9
    assert obstacle(tmp_path) == ""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux alone" in obstacle(tmp_path)


@pytest.mark.parametrize("stop", [1, 5, 20])
def test_an_epoch_that_is_left_early_leaves_no_choice_half_made(stop: int) -> None:
    machine = Machine(0.4, 0.1, dict.fromkeys((1, 2, 4, 6, 8), 0.0))
    choice = machine.choice()
    for number, _ in enumerate(choice.batches(range(200), machine.load, 10), start=1):
        if number == stop:
            break
    assert choice.workers == 0
    assert list(choice.batches(range(200), machine.load, 10)) == list(range(200))
