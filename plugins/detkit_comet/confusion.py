"""Confusion matrices in Comet, with the images behind each cell: a click on a cell shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from detkit import Matrix
from detkit_comet.pictures import Pictures

if TYPE_CHECKING:
    from comet_ml import CometExperiment

#: Images behind a cell. Comet shows them one beside the other.
EXAMPLES = 25
#: A larger matrix is cut to the classes that are confused most: nobody reads more, and its size grows with the square.
MOST_CLASSES = 100


def log_matrix(
    experiment: CometExperiment, name: str, matrix: Matrix, *, step: int, epoch: int, pictures: Pictures | None
) -> None:
    """Log a matrix with its exact counts.

    Args:
        name: the title, and the beginning of the file's name.
        pictures: what was sent, for examples of the cells; None where no images are: examples are then image ids.
    """
    from comet_ml import ConfusionMatrix

    shown = _most_confused(matrix)
    cut = f" ({len(shown) - 1} of {len(matrix.labels) - 1} classes, those confused most)" if _is_cut(matrix) else ""
    confusion: Any = ConfusionMatrix(  # type: ignore[no-untyped-call] # the client's, without types
        matrix=[[matrix.counts[row][column] for column in shown] for row in shown],
        labels=[matrix.labels[index] for index in shown],
        title=f"{name}{cut}",
        row_label="true class",
        column_label="predicted class",
        max_categories=len(shown),
        max_examples_per_cell=EXAMPLES,
        index_to_example_function=_example_function(pictures, epoch),
        examples=_examples(matrix, shown, pictures),
    )
    experiment.log_confusion_matrix(matrix=confusion, file_name=f"{name}-step-{step:06d}.json", step=step, epoch=epoch)


def _is_cut(matrix: Matrix) -> bool:
    return len(matrix.labels) > MOST_CLASSES


def _most_confused(matrix: Matrix) -> list[int]:
    """The rows and columns that are shown, in their order, the background (the last) always."""
    size = len(matrix.labels)
    if not _is_cut(matrix):
        return list(range(size))
    wrong = [0] * size
    for row, counts in enumerate(matrix.counts):
        for column, count in enumerate(counts):
            if row != column:
                wrong[row] += count
                wrong[column] += count
    classes = sorted(range(size - 1), key=lambda index: -wrong[index])[: MOST_CLASSES - 1]
    return [*sorted(classes), size - 1]


def _examples(matrix: Matrix, shown: Sequence[int], pictures: Pictures | None) -> dict[tuple[int, int], list[int]]:
    """Ids of images behind cells, by row and column; never more than `EXAMPLES`.

    The client would draw some of more by the process's random numbers, which training uses.
    """
    if not matrix.images:
        return {}
    examples = {}
    for row, true in enumerate(shown):
        for column, predicted in enumerate(shown):
            ids: Sequence[int] = matrix.images[true][predicted]
            if pictures is not None and pictures.assets:
                ids = [image_id for image_id in ids if image_id in pictures.assets]
            if ids:
                examples[row, column] = (
                    [ids[index * len(ids) // EXAMPLES] for index in range(EXAMPLES)]
                    if len(ids) > EXAMPLES
                    else list(ids)
                )
    return examples


def _example_function(pictures: Pictures | None, epoch: int) -> Any:
    """From an image id to what stands behind a cell: the picture that was sent; None: the id itself."""
    if pictures is None or not pictures.assets:
        return None
    assets, names = pictures.assets, pictures.names
    # Pictures are not sent every epoch: those of an earlier one have its detections on them.
    when = "" if pictures.epoch == epoch else f" (epoch {pictures.epoch})"
    return lambda image_id: {"sample": f"{names[image_id]}{when}", "assetId": assets[image_id]}
