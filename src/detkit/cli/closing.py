"""The last lines of `detkit run`: who is ahead, where everything is, what to do next. Four at most, all on stdout."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from detkit.cli.main import COMMANDS

if TYPE_CHECKING:
    from detkit.compare.leaderboard import Leaderboard
    from detkit.record.reader import ExperimentRecord


def closing_lines(record: ExperimentRecord, board: Leaderboard) -> list[str]:
    """What is left to say under the table of an experiment."""
    lines = [verdict(record, board), f"record: {record.folder}", report_line(record), next_line(record, board)]
    return [line for line in lines if line]


def verdict(record: ExperimentRecord, board: Leaderboard) -> str:
    """The sentence about who won: the comparison's, where the record has one; empty with fewer than two models."""
    compared = (record.leaderboard or {}).get("comparison") or {}
    if compared.get("sentence"):
        return str(compared["sentence"])
    rows = [row for row in board.rows if board.primary in row.values]
    if len(rows) < 2:
        return ""
    direction = "highest" if board.higher_is_better else "lowest"
    best = board.figure(rows[0], board.primary)
    return f"{rows[0].model} has the {direction} {board.primary} of {len(rows)} models: {best}"


def report_line(record: ExperimentRecord) -> str:
    """Where the page is, where there is one."""
    page = record.folder / "report" / "index.html"
    return f"report: {page}" if page.is_file() else ""


def next_line(record: ExperimentRecord, board: Leaderboard) -> str:
    """Commands that go on from here, as they are typed."""
    folder = shown_path(record.folder)
    finished = [run for run in record.compared if run.state == "finished"]
    if not finished:
        return ""
    winner = board.best.model if board.best is not None else finished[0].entry
    best = next((run for run in finished if run.entry == winner), finished[0])
    steps = [f"detkit compare {folder}"] if len(finished) > 1 else []
    steps += [f"detkit report {folder}"] if "report" in COMMANDS and not report_line(record) else []
    steps.append(f"detkit predict {shown_path(best.files.folder)} IMAGE")
    return f"next: {'; '.join(steps)}"


def shown_path(path: Path) -> str:
    """As it is typed from the working directory, quoted where a shell needs it."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        return shlex.quote(str(path))
    return shlex.quote(str(path) if relative.startswith("..") else relative)
