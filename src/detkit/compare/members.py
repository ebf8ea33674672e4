"""Which experiments and runs are meant: folders, runs, or beginnings of their names; by default the newest one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from detkit.errors import RecordError, did_you_mean
from detkit.record.layout import ExperimentLayout
from detkit.record.reader import ExperimentRecord, RunRecord, find, open_record

#: Where experiments are looked for, below the working directory.
USUAL = Path("runs")

Named = str | Path | RunRecord | ExperimentRecord


def find_members(named: Sequence[Named], root: Path = USUAL) -> list[RunRecord]:
    """All runs that are meant, in the order of the names and of their experiments, none twice.

    Args:
        named: experiments, or runs. A path may end in the beginning of a name where only one goes on so; a name without
            a folder is looked for here, then in `root`. None at all: the newest experiment in `root`.

    Raises:
        RecordError: there is no such thing, or several.
    """
    runs: list[RunRecord] = []
    for one in named or [newest(root)]:
        found = one if isinstance(one, (RunRecord, ExperimentRecord)) else _find(Path(one).expanduser(), root)
        runs += found.compared if isinstance(found, ExperimentRecord) else [found]
    if not runs:
        raise RecordError("there are no runs yet: nothing was begun")
    return list({(os.path.realpath(run.experiment), run.run_id): run for run in runs}.values())


def newest(root: Path = USUAL) -> ExperimentRecord:
    """The experiment that was begun last, of those in a folder.

    Raises:
        RecordError: there is none.
    """
    here = Path()
    if ExperimentLayout(here).experiment.is_file():
        return open_record(Path.cwd())
    there = _experiments(root)
    if not there:
        raise RecordError(f"there is no experiment in {root}{os.sep}: name one, or run a spec first")
    return max(there, key=lambda record: float(record.facts.get("created", 0.0)))


def _experiments(folder: Path) -> list[ExperimentRecord]:
    if not folder.is_dir():
        return []
    inside = sorted(child for child in folder.iterdir() if ExperimentLayout(child).experiment.is_file())
    found = []
    for child in inside:
        try:
            found.append(open_record(child))
        except RecordError:  # who names it is told what is wrong with it; it keeps nobody from another one
            continue
    return found


def _find(path: Path, root: Path) -> RunRecord | ExperimentRecord:
    """What `find` finds, else what begins so."""
    try:
        return find(path)
    except RecordError as error:
        for place in (path, *([] if path.is_absolute() else [root / path])):
            begun = _begins(place)
            if begun is not None:
                return begun
        if path.exists():
            raise
        names = [record.folder.name for record in _experiments(path.parent) + _experiments(root)]
        raise RecordError(f"there is no experiment or run {path}{did_you_mean(path.name, names)}") from error


def _begins(path: Path) -> RunRecord | ExperimentRecord | None:
    """An experiment whose name begins so, or the run of such an experiment; None where there is none."""
    if path.exists() and ExperimentLayout(path).experiment.is_file():
        return open_record(path)
    experiment = _begun(path.parent, path.name)
    if experiment is not None:
        return experiment
    holder = _begun(path.parent.parent, path.parent.name) if path.parent.name else None
    return None if holder is None else holder.run(path.name)


def _begun(folder: Path, beginning: str) -> ExperimentRecord | None:
    found = [record for record in _experiments(folder) if record.folder.name.startswith(beginning)]
    exact = [record for record in found if record.folder.name == beginning]
    if len(found) > 1 and not exact:
        names = ", ".join(record.folder.name for record in found)
        raise RecordError(f"{beginning!r} begins several experiments in {folder}: {names}")
    chosen = exact or found
    return chosen[0] if chosen else None
