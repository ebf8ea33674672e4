"""Removing runs and experiments from disk: only what detkit wrote, never what is in use.

A plan is made, can be shown, and is then carried out. What lies in a record's folders and is not detkit's stays, and is
named. Links are removed, never followed. The list of runs in experiment.json is written before the first file goes, so
that a removal that is cut short leaves no run whose files are gone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli

from detkit.errors import RecordError
from detkit.record.files import cannot_write, read_json, write_json
from detkit.record.inventory import SHAPES, runs_aside, tree_bytes
from detkit.record.layout import ExperimentLayout, RunLayout
from detkit.record.lock import exclusive, is_held
from detkit.record.reader import ExperimentRecord, RunRecord


def _names(layout: RunLayout | ExperimentLayout) -> frozenset[str]:
    """What lies right in a folder, of all that its layout knows. A run may share a file of its experiment's."""
    places = [getattr(layout, name) for name, value in vars(type(layout)).items() if isinstance(value, property)]
    inside = [place for place in places if place.is_relative_to(layout.folder)]
    return frozenset(place.relative_to(layout.folder).parts[0] for place in inside)


#: Everything that detkit itself writes into the folder of a run, and into that of an experiment.
RUN_FILES = _names(RunLayout(Path("run"))) | {"predictions", "tables", "curves", "matrices"}
EXPERIMENT_FILES = _names(ExperimentLayout(Path("experiment"))) | {"report"}


@dataclass(frozen=True, slots=True)
class Removal:
    """What is removed for one name.

    Attributes:
        experiment: its folder. run_id: None where it is the whole experiment, or its own files.
        paths: files and folders, each removed with all that is in it. links: those of them that are links: only the
            link goes. kept: what lies beside them and is not detkit's.
        size: of the paths, bytes.
        checkpoints_only: whether the run itself stays.
    """

    experiment: Path
    run_id: str | None
    paths: tuple[Path, ...]
    links: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()
    size: int = 0
    checkpoints_only: bool = False

    @property
    def name(self) -> str:
        return self.experiment.name if self.run_id is None else f"{self.experiment.name}/{self.run_id}"

    @property
    def folder(self) -> Path:
        return self.experiment if self.run_id is None else self.experiment / self.run_id

    def to_dict(self) -> dict[str, Any]:
        return {
            "experiment": str(self.experiment),
            "run_id": self.run_id,
            "paths": [str(path) for path in self.paths],
            "links": [str(path) for path in self.links],
            "kept": [str(path) for path in self.kept],
            "bytes": self.size,
            "checkpoints_only": self.checkpoints_only,
        }


# --- planning --------------------------------------------------------------------------------------------------------


def plan_run(experiment: Path, run_id: str) -> Removal:
    """The removal of one run.

    Raises:
        RecordError: it is running, or its folder is a link, or its experiment cannot be read.
    """
    folder = _run_folder(experiment, run_id)
    _refuse_link(folder)
    _experiment(experiment)
    return _removal(experiment, run_id, folder, RUN_FILES | _logger_folders(experiment))


def plan_experiment(experiment: Path) -> list[Removal]:
    """The removal of a whole experiment: of each of its runs, and at last of what they share.

    Raises:
        RecordError: one is running; the folder is a link, or no record of detkit.
    """
    layout = ExperimentLayout(experiment)
    _refuse_link(experiment)
    if not layout.experiment.is_file():
        raise RecordError(f"{experiment} is no record of detkit: it has no experiment.json")
    _refuse_running(experiment)
    names = [run.run_id for run in _runs(experiment)]
    loggers = _logger_folders(experiment)
    runs: list[Removal] = []
    for name in names:
        folder = _run_folder(experiment, name)
        if folder.is_symlink():
            runs.append(Removal(experiment, name, (folder,), links=(folder,)))
        elif folder.is_dir():
            runs.append(_removal(experiment, name, folder, RUN_FILES | loggers))
    own = _removal(experiment, None, experiment, EXPERIMENT_FILES | loggers, beside=names)
    return [*runs, own]


def plan_checkpoints(experiment: Path, run_id: str) -> Removal:
    """The removal of what a finished run does not need to be used: all its checkpoints but the best.

    Raises:
        RecordError: the run has not finished: it goes on from its checkpoint.
    """
    _refuse_link(_run_folder(experiment, run_id))
    run = RunRecord(experiment, run_id, "", 0)
    if run.state != "finished":
        raise RecordError(
            f"{experiment.name}/{run_id} is {run.state}: only a finished run can do without its checkpoints"
        )
    if not run.files.best.is_file():
        raise RecordError(f"{experiment.name}/{run_id} has no {run.files.best.name}: its last checkpoint is all it has")
    files = [run.files.last, run.files.previous, *(file for _, file in run.files.bests())]
    there = [file for file in files if file.is_file() or file.is_symlink()]
    best = run.files.best.stat()
    own = [file for file in there if file.is_symlink() or not os.path.samestat(file.lstat(), best)]
    size = sum({(s.st_dev, s.st_ino): s.st_size for s in (file.lstat() for file in own)}.values())
    links = tuple(file for file in there if file.is_symlink())
    return Removal(experiment, run_id, tuple(there), links=links, size=size, checkpoints_only=True)


def _run_folder(experiment: Path, run_id: str) -> Path:
    """The folder of a run, which lies in its experiment's and is not in use.

    Raises:
        RecordError: the name leads elsewhere (a record is a file that anybody can have written), or it is running.
    """
    if run_id in ("", ".", "..") or Path(run_id).name != run_id or "\\" in run_id:
        raise RecordError(
            f"{experiment} names a run {run_id!r}, which is no name of a folder in it; nothing is removed"
        )
    _refuse_link(experiment)
    _refuse_running(experiment)
    if is_held(RunLayout(experiment / run_id).lock):
        raise RecordError(f"{experiment.name}/{run_id} is running; stop it first (Ctrl-C where it was started)")
    return experiment / run_id


def _refuse_running(experiment: Path) -> None:
    if is_held(ExperimentLayout(experiment).lock):
        raise RecordError(
            f"a detkit process works in {experiment}: nothing of it is removed before that has ended, or was stopped"
        )


def _removal(
    experiment: Path, run_id: str | None, folder: Path, known: Iterable[str], beside: Sequence[str] = ()
) -> Removal:
    """Args: known: names that detkit writes there. beside: names that others of the plan remove."""
    names = set(known)
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError:  # a run that has not begun has only its name
        entries = []
    except OSError as error:
        raise RecordError(f"cannot read {folder}: {error.strerror}") from error
    own = tuple(entry for entry in entries if entry.name not in beside and _is_own(entry.name, names))
    kept = tuple(entry for entry in entries if entry.name not in beside and entry not in own)
    links = tuple(entry for entry in own if entry.is_symlink())
    return Removal(experiment, run_id, own, links, kept, sum(map(tree_bytes, own)))


def _is_own(name: str, known: set[str]) -> bool:
    """Its name is one that detkit gives; so are those of earlier summaries, and of files that were being written."""
    of_before = name.startswith("summary-") and name.endswith("-epochs.json")
    half_written = name.startswith(".") and name.endswith(".tmp")
    return name in known or of_before or half_written


def _logger_folders(experiment: Path) -> frozenset[str]:
    """Loggers write folders of their own into a run's, and some into the experiment's: named as they are."""
    try:
        with ExperimentLayout(experiment).spec.open("rb") as stream:
            loggers = tomli.load(stream).get("loggers", {})
        return frozenset(name for key, table in loggers.items() for name in (key, str(table.get("use", key))))
    except (OSError, *SHAPES):
        return frozenset()


def _refuse_link(folder: Path) -> None:
    if folder.is_symlink():
        raise RecordError(
            f"{folder} is a link to {folder.resolve()}: nothing is removed through links; name that folder itself"
        )


def _experiment(folder: Path) -> dict[str, Any]:
    """experiment.json, which must be whole to be written again without the run."""
    file = ExperimentLayout(folder).experiment
    content = read_json(file)
    if not isinstance(content.get("runs"), list):
        raise RecordError(f"{file} is damaged: it has no list of runs; the whole experiment can be removed")
    return content


def _runs(experiment: Path) -> list[RunRecord]:
    try:
        named = ExperimentRecord(experiment).runs
    except (RecordError, *SHAPES):  # of a broken one the runs are what has a run.json
        named = []
    return [*named, *runs_aside(experiment, {run.run_id for run in named})]


# --- doing it --------------------------------------------------------------------------------------------------------


def remove(removals: Sequence[Removal]) -> None:
    """Remove what was planned. No `detkit run` can begin in the experiments meanwhile.

    Raises:
        RecordError: an experiment or a run is in use after all, or a file cannot be removed; what was removed before
            is gone, and the records are whole.
    """
    for experiment in dict.fromkeys(removal.experiment for removal in removals):
        own = [removal for removal in removals if removal.experiment == experiment]
        layout = ExperimentLayout(experiment)
        whole = any(removal.run_id is None for removal in own)
        with exclusive(layout.lock, f"the experiment {experiment}"):
            for removal in own:
                if removal.run_id is not None and is_held(RunLayout(removal.folder).lock):
                    raise RecordError(f"{removal.name} is running; nothing of it was removed")
            gone = {removal.run_id for removal in own if removal.run_id is not None and not removal.checkpoints_only}
            if gone and not whole:
                content = _experiment(experiment)
                rows = [row for row in content["runs"] if not (isinstance(row, dict) and row.get("run_id") in gone)]
                if len(rows) != len(content["runs"]):
                    write_json(layout.experiment, {**content, "runs": rows})
            for removal in own:
                _remove_paths(removal, layout.lock)
        if whole:
            _remove_rest(experiment, layout.lock)


def _remove_paths(removal: Removal, lock: Path) -> None:
    for path in removal.paths:
        if path == lock:  # it is held
            continue
        try:
            if path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)
            else:
                shutil.rmtree(path)
        except OSError as error:
            raise cannot_write(path, error) from error
    if removal.run_id is not None and not removal.checkpoints_only:
        _remove_empty(removal.folder)


def _remove_rest(experiment: Path, lock: Path) -> None:
    """The lock at last, then the folder, where nothing of others is in it."""
    try:
        lock.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(lock, error) from error
    _remove_empty(experiment)


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()
