"""What a metric computes: numbers, tables, curves, matrices, as plain values. Part of the contracts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Number = float | int | None


@dataclass(frozen=True, slots=True)
class Scalar:
    """One number of a metric.

    Attributes:
        value: None where the number does not apply (no ground truth); never NaN.
        higher_is_better: None where neither is.
        unit: as shown behind the number; empty for shares of one.
        primary: the number that selects the best checkpoint where this metric comes first. At most one is.
    """

    value: Number
    higher_is_better: bool | None = True
    unit: str = ""
    primary: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of plain values under named columns.

    Attributes:
        columns: their names. rows: as many values each as there are columns; None where one does not apply.
        title: what stands above it where people read it.
        printed: whether it is small and wanted enough to be printed after the final evaluation.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str | Number, ...], ...]
    title: str = ""
    printed: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of equal number on x and y.

    Attributes:
        x, y: the points. x_name, y_name: what the axes are called.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    x_name: str = "x"
    y_name: str = "y"


@dataclass(frozen=True, slots=True)
class Matrix:
    """Counts by true class (rows) and predicted class (columns), both in the order of `labels`.

    Attributes:
        images: the ids of the images behind each cell, rising, in the form of `counts`; empty where nobody keeps them.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    images: tuple[tuple[tuple[int, ...], ...], ...] = ()


#: Draws of a bootstrap: weights over image ids (0: not drawn, 2: drawn twice; every image has one) to the metric's
#: scalars under them, or some of them; None where one has no value then. With all weights 1 they are the metric's own.
#: It is asked before the metric is reset, a thousand times and more.
Resampler = Callable[[Mapping[int, float]], Mapping[str, float | None]]


@dataclass(frozen=True, slots=True)
class MetricResult:
    """What a metric computed. Keys are bare quantities (`ap50`); the engine prefixes the metric's key in the spec.

    Attributes:
        scalars, tables, curves, matrices: by their names.
        thresholds: chosen score thresholds, in 0..1, by class name ("" for one that serves all classes).
        resampler: for intervals of the scalars; None where there are none.
    """

    scalars: Mapping[str, Scalar]
    tables: Mapping[str, Table] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    matrices: Mapping[str, Matrix] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    resampler: Resampler | None = field(default=None, compare=False)
