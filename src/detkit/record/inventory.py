"""What an output folder holds: experiments, their runs, how far each came; and what is broken, with the reason."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detkit.errors import RecordError
from detkit.record.course import Best, Quantity, best_of, epoch_seconds, primary_quantity
from detkit.record.files import read_json
from detkit.record.layout import ExperimentLayout, RunLayout
from detkit.record.lock import is_held
from detkit.record.reader import ExperimentRecord, RunRecord

#: Beside the states of `RunRecord.state`: that of what cannot be read.
BROKEN = "broken"
#: What comes of content that has another form than detkit writes.
SHAPES = (KeyError, TypeError, ValueError, AttributeError, IndexError)


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One run, as far as its record can be read.

    Attributes:
        trial: of the model's search; None of a run that belongs to none.
        state: of `RunRecord.state`, or "broken". cause: why it failed, or what is broken.
        aside: whether it is a failed run that was put aside when it was started over.
        epochs_done, epochs: recorded, and asked for (0: not known).
        quantity, best: the primary one, and its best value on the validation images; None before there are some.
        started: seconds since 1970 of its first sitting; None before. took_s: training and evaluation so far.
        size: of all its files on disk, bytes.
    """

    experiment: Path
    run_id: str
    state: str
    model: str = ""
    seed: int | None = None
    fold: int | None = None
    trial: int | None = None
    cause: str = ""
    aside: bool = False
    epochs_done: int = 0
    epochs: int = 0
    quantity: Quantity | None = None
    best: Best | None = None
    started: float | None = None
    took_s: float | None = None
    size: int = 0

    @property
    def name(self) -> str:
        """EXPERIMENT/RUN, as it is typed."""
        return f"{self.experiment.name}/{self.run_id}"

    @property
    def folder(self) -> Path:
        return self.experiment / self.run_id

    def to_dict(self) -> dict[str, Any]:
        return {
            "experiment": str(self.experiment),
            "run_id": self.run_id,
            "folder": str(self.folder),
            "state": self.state,
            "cause": self.cause or None,
            "put_aside": self.aside,
            "model": self.model or None,
            "seed": self.seed,
            "fold": self.fold,
            "trial": self.trial,
            "epochs_done": self.epochs_done,
            "epochs": self.epochs or None,
            "primary": self.quantity.name if self.quantity else None,
            "higher_is_better": self.quantity.higher if self.quantity else None,
            "best": {"value": self.best.value, "epoch": self.best.epoch} if self.best else None,
            "started": self.started,
            "took_s": self.took_s,
            "bytes": self.size,
        }


@dataclass(frozen=True, slots=True)
class ExperimentEntry:
    """One experiment.

    Attributes:
        name, created: of experiment.json; seconds since 1970, None where that cannot be read.
        broken: why it cannot be read; empty where it can.
        running: whether a `detkit run` works in it.
        shared: what all its runs share (ground truth, copies of images), bytes.
    """

    folder: Path
    name: str = ""
    created: float | None = None
    broken: str = ""
    running: bool = False
    runs: tuple[RunEntry, ...] = ()
    shared: int = 0

    @property
    def size(self) -> int:
        return self.shared + sum(run.size for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """Without its runs."""
        return {
            "folder": str(self.folder),
            "name": self.name or None,
            "created": self.created,
            "broken": self.broken or None,
            "running": self.running,
            "bytes": self.size,
            "shared_bytes": self.shared,
        }


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a folder holds.

    Attributes:
        others: folders that are no records, with the reason why they are taken for none.
    """

    folder: Path
    experiments: tuple[ExperimentEntry, ...]
    others: Mapping[str, str]


def take_inventory(folder: Path) -> Inventory:
    """Look at every experiment in an output folder; or at the one that the folder is.

    Raises:
        RecordError: there is no such folder.
    """
    if ExperimentLayout(folder).experiment.is_file():
        return Inventory(folder, (experiment_entry(folder),), {})
    if not folder.is_dir():
        raise RecordError(f"{folder} is no folder" if folder.exists() else f"there is no folder {folder}")
    found, others = [], {}
    for child in _folders(folder):
        beside = child.is_symlink() and child.resolve().parent == folder.resolve()
        reason = f"a link to {child.resolve().name}, which is listed itself" if beside else why_no_record(child)
        if reason:
            others[child.name] = reason
        else:
            found.append(experiment_entry(child))
    return Inventory(folder, tuple(found), others)


def why_no_record(folder: Path) -> str:
    """Why a folder is taken for no experiment; empty where it has an experiment.json, in whatever state."""
    layout = ExperimentLayout(folder)
    if layout.experiment.is_file():
        return ""
    if is_held(layout.lock):
        return "an experiment that is just being prepared"
    if RunLayout(folder).run.is_file():
        return "a run without its experiment: experiment.json beside it is missing"
    if layout.spec.is_file() and any(RunLayout(child).run.is_file() for child in _folders(folder)):
        return "an experiment whose experiment.json is missing"
    return "no record of detkit: it has no experiment.json"


def experiment_entry(folder: Path) -> ExperimentEntry:
    """What can be read of an experiment; what cannot is said in it, and nothing raises."""
    layout = ExperimentLayout(folder)
    record = ExperimentRecord(folder)
    sizes = {child.name: tree_bytes(child) for child in _folders(folder, hidden=True)}
    try:
        name, created, named = record.name, record.facts.get("created"), record.runs
    except (RecordError, *SHAPES) as error:
        size = sum(sizes.values()) + _plain_bytes(folder)
        return ExperimentEntry(folder, broken=reason_of(error, layout.experiment), shared=size)
    runs = [run_entry(run, sizes.get(run.run_id, 0)) for run in named]
    runs += [run_entry(run, sizes[run.run_id], aside=True) for run in runs_aside(folder, {run.run_id for run in named})]
    shared = sum(size for child, size in sizes.items() if child not in {run.run_id for run in runs})
    return ExperimentEntry(
        folder,
        name=name,
        created=float(created) if isinstance(created, int | float) else None,
        running=is_held(layout.lock),
        runs=tuple(runs),
        shared=shared + _plain_bytes(folder),
    )


def runs_aside(folder: Path, known: set[str]) -> Iterator[RunRecord]:
    """Runs in the folder that experiment.json does not name: failed ones that were started over."""
    for child in _folders(folder):
        if child.name not in known and RunLayout(child).run.is_file():
            facts: Mapping[str, Any] = {}
            with suppress(RecordError):
                facts = read_json(RunLayout(child).run)
            yield RunRecord(folder, child.name, str(facts.get("model", "")), facts.get("seed", 0), facts.get("fold"))


def run_entry(run: RunRecord, size: int, *, aside: bool = False) -> RunEntry:
    """What can be read of a run; of one that cannot be read, the reason."""
    entry = RunEntry(
        run.experiment,
        run.run_id,
        BROKEN,
        model=run.model,
        seed=run.seed,
        fold=run.fold,
        trial=run.trial,
        aside=aside,
        size=size,
    )
    try:
        state, rows = run.state, run.epochs()
        facts = run.facts if run.files.run.exists() else {}
        quantity = primary_quantity(run, rows)
        cause = _one_line((run.failure or {}).get("message", "")) if state == "failed" else ""
        return replace(
            entry,
            state=state,
            cause=cause,
            epochs_done=int(rows[-1]["epoch"]) if rows else 0,
            epochs=_epochs_wanted(run, facts),
            quantity=quantity,
            best=best_of(rows, quantity),
            started=_started(run),
            took_s=_took(run, rows),
        )
    except (RecordError, OSError, *SHAPES) as error:
        return replace(entry, cause=reason_of(error, run.files.folder))


def reason_of(error: BaseException, place: Path) -> str:
    """What to tell of a file that cannot be read as it should be."""
    if isinstance(error, RecordError):
        return _one_line(error)
    if isinstance(error, OSError):
        return f"cannot read {place}: {error.strerror}"
    what = f"there is no {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
    return _one_line(f"{place} is not as this detkit writes it: {what}")


def _epochs_wanted(run: RunRecord, facts: Mapping[str, Any]) -> int:
    if facts:
        return int(facts["spec"]["model"]["train"]["epochs"])
    import tomli

    with suppress(OSError, *SHAPES), ExperimentLayout(run.experiment).spec.open("rb") as stream:
        return int(tomli.load(stream)["models"][run.model]["train"]["epochs"])
    return 0


def _started(run: RunRecord) -> float | None:
    """The time of the first line of system.jsonl; of an older record that of the first file."""
    with suppress(OSError, *SHAPES), run.files.system.open("rb") as stream:
        return float(json.loads(stream.readline())["time"])
    with suppress(OSError):
        return run.files.model.stat().st_mtime
    return None


def _took(run: RunRecord, rows: list[dict[str, Any]]) -> float | None:
    summary = run.summary
    if summary is not None:
        measured = summary["measured"]
        return float(sum(measured.get(name) or 0.0 for name in ("train_s", "evaluation_s", "scoring_s")))
    return sum(map(epoch_seconds, rows)) if rows else None


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


# --- sizes -----------------------------------------------------------------------------------------------------------


def tree_bytes(path: Path) -> int:
    """Of a file, or of all files below a folder; a file with several names counts once, a link is not followed."""
    seen: set[tuple[int, int]] = set()
    return _tree_bytes(path, seen)


def _tree_bytes(path: Path | os.DirEntry[str], seen: set[tuple[int, int]]) -> int:
    try:
        if isinstance(path, Path):
            folder, found = path.is_dir() and not path.is_symlink(), path.lstat()
        else:
            folder, found = path.is_dir(follow_symlinks=False), path.stat(follow_symlinks=False)
        if folder:
            with os.scandir(path) as entries:
                return sum(_tree_bytes(entry, seen) for entry in entries)
    except OSError:  # it went away meanwhile, or is not to be read
        return 0
    if found.st_nlink > 1:
        key = (found.st_dev, found.st_ino)
        if key in seen:
            return 0
        seen.add(key)
    return found.st_size


def _plain_bytes(folder: Path) -> int:
    """Of the files right in the folder."""
    try:
        with os.scandir(folder) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries if not entry.is_dir())
    except OSError:
        return 0


def _folders(folder: Path, *, hidden: bool = False) -> list[Path]:
    """In the order of their names; those whose names begin with a dot are left out unless wanted."""
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries if entry.is_dir() and (hidden or not entry.name.startswith("."))]
    except OSError:
        return []
    return [folder / name for name in sorted(found)]
