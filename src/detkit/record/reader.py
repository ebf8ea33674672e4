"""A record as objects: experiments and runs, their state, streams and files. Reading changes nothing."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from detkit.data.digests import ImageDigest
from detkit.errors import RecordError, did_you_mean
from detkit.figures import Curve, Table
from detkit.record.digests import read_digests
from detkit.record.figures import read_curve, read_table
from detkit.record.files import read_json
from detkit.record.images import RecordedImage, read_images
from detkit.record.layout import ExperimentLayout, RunLayout
from detkit.record.lock import exclusive, is_held
from detkit.record.search import Search, Trial, objective_values, read_search
from detkit.record.streams import read_stream
from detkit.record.summary import primary_figure

RunState = Literal["pending", "running", "finished", "failed", "interrupted", "pruned"]


@dataclass(frozen=True)
class RunRecord:
    """One run of an experiment.

    Attributes:
        experiment: the folder of its experiment.
        run_id, model, seed: which run.
        fold: counted from 1; None in an experiment without folds.
        trial: of the model's search, counted from 1; None of a run that belongs to none.
    """

    experiment: Path
    run_id: str
    model: str
    seed: int
    fold: int | None = None
    trial: int | None = None

    @property
    def files(self) -> RunLayout:
        """Where each of its files is, whether it is there or not."""
        return ExperimentLayout(self.experiment).run(self.run_id)

    @property
    def entry(self) -> str:
        """Under which name it is compared: its model's key, as `fcos`; of a trial with its number, `fcos-trial007`."""
        return self.model if self.trial is None else f"{self.model}-trial{self.trial:03d}"

    @property
    def state(self) -> RunState:
        """By what the run left; running while a process holds it; else interrupted or pending."""
        if self.files.summary.exists():
            return "finished"
        if self.files.pruned.exists():
            return "pruned"
        if not self.files.run.exists():
            return "pending"
        if is_held(self.files.lock):
            return "running"
        return "failed" if self.files.failure.exists() else "interrupted"

    @property
    def facts(self) -> dict[str, Any]:
        """run.json: versions, hardware, precision, seed, origin of the weights, plugins, and the spec of this run."""
        return read_json(self.files.run)

    @property
    def summary(self) -> dict[str, Any] | None:
        """summary.json of a finished run: selected epoch, final figures, costs."""
        return read_json(self.files.summary) if self.files.summary.exists() else None

    @property
    def failure(self) -> dict[str, Any] | None:
        """failure.json: what stopped a failed run."""
        return read_json(self.files.failure) if self.files.failure.exists() else None

    @property
    def pruned(self) -> dict[str, Any] | None:
        """pruned.json of a trial that was stopped, since others were better by then: after which epoch, and why."""
        return read_json(self.files.pruned) if self.files.pruned.exists() else None

    def objective_values(self) -> dict[str, float | None]:
        """What a trial's run gave: each objective of its search to its value on the validation images, or None.

        Of a finished run at its selected epoch; of a pruned one the best until then. Empty where it is no trial.
        """
        return objective_values(self)

    def images(self) -> list[RecordedImage]:
        """All images of the experiment's dataset, in its order, with the splits of this run: those of its fold.

        Raises:
            RecordError: a file of the record is missing or damaged.
        """
        return read_images(ExperimentLayout(self.experiment), self.fold)

    def epochs(self) -> list[dict[str, Any]]:
        """One object an evaluated epoch: epoch, step, values, measured."""
        return list(read_stream(self.files.metrics))

    def steps(self) -> Iterator[dict[str, Any]]:
        """One object an optimizer step: epoch, step, loss, losses, lr, measured."""
        return read_stream(self.files.steps)

    def tables(self, name: str) -> list[tuple[int, int, Table]]:
        """A metric's table of every epoch that has one: (epoch, optimizer step, table), in their order.

        Args:
            name: as loggers get it, `metric/name`, as "coco/per_image".
        """
        metric, _, quantity = name.partition("/")
        rows = [(row["epoch"], row["step"], self.files.table(metric, quantity, row["epoch"])) for row in self.epochs()]
        return [(epoch, step, read_table(file)[1]) for epoch, step, file in rows if file.exists()]

    def curves(self, epoch: int) -> dict[str, Curve]:
        """The curves of an epoch's evaluation, by the names that loggers get, as "coco/pr50"."""
        return dict(read_curve(file) for file in self.files.figures("curves", epoch))

    def __str__(self) -> str:
        return f"{self.run_id} ({self.state})"


@dataclass(frozen=True)
class ExperimentRecord:
    """An experiment's folder. In a notebook it shows its leaderboard."""

    folder: Path

    @property
    def files(self) -> ExperimentLayout:
        """Where each of its files is, whether it is there or not."""
        return ExperimentLayout(self.folder)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """experiment.json."""
        return read_json(self.files.experiment)

    @property
    def name(self) -> str:
        """As the spec states it under [experiment]."""
        return str(self.facts["name"])

    @property
    def runs(self) -> list[RunRecord]:
        """In the order in which they were asked for."""
        rows = self.facts["runs"]
        return [
            RunRecord(self.folder, row["run_id"], row["model"], row["seed"], row.get("fold"), row.get("trial"))
            for row in rows
        ]

    @property
    def search(self) -> Search | None:
        """search.json: the trials of each model that is searched, what each gave, the best; None without a search.

        Raises:
            RecordError: the file is damaged.
        """
        file = self.files.search
        # Not from the list of runs, which is as old as this object.
        return read_search(file, lambda run: RunRecord(self.folder, run, "", 0).state) if file.exists() else None

    def trials(self) -> list[Trial]:
        """The trials of all models, in their order; none without a search."""
        search = self.search
        return [trial for found in search.models.values() for trial in found.trials] if search else []

    @property
    def compared(self) -> list[RunRecord]:
        """The runs that stand for their models: of those that were searched only the best trial's, so far.

        Of a model without any finished trial, those of its latest one that was not removed.
        """
        search = self.search
        if search is None:
            return self.runs
        chosen = {model: found.chosen for model, found in search.models.items()}
        return [run for run in self.runs if run.trial is None or run.trial == chosen.get(run.model)]

    def run(self, name: str) -> RunRecord:
        """The run of that name, or of that unique beginning.

        Raises:
            RecordError: none or several begin so.
        """
        found = [run for run in self.runs if run.run_id == name] or [
            run for run in self.runs if run.run_id.startswith(name)
        ]
        if len(found) == 1:
            return found[0]
        names = [run.run_id for run in self.runs]
        if found:
            raise RecordError(f"{name!r} begins several runs: {', '.join(run.run_id for run in found)}")
        raise RecordError(f"{self.folder} has no run {name!r}{did_you_mean(name, names)}")

    def images(self) -> list[RecordedImage]:
        """All images of the dataset, in its order: their objects, their files, and the copies that the record keeps.

        With folds, each run has splits of its own: see `RunRecord.images`.

        Raises:
            RecordError: a file of the record is missing or damaged.
        """
        return read_images(self.files)

    def digests(self) -> Mapping[int, ImageDigest]:
        """Image id to the digest of its content: of its file's bytes, or of its pixels. Empty in older records.

        Raises:
            RecordError: the file is damaged.
        """
        return read_digests(self.files)

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the experiment for the time of a `with` block, as `detkit run` does.

        Raises:
            RecordError: another detkit process holds it.
        """
        return exclusive(self.files.lock, f"the experiment {self.folder}")

    @property
    def fingerprint(self) -> dict[str, Any]:
        """fingerprint.json: a digest of the data (`sha256`), another of its splits, its classes, and counts.

        Raises:
            RecordError: it is missing or damaged.
        """
        return read_json(self.files.fingerprint)

    @property
    def leaderboard(self) -> dict[str, Any] | None:
        """leaderboard.json, once a run has ended."""
        return read_json(self.files.leaderboard) if self.files.leaderboard.exists() else None

    def __str__(self) -> str:
        return f"experiment {self.name!r} in {self.folder}: {', '.join(map(str, self.runs))}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(run.run_id)}</td><td>{run.state}</td><td>{html.escape(_primary(run))}</td></tr>"
            for run in self.runs
        )
        head = "<tr><th>run</th><th>state</th><th>best</th></tr>"
        return f"<b>{html.escape(self.name)}</b><table>{head}{rows}</table><code>{html.escape(str(self.folder))}</code>"


def _primary(run: RunRecord) -> str:
    summary = run.summary
    if summary is None:
        failure, pruned = run.failure, run.pruned
        return str(failure["message"]) if failure else str(pruned["reason"]) if pruned else ""
    return f"{primary_figure(summary)} (epoch {summary['selected']['epoch']})"


def open_record(folder: Path | str) -> ExperimentRecord:
    """An experiment's record; also by the folder of one of its runs.

    Raises:
        RecordError: the folder holds no experiment; says what it holds.
    """
    path = Path(folder).expanduser()
    for candidate in (path, path.parent):
        if ExperimentLayout(candidate).experiment.is_file():
            record = ExperimentRecord(candidate)
            _ = record.facts
            return record
    if not path.is_dir():
        raise RecordError(f"{path} is no folder" if path.exists() else f"there is no folder {path}")
    inside = sorted(child.name for child in path.iterdir() if ExperimentLayout(child).experiment.is_file())
    hint = f"; it holds the experiments {', '.join(inside)}: name one" if inside else ""
    raise RecordError(f"{path} is not the folder of an experiment: it has no experiment.json{hint}")


def find(path: Path | str) -> RunRecord | ExperimentRecord:
    """What a path means: a run's folder (one put aside, too), EXPERIMENT/BEGINNING of its name, or an experiment.

    Raises:
        RecordError: there is neither; says what there is.
    """
    path = Path(os.path.abspath(Path(path).expanduser()))  # the name of "." and ".." is that of the folder
    if RunLayout(path).run.is_file():
        facts = read_json(RunLayout(path).run)
        trial = facts.get("trial", {}).get("number")
        return RunRecord(path.parent, path.name, facts["model"], facts["seed"], facts.get("fold"), trial)
    record = open_record(path)
    return record if record.folder == path else record.run(path.name)


def open_run(path: Path | str) -> RunRecord:
    """The run that `find` finds, or an experiment's only one.

    Raises:
        RecordError: there is no such run; says which there are.
    """
    found = find(path)
    if isinstance(found, RunRecord):
        return found
    runs = found.runs
    if len(runs) != 1:
        names = ", ".join(run.run_id for run in runs)
        raise RecordError(f"{found.folder} holds several runs: {names}; name the folder of one")
    return runs[0]
