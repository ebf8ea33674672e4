"""Records of experiments that are written by hand, to be compared: models with seeds, folds and costs.

An image's figure is the score of the one object that was found in it; `confident/mean` is the mean over images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from detkit.data.coco_form import ground_truth_json, predictions_json
from detkit.data.types import Annotation, ImageInfo, Prediction
from detkit.figures import Table
from detkit.record.draws import write_draws
from detkit.record.figures import write_figure
from detkit.record.files import read_json, write_json, write_json_gz
from detkit.record.layout import ExperimentLayout, run_id
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.resampling import draws

CONFIDENT = Path(__file__).parents[1] / "confident.py"
RESAMPLES = 400
COSTS: Mapping[str, Any] = {
    "weights_bytes": 80_000_000,
    "flops": 5_000_000_000,
    "device_name": "Processor A",
    "threads": 2,
    "measured": {"latency_ms_median": 40.0, "latency_ms_p95": 50.0, "inference_memory_bytes": 300_000_000},
}


def experiment(
    folder: Path, images: int = 60, *, split: str = "test", folds: int = 0, created: float = 1.0, options: Any = None
) -> ExperimentRecord:
    """Without runs. Images have the ids 10, 20, ... and one cat each; the ground truth is that of `info`."""
    layout = ExperimentLayout(folder)
    write_json(layout.experiment, {"name": folder.name, "created": created, "blocked": [], "runs": [], "versions": {}})
    spec = {
        "plugins": [str(CONFIDENT)],
        "experiment": {"name": folder.name, "output": str(folder.parent), "resamples": RESAMPLES},
        "dataset": {"use": "synthetic"},
        "models": {"fcos": {"backbone": "tiny_fpn"}},
        "metrics": {"confident": dict(options or {})},
    }
    layout.spec.write_text(tomli_w.dumps(spec))
    ids = [10 * (n + 1) for n in range(images)]
    write_json(layout.ground_truth, ground_truth_json([info(i) for i in ids], ("cat", "dog")))
    rows = [{"index": n, "image_id": i} for n, i in enumerate(reversed(ids))]
    parts: dict[str, Any] = {"train": [], "validation": [], "test": []}
    if folds:
        parts = {"test": [], "folds": [{"validation": rows[number::folds]} for number in range(folds)]}
    else:
        parts[split] = rows
    write_json(layout.splits, parts)
    sizes = {"train": 100, "validation": images, "test": 0}
    write_json(layout.fingerprint, {"sha256": "data", "splits_sha256": "splits", "split_sizes": sizes})
    return ExperimentRecord(folder)


def info(image_id: int) -> ImageInfo:
    return ImageInfo(image_id, None, 64, 48, (Annotation(1, (1.0, 2.0, 9.0, 8.0), 48.0),), f"{image_id}.png")


def add(
    record: ExperimentRecord,
    model: str,
    scores: Sequence[float] | Mapping[int, float],
    *,
    seed: int = 1,
    fold: int | None = None,
    costs: Mapping[str, Any] | None = None,
    with_draws: bool = True,
    per_class: Mapping[str, float] | None = None,
    **changes: Any,
) -> RunRecord:
    """A finished run.

    Args:
        scores: of the images by rising id; of a fold, by image id, those of the whole experiment.
        costs: over `COSTS`. with_draws: whether it left its draws. per_class: class name to the figure of it.
        changes: of the summary.
    """
    name = run_id(model, seed, fold)
    row = {"run_id": name, "model": model, "seed": seed, **({} if fold is None else {"fold": fold})}
    content = read_json(record.files.experiment)
    write_json(record.files.experiment, {**content, "runs": [*content["runs"], row]})
    run = RunRecord(record.folder, name, model, seed, fold)
    write_json(run.files.run, {**row, "spec": {"metrics": {"confident": {"use": "confident"}}}})
    splits = read_json(record.files.splits)
    split = "test" if splits["test"] else "validation"
    part = splits[split] if fold is None or split == "test" else splits["folds"][fold - 1]["validation"]
    ids = sorted(part_row["image_id"] for part_row in part)
    own = [scores[i] for i in ids] if isinstance(scores, Mapping) else list(scores)
    values = np.array(own, dtype=np.float32).astype(np.float64)
    write_json_gz(run.files.predictions(split), predictions_json([found(i, s) for i, s in zip(ids, own, strict=True)]))
    if with_draws:
        weights = np.array([list(drawn.values()) for drawn in draws(ids, resamples=RESAMPLES)])
        drawn = {"confident/mean": weights @ values / len(ids)}
        write_draws(run.files, drawn, {"confident/mean": float(values.mean())})
    if per_class:
        table = Table(("class", "mean"), tuple(per_class.items()))
        write_figure(run.files.table("confident", "per_class", split), "confident", "per_class", table)
    given = dict(costs or {})
    measured = {**COSTS["measured"], **given.pop("measured", {})}
    summary: dict[str, Any] = {
        **row,
        "selected": {"epoch": 3, "value": float(values.mean()), "by": "confident/mean"},
        "scored": {
            "split": split,
            "images": len(ids),
            "same_images": split == "validation",
            "values": {"confident/mean": float(values.mean()), "confident/images": len(ids), "loss/loss": 1.0},
        },
        "primary": "confident/mean",
        "higher_is_better": {"confident/mean": True, "loss/loss": False},
        "parameters": 19_000_000,
        "weights_origin": {"source": "coco"},
        "precision": "fp32",
        "device": "cpu",
        "costs": {**COSTS, **given, "measured": measured},
        "measured": {"train_s": 600.0, "peak_memory_bytes": 2_000_000_000, "images_per_s": 30.0},
    }
    write_json(run.files.summary, {**summary, **changes})
    return run


def found(image_id: int, score: float) -> Prediction:
    boxes = np.array([[1, 2, 9, 8]], dtype=np.float32)
    return Prediction(image_id, boxes, np.ones(1, dtype=np.int64), np.array([score], dtype=np.float32))


def easy(images: int = 60) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How well each image is found: they differ far more from each other than models do."""
    return np.random.default_rng(1).uniform(0.3, 0.8, images)


def level(by: float, *, noise: int = 0, images: int = 60, spread: float = 0.03) -> list[float]:
    """Scores of a model that is better than the easiest by so much, with a noise of its own."""
    moved = np.random.default_rng(noise).normal(0, spread, images) if noise else np.zeros(images)
    return [float(value) for value in np.clip(easy(images) + by + moved, 0, 1)]
