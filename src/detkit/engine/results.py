"""What a metric computed, as plain Python values: what JSON and checkpoints can hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from detkit.figures import Curve, Matrix, MetricResult, Number, Scalar, Table


def plain_result(result: MetricResult) -> MetricResult:
    """The same result without numpy's and torch's numbers.

    Raises:
        ValueError: a number is not finite; names it. A value that does not apply is None. TypeError: it is no number.
    """
    return replace(
        result,
        scalars={name: _plain_scalar(name, scalar) for name, scalar in result.scalars.items()},
        tables={name: _plain_table(name, table) for name, table in result.tables.items()},
        curves={name: _plain_curve(name, curve) for name, curve in result.curves.items()},
        matrices={name: _plain_matrix(matrix) for name, matrix in result.matrices.items()},
        thresholds=_plain_thresholds(result.thresholds),
    )


def shown_rows(table: Table) -> tuple[list[list[str]], list[str]]:
    """The cells of a table as people read them, and the columns that are numbers throughout."""
    rows = [[_shown(cell) for cell in row] for row in table.rows]
    numbers = [
        name
        for name, column in zip(table.columns, zip(*table.rows, strict=True), strict=False)
        if not any(isinstance(cell, str) for cell in column)
    ]
    return rows, numbers


def _shown(cell: str | Number) -> str:
    if cell is None:
        return "-"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _plain_scalar(name: str, scalar: Scalar) -> Scalar:
    return replace(scalar, value=_number(scalar.value, name))


def _plain_table(name: str, table: Table) -> Table:
    rows = tuple(
        tuple(cell if isinstance(cell, str) else _number(cell, f"a cell of table {name}") for cell in row)
        for row in table.rows
    )
    return replace(table, rows=rows)


def _plain_curve(name: str, curve: Curve) -> Curve:
    if len(curve.x) != len(curve.y):
        raise ValueError(f"curve {name} has {len(curve.x)} x and {len(curve.y)} y")
    return replace(curve, x=_finite(curve.x, name), y=_finite(curve.y, name))


def _plain_matrix(matrix: Matrix) -> Matrix:
    return replace(
        matrix,
        counts=tuple(tuple(int(count) for count in row) for row in matrix.counts),
        images=tuple(tuple(tuple(int(image) for image in cell) for cell in row) for row in matrix.images),
    )


def _finite(values: Iterable[Any], name: str) -> tuple[float, ...]:
    plain = tuple(float(value) for value in values)
    if not all(map(math.isfinite, plain)):
        raise ValueError(f"curve {name} has a point that is not finite; leave it out")
    return plain


def _plain_thresholds(thresholds: Mapping[str, float]) -> dict[str, float]:
    return {str(name): float(value) for name, value in thresholds.items()}


def _number(value: Any, name: str) -> Number:
    if value is None:
        return None
    if isinstance(value, int):
        return int(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} is {number}; a value that does not apply is None")
    return number
