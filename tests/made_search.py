"""A record whose model was searched, as a search would leave it, without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detkit.record.files import read_json, write_json
from detkit.record.reader import ExperimentRecord, open_record
from made_record import Wanted, make_record

#: Trial 3 is the best one; 4 was pruned, 5 failed, 6 has not ended.
AP = {"metric": "coco/ap", "direction": "maximize"}
LATENCY = {"metric": "latency_ms_median", "direction": "minimize"}
SPACE: dict[str, Any] = {
    "train.lr": {"low": 0.0001, "high": 0.1, "log": True},
    "train.batch_size": {"low": 2, "high": 10, "integer": True},
    "augment.flip.enabled": [True, False, 1],
}
ROWS: Sequence[tuple[str, Sequence[Any], Sequence[float] | None, str]] = (
    ("finished", (0.0001, 2, True), (0.2, 10.0), ""),
    ("finished", (0.1, 10, False), (0.3, 30.0), ""),
    ("finished", (0.01, 4, 1), (0.6, 20.0), ""),
    ("pruned", (0.001, 6, True), (0.1, 15.0), "worse than the median"),
    ("failed", (0.05, 8, False), None, "ValueError: no room in /home/jane/secret/model.py"),
    ("interrupted", (0.002, 3, True), None, ""),
)


def make_search(
    folder: Path,
    *,
    model: str = "fcos",
    space: Mapping[str, Any] | None = None,
    rows: Sequence[tuple[str, Sequence[Any], Sequence[float] | None, str]] = ROWS,
    objectives: Sequence[Mapping[str, str]] = (AP,),
    importances: Mapping[str, float] | None = None,
    ran: int = 3,
) -> ExperimentRecord:
    """Write it into a folder that does not exist.

    Args:
        rows: state, values, objectives, reason of each trial. ran: the trial whose run is in the record.
    """
    space = SPACE if space is None else space
    record = make_record(folder, Wanted(models=("fcos",), images=3, epochs=2))
    name = f"fcos-trial{ran:03d}-seed1"
    (folder / "fcos-seed1").rename(folder / name)
    run = {"run_id": name, "model": model, "seed": 1, "trial": ran}
    write_json(record.files.experiment, {**read_json(record.files.experiment), "runs": [run]})
    trials = [
        {
            "number": number,
            "values": dict(zip(space, values, strict=True)),
            "about": {},
            "state": "running" if state == "interrupted" else state,
            "objectives": None if given is None else list(given[: len(objectives)]),
            "runs": [f"fcos-trial{number:03d}-seed1"],
            "reason": reason,
        }
        for number, (state, values, given, reason) in enumerate(rows, start=1)
    ]
    for number, (state, *_) in enumerate(rows, start=1):
        if state != "failed" and number != ran:  # one without a run was removed
            (folder / f"fcos-trial{number:03d}-seed1").mkdir()
            write_json(folder / f"fcos-trial{number:03d}-seed1" / "run.json", {})
    note = "" if importances else "3 trials have finished, and it takes 8"
    found = {"space": dict(space), "wanted": len(rows), "trials": trials}
    found |= {"importances": importances, "importances_note": note, "state": None, "exhausted": False}
    content = {"use": "tpe", "options": {}, "objectives": list(objectives), "models": {model: found}}
    write_json(record.files.search, content)
    return open_record(folder)
