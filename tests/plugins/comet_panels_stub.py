"""What Comet's server answers to somebody who reads a project: made-up experiments, as detkit's logger leaves them.

with Stub(extra=[reading(experiments())]) as stub: ...
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, ImageDraw

from plugins.comet_received import Received, Request

WORKSPACE, PROJECT = "lab", "scenes"
SIZE = (120, 80)
STEPS = {1: 20, 2: 40}
#: COCO's numbers of an image, as the logger names the columns of the table.
NUMBERS = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
COLUMNS = ("image", "image_id", "objects", "tp", "fp", "fn", "f1", "lowest_iou", *NUMBERS)
TRIANGLE = [10.0, 10.0, 50.0, 10.0, 30.0, 40.0]


@dataclass(frozen=True)
class Asset:
    """A file of an experiment; its metadata is sent as Comet does, as JSON text."""

    name: str
    content: bytes
    type: str = "asset"
    step: int | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True)
class Experiment:
    key: str
    name: str
    others: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float | str] = field(default_factory=dict)
    assets: Sequence[Asset] = ()


def reading(experiments: Sequence[Experiment]) -> Callable[[Request], tuple[int, Any] | None]:
    """The endpoints that the client's `API` reads from."""
    by_key = {experiment.key: experiment for experiment in experiments}

    def reply(request: Request) -> tuple[int, Any] | None:
        _, rest, end = request.path.partition("/api/rest/v2/")
        if not rest or request.method != "GET":
            return None
        if end == "experiments":
            assert (request.query["workspaceName"], request.query["projectName"]) == (WORKSPACE, PROJECT)
            return 200, {"experiments": [metadata(experiment) for experiment in experiments]}
        experiment = by_key.get(request.query.get("experimentKey", ""))
        return (404, {"msg": "no such experiment"}) if experiment is None else of_one(experiment, end, request.query)

    return reply


def of_one(experiment: Experiment, end: str, query: dict[str, str]) -> tuple[int, Any] | None:
    assets = {f"{experiment.key}-{place}": asset for place, asset in enumerate(experiment.assets)}
    if end == "experiment/metadata":
        return 200, metadata(experiment)
    if end == "experiment/log-other":
        return 200, {"values": summaries(experiment.others)}
    if end == "experiment/metrics/summary":
        return 200, {"values": summaries(experiment.metrics)}
    if end == "experiment/asset/list":
        wanted = query.get("type", "all")
        return 200, {"assets": [listed(i, asset) for i, asset in assets.items() if wanted in ("all", asset.type)]}
    if end == "experiment/asset/get-asset":
        return 200, assets[query["assetId"]].content
    return None


def metadata(experiment: Experiment) -> dict[str, Any]:
    return {
        "experimentKey": experiment.key,
        "experimentName": experiment.name,
        "workspaceName": WORKSPACE,
        "projectName": PROJECT,
        "archived": False,
    }


def summaries(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Comet gives every value as text."""
    return [{"name": name, "valueCurrent": str(value), "editable": False} for name, value in values.items()]


def listed(asset_id: str, asset: Asset) -> dict[str, Any]:
    return {
        "assetId": asset_id,
        "fileName": asset.name,
        "type": asset.type,
        "step": asset.step,
        "metadata": None if asset.metadata is None else json.dumps(asset.metadata),
    }


def as_read(got: Received) -> Experiment:
    """What was sent, as it is read: the last value of each metric under its name with the context, all files."""
    metrics = {
        f"{metric.context}_{metric.name}" if metric.context else metric.name: metric.value for metric in got.metrics
    }
    images = [Asset(image.name, image.content, "image", image.step, image.metadata) for image in got.images]
    files = [Asset(file.name, file.content, file.type, file.step, file.metadata) for file in got.all_assets]
    others = {name: str(value) for name, value in got.others.items()}
    return Experiment(got.key, got.name or got.key, others, metrics, [*images, *files])


# --- the project -----------------------------------------------------------------------------------------------------


def experiments() -> list[Experiment]:
    """Two seeds of a detector with masks, a faster one that is worse, one that all beat, a leaderboard."""
    return [
        run("mask_rcnn", 1, 0.50, 100.0, interval=(0.44, 0.55), memory=400e6, found=0.9),
        run("mask_rcnn", 2, 0.54, 104.0, interval=(0.47, 0.60), memory=400e6, found=0.8),
        run("fcos", 1, 0.40, 25.0, interval=(0.33, 0.46), memory=100e6, found=0.5),
        run("slow", 1, 0.30, 150.0, interval=None, memory=None, found=0.1),
        Experiment("leaderboard", "scenes leaderboard", assets=[Asset("leaderboard.csv", b"model,ap\n")]),
    ]


def run(
    model: str,
    seed: int,
    ap: float,
    latency: float,
    interval: tuple[float, float] | None,
    memory: float | None,
    found: float,
) -> Experiment:
    """One run; `found` is how well it does on the images that it finds anything on."""
    metrics: dict[str, float | str] = {
        "train_loss": 0.7,
        "validate_coco/ap": ap,
        "final/coco/ap": ap,
        "final/coco/ap50": ap + 0.2,
        "final/loss/loss": 1 - ap,
        "final/coco/note": "not a number",
        "cost/latency_ms_median": latency,
        "cost/images_per_s": 1000 / latency,
        "cost/flops": latency * 1e9,
    }
    if interval is not None:
        metrics |= {"final/coco/ap_lower": interval[0], "final/coco/ap_upper": interval[1]}
    if memory is not None:
        metrics["cost/inference_memory_bytes"] = memory
    others = {"experiment": "scenes", "run": f"{model}-seed{seed}", "model": model, "seed": str(seed)}
    others |= {"dataset_fingerprint": "f00d", "scored_on": "test", "device": "cpu", "precision": "fp32"}
    tables = per_epoch_tables(found) if model == "slow" else [final_table(found)]
    return Experiment(f"{model}{seed}", f"{model} seed {seed}", others, metrics, [*tables, *images(model, found)])


def rows(found: float) -> list[tuple[Any, ...]]:
    """Of an evaluation: an image that goes well, one that goes badly, one without objects."""
    good, bad = [found] * len(NUMBERS), [found / 4] * len(NUMBERS)
    good[3] = bad[3] = -1  # no small objects
    return [
        ("a.png", 1, 2, 2, 0, 0, 1.0, 0.8, *good),
        ("b.png", 2, 2, 1, 3, 1, 0.5, 0.6, *bad),
        ("empty.png", 3, 0, 0, 1, 0, -1, "", *[-1] * len(NUMBERS)),
    ]


def final_table(found: float) -> Asset:
    """All rows of all epochs; the first epoch is half as good."""
    lines = [(epoch, STEPS[epoch], *row) for epoch in STEPS for row in rows(found * epoch / 2)]
    return Asset("coco/per_image.csv", to_csv(("epoch", "step", *COLUMNS), lines))


def per_epoch_tables(found: float) -> list[Asset]:
    return [
        Asset(f"coco/per_image-step-{step:06d}.csv", to_csv(COLUMNS, rows(found * epoch / 2)), step=step)
        for epoch, step in STEPS.items()
    ]


def to_csv(columns: Sequence[str], lines: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *lines])
    return text.getvalue().encode()


def images(model: str, found: float) -> list[Asset]:
    """Each epoch all images with their annotations; the one without objects and predictions has no layer at all."""
    layers = {"a.png": lambda score: [truth(), predictions(model, score)], "b.png": lambda _: [truth()]}
    return [
        Asset(
            name,
            drawn(name),
            "image",
            step,
            facts(place, epoch) | with_annotations(layers.get(name), 100 * found * epoch / 2),
        )
        for epoch, step in STEPS.items()
        for place, name in enumerate(("a.png", "b.png", "empty.png"), 1)
    ] + [Asset("example.png", drawn("b.png"), "image", None)]


def with_annotations(layers: Callable[[float], list[Any]] | None, score: float) -> dict[str, Any]:
    return {"annotations": layers(score)} if layers else {}


def facts(image_id: int, epoch: int) -> dict[str, Any]:
    """Of the image that has objects and no predictions both are missed; the first is the worst in the first epoch."""
    missed, unmatched = {1: (0, 1 if epoch == 2 else 9), 2: (2, 0), 3: (0, 0)}[image_id]
    return {"image_id": image_id, "epoch": epoch, "missed": missed, "unmatched": unmatched}


def truth() -> dict[str, Any]:
    boxes = [("disc", [10, 10, 40, 30]), ("box", [70, 40, 30, 20])]
    data = [{"label": label, "score": 100.0, "boxes": [box], "metadata": {"iou": 0.75}} for label, box in boxes]
    return {"name": "Ground truth", "data": data}


def predictions(model: str, score: float) -> dict[str, Any]:
    """One sure and one half as sure; a model with masks gives an outline beside the box."""
    first: dict[str, Any] = {"label": "disc", "score": score, "metadata": {"iou": 0.75}, "boxes": [[12, 8, 40, 30]]}
    first |= {"points": [TRIANGLE]} if model == "mask_rcnn" else {}
    second = {"label": "box", "score": score / 2, "metadata": {"iou": 0.1}, "boxes": [[60, 50, 20, 20]]}
    return {"name": "Predictions", "data": [first, second]}


def drawn(name: str) -> bytes:
    """A grey picture with the objects in it."""
    image = Image.new("RGB", SIZE, (205, 205, 205))
    if name != "empty.png":
        pen = ImageDraw.Draw(image)
        pen.ellipse((10, 10, 50, 40), fill=(70, 120, 180))
        pen.rectangle((70, 40, 100, 60), fill=(190, 110, 60))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
