"""How pages say things: names of runs, one text for all runs or one a model, values, and what a run has said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from detkit.record.reader import ExperimentRecord
from detkit.report.portable import portable_text
from detkit.report.runs import ShownRun, ShownRuns
from detkit.report.text import MISSING, code, escape


def names(runs: ShownRuns, shown: Sequence[ShownRun]) -> list[str]:
    """Of some of the runs, for the first column of a table."""
    return [code(runs.label(run)) for run in shown]


def better_end(runs: ShownRuns, name: str) -> Literal["highest", "lowest"] | None:
    """Which end of a quantity is the better one, where it is known."""
    higher = runs.higher_is_better.get(name)
    return None if higher is None else "highest" if higher else "lowest"


def shared(runs: ShownRuns, tell: Callable[[ShownRun], str]) -> str:
    """One text where all runs have the same; else one a model."""
    told: dict[str, list[str]] = {}
    for run in runs.runs:
        text = tell(run)
        if text:
            told.setdefault(text, []).append(run.model)
    if len(told) < 2:
        return next(iter(told), "")
    return "; ".join(f"{text} ({', '.join(map(code, dict.fromkeys(models)))})" for text, models in told.items())


def plain(value: object) -> str:
    """A value of a spec or a summary in a cell."""
    if isinstance(value, list):
        return ", ".join(map(plain, value)) or MISSING
    return MISSING if value is None else f"{value:g}" if isinstance(value, float) else escape(str(value))


def told(record: ExperimentRecord, text: str) -> str:
    """What a run said, for anybody to read."""
    return escape(portable_text(text, private_folders_of(record)))


def private_folders_of(record: ExperimentRecord) -> tuple[Path, ...]:
    """Folders whose names no page may hold."""
    return record.folder, record.folder.absolute(), Path(str(record.facts["spec_file"])).parent, Path.home()
