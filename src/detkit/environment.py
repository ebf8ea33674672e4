"""What must be in the environment before torch is imported, unless the user has set it already."""

from __future__ import annotations

import os

#: oneDNN keeps 1024 compiled primitives by default and drops the least recently used. A detector asks for some hundreds
#: a batch shape, and padded shapes hardly repeat from batch to batch: at 1024 it compiles again and again. Four times
#: as many keep them all; the numbers do not change.
#: Source: oneDNN developer guide, "Primitive Cache", run-time controls; measured: about 1.6x a step on a CPU.
DEFAULTS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "4096"}


def set_defaults() -> None:
    """Fill in what the user has not set, for this process and those that it starts."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
