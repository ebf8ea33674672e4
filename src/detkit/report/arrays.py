"""Arrays as pages read them: base64 of little-endian numbers, which a browser decodes at once and to the last bit."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: NumPy's type to the name under which a page knows it.
NAMES = {"<f4": "f4", "<f8": "f8", "<i4": "i4", "<u2": "u2", "|u1": "u1"}


def packed(values: NDArray[Any], kind: str) -> dict[str, str]:
    """`{"type": ..., "base64": ...}` of the values, flattened.

    Args:
        kind: one of `NAMES`, as "<i4".
    """
    content = np.ascontiguousarray(values, dtype=np.dtype(kind)).tobytes()
    return {"type": NAMES[kind], "base64": base64.b64encode(content).decode("ascii")}


def packed_exactly(values: NDArray[np.float64]) -> dict[str, str]:
    """As float32 where that keeps every value, else as float64."""
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite there, and so not the same
        short = values.astype(np.float32)
    return packed(short, "<f4") if np.array_equal(short.astype(np.float64), values) else packed(values, "<f8")


def unpacked(content: dict[str, str]) -> NDArray[Any]:
    """The inverse, one-dimensional."""
    kinds = {name: kind for kind, name in NAMES.items()}
    return np.frombuffer(base64.b64decode(content["base64"]), dtype=np.dtype(kinds[content["type"]]))
