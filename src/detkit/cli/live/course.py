"""What is known of an experiment while it goes on: every run, its epochs, where it is. Events change it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import tomli

from detkit.errors import RecordError
from detkit.record.course import Best, Quantity, best_of, epoch_seconds, primary_quantity, values_of
from detkit.record.layout import ExperimentLayout
from detkit.record.reader import ExperimentRecord, RunRecord

#: What the record calls pending waits for its turn here.
WAITING = "waiting"
#: The phases of an epoch, as the run's process names them; the others come before the first or after the last one.
TRAINING, VALIDATION = "training", "validation"
BEFORE = ("checking",)
#: The logger that prints lines.
CONSOLE = "console"


@dataclass(slots=True)
class RunCourse:
    """One run. Times are of the monotonic clock, seconds.

    Attributes:
        state: waiting, or one of the record's.
        epochs: how many it shall train; 0 where that is not known.
        rows: of metrics.jsonl. progress: the content of progress.json of this sitting; empty before.
        quantity: the primary one. cause: why it failed.
        began, trained_from, last_epoch, ended: when it was begun here, when it first trained here, when its latest
            epoch was recorded here, when it ended here; None where it has not yet, or not here.
        first_progress: of the current epoch's training: when, and the steps done then.
    """

    run_id: str
    model: str
    state: str
    epochs: int = 0
    rows: Sequence[Mapping[str, Any]] = ()
    progress: Mapping[str, Any] = field(default_factory=dict)
    quantity: Quantity | None = None
    cause: str = ""
    began: float | None = None
    trained_from: float | None = None
    last_epoch: float | None = None
    ended: float | None = None
    first_progress: tuple[float, int] | None = None
    latest_progress: tuple[float, int] | None = None

    @property
    def epochs_done(self) -> int:
        return int(self.rows[-1]["epoch"]) if self.rows else 0

    @property
    def values(self) -> list[Best]:
        return values_of(self.rows, self.quantity)

    @property
    def best(self) -> Best | None:
        return best_of(self.rows, self.quantity)

    @property
    def loss(self) -> float | None:
        """Of the latest step, or else of the latest epoch."""
        if self.progress.get("loss") is not None:
            return float(self.progress["loss"])
        found = self.rows[-1]["values"].get("train/epoch_loss") if self.rows else None
        return None if found is None else float(found)

    @property
    def measured_s(self) -> float:
        """Training and evaluation so far, in all sittings."""
        return sum(map(epoch_seconds, self.rows))

    def took(self, now: float) -> float | None:
        """In this sitting; of a run that has ended before, what its epochs took."""
        if self.began is not None:
            return (now if self.ended is None else self.ended) - self.began
        return self.measured_s if self.rows else None

    @property
    def in_epoch(self) -> bool:
        """Whether it is within an epoch that is not recorded yet."""
        phase = self.progress.get("phase")
        return phase in (TRAINING, VALIDATION) and int(self.progress["epoch"]) == self.epochs_done + 1

    @property
    def share(self) -> float:
        """Of its epochs, 0 to 1, with the part of the current one that is trained."""
        if not self.epochs:
            return 0.0
        part = 0.0
        if self.in_epoch:
            part = 1.0 if self.progress["phase"] == VALIDATION else done_share(self.progress)
        return min(1.0, (self.epochs_done + part) / self.epochs)


def done_share(progress: Mapping[str, Any]) -> float:
    return min(1.0, progress["done"] / progress["total"]) if progress.get("total") else 0.0


class ExperimentCourse:
    """All runs of an experiment, in their order. What the record does not tell is told by events.

    Attributes:
        began: when this command began, of the monotonic clock. warnings: told so far.
        to_come: runs that are known only by their number: the next trials of a search.
        logged: whether a logger prints the figures of every epoch, so that nobody else need.
    """

    def __init__(self, name: str, now: float, epochs: Mapping[str, int]) -> None:
        """Args: epochs: how many each model shall be trained, where that is known."""
        self.name = name
        self.began = now
        self.warnings = 0
        self.to_come = 0
        self.logged = False
        self.runs: dict[str, RunCourse] = {}
        self._epochs = epochs

    @classmethod
    def of(cls, experiment: ExperimentRecord, runs: Sequence[RunRecord], now: float) -> Self:
        """With these runs, as their records have them."""
        spec = _spec(experiment)
        course = cls(experiment.folder.name, now, _epochs_by_model(spec))
        course.logged = _is_logged(spec)
        course.runs = {run.run_id: course._course(run) for run in runs}
        return course

    def run_started(self, run: RunRecord, now: float, after: int = 0) -> None:
        """Also of a run that was not announced: the trials of a search come one by one.

        Args:
            after: so many are to be run after this one, whether they are announced or not.
        """
        course = self.runs[run.run_id] = self._course(run)
        course.state, course.began, course.cause = "running", now, ""
        self.to_come = max(0, after - self.counts()[WAITING])

    def run_progress(self, run: RunRecord, progress: Mapping[str, Any], now: float) -> None:
        course = self.runs[run.run_id]
        before, course.progress = course.progress, progress
        course.epochs = int(progress.get("epochs", course.epochs))
        if progress.get("phase") != TRAINING:
            return
        if course.trained_from is None:
            course.trained_from = now
        done = int(progress["done"])
        if course.first_progress is None or before.get("epoch") != progress["epoch"] or done < course.first_progress[1]:
            course.first_progress = (now, done)
        course.latest_progress = (now, done)

    def run_epochs(self, run: RunRecord, rows: Sequence[Mapping[str, Any]], now: float) -> None:
        course = self.runs[run.run_id]
        course.rows = tuple(rows)
        course.quantity = primary_quantity(run, rows) or course.quantity
        if rows:
            course.last_epoch = now
            if course.trained_from is None and course.began is not None:  # so fast that no step of it was seen
                course.trained_from = max(course.began, now - epoch_seconds(rows[-1]))

    def run_ended(self, run: RunRecord, now: float) -> None:
        course = self.runs[run.run_id]
        course.ended = now
        _read_state(course, run)

    def counts(self) -> Counter[str]:
        """How many runs are in each state."""
        return Counter(run.state for run in self.runs.values())

    def _course(self, run: RunRecord) -> RunCourse:
        course = RunCourse(run.run_id, run.model, WAITING, self._epochs.get(run.model, 0))
        with suppress(RecordError, KeyError, TypeError):
            if run.files.run.exists():
                course.epochs = int(run.facts["spec"]["model"]["train"]["epochs"])
        with suppress(RecordError, OSError):
            course.rows = tuple(run.epochs())
            course.quantity = primary_quantity(run, course.rows)
        _read_state(course, run)
        # The others are going to be run; of a search a trial that has failed is not tried again.
        ended = ("finished", "pruned") if run.trial is None else ("finished", "pruned", "failed")
        if course.state not in ended:
            course.state = WAITING
        return course


def _read_state(course: RunCourse, run: RunRecord) -> None:
    state = run.state
    course.state = WAITING if state == "pending" else state
    if state == "failed":
        try:
            course.cause = " ".join(str((run.failure or {}).get("message", "")).split())
        except RecordError as error:
            course.cause = str(error)


def _spec(experiment: ExperimentRecord) -> Mapping[str, Any]:
    """The resolved spec; what is not to be read there is not known."""
    try:
        with ExperimentLayout(experiment.folder).spec.open("rb") as stream:
            return tomli.load(stream)
    except (OSError, ValueError):
        return {}


def _epochs_by_model(spec: Mapping[str, Any]) -> dict[str, int]:
    try:
        return {key: int(table["train"]["epochs"]) for key, table in spec["models"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _is_logged(spec: Mapping[str, Any]) -> bool:
    """Whether `[loggers.console]` prints a line for every epoch."""
    try:
        tables = [(table.get("use", key), table) for key, table in spec.get("loggers", {}).items()]
    except AttributeError:
        return False
    return any(
        use == CONSOLE and table.get("enabled", True) and table.get("every_epochs", 1) == 1 for use, table in tables
    )
