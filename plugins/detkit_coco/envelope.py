"""What makes a precision-recall curve fall: at each recall the highest precision that is reached there or later."""

from __future__ import annotations

import numpy as np

from detkit.data.evaluated import Floats, Integers


def highest_from_here_on(values: Floats, curve: Integers) -> Floats:
    """Each value, or a later one of its curve where that is higher.

    Args:
        values: float64 [N]. curve: int64 [N], equal along each curve, whose values stand together.
    """
    highest = values.copy()
    reach = 1  # after n rounds, each has seen the next 2^n
    while reach < len(values) and (same := curve[reach:] == curve[:-reach]).any():
        np.maximum(highest[:-reach], highest[reach:], out=highest[:-reach], where=same)
        reach *= 2
    return highest
