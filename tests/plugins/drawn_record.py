"""A small experiment's record on disk, without any training: images with known objects, copies, and predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detkit import RecordedImage, RunInfo
from detkit.data.coco_form import ground_truth_json
from detkit.data.targets import encode_masks
from detkit.data.types import RLE, Annotation, ImageInfo
from detkit.record.files import write_json, write_json_gz
from detkit.record.images import images_content
from detkit.record.layout import ExperimentLayout

if TYPE_CHECKING:
    from PIL.Image import Image

CLASSES = ("cat", "dog")
RUN_ID = "fcos-seed1"


def rectangle(height: int, width: int, box: Sequence[int]) -> RLE:
    """The mask that covers a box (x, y, width, height)."""
    mask = np.zeros((1, height, width), dtype=np.uint8)
    x, y, w, h = box
    mask[0, y : y + h, x : x + w] = 1
    return encode_masks(mask)[0]


def thing(label: int, box: Sequence[float], *, mask: RLE | None = None, crowd: bool = False) -> Annotation:
    """An object by its box (x, y, width, height)."""
    x, y, w, h = box
    return Annotation(label, (x, y, x + w, y + h), w * h, iscrowd=crowd, mask=mask, bbox=(x, y, w, h))


def row(image_id: int, label: int, box: Sequence[float], score: float, mask: RLE | None = None) -> dict[str, Any]:
    """A detection in COCO's results form."""
    found: dict[str, Any] = {"image_id": image_id, "category_id": label, "bbox": list(box), "score": score}
    return found if mask is None else {**found, "segmentation": mask}


def flat(info: ImageInfo, size: tuple[int, int]) -> Image:
    """A picture of one colour."""
    from PIL import Image

    return Image.new("RGB", size, (info.image_id % 256, 80, 160))


def write_record(
    folder: Path,
    images: Sequence[ImageInfo],
    *,
    kept: Sequence[int] | None = None,
    shrink: int = 1,
    draw: Callable[[ImageInfo, tuple[int, int]], Image] = flat,
) -> Path:
    """Write the record of an experiment of one run; all images are of the validation split.

    Args:
        kept: ids of the images with copies; None: all.
        shrink: copies' sides are so many times shorter.
        draw: gets the image and its copy's width and height.

    Returns:
        The run's folder.
    """
    layout = ExperimentLayout(folder)
    recorded = []
    layout.copies.mkdir(parents=True)
    for info in images:
        if kept is not None and info.image_id not in kept:
            recorded.append(RecordedImage(info, "validation"))
            continue
        size = (info.width // shrink, info.height // shrink)
        file = layout.copies / f"{info.image_id:06d}.jpg"
        draw(info, size).save(file, quality=90)
        recorded.append(RecordedImage(info, "validation", file, *size))
    write_json(layout.experiment, {"name": "drawn", "runs": [{"run_id": RUN_ID, "model": "fcos", "seed": 1}]})
    write_json(layout.ground_truth, ground_truth_json(images, CLASSES))
    rows = [{"index": index, "image_id": info.image_id} for index, info in enumerate(images)]
    write_json(layout.splits, {"train": [], "validation": rows, "test": []})
    write_json(layout.images, images_content(recorded, layout.copies))
    run = layout.run(RUN_ID)
    run.folder.mkdir()
    return run.folder


def write_predictions(run: Path, epoch: int, rows: Sequence[dict[str, Any]]) -> Path:
    """The predictions of an epoch, where the engine puts them."""
    file = run / "predictions" / f"epoch-{epoch:03d}.json.gz"
    write_json_gz(file, list(rows))
    return file


def run_info(folder: Path, *, epochs: int = 3, every: int = 1, start_step: int = 0) -> RunInfo:
    """The run in that folder."""
    return RunInfo(
        run_id=folder.name,
        experiment="drawn",
        model="fcos",
        seed=1,
        folder=folder,
        class_names=CLASSES,
        device="cpu",
        precision="fp32",
        epochs=epochs,
        steps_per_epoch=10,
        start_step=start_step,
        parameters={"spec": {"model": {"train": {"eval_every_epochs": every}}}},
    )
