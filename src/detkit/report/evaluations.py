"""What a run found in an evaluation, as the page reads it: detections as arrays, and the metrics' figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detkit.errors import RecordError
from detkit.record.files import read_json, read_json_gz
from detkit.record.layout import RunLayout
from detkit.report.arrays import packed, packed_exactly

EPOCH = re.compile(r"epoch-(\d{3,})")
#: Of the final figures; they are named after the split they come from.
FINAL = ("validation", "test")
FIGURES = ("tables", "curves", "matrices")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of a run.

    Attributes:
        key: "epoch-003", "validation" or "test"; the last two are of the selected checkpoint.
        epoch: None of the final ones.
        predictions: what was found; None where the record does not keep it.
        figures: of metrics, in the order of their names.
    """

    key: str
    epoch: int | None
    predictions: Path | None
    figures: Sequence[Path]

    @property
    def split(self) -> str:
        return self.key if self.epoch is None else "validation"


def evaluations(files: RunLayout) -> list[Evaluation]:
    """Those that the record of a run has anything of: by epoch, the final ones last."""
    keys = {file.name.removesuffix(".json.gz") for file in (files.folder / "predictions").glob("*.json.gz")}
    keys |= {folder.name for kind in FIGURES for folder in (files.folder / kind).glob("*") if folder.is_dir()}
    found = []
    for key in keys:
        match = EPOCH.fullmatch(key)
        if not match and key not in FINAL:
            continue
        predictions = files.predictions(int(match[1]) if match else key)
        figures = [file for kind in FIGURES for file in sorted((files.folder / kind / key).glob("*.json"))]
        there = predictions if predictions.exists() else None
        found.append(Evaluation(key, int(match[1]) if match else None, there, figures))
    return sorted(found, key=lambda one: (one.epoch is None, one.epoch or 0, one.key != "validation"))


def read_detections(file: Path, positions: Mapping[int, int]) -> tuple[dict[str, Any], list[str | None] | None]:
    """The detections as arrays of the page, and their masks.

    Args:
        positions: image id to its place among the page's images.

    Returns:
        `offsets` int32 [I + 1]: the detections of image i are offsets[i] to offsets[i + 1], the surest first, equal
        ones in the model's order. `labels` uint16 [D], 1..K. `scores` [D]. `boxes` [D, 4] in pixels of the image:
        `form` "corners" (x0, y0, x1, y1) where float32 corners give the record's boxes to the last bit, else "sizes"
        (x, y, width, height). `masks`: whether there are any. Beside it their compressed run lengths, or None.

    Raises:
        RecordError: the file is damaged.
    """
    rows = read_json_gz(file)
    try:
        places = np.array([positions[row["image_id"]] for row in rows], dtype=np.int64)
        boxes = np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4)
        labels = np.array([row["category_id"] for row in rows], dtype=np.int64)
        scores = np.array([row["score"] for row in rows], dtype=np.float64)
        order = np.lexsort((-scores, places))
        masked = any("segmentation" in row for row in rows)
        masks = [rows[i].get("segmentation", {}).get("counts") for i in order.tolist()] if masked else None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{file} is damaged: {type(error).__name__}: {error}") from error
    counts = np.bincount(places, minlength=len(positions))
    form, kept = _boxes(boxes[order])
    content = {
        "offsets": packed(np.r_[0, np.cumsum(counts)], "<i4"),
        "labels": packed(labels[order], "<u2"),
        "scores": packed_exactly(scores[order]),
        "form": form,
        "boxes": kept,
        "masks": masked,
    }
    return content, masks


def _boxes(sizes: NDArray[np.float64]) -> tuple[str, dict[str, str]]:
    corners = np.concatenate([sizes[:, :2], sizes[:, :2] + sizes[:, 2:]], axis=1).astype(np.float32)
    wide = corners.astype(np.float64)
    same = np.array_equal(np.concatenate([wide[:, :2], wide[:, 2:] - wide[:, :2]], axis=1), sizes)
    return ("corners", packed(corners, "<f4")) if same else ("sizes", packed(sizes, "<f8"))


def read_figures(files: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """`tables`, `curves` and `matrices` by their names as "coco/per_image"; plain values as in the record.

    Raises:
        RecordError: a file is damaged.
    """
    found: dict[str, dict[str, Any]] = {kind: {} for kind in FIGURES}
    for file in files:
        content = read_json(file)
        try:
            name = f"{content.pop('metric')}/{content.pop('name')}"
        except KeyError as error:
            raise RecordError(f"{file} is damaged: it has no {error}") from error
        content.pop("format_version")
        found[file.parent.parent.name][name] = content
    return found
