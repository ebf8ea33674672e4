"""The record of an experiment as a run would leave it, without training: drawn images, detections that get better.

Figures are the coco metric's own. Sizes are chosen, so that a test has a small record and benchmarks/report.py a large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from detkit.data.coco_form import ground_truth_json, predictions_json
from detkit.data.targets import encode_masks
from detkit.data.types import RLE, Annotation, ImageInfo, Prediction
from detkit.figures import MetricResult
from detkit.record.figures import write_figure
from detkit.record.files import write_json, write_json_gz
from detkit.record.images import RecordedImage, images_content
from detkit.record.layout import ExperimentLayout, RunLayout
from detkit.record.reader import ExperimentRecord, open_record
from detkit.record.streams import StreamWriter

Rng = np.random.Generator


@dataclass(frozen=True)
class Wanted:
    """What the record holds.

    Attributes:
        models: keys; each has one run, of seed 1. classes: names. images: of the validation split.
        objects: at most so many an image. noise: detections of nothing, at most so many an image.
        masks: whether objects and detections have them. names: of the first images, else "street/0003.jpg".
        failed, running: models whose run ended so after its epochs. cause: why the failed one did.
    """

    models: Sequence[str] = ("faster_rcnn", "fcos")
    classes: Sequence[str] = ("car", "person", "dog")
    images: int = 12
    epochs: int = 3
    objects: int = 4
    noise: int = 3
    size: tuple[int, int] = (320, 240)
    masks: bool = False
    names: Sequence[str] = ()
    failed: str = ""
    running: str = ""
    cause: str = "RuntimeError: out of luck"
    figures: bool = True
    name: str = "streets"
    seed: int = 0


def make_record(folder: Path, wanted: Wanted) -> ExperimentRecord:
    """Write it into a folder that does not exist."""
    rng = np.random.default_rng(wanted.seed)
    layout = ExperimentLayout(folder)
    truths = [_truth(rng, wanted, number) for number in range(wanted.images)]
    write_data(layout, truths, wanted)
    write_experiment(layout, wanted)
    for place, model in enumerate(wanted.models):
        _write_run(layout.run(f"{model}-seed1"), model, truths, wanted, rng, skill=max(0.15, 0.9 - 0.15 * place))
    return open_record(folder)


# --- images ----------------------------------------------------------------------------------------------------------


def _truth(rng: Rng, wanted: Wanted, number: int) -> ImageInfo:
    width, height = wanted.size
    annotations = []
    for place in range(int(rng.integers(0, wanted.objects + 1))):
        w, h = rng.uniform(0.1, 0.4, 2) * (width, height)
        x, y = rng.uniform(0, 1, 2) * (width - w, height - h)
        box = (float(x), float(y), float(x + w), float(y + h))
        annotations.append(
            Annotation(
                label=int(rng.integers(1, len(wanted.classes) + 1)),
                box=box,
                area=float(w * h),
                iscrowd=place == 3 and number % 5 == 0,
                mask=ellipse(box, wanted.size) if wanted.masks else None,
                bbox=(box[0], box[1], box[2] - box[0], box[3] - box[1]),
            )
        )
    name = wanted.names[number] if number < len(wanted.names) else f"street/{number:04d}.jpg"
    return ImageInfo(1000 + number, None, width, height, tuple(annotations), name)


def ellipse(box: Sequence[float], size: tuple[int, int]) -> RLE:
    """The mask of the ellipse in a box."""
    width, height = size
    y, x = np.mgrid[:height, :width] + 0.5
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    radius = ((box[2] - box[0]) / 2, (box[3] - box[1]) / 2)
    inside = ((x - middle[0]) / radius[0]) ** 2 + ((y - middle[1]) / radius[1]) ** 2 <= 1
    return encode_masks(inside[None].astype(np.uint8))[0]


def picture(truth: ImageInfo) -> Any:
    """The objects in the colours of their classes, over a gradient."""
    from PIL import Image, ImageDraw

    shade = np.linspace(60, 180, truth.height)[:, None] + np.linspace(0, 40, truth.width)[None]
    image = Image.fromarray(np.stack([shade, shade * 0.9, shade * 0.8], axis=2).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for item in truth.annotations:
        draw.ellipse(
            item.box, fill=((item.label * 90) % 255, (item.label * 50 + 90) % 255, (255 - item.label * 60) % 255)
        )
    return image


def write_data(layout: ExperimentLayout, truths: Sequence[ImageInfo], wanted: Wanted) -> None:
    """What the runs share."""
    layout.copies.mkdir(parents=True)
    recorded = []
    for truth in truths:
        file = layout.copies / f"{truth.image_id:06d}.jpg"
        picture(truth).save(file, quality=80)
        recorded.append(RecordedImage(truth, "validation", file, truth.width, truth.height))
    write_json(layout.ground_truth, ground_truth_json(truths, wanted.classes))
    rows = [{"index": index, "image_id": truth.image_id} for index, truth in enumerate(truths)]
    write_json(layout.splits, {"train": [], "validation": rows, "test": []})
    write_json(layout.images, images_content(recorded, layout.copies))
    sizes = {"train": 0, "validation": len(truths), "test": 0}
    objects = sum(len(truth.annotations) for truth in truths)
    write_json(
        layout.fingerprint,
        {"images": len(truths), "objects": objects, "class_names": list(wanted.classes), "split_sizes": sizes}
        | {"sha256": "0" * 64},
    )


def write_experiment(layout: ExperimentLayout, wanted: Wanted) -> None:
    """experiment.json and the spec."""
    runs = [{"run_id": f"{model}-seed1", "model": model, "seed": 1} for model in wanted.models]
    facts = {"name": wanted.name, "created": 1_767_268_800.0, "spec_file": "/home/jane/streets.toml"}
    versions = {"python": "3.13.1", "detkit": "0.1.0"}
    write_json(layout.experiment, {**facts, "versions": versions, "blocked": [], "runs": runs})
    spec = {
        "experiment": {"name": wanted.name},
        "dataset": {"use": "coco", "root": "/home/jane/secret/data"},
        "metrics": {"coco": {"use": "coco"}},
        "models": {model: {"use": model} for model in wanted.models},
    }
    layout.spec.write_text(tomli_w.dumps(spec), encoding="utf-8")


# --- runs ------------------------------------------------------------------------------------------------------------


def _write_run(
    files: RunLayout, model: str, truths: Sequence[ImageInfo], wanted: Wanted, rng: Rng, *, skill: float
) -> None:
    files.folder.mkdir()
    write_json(files.run, run_facts(model, wanted))
    metrics, steps, system = (StreamWriter(file) for file in (files.metrics, files.steps, files.system))
    best: tuple[float, int, MetricResult | None] = (-1.0, 1, None)
    for epoch in range(1, wanted.epochs + 1):
        found = [detect(rng, truth, wanted, skill * epoch / wanted.epochs) for truth in truths]
        result = evaluated(found, truths, wanted.classes) if wanted.figures else None
        write_json_gz(files.predictions(epoch), predictions_json(found))
        if result is not None:
            write_figures(files, epoch, result)
        values = {f"coco/{name}": scalar.value for name, scalar in result.scalars.items()} if result else {}
        ap = values.get("coco/ap") or skill * epoch / wanted.epochs
        if ap > best[0]:
            best = (ap, epoch, result)
        losses = {"train/epoch_loss": 1 / epoch, "train/epoch_box": 0.6 / epoch, "validation/loss": 1.1 / epoch}
        measured = {"train_s": 60.0 + epoch, "images_per_s": 20.0, "peak_memory_bytes": 800_000_000}
        metrics.append(
            {"epoch": epoch, "step": 10 * epoch, "values": {"coco/ap": ap} | values | losses} | {"measured": measured}
        )
        for step in range(10 * epoch - 9, 10 * epoch + 1):
            terms = {"box": 0.6 / step, "class": 0.4 / step}
            steps.append({"epoch": epoch, "step": step, "loss": 1 / step, "losses": terms, "lr": 0.01 / epoch})
        system.append({"time": 1_767_268_800.0 + 60 * epoch, "cpu_percent": 90.0, "memory_bytes": 500_000_000})
    for stream in (metrics, steps, system):
        stream.close()
    if model == wanted.failed:
        write_json(files.failure, {"kind": "RunFailed", "message": wanted.cause, "exit_code": 1})
    elif model != wanted.running and wanted.epochs:
        _finish(files, model, wanted, best, skill)


def run_facts(model: str, wanted: Wanted) -> dict[str, Any]:
    """run.json."""
    train = {"epochs": wanted.epochs, "optimizer": "sgd", "lr": 0.01 if model == "fcos" else 0.005}
    return {
        "run_id": f"{model}-seed1",
        "model": model,
        "seed": 1,
        "experiment": wanted.name,
        "class_names": list(wanted.classes),
        "spec": {
            "model": {"use": model, "train": train},
            "metrics": {"coco": {"use": "coco", "match_iou": 0.5, "confidence": 0.5, "max_detections": [1, 10, 100]}},
            "metrics_in_order": ["coco"],
        },
        "versions": {"detkit": "0.1.0"},
        "hardware": {"processor": "Chip 9000", "cores": 8, "threads": 4, "gpus": [], "system": "Linux"},
        "compute": {"accelerator": "cpu", "processes": 1, "precision": "fp32"},
        "weights_origin": {"source": "none"},
    }


def _finish(
    files: RunLayout, model: str, wanted: Wanted, best: tuple[float, int, MetricResult | None], skill: float
) -> None:
    ap, epoch, result = best
    values = {f"coco/{name}": scalar.value for name, scalar in result.scalars.items()} if result else {"coco/ap": ap}
    higher = {name: not name.endswith("error") for name in values}
    if result is not None:
        write_figures(files, "validation", result)
    files.predictions("validation").write_bytes(files.predictions(epoch).read_bytes())
    costs = {"flops": 3e9 * skill, "weights_bytes": int(4e7 * skill), "troubles": {}}
    measured = {
        "latency_ms_median": 20 * skill,
        "latency_ms_p95": 25 * skill,
        "inference_memory_bytes": int(2e8 * skill),
    }
    write_json(
        files.summary,
        {
            "run_id": f"{model}-seed1",
            "model": model,
            "seed": 1,
            "epochs": wanted.epochs,
            "ended": "all epochs were trained",
            "selected": {"epoch": epoch, "step": 10 * epoch, "by": "coco/ap", "value": ap, "split": "validation"},
            "scored": {
                "split": "validation",
                "images": wanted.images,
                "same_images": True,
                "values": values,
                "intervals": {"coco/ap": {"lower": max(0.0, ap - 0.08), "upper": min(1.0, ap + 0.07)}},
                "resampling": {"method": "made", "level": 0.95, "resamples": 1000, "seed": 0},
            },
            "primary": "coco/ap",
            "higher_is_better": higher,
            "parameters": int(2e7 * skill),
            "precision": "fp32",
            "device": "cpu",
            "costs": {**costs, "device": "cpu", "device_name": "Chip 9000", "measured": measured},
            "measured": {"train_s": 180.0, "images_per_s": 20.0, "peak_memory_bytes": 800_000_000},
        },
    )


def detect(rng: Rng, truth: ImageInfo, wanted: Wanted, skill: float) -> Prediction:
    """Objects, found the surer and the closer the higher the skill is, some twice or as another class; and noise."""
    width, height = wanted.size
    boxes: list[NDArray[np.float64]] = []
    labels, scores = [], []
    for item in truth.annotations:
        for again in range(2 if rng.random() < 0.2 else 1):
            if rng.random() > 0.4 + 0.6 * skill:
                continue
            spread = (1.05 - skill) * 0.25 * np.array([item.box[2] - item.box[0], item.box[3] - item.box[1]] * 2)
            corners = np.array(item.box) + rng.normal(size=4) * spread
            boxes.append(np.r_[np.minimum(corners[:2], corners[2:] - 1), corners[2:]])
            other = rng.random() > 0.7 + 0.3 * skill
            labels.append(int(rng.integers(1, len(wanted.classes) + 1)) if other else item.label)
            scores.append(float(np.clip(rng.normal(0.4 + 0.5 * skill - 0.2 * again, 0.15), 0.05, 0.999)))
    for _ in range(int(rng.integers(0, wanted.noise + 1))):
        x, y = rng.uniform(0, 0.7, 2) * (width, height)
        boxes.append(np.array([x, y, x + rng.uniform(10, 0.3 * width), y + rng.uniform(10, 0.3 * height)]))
        labels.append(int(rng.integers(1, len(wanted.classes) + 1)))
        scores.append(float(rng.uniform(0.05, 0.75 - 0.3 * skill)))
    limits = np.array([width, height, width, height], dtype=np.float64)
    kept = np.clip(np.array(boxes).reshape(-1, 4), 0, limits).astype(np.float32)
    return Prediction(
        image_id=truth.image_id,
        boxes=kept,
        labels=np.array(labels, dtype=np.int64),
        scores=np.array(scores, dtype=np.float32),
        masks=[ellipse(box, wanted.size) for box in kept.tolist()] if wanted.masks else None,
    )


# --- figures ---------------------------------------------------------------------------------------------------------


def evaluated(found: Sequence[Prediction], truths: Sequence[ImageInfo], classes: Sequence[str]) -> MetricResult:
    """By the coco metric with its usual options."""
    from detkit_coco import CocoOptions
    from detkit_coco.metric import CocoMetric

    options = CocoOptions(masks="off")
    metric = CocoMetric(classes, options, "hotcoco")
    metric.update(found, truths)
    return metric.compute()


def write_figures(files: RunLayout, epoch: int | str, result: MetricResult) -> None:
    """Where the engine puts them."""
    for name, table in result.tables.items():
        write_figure(files.table("coco", name, epoch), "coco", name, table)
    for name, curve in result.curves.items():
        write_figure(files.curve("coco", name, epoch), "coco", name, curve)
    for name, matrix in result.matrices.items():
        write_figure(files.matrix("coco", name, epoch), "coco", name, matrix)
