"""The confusion matrix: what objects are taken for, with the images behind each cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detkit import Matrix
from detkit.data.evaluated import Integers
from detkit_coco.columns import Columns
from detkit_coco.matching import match, near


def confusion_matrix(columns: Columns, class_names: Sequence[str], *, iou: float) -> Matrix:
    """Rows are the objects' classes, columns the detections'; the last of each is the background.

    Detections of all classes choose among the objects of all classes, in the order of their scores. An object without a
    match is in the last column, a detection without one in the last row. Crowds, and detections that match one, are in
    no cell.

    Args:
        columns: with the detections that count.
    """
    pairs = near(columns, iou, max(len(columns.detections.score), 1), across_classes=True)
    matches = match(pairs, np.array([iou]), [(0.0, np.inf)])
    background = columns.classes
    true_class = columns.objects.label - 1
    partner = np.full(len(matches.source), -1)
    partner[matches.candidates] = matches.partner[0, 0]
    hit = matches.true(0, 0)
    wrong = matches.counted(0, 0) & ~hit
    missed = ~matches.uncounted[0]
    missed[partner[hit]] = False
    rows = [true_class[partner[hit]], np.full(int(wrong.sum()), background), true_class[missed]]
    predicted = [matches.label[hit] - 1, matches.label[wrong] - 1, np.full(int(missed.sum()), background)]
    places = [matches.image[hit], matches.image[wrong], columns.objects.image[missed]]
    return _matrix(
        (*class_names, _background(class_names)),
        np.concatenate(rows) * (background + 1) + np.concatenate(predicted),
        np.concatenate(places),
        [image.truth.image_id for image in columns.images],
    )


def _background(class_names: Sequence[str]) -> str:
    """A name that no class has."""
    name = "background"
    while name in class_names:
        name = f"({name})"
    return name


def _matrix(labels: tuple[str, ...], cells: Integers, places: Integers, image_ids: Sequence[int]) -> Matrix:
    size = len(labels)
    counts = np.bincount(cells, minlength=size * size).reshape(size, size)
    images: list[list[list[int]]] = [[[] for _ in labels] for _ in labels]
    for key in np.unique(cells * max(len(image_ids), 1) + places).tolist():
        cell, place = divmod(key, max(len(image_ids), 1))
        images[cell // size][cell % size].append(image_ids[place])
    return Matrix(
        labels=labels,
        counts=tuple(map(tuple, counts.tolist())),
        images=tuple(tuple(tuple(sorted(cell)) for cell in row) for row in images),
    )
