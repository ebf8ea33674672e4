"""The tables: one row a class, one row an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from detkit import Table
from detkit.data.evaluated import Floats
from detkit_coco.columns import Columns
from detkit_coco.counts import Counts
from detkit_coco.evaluators import Accumulated
from detkit_coco.operating import Operating
from detkit_coco.settings import Settings
from detkit_coco.summary import mean_of_known


def per_class_table(
    result: Accumulated,
    settings: Settings,
    class_names: Sequence[str],
    by_class: Sequence[Operating],
    confidence: float,
) -> Table:
    """AP and AR of each class; precision, recall and F1 at the confidence; the best F1 and where it is; its objects."""
    precision, recall = result.precision[..., 0, -1], result.recall[..., 0, -1]
    named = settings.named_ious()
    rows = []
    for k, (name, of) in enumerate(zip(class_names, by_class, strict=True)):
        at, best = of.counts(confidence).values(), of.best()
        rows.append(
            (
                name,
                mean_of_known(precision[:, :, k]),
                *(mean_of_known(precision[place, :, k]) for place in named.values()),
                mean_of_known(recall[:, k]),
                *at.values(),
                best.f1 if best else None,
                best.confidence if best else None,
                of.objects,
            )
        )
    counted = ("f1", "precision", "recall", "best_f1", "best_f1_confidence", "objects")
    return Table(("class", "ap", *named, f"ar{settings.max_detections[-1]}", *counted), tuple(rows), title="By class")


def per_image_table(columns: Columns, counts: Counts, numbers: Mapping[str, Floats]) -> Table:
    """COCO's numbers of each image alone, with -1 where one does not apply to it, as COCO's own tables have it."""
    whole = 2 * counts.true + counts.false + counts.missed
    f1 = np.where(counts.objects > 0, 2 * counts.true / np.maximum(whole, 1), -1.0)
    values = [counts.objects, counts.true, counts.false, counts.missed, f1, counts.lowest_iou, *numbers.values()]
    names = [(image.truth.label, image.truth.image_id) for image in columns.images]
    rows = zip(names, *(value.tolist() for value in values), strict=True)
    return Table(
        ("image", "image_id", "objects", "tp", "fp", "fn", "f1", "lowest_iou", *numbers),
        tuple((*name, *row) for name, *row in rows),
        title="By image",
    )
