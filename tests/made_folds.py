"""A record whose model was trained in folds, each validated on its own images, as runs would leave it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from detkit.record.files import read_json, read_json_gz, write_json, write_json_gz
from detkit.record.layout import RunLayout, run_id
from detkit.record.reader import ExperimentRecord, open_record
from made_record import Wanted, make_record


def make_folds(folder: Path, wanted: Wanted, folds: int = 2) -> ExperimentRecord:
    """Write it into a folder that does not exist: image i is validated by fold i % folds + 1."""
    record = make_record(folder, wanted)
    rows = read_json(record.files.splits)["validation"]
    parts = [rows[fold::folds] for fold in range(folds)]
    write_json(record.files.splits, {"test": [], "folds": [{"validation": part} for part in parts]})
    runs = []
    for model in wanted.models:
        for fold, part in enumerate(parts, start=1):
            name = run_id(model, 1, fold)
            runs.append({"run_id": name, "model": model, "seed": 1, "fold": fold})
            shutil.copytree(folder / run_id(model, 1), folder / name)
            _keep(RunLayout(folder / name), name, fold, {row["image_id"] for row in part})
        shutil.rmtree(folder / run_id(model, 1))
    write_json(record.files.experiment, {**read_json(record.files.experiment), "runs": runs})
    return open_record(folder)


def _keep(files: RunLayout, name: str, fold: int, ids: set[int]) -> None:
    """Of a run's files what it found on these images."""
    write_json(files.run, {**read_json(files.run), "run_id": name, "fold": fold})
    if files.summary.exists():
        summary = read_json(files.summary)
        scored = {**summary["scored"], "images": len(ids)}
        write_json(files.summary, {**summary, "run_id": name, "fold": fold, "scored": scored})
    for file in (files.folder / "predictions").glob("*.json.gz"):
        write_json_gz(file, [row for row in read_json_gz(file) if row["image_id"] in ids])
    for file in (files.folder / "tables").rglob("*per_image.json"):
        table: dict[str, Any] = read_json(file)
        at = table["columns"].index("image_id")
        write_json(file, {**table, "rows": [row for row in table["rows"] if row[at] in ids]})
