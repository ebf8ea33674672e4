"""Where everything lies.

runs/penn-fudan/                     ExperimentLayout
  experiment.json  spec.toml  lock  leaderboard.json
  search.json                        of a search: its trials and what each gave, and what its searcher remembers
  data/                              ground_truth.json  splits.json  fingerprint.json  digests.json  images.json
    images/000012.jpg                copies of the evaluated images, to look at
  faster_rcnn-seed1/                 RunLayout; with folds faster_rcnn-fold2-seed1/, in a search
                                     faster_rcnn-trial007-seed1/
    run.json                         versions, hardware, precision, seed, origin of the weights, plugins
    model.txt                        the model's modules, as torch prints them
    quantities.json                  what an evaluation measures: the primary figure, and what of each is better
    metrics.jsonl  steps.jsonl       streams: one JSON object a line, appended, cut back by a resume
    system.jsonl                     CPU, memory and GPU every few seconds
    messages.jsonl                   what components told people
    predictions/epoch-003.json.gz    COCO's results form
    tables/  curves/  matrices/      what metrics gave beside numbers, by epoch
    checkpoints/last.pt, best.pt     and previous.pt, best-003.pt while a run trains that may go back
    incidents/step-000123.pt         what replays a step whose loss was not finite, or exploded
    progress.json                    where the run is, a few times a second
    failure.json  summary.json       how it ended; a trial that was stopped for others that were better: pruned.json
    spec.toml                        of a trial: the experiment's, with its values
    draws.json.gz                    the final figures in each draw of the images
    loggers.json                     which loggers have received the whole run
    console.log                      what the process printed
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: Of every file of a record; readers refuse a newer one.
FORMAT_VERSION = 1

#: What some file system refuses in a name, and so many bytes as leave room for an ending: names have 255 at most.
UNSAFE = re.compile(r'[\x00-\x1f<>:"\\|?*]')
LONGEST_NAME = 120
#: Metrics' keys and figures' names that are told apart by their file's name alone, on every disk: without "-", which
#: stands for "/", and without capitals or other letters, which some file systems take for each other.
ORDINARY = re.compile(r"[a-z0-9_]+/[a-z0-9_. /]+")


def run_id(model: str, seed: int, fold: int | None = None, trial: int | None = None) -> str:
    """The name of a run's folder: `fcos-seed1`, or `fcos-fold2-trial007-seed1` with folds and in a search."""
    of_fold = "" if fold is None else f"-fold{fold}"
    of_trial = "" if trial is None else f"-trial{trial:03d}"
    return f"{model}{of_fold}{of_trial}-seed{seed}"


@dataclass(frozen=True, slots=True)
class RunLayout:
    """The files of one run."""

    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "run.json"

    @property
    def model(self) -> Path:
        return self.folder / "model.txt"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def steps(self) -> Path:
        return self.folder / "steps.jsonl"

    @property
    def system(self) -> Path:
        return self.folder / "system.jsonl"

    @property
    def messages(self) -> Path:
        return self.folder / "messages.jsonl"

    @property
    def quantities(self) -> Path:
        return self.folder / "quantities.json"

    @property
    def progress(self) -> Path:
        return self.folder / "progress.json"

    @property
    def draws(self) -> Path:
        return self.folder / "draws.json.gz"

    @property
    def failure(self) -> Path:
        return self.folder / "failure.json"

    @property
    def summary(self) -> Path:
        return self.folder / "summary.json"

    @property
    def pruned(self) -> Path:
        return self.folder / "pruned.json"

    @property
    def spec(self) -> Path:
        """The run's own resolved spec, where it is not the experiment's: of a trial."""
        return self.folder / "spec.toml"

    @property
    def own_spec(self) -> Path:
        """The resolved spec that the run is made by: its own, or the experiment's."""
        return self.spec if self.spec.exists() else ExperimentLayout(self.folder.parent).spec

    @property
    def loggers(self) -> Path:
        return self.folder / "loggers.json"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def last(self) -> Path:
        return self.folder / "checkpoints" / "last.pt"

    @property
    def previous(self) -> Path:
        """The checkpoint before the last one, while a run trains that may go back."""
        return self.folder / "checkpoints" / "previous.pt"

    @property
    def best(self) -> Path:
        return self.folder / "checkpoints" / "best.pt"

    def best_of(self, epoch: int) -> Path:
        """A second name of `best.pt` while that epoch is the best and a run trains that may go back."""
        return self.folder / "checkpoints" / f"best-{epoch:03d}.pt"

    def bests(self) -> list[tuple[int, Path]]:
        """The files of `best_of` that are there, with their epochs."""
        files = self.best.parent.glob("best-*.pt")
        return sorted((int(file.stem.removeprefix("best-")), file) for file in files)

    @property
    def incidents(self) -> Path:
        return self.folder / "incidents"

    def incident(self, step: int) -> Path:
        """What replays a step whose loss was not finite, or exploded."""
        return self.incidents / f"step-{step:06d}.pt"

    def predictions(self, epoch: int | str) -> Path:
        """Of an epoch's validation, or of a named evaluation such as "test"."""
        return self.folder / "predictions" / f"{_epoch_name(epoch)}.json.gz"

    def table(self, metric: str, name: str, epoch: int | str) -> Path:
        return self._extra("tables", metric, name, epoch)

    def curve(self, metric: str, name: str, epoch: int | str) -> Path:
        return self._extra("curves", metric, name, epoch)

    def matrix(self, metric: str, name: str, epoch: int | str) -> Path:
        return self._extra("matrices", metric, name, epoch)

    def figures(self, kind: Literal["tables", "curves", "matrices"], epoch: int | str) -> list[Path]:
        """The files of one kind that an evaluation left, in the order of their names."""
        return sorted((self.folder / kind / _epoch_name(epoch)).glob("*.json"))

    def _extra(self, kind: str, metric: str, name: str, epoch: int | str) -> Path:
        return self.folder / kind / _epoch_name(epoch) / figure_name(metric, name)


def figure_name(metric: str, name: str) -> str:
    """The file name of a table, curve or matrix: `metric-name.json`, "/" as "-"; no two have the same.

    Names hold class names, which may be anything: what a file's name cannot hold is left out, and some digits of the
    full name's digest keep all but ordinary names apart from others.
    """
    full = f"{metric}/{name}"
    plain = full.replace("/", "-")
    safe = UNSAFE.sub("-", plain).encode()[:LONGEST_NAME].decode(errors="ignore")
    ordinary = safe == plain and ORDINARY.fullmatch(full)
    return f"{safe}.json" if ordinary else f"{safe}-{hashlib.sha256(full.encode()).hexdigest()[:8]}.json"


def _epoch_name(epoch: int | str) -> str:
    return f"epoch-{epoch:03d}" if isinstance(epoch, int) else epoch


@dataclass(frozen=True, slots=True)
class ExperimentLayout:
    """The files of an experiment."""

    folder: Path

    @property
    def experiment(self) -> Path:
        return self.folder / "experiment.json"

    @property
    def spec(self) -> Path:
        return self.folder / "spec.toml"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def search(self) -> Path:
        return self.folder / "search.json"

    @property
    def leaderboard(self) -> Path:
        return self.folder / "leaderboard.json"

    @property
    def ground_truth(self) -> Path:
        return self.folder / "data" / "ground_truth.json"

    @property
    def splits(self) -> Path:
        return self.folder / "data" / "splits.json"

    @property
    def fingerprint(self) -> Path:
        return self.folder / "data" / "fingerprint.json"

    @property
    def digests(self) -> Path:
        return self.folder / "data" / "digests.json"

    @property
    def images(self) -> Path:
        return self.folder / "data" / "images.json"

    @property
    def copies(self) -> Path:
        return self.folder / "data" / "images"

    def run(self, name: str) -> RunLayout:
        return RunLayout(self.folder / name)
