"""Records written by hand: experiments whose runs are as a test wants them, in no time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w

from detkit.record.files import write_json
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.record.streams import StreamWriter

#: 24 November 2025, 12:00 UTC.
NOON = 1_763_985_600.0


def write_experiment(
    folder: Path, runs: Sequence[tuple[str, int]], *, created: float = NOON, epochs: int = 3, **tables: Any
) -> ExperimentRecord:
    """An experiment none of whose runs has begun; `runs` are models and seeds, `tables` go into its spec."""
    record = ExperimentRecord(folder)
    rows = [{"run_id": f"{model}-seed{seed}", "model": model, "seed": seed} for model, seed in runs]
    write_json(record.files.experiment, {"name": folder.name, "created": created, "blocked": [], "runs": rows})
    models = {model: {"train": {"epochs": epochs}} for model, _ in runs}
    spec = {"experiment": {"name": folder.name, "output": str(folder.parent)}, "models": models, **tables}
    record.files.spec.write_text(tomli_w.dumps(spec))
    (folder / "data" / "images").mkdir(parents=True)
    (folder / "data" / "images" / "1.jpg").write_bytes(b"x" * 1000)
    return record


def begin(run: RunRecord, *, started: float = NOON, epochs: int = 3, **train: Any) -> RunRecord:
    """run.json, the first line of system.jsonl, and what its evaluation measures."""
    spec = {"dataset": {"use": "synthetic"}, "model": {"use": run.model, "train": {"epochs": epochs, **train}}}
    named = {"run_id": run.run_id, "model": run.model, "seed": run.seed, "experiment": run.experiment.name}
    facts = {
        "spec": spec,
        "versions": {"python": "3.13.1", "detkit": "0.1.0"},
        "hardware": {"processor": "Chip", "cores": 8, "memory_bytes": 16_000_000_000, "gpus": [], "system": "Linux"},
        "compute": {"accelerator": "cpu", "processes": 1, "precision": "bf16"},
        "class_names": ["pedestrian"],
        "weights_origin": {"source": "file", "file": "resnet.pth"},
    }
    write_json(run.files.run, {**named, **facts})
    write_json(run.files.quantities, {"primary": "coco/ap", "higher_is_better": {"coco/ap": True}})
    append(run.files.system, {"time": started, "cpu_percent": 1.0})
    return run


def train(run: RunRecord, values: Sequence[float | None], *, train_s: float = 60.0) -> RunRecord:
    """A row an epoch, and the checkpoints."""
    for epoch, value in enumerate(values, 1):
        measured = {"train_s": train_s, "evaluation_s": 10.0}
        row = {"coco/ap": value, "train/epoch_loss": 1.0 / epoch}
        append(run.files.metrics, {"epoch": epoch, "step": 10 * epoch, "values": row, "measured": measured})
    for file in (run.files.best, run.files.last):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"weights " * 1000)
    return run


def append(file: Path, row: dict[str, Any]) -> None:
    stream = StreamWriter(file)
    stream.append(row)
    stream.close()


def finish(run: RunRecord, value: float, *, epochs: int = 3) -> RunRecord:
    """summary.json, as a run leaves it at its end."""
    summary = {
        "run_id": run.run_id,
        "model": run.model,
        "seed": run.seed,
        "epochs": epochs,
        "ended": f"all {epochs} epochs trained",
        "selected": {"epoch": epochs, "step": 10 * epochs, "by": "coco/ap", "value": value, "split": "validation"},
        "scored": {
            "split": "validation",
            "images": 40,
            "same_images": True,
            "values": {"coco/ap": value, "coco/ap50": value * 1.5},
            "thresholds": {},
            "intervals": {"coco/ap": {"lower": value - 0.05, "upper": value + 0.05}},
            "resampling": {"method": "m", "level": 0.95, "resamples": 1000, "seed": 1},
        },
        "primary": "coco/ap",
        "higher_is_better": {"coco/ap": True, "coco/ap50": True},
        "parameters": 1_000_000,
        "weights_origin": {},
        "precision": "bf16",
        "device": "cpu",
        "costs": {"parameters": 1_000_000, "measured": {"latency_ms_median": 12.5}},
        "measured": {"train_s": 180.0, "evaluation_s": 30.0, "scoring_s": 10.0, "peak_memory_bytes": 1_000_000_000},
    }
    write_json(run.files.summary, summary)
    return run


def fail(run: RunRecord, message: str) -> RunRecord:
    """failure.json, with a traceback."""
    write_json(run.files.failure, {"kind": "RunFailed", "message": message, "exit_code": 1, "traceback": "Traceback"})
    return run
