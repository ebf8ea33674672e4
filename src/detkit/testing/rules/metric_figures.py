"""What metrics promise of what they give beside numbers: figures, thresholds, resamplers."""

from __future__ import annotations

from typing import Any

from detkit.components import Thresholded
from detkit.figures import Curve, Matrix, MetricResult, Table
from detkit.testing.rule import Broken, NotApplicable, rule
from detkit.testing.rules.metric import differing, metric_of, numbers, poor, result_of, truths, usual_result
from detkit.testing.subject import Subject

#: A number over the images that are left, by the resampler and measured anew.
RESAMPLED = 1e-6


@rule("metric", "metric-figures", "tables, curves and matrices are well formed")
def figures(subject: Subject) -> None:
    """Rows of a `Table` are as long as its columns, of texts, numbers and None. A `Curve` has as many x as y. A
    `Matrix` has a row and a column of whole counts, none negative, for each of its labels, and `images` in the same
    form or not at all."""
    result = usual_result(subject)
    if not (result.tables or result.curves or result.matrices):
        raise NotApplicable("it gives scalars only")
    for name, table in result.tables.items():
        _check_table(name, table)
    for name, curve in result.curves.items():
        if not isinstance(curve, Curve) or len(curve.x) != len(curve.y):
            raise Broken(f"the curve {name!r} has {len(curve.x)} x and {len(curve.y)} y", "as many of both")
    for name, matrix in result.matrices.items():
        _check_matrix(name, matrix)


def _check_table(name: str, table: Any) -> None:
    if not isinstance(table, Table):
        raise Broken(f"the table {name!r} is a {type(table).__name__}", "a detkit.Table")
    for row in table.rows:
        if len(row) != len(table.columns):
            raise Broken(
                f"a row of the table {name!r} has {len(row)} cells, of {len(table.columns)} columns", "as many"
            )
        wrong = [cell for cell in row if not (cell is None or isinstance(cell, str) or _is_number(cell))]
        if wrong:
            raise Broken(f"a cell of the table {name!r} is a {type(wrong[0]).__name__}", "a text, a number or None")


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True


def _check_matrix(name: str, matrix: Any) -> None:
    if not isinstance(matrix, Matrix):
        raise Broken(f"the matrix {name!r} is a {type(matrix).__name__}", "a detkit.Matrix")
    size = len(matrix.labels)
    for form in (matrix.counts, matrix.images) if matrix.images else (matrix.counts,):
        if len(form) != size or any(len(row) != size for row in form):
            shape = [len(row) for row in form]
            raise Broken(f"the matrix {name!r} has rows of {shape} cells, of {size} labels", f"{size} x {size}")
    if any(int(count) != count or count < 0 for row in matrix.counts for count in row):
        raise Broken(f"the matrix {name!r} holds a count that is negative or no whole number", "counts")


@rule("metric", "metric-thresholds", "thresholds are scores of classes, and can be given back")
def thresholds(subject: Subject) -> None:
    """`thresholds` map class names ("" for one that serves all) to scores in 0..1. A metric that gives them may have
    `use_thresholds`; what it chose on the validation images is given back to it between `reset` and `update`, and
    forgotten by the next `reset`."""
    result = usual_result(subject)
    metric = metric_of(subject)
    if not result.thresholds and not isinstance(metric, Thresholded):
        raise NotApplicable("it chooses no thresholds")
    for name, value in result.thresholds.items():
        if name not in ("", *subject.class_names):
            raise Broken(f"there is a threshold for {name!r}", f'"" or one of {", ".join(subject.class_names)}')
        if not 0 <= float(value) <= 1:
            raise Broken(f"the threshold of {name!r} is {value}", "a score in 0..1")
    if not isinstance(metric, Thresholded):
        return
    images = truths(subject)
    predictions = poor(subject, images)
    with subject.doing("measuring with the thresholds given back"):
        metric.reset()
        metric.use_thresholds(dict(result.thresholds))
        metric.update(predictions, images)
        metric.compute()
    after = numbers(result_of(subject, metric, predictions, images, "twelve scenes after a reset"))
    if text := differing(numbers(result), after):
        raise Broken(f"before thresholds were given and after the next reset, {text}", "reset forgets them")


@rule("metric", "metric-resampler", "the resampler gives the metric's own numbers over weighted images")
def resampler(subject: Subject) -> None:
    """A `resampler` takes a weight of every image id and gives scalars of the result, or some of them. With every
    weight 1 they are the metric's own; with weight 0 for an image they are those of the other images. It changes
    nothing, so that it can be asked a thousand times. `detkit compare` gets its intervals from it."""
    result = usual_result(subject)
    if result.resampler is None:
        raise NotApplicable("it gives no resampler, and so its numbers have no intervals")
    images = truths(subject)
    metric = metric_of(subject)
    result = result_of(subject, metric, poor(subject, images), images, "twelve scenes")
    every = dict.fromkeys((image.image_id for image in images), 1.0)
    _compare(subject, result, every, numbers(result), "with every weight 1")
    left_out = images[0]
    rest = [image for image in images if image is not left_out]
    alone = numbers(
        result_of(subject, metric_of(subject), poor_without(subject, left_out.image_id), rest, "eleven scenes")
    )
    _compare(subject, result, {**every, left_out.image_id: 0.0}, alone, "with one image of weight 0")
    _compare(subject, result, every, numbers(result), "asked again with every weight 1")


def poor_without(subject: Subject, image_id: int) -> Any:
    """A detector's everyday work on all images but one."""
    return [each for each in poor(subject, truths(subject)) if each.image_id != image_id]


def _compare(
    subject: Subject, result: MetricResult, weights: dict[int, float], wanted: dict[str, float | None], what: str
) -> None:
    assert result.resampler is not None
    with subject.doing(f"the resampler {what}"):
        found = dict(result.resampler(dict(weights)))
    unknown = sorted(set(found) - set(result.scalars))
    if not found or unknown:
        raise Broken(f"the resampler gives {', '.join(unknown) or 'nothing'}", "scalars of the result")
    if text := differing({name: wanted[name] for name in found}, found, RESAMPLED):
        raise Broken(f"{what}, measured and by the resampler, {text}", "the same numbers")
