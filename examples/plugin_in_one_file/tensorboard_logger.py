"""A logger in one file: TensorBoard.

    plugins = ["tensorboard_logger.py"]
    [loggers.tensorboard]

    pip install tensorboard
    tensorboard --logdir runs

One TensorBoard run a run: numbers by optimizer step, the validation images with what is there (green) and what was
found (orange), precision-recall curves, tables. A resumed run goes on in the same TensorBoard run: what lies after the
step from which it goes on is taken back.
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from pydantic import Field

from detkit import (
    BuildContext,
    Curve,
    Logger,
    LoggerComponent,
    LoggerRefused,
    Matrix,
    OptionPath,
    Options,
    Outcome,
    RecordedImage,
    RunInfo,
    Table,
    hookimpl,
    open_run,
)

#: Smaller pictures are enlarged, by a whole factor, or labels would cover all of them: the longer side, pixels.
LEGIBLE = 480
TRUTH, FOUND = (60, 200, 90), (255, 130, 30)


class TensorBoardOptions(Options):
    folder: OptionPath | None = Field(
        None, description="holds one folder a run; by default tensorboard in the run's own"
    )
    max_images: int = Field(16, ge=0, description="validation images that are shown; 0: none")
    min_score: float = Field(0.3, ge=0, le=1, description="detections below it are not drawn")
    flush_s: float = Field(10.0, gt=0, description="how long numbers may wait before they are written, seconds")


def check_tensorboard(_options: TensorBoardOptions, _context: BuildContext) -> None:
    """Asked before a run begins: better than a warning in its middle."""
    if find_spec("tensorboard") is None:
        raise LoggerRefused(
            "TensorBoard is not installed: pip install tensorboard, or leave it out with --disable-logger tensorboard"
        )


class TensorBoard(Logger):
    """Called on a thread of its own, with paths and plain values: it can neither stop nor slow a run."""

    def __init__(self, options: TensorBoardOptions) -> None:
        self._options = options
        self._run: RunInfo | None = None
        self._writer: Any = None
        self._last_step = 0
        self._images: list[RecordedImage] | None = None

    # --- the beginning and the end ---

    def start(self, run: RunInfo) -> None:
        if run.rehearsal:  # a few steps of `detkit run --smoke`, which leave nothing
            return
        self._run, self._last_step = run, run.start_step
        self._open(run.start_step)

    def _open(self, after_step: int) -> None:
        """A writer that goes on after a step; TensorBoard forgets what an earlier one wrote of later steps."""
        from torch.utils.tensorboard import SummaryWriter

        assert self._run is not None
        own = self._options.folder
        folder = self._run.folder / "tensorboard" if own is None else own / self._run.experiment / self._run.run_id
        # Without a step to purge from, nothing would be forgotten, also where nothing has been written yet.
        self._writer = SummaryWriter(
            str(folder), purge_step=after_step + 1 if after_step else None, flush_secs=round(self._options.flush_s) or 1
        )

    def close(self, outcome: Outcome) -> None:
        if self._writer is not None:
            self._writer.add_text("outcome", f"{outcome.state} {outcome.reason}".strip(), self._last_step)
            self._writer.close()
            self._writer = None

    # --- what a run tells ---

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        if self._writer is not None:
            text = json.dumps(parameters, indent=2, default=str)
            self._writer.add_text("parameters", f"```json\n{text}\n```", self._last_step)

    def log_metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        if self._writer is None:
            return
        if step < self._last_step:  # the run went back to a checkpoint
            self._writer.close()
            self._open(step - 1)
        self._last_step = step
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def log_table(self, name: str, table: Table, *, step: int, epoch: int) -> None:
        if self._writer is not None:
            self._writer.add_text(f"tables/{name}", markdown(table.columns, table.rows), step)

    def log_confusion_matrix(self, name: str, matrix: Matrix, *, step: int, epoch: int) -> None:
        if self._writer is not None:
            rows = [(label, *counts) for label, counts in zip(matrix.labels, matrix.counts, strict=True)]
            self._writer.add_text(f"matrices/{name}", markdown(("true \\ found", *matrix.labels), rows), step)

    def log_curve(self, name: str, curve: Curve, *, step: int, epoch: int) -> None:
        """TensorBoard knows one kind of curve: precision over recall."""
        if self._writer is None or (curve.x_name, curve.y_name) != ("recall", "precision"):
            return
        # It wants thresholds that rise, along which recall falls, and counts that it does not show.
        recall, precision = np.array(curve.x[::-1]), np.array(curve.y[::-1])
        counts = np.zeros_like(recall)
        self._writer.add_pr_curve_raw(name, counts, counts, counts, counts, precision, recall, step, len(recall))

    def log_predictions(self, file: Path, *, step: int, epoch: int) -> None:
        images = self._shown()
        if self._writer is None or not images:
            return
        found = defaultdict(list)
        with gzip.open(file, "rt", encoding="utf-8") as stream:
            for row in json.load(stream):
                if row["score"] >= self._options.min_score:
                    found[row["image_id"]].append(row)
        for image in images:
            picture = self._drawn(image, found[image.truth.image_id])
            self._writer.add_image(f"images/{image.truth.label}", picture, step, dataformats="HWC")

    # --- pictures ---

    def _shown(self) -> list[RecordedImage]:
        """The first validation images that the record keeps a copy of."""
        if self._images is None and self._run is not None:
            recorded = [image for image in open_run(self._run.folder).images() if image.split == "validation"]
            self._images = [image for image in recorded if image.copy is not None][: self._options.max_images]
        return self._images or []

    def _drawn(self, image: RecordedImage, rows: list[dict[str, Any]]) -> Any:
        """The record's copy with boxes, uint8 [H, W, 3]."""
        assert image.copy is not None
        assert self._run is not None
        # Objects and detections are in pixels of the original, of which the copy may be a smaller one.
        factor = max(1, LEGIBLE // max(image.copy_width, image.copy_height))
        width, height = factor * image.copy_width, factor * image.copy_height
        scale = (width / image.truth.width, height / image.truth.height)
        with Image.open(image.copy) as opened:
            picture = opened.convert("RGB").resize((width, height), Image.Resampling.NEAREST)
        draw = ImageDraw.Draw(picture)
        for item in image.truth.annotations:
            draw.rectangle(scaled(item.box, scale), outline=TRUTH)
        for row in rows:
            x, y, width, height = row["bbox"]
            box = scaled((x, y, x + width, y + height), scale)
            draw.rectangle(box, outline=FOUND)
            name = self._run.class_names[row["category_id"] - 1]
            draw.text((box[0] + 2, box[1] + 1), f"{name} {row['score']:.2f}", fill=FOUND)
        return np.asarray(picture)


def scaled(box: tuple[float, float, float, float], scale: tuple[float, float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (value * scale[place % 2] for place, value in enumerate(box))
    return x0, y0, max(x0, x1), max(y0, y1)


def markdown(columns: Any, rows: Any) -> str:
    """A table as TensorBoard's text shows it."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join("" if cell is None else cell_text(cell) for cell in line) + " |" for line in lines
    )


def cell_text(cell: object) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def build_tensorboard(options: TensorBoardOptions, context: BuildContext) -> TensorBoard:
    return TensorBoard(options)


TENSORBOARD = LoggerComponent(
    "tensorboard", TensorBoardOptions, build_tensorboard, "TensorBoard event files", check=check_tensorboard
)


@hookimpl
def detkit_loggers() -> list[LoggerComponent[Any]]:
    return [TENSORBOARD]
