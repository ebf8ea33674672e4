"""Tables, curves and matrices of metrics as files: a JSON object each, with the metric's key and the figure's name."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detkit.figures import Curve, Matrix, Table
from detkit.record.files import read_json, write_json


def write_figure(file: Path, metric: str, name: str, figure: Table | Curve | Matrix) -> None:
    """Write one figure.

    Raises:
        RecordError: the file cannot be written.
    """
    # Through JSON, so that tuples come out as the lists that a reader will see.
    write_json(file, {"metric": metric, "name": name, **json.loads(json.dumps(asdict(figure)))}, durable=False)


def read_table(file: Path) -> tuple[str, Table]:
    """A table, and its name as `metric/name`; the inverse of `write_figure`, as are the two below.

    Raises:
        RecordError: the file is missing, damaged or of a newer format.
    """
    content = read_json(file)
    rows = tuple(tuple(cells) for cells in content["rows"])
    # Records of an older detkit have neither title nor mark.
    table = Table(tuple(content["columns"]), rows, content.get("title", ""), content.get("printed", False))
    return _full_name(content), table


def read_curve(file: Path) -> tuple[str, Curve]:
    """A curve, and its name as `metric/name`."""
    content = read_json(file)
    return _full_name(content), Curve(tuple(content["x"]), tuple(content["y"]), content["x_name"], content["y_name"])


def read_matrix(file: Path) -> tuple[str, Matrix]:
    """A matrix, and its name as `metric/name`."""
    content = read_json(file)
    counts = tuple(tuple(row) for row in content["counts"])
    images = tuple(tuple(tuple(cell) for cell in row) for row in content.get("images", ()))
    return _full_name(content), Matrix(tuple(content["labels"]), counts, images)


def _full_name(content: dict[str, Any]) -> str:
    return f"{content['metric']}/{content['name']}"
