"""Which run is meant by a path, and which checkpoint of it can be used."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from detkit.compare.leaderboard import make_leaderboard
from detkit.components import Messages
from detkit.errors import RecordError
from detkit.record.reader import ExperimentRecord, RunRecord, find

Checkpoint = Literal["best", "last"]


def find_run(run: str | Path | RunRecord | ExperimentRecord, messages: Messages) -> RunRecord:
    """The run that is meant.

    Args:
        run: a run, what `find` takes for one, or an experiment: its only finished run, or its winner.

    Raises:
        RecordError: there is no such run, or it is not clear which is meant; lists the runs.
    """
    found = run if isinstance(run, (RunRecord, ExperimentRecord)) else find(run)
    return found if isinstance(found, RunRecord) else _winner(found, messages)


def _winner(record: ExperimentRecord, messages: Messages) -> RunRecord:
    runs = [run for run in record.compared if run.state == "finished"] or [
        run for run in record.compared if run.files.best.exists()
    ]
    if len(runs) == 1:
        return runs[0]
    board = make_leaderboard(record)
    best = board.best
    values = [row.values[board.primary].mean for row in board.rows if board.primary in row.values]
    if best is None or values.count(values[0]) > 1 or not board.is_comparable:
        raise RecordError(f"{record.folder}: {_unclear(record, runs)}")
    of_model = [run for run in runs if run.entry == best.model]
    # Folds select on different images, whose values say nothing of each other: the first one is as good as any.
    first = min((run.fold for run in of_model if run.fold is not None), default=None)
    alike = [run for run in of_model if run.fold == first]
    chosen = min(alike, key=_rank)
    seeds = f"; of its {len(alike)} runs the one with the best value on the validation images" * (len(alike) > 1)
    if len(alike) < len(of_model):
        seeds = f"; of fold {first}, since the folds' values on different images cannot be compared" + seeds
    messages.info(f"{chosen.run_id}: the winner of {record.name} ({board.primary} {best.values[board.primary]}){seeds}")
    return chosen


def _rank(run: RunRecord) -> float:
    """The value that selected its best epoch, the best lowest. Not the final figures: those are to stay untouched."""
    summary = run.summary
    if summary is None or summary["selected"]["value"] is None:
        return float("inf")
    by = str(summary["selected"]["by"]).replace("validation/", "loss/")  # as the summary names losses
    value = float(summary["selected"]["value"])
    return -value if summary["higher_is_better"].get(by, True) else value


def _unclear(record: ExperimentRecord, usable: list[RunRecord]) -> str:
    listed = ", ".join(map(str, record.runs)) or "none"
    if not usable:
        return f"no run has a detector yet; runs: {listed}"
    return f"it has no clear winner; name a run, as {record.folder / usable[0].run_id}; runs: {listed}"


def checkpoint_file(run: RunRecord, checkpoint: Checkpoint, messages: Messages) -> Path:
    """The file of a run's checkpoint; warns where the run has not come to its end.

    Raises:
        RecordError: it is not there; says why and what to do.
    """
    file = run.files.best if checkpoint == "best" else run.files.last
    state = run.state
    cause = str((run.failure or {}).get("message", "")) if state == "failed" else ""
    if not file.exists():
        other = run.files.last if checkpoint == "best" else run.files.best
        hint = f"; the checkpoint {other.stem!r} is there" if other.exists() else ""
        raise RecordError(f"{run.run_id} in {run.experiment} has no {file.name}: {_why(state, cause)}{hint}")
    if state == "running":
        messages.warning(f"{run.run_id} is still running: this is its {checkpoint} checkpoint so far")
    elif state != "finished":
        told = f": {cause}" if cause else ""
        messages.warning(f"{run.run_id} {state} before its end{told}; this is its {checkpoint} checkpoint until then")
    return file


def _why(state: str, cause: str) -> str:
    if state == "finished":
        return "somebody has removed it"
    if state == "running":
        return "no epoch has been evaluated yet; wait for the first"
    if state == "failed":
        return f"it failed ({cause}); mend that and run its spec again"
    if state == "pending":
        return "it has not begun; run its spec"
    return "it was interrupted before its first evaluation; go on with: detkit run SPEC --resume"
