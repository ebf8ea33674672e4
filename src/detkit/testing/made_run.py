"""A run that never was: a small record as the engine would leave it, and what loggers and callbacks are told of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torchvision.transforms.v2.functional import to_pil_image

from detkit.components import Logger, Outcome, RunInfo
from detkit.data.coco_form import ground_truth_json, predictions_json
from detkit.engine.replay import run_info, tell
from detkit.figures import Curve, Matrix, Table
from detkit.record.figures import write_figure
from detkit.record.files import write_json, write_json_gz
from detkit.record.images import RecordedImage, images_content
from detkit.record.layout import ExperimentLayout, RunLayout
from detkit.record.reader import RunRecord
from detkit.record.streams import StreamWriter
from detkit.testing.scenes import Scenes, poor_predictions, truths_of

EPOCHS, STEPS_PER_EPOCH, IMAGES = 3, 4, 4
#: Values of an epoch under the names that loggers and callbacks get; None where one does not apply.
PERFORMANCE = ("coco/ap", "coco/ap50", "coco/mask_ap", "torchmetrics/map")


def make_run(
    folder: Path, *, run_id: str = "conformance-seed1", class_names: Sequence[str] = ("disc", "block")
) -> RunRecord:
    """Write the record of a finished run of three epochs of four steps into an experiment's folder.

    Args:
        folder: that does not exist, or holds other runs written by this.
    """
    layout = ExperimentLayout(folder)
    scenes = Scenes(IMAGES, class_names=class_names, size=(48, 64), masks=False)
    if not layout.spec.exists():
        _write_experiment(layout, scenes, run_id)
    record = RunRecord(folder, run_id, "conformance", 1)
    _write_run(record.files, run_id, scenes)
    return record


def epoch_values(epoch: int) -> dict[str, float | None]:
    """What a run has measured in an epoch, as `epoch_ended` and the record have it: it gets better, and then does
    not."""
    better = min(epoch, 3)
    return {
        "train/epoch_loss": 1.5 / better,
        "train/epoch_box": 0.5 / better,
        "validation/loss": 1.6 / better,
        **dict.fromkeys(PERFORMANCE, 0.2 * better),
        "coco/ap_large": None,
    }


def _write_experiment(layout: ExperimentLayout, scenes: Scenes, run_id: str) -> None:
    layout.copies.mkdir(parents=True)
    recorded = []
    for index, truth in enumerate(truths_of(scenes)):
        file = layout.copies / f"{truth.image_id:06d}.png"
        to_pil_image(scenes[index][0]).save(file)
        recorded.append(RecordedImage(truth, "validation", file, truth.width, truth.height))
    write_json(layout.ground_truth, ground_truth_json(truths_of(scenes), scenes.class_names))
    rows = [{"index": index, "image_id": each.truth.image_id} for index, each in enumerate(recorded)]
    write_json(layout.splits, {"train": rows * 1, "validation": rows, "test": []})
    write_json(layout.images, images_content(recorded, layout.copies))
    names = list(scenes.class_names)
    sizes = {"train": 0, "validation": len(rows), "test": 0}
    objects = sum(len(each.truth.annotations) for each in recorded)
    counts = {"images": len(rows), "objects": objects, "class_names": names, "split_sizes": sizes}
    write_json(layout.fingerprint, {**counts, "sha256": "0" * 64})
    runs = [{"run_id": run_id, "model": "conformance", "seed": 1}]
    write_json(
        layout.experiment,
        {"name": "conformance", "created": 1.8e9, "spec_file": "conformance.toml", "versions": {"detkit": "0"}}
        | {"blocked": [], "runs": runs},
    )
    spec = {
        "experiment": {"name": "conformance", "log_every_steps": 1},
        "dataset": {"use": "scenes"},
        "metrics": {"coco": {"use": "coco"}},
        "models": {"conformance": {"use": "conformance"}},
    }
    layout.spec.write_text(tomli_w.dumps(spec), encoding="utf-8")


def _write_run(files: RunLayout, run_id: str, scenes: Scenes) -> None:
    files.folder.mkdir(parents=True, exist_ok=True)
    train = {"epochs": EPOCHS, "batch_size": 1, "accumulate": 1, "optimizer": "sgd", "lr": 0.01}
    write_json(
        files.run,
        {
            "run_id": run_id,
            "model": "conformance",
            "seed": 1,
            "experiment": "conformance",
            "class_names": list(scenes.class_names),
            "device": "cpu",
            "spec": {
                "model": {"use": "conformance", "train": train, "note": None, "sizes": [1, 2]},
                "metrics": {"coco": {"use": "coco"}},
                "metrics_in_order": ["coco"],
            },
            "versions": {"detkit": "0", "torch": torch.__version__},
            "hardware": {"processor": "none", "cores": 1, "threads": 1, "gpus": [], "system": "none"},
            "compute": {"accelerator": "cpu", "processes": 1, "precision": "fp32"},
            "weights_origin": {"source": "none"},
        },
    )
    files.model.write_text("Conformance()\n", encoding="utf-8")
    metrics, steps, system = (StreamWriter(file) for file in (files.metrics, files.steps, files.system))
    for epoch in range(1, EPOCHS + 1):
        for step in range((epoch - 1) * STEPS_PER_EPOCH + 1, epoch * STEPS_PER_EPOCH + 1):
            losses = {"box": 0.6 / step, "class": 0.4 / step}
            measured = {"images_per_s": 20.0, "step_data_s": 0.01}
            steps.append(
                {"epoch": epoch, "step": step, "loss": 1 / step, "losses": losses, "lr": 0.01, "measured": measured}
            )
        _write_epoch(files, epoch, scenes)
        measured = {"train_s": 60.0, "images_per_s": 20.0, "peak_memory_bytes": 800_000_000}
        step = epoch * STEPS_PER_EPOCH
        metrics.append({"epoch": epoch, "step": step, "values": epoch_values(epoch), "measured": measured})
    system.append({"time": 1.8e9, "cpu_percent": 90.0, "memory_bytes": 500_000_000})
    for stream in (metrics, steps, system):
        stream.close()
    files.last.parent.mkdir(exist_ok=True)
    for file in (files.last, files.best):
        torch.save({"run_id": run_id, "model": {"weight": torch.zeros(2)}}, file)
    files.console.write_text("one line\n", encoding="utf-8")
    _write_summary(files, run_id)


def _write_epoch(files: RunLayout, epoch: int, scenes: Scenes) -> None:
    found = poor_predictions(truths_of(scenes), seed=epoch)
    write_json_gz(files.predictions(epoch), predictions_json(found))
    columns, rows = ("class", "ap", "objects"), (("disc", 0.5, 3), ("Türblock/größer", None, 0))
    table = Table(columns, rows, title="by class", printed=True)
    write_figure(files.table("coco", "per_class", epoch), "coco", "per_class", table)
    curve = Curve((0.0, 0.5, 1.0), (1.0, 0.8, 0.0), "recall", "precision")
    write_figure(files.curve("coco", "pr50", epoch), "coco", "pr50", curve)
    matrix = Matrix((*scenes.class_names, "nothing"), ((3, 1, 0), (0, 2, 1), (1, 0, 0)))
    write_figure(files.matrix("coco", "confusion", epoch), "coco", "confusion", matrix)


def _write_summary(files: RunLayout, run_id: str) -> None:
    values = {name: value for name, value in epoch_values(EPOCHS).items() if name.startswith("coco/")}
    selected = {"epoch": EPOCHS, "step": EPOCHS * STEPS_PER_EPOCH, "by": "coco/ap", "split": "validation"}
    write_json(
        files.summary,
        {
            "run_id": run_id,
            "model": "conformance",
            "seed": 1,
            "epochs": EPOCHS,
            "ended": "all epochs were trained",
            "selected": {**selected, "value": values["coco/ap"]},
            "scored": {"split": "validation", "images": IMAGES, "same_images": True, "values": values},
            "primary": "coco/ap",
            "higher_is_better": dict.fromkeys(values, True),
            "parameters": 1000,
            "precision": "fp32",
            "device": "cpu",
            "measured": {"train_s": 180.0, "images_per_s": 20.0, "peak_memory_bytes": 800_000_000},
        },
    )


# --- what loggers are told -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a logger's method.

    Attributes:
        method: its name. arguments, keywords: what it is called with.
    """

    method: str
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)

    def make(self, logger: Logger) -> None:
        """Call it."""
        getattr(logger, self.method)(*self.arguments, **self.keywords)

    @property
    def step(self) -> int:
        """The optimizer step it belongs to; 0 where it belongs to none."""
        return int(self.keywords.get("step", 0))


class _Listener(Logger):
    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("calls", "close") or name.startswith("_"):
            return super().__getattribute__(name)
        return lambda *arguments, **keywords: self.calls.append(Call(name, arguments, keywords))


def logger_calls(run: RunRecord) -> list[Call]:
    """Every call that a logger gets of a recorded run, `start` first, without `close`: as `detkit.replay` makes
    them."""
    listener = _Listener()
    tell(run, listener)
    return listener.calls


# --- what callbacks are told -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a run: the hook's name and its arguments."""

    name: str
    arguments: Mapping[str, Any]


def run_events(info: RunInfo, *, epochs: int = 6, from_epoch: int = 1) -> Iterator[Event]:
    """The events of a run in their order, without `run_ended`: its metrics get better for three epochs, and no more.

    Args:
        info: as callbacks get it. from_epoch: the first that is not done yet; above 1 for a run that goes on.
    """
    yield Event("run_started", {"run": info})
    for epoch in range(from_epoch, epochs + 1):
        for step in range((epoch - 1) * STEPS_PER_EPOCH + 1, epoch * STEPS_PER_EPOCH + 1):
            losses = {"box": 0.6 / math.sqrt(step), "class": 0.4 / math.sqrt(step)}
            yield Event("step_ended", {"run": info, "step": step, "losses": losses})
        values = epoch_values(epoch)
        yield Event("epoch_ended", {"run": info, "epoch": epoch, "metrics": values})
        yield Event("should_stop", {"run": info, "epoch": epoch, "metrics": values})


def made_info(folder: Path, *, epochs: int = EPOCHS, **changes: Any) -> RunInfo:
    """A run as callbacks and loggers see it.

    Args:
        folder: of the run. changes: of the other attributes of `RunInfo`.
    """
    values: dict[str, Any] = {
        "run_id": "conformance-seed1",
        "experiment": "conformance",
        "model": "conformance",
        "seed": 1,
        "folder": folder,
        "class_names": ("disc", "block"),
        "device": "cpu",
        "precision": "fp32",
        "epochs": epochs,
        "steps_per_epoch": STEPS_PER_EPOCH,
        "parameters": {"train": {"lr": 0.01}},
    }
    return RunInfo(**(values | changes))


FINISHED = Outcome("finished", "all epochs were trained")

__all__ = [
    "FINISHED",
    "Call",
    "Event",
    "epoch_values",
    "logger_calls",
    "made_info",
    "make_run",
    "run_events",
    "run_info",
]
