"""What came of an evaluation: numbers, figures, and all that must be said of them."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detkit.data.types import ImageInfo, Prediction
from detkit.engine.facts import versions
from detkit.engine.measuring import named_scalars, primary_of
from detkit.evaluation.measure import Measured
from detkit.figures import MetricResult, Number, Scalar, Table
from detkit.record.summary import intervals_content
from detkit.resampling import Interval, rough

#: Metrics that evaluate masks too give their numbers once more, under names that begin so.
MASKS = "mask_"


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """What came of an evaluation. In a notebook it shows itself as a table.

    Attributes:
        title: what was evaluated, in a line. subject: the same in plain values, for evaluation.json.
        measured: what the metrics said.
        warnings: what must be said of the figures.
        predictions: of a run's model, ordered by image id; none where they came from a file.
        seconds: that it took, of the model and the metrics.
        folder: where it was written; None where it was not.
    """

    title: str
    subject: Mapping[str, Any]
    measured: Measured
    warnings: Sequence[str] = ()
    predictions: Sequence[Prediction] = ()
    seconds: float = 0.0
    folder: Path | None = field(default=None, compare=False)

    @property
    def results(self) -> Mapping[str, MetricResult]:
        """What each metric computed, by its key: numbers, tables, curves, matrices."""
        return self.measured.results

    @property
    def values(self) -> dict[str, Number]:
        """Every number under its full name, as `coco/ap50`; None where it does not apply."""
        return {name: scalar.value for name, scalar in named_scalars(self.results).items()}

    @property
    def number_tables(self) -> list[Table]:
        """The numbers of each metric, for people."""
        return [number_table(key, result, self.measured.intervals) for key, result in self.results.items()]

    @property
    def interval_note(self) -> str:
        """What must be said of the intervals; empty where there is none."""
        levels = {ends.level for ends in self.measured.intervals.values() if ends is not None}
        said = [f"in brackets: {100 * level:g} % intervals over the images" for level in levels]
        return "; ".join(filter(None, [*said, rough(self.subject["images"])])) if said else ""

    @property
    def printed_tables(self) -> list[Table]:
        """The tables that metrics want people to see."""
        return [table for result in self.results.values() for table in result.tables.values() if table.printed]

    def to_dict(self) -> dict[str, Any]:
        """evaluation.json without its version: plain values."""
        scalars = named_scalars(self.results)
        return {
            "evaluated": dict(self.subject),
            "values": {name: _plain(scalar) for name, scalar in scalars.items()},
            "primary": primary_of(scalars),
            **intervals_content(self.measured.intervals, self.measured.resamples),
            "thresholds": {key: dict(result.thresholds) for key, result in self.results.items() if result.thresholds},
            "warnings": list(self.warnings),
            "versions": versions(),
            "measured": {"seconds": self.seconds},
        }

    def _repr_html_(self) -> str:
        tables = [*self.number_tables, *self.printed_tables]
        said = "".join(f"<p>{html.escape(warning)}</p>" for warning in self.warnings)
        return f"<b>{html.escape(self.title)}</b>{said}{''.join(map(_html, tables))}"


def number_table(key: str, result: MetricResult, intervals: Mapping[str, Interval | None]) -> Table:
    """A metric's numbers for people: a row a quantity, and a column for boxes and one for masks where there are both.

    Args:
        key: of the metric. intervals: by full name, as `coco/ap`; they stand in brackets behind their numbers.
    """
    masked = any(name.startswith(MASKS) for name in result.scalars)
    quantities = dict.fromkeys(name.removeprefix(MASKS) for name in result.scalars)
    rows = []
    for name in quantities:
        names = (name, MASKS + name) if masked else (name,)
        cells = [result.scalars.get(full) for full in names]
        ends = [intervals.get(f"{key}/{full}") for full in names]
        directions = {cell.higher_is_better for cell in cells if cell is not None}
        rows.append((name + (" (lower is better)" if directions == {False} else ""), *map(shown_scalar, cells, ends)))
    return Table((key, *(("boxes", "masks") if masked else ("value",))), tuple(rows))


def shown_scalar(scalar: Scalar | None, ends: Interval | None = None) -> str:
    """A number as people read it: three digits behind the point, its interval in brackets, "-" where none applies."""
    if scalar is None or scalar.value is None:
        return "-"
    return " ".join(filter(None, (shown(scalar.value), str(ends or ""), scalar.unit)))


def shown(value: str | Number) -> str:
    """A cell of a table as people read it."""
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def count_objects(truths: Sequence[ImageInfo]) -> dict[str, int]:
    """How many images and objects there are, and regions that are marked as crowd."""
    crowds = [annotation.iscrowd for info in truths for annotation in info.annotations]
    return {"images": len(truths), "objects": crowds.count(False), "crowds": crowds.count(True)}


def _plain(scalar: Scalar) -> dict[str, Any]:
    return {
        "value": scalar.value,
        "higher_is_better": scalar.higher_is_better,
        "unit": scalar.unit,
        "primary": scalar.primary,
    }


def _html(table: Table) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(shown(cell))}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    return f"<p>{html.escape(table.title)}</p><table><tr>{head}</tr>{rows}</table>"
