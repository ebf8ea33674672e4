"""Which folder is meant, and which run in it: by path, or by any beginning of a name that only one has."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from detkit.errors import RecordError, did_you_mean
from detkit.record.inventory import SHAPES, runs_aside, why_no_record
from detkit.record.layout import ExperimentLayout, RunLayout
from detkit.record.reader import ExperimentRecord

#: Where `detkit run` puts experiments unless a spec says otherwise, relative to the spec.
DEFAULT = "runs"
#: So many candidates are listed.
LISTED = 12


@dataclass(frozen=True, slots=True)
class Named:
    """An experiment, or one run of it. Both paths are absolute and as they were found: links are not resolved."""

    experiment: Path
    run_id: str | None = None

    @property
    def folder(self) -> Path:
        return self.experiment if self.run_id is None else self.experiment / self.run_id

    @property
    def name(self) -> str:
        return self.experiment.name if self.run_id is None else f"{self.experiment.name}/{self.run_id}"


def output_folder(folder: Path | None, spec: Path | None) -> Path:
    """The folder to look into: the named one, or where a spec's experiments go, or `runs` in the working directory.

    Raises:
        SpecError: the spec is not valid.
    """
    if folder is not None:
        return folder
    if spec is not None:
        from detkit.spec.loader import load_spec

        return load_spec(spec).experiment.output
    return Path(DEFAULT)


def find_named(name: str, output: Path) -> Named:
    """What a name means.

    Args:
        name: the folder of an experiment or a run, EXPERIMENT_FOLDER/BEGINNING of a run; or, in the output folder, an
            experiment, a run, EXPERIMENT/RUN, or a beginning of one that only one has.

    Raises:
        RecordError: nothing is called so, or several things are; says what there is.
    """
    path = Path(os.path.abspath(Path(name).expanduser()))
    found = _by_path(path)
    if found is not None:
        return found
    candidates = list(_all_named(output))
    wanted = name.rstrip("/")
    for matches in (
        [one for one in candidates if wanted in (one.name, one.run_id)],
        [one for one in candidates if one.name.startswith(wanted) or (one.run_id or "").startswith(wanted)],
    ):
        experiments = [one for one in matches if one.run_id is None]
        # The beginning of an experiment's name is one of its runs' full names, too.
        if len(experiments) == 1 and all(one.experiment == experiments[0].experiment for one in matches):
            return experiments[0]
        if len(matches) == 1:
            return matches[0]
        if matches:
            listed = _listed(one.name for one in matches)
            raise RecordError(f"{name!r} begins several names: {listed}; write more of it")
    raise RecordError(_unknown(name, path, output, candidates))


def _by_path(path: Path) -> Named | None:
    if ExperimentLayout(path).experiment.is_file():
        return Named(path)
    if not ExperimentLayout(path.parent).experiment.is_file():
        return None
    inside = [one for one in _runs_of(path.parent) if one.run_id is not None]
    exact = [one for one in inside if one.run_id == path.name]
    matches = exact or [one for one in inside if (one.run_id or "").startswith(path.name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise RecordError(f"{path.name!r} begins several runs: {_listed(str(one.run_id) for one in matches)}")
    near = did_you_mean(path.name, [str(run.run_id) for run in inside])
    raise RecordError(f"{path.parent} has no run {path.name!r}{near}")


def _all_named(output: Path) -> Iterable[Named]:
    output = Path(os.path.abspath(output))
    if ExperimentLayout(output).experiment.is_file():
        yield from _runs_of(output)
        return
    if output.is_dir():
        for child in sorted(output.iterdir()):
            if child.is_dir() and ExperimentLayout(child).experiment.is_file():
                yield from _runs_of(child)


def _runs_of(experiment: Path) -> Iterable[Named]:
    """The experiment and its runs; of one that is broken, what has a run.json."""
    yield Named(experiment)
    try:
        names = [run.run_id for run in ExperimentRecord(experiment).runs]
    except (RecordError, *SHAPES):
        names = []
    yield from (Named(experiment, name) for name in names)
    yield from (Named(experiment, run.run_id) for run in runs_aside(experiment, set(names)))


def _unknown(name: str, path: Path, output: Path, candidates: list[Named]) -> str:
    if path.is_dir():
        run = RunLayout(path).run.is_file()
        return f"{name}: {'a run without its experiment' if run else why_no_record(path)}"
    if not output.is_dir():
        return f"there is no run {name!r}: there is no folder {output}; name the run's folder, or --in FOLDER"
    names = {one.name for one in candidates} | {one.run_id for one in candidates if one.run_id is not None}
    if not names:
        return f"there is no run {name!r}: {output} holds no experiment"
    near = did_you_mean(name, names)
    hint = near if "did you mean" in near else f"; there are: {_listed(sorted(one.name for one in candidates))}"
    return f"{output} has no experiment or run {name!r}{hint}"


def _listed(names: Iterable[str]) -> str:
    every = list(dict.fromkeys(names))
    more = f" and {len(every) - LISTED} more" if len(every) > LISTED else ""
    return ", ".join(every[:LISTED]) + more
