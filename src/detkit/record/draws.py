"""What a run's final figures were in each draw of its images: from them come its intervals, and pairs with other runs.

The first draws are the same however many there are, and in all runs of the same images: one is the other's beginning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from detkit.errors import RecordError
from detkit.record.files import read_json_gz, write_json_gz
from detkit.record.layout import FORMAT_VERSION, RunLayout
from detkit.record.reader import RunRecord
from detkit.resampling import SEED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def write_draws(
    layout: RunLayout, columns: Mapping[str, NDArray[np.float64]], values: Mapping[str, float | int | None]
) -> None:
    """Args: columns: by quantity, as `coco/ap`: float64 [resamples], NaN where it has no value. values: the figures.

    Raises:
        RecordError: the file cannot be written.
    """
    plain = {name: [None if math.isnan(value) else value for value in own.tolist()] for name, own in columns.items()}
    write_json_gz(
        layout.draws, {"format_version": FORMAT_VERSION, "seed": SEED, "values": dict(values), "columns": plain}
    )


def read_draws(run: RunRecord, quantity: str, value: float) -> NDArray[np.float64] | None:
    """Of one quantity, float64 [resamples]; None where the record has none, as older ones, or those of something else.

    Args:
        value: in the summary. Draws of another one are older: a run that is made longer without intervals leaves them.

    Raises:
        RecordError: the file is damaged.
    """
    import numpy as np

    file = run.files.draws
    if not file.exists():
        return None
    content: Any = read_json_gz(file)
    try:
        if content["format_version"] > FORMAT_VERSION or content["seed"] != SEED:
            return None
        if quantity not in content["columns"] or content["values"][quantity] != value:
            return None
        column = content["columns"][quantity]
        return np.array([math.nan if value is None else value for value in column], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{file} is damaged: {type(error).__name__}: {error}") from error
