"""The `detkit` program. Sets what must be set before torch is imported, then hands over to the commands."""

from __future__ import annotations

import os
import sys

#: oneDNN keeps 1024 compiled primitives by default and drops the least recently used. A detector asks for some hundreds
#: a batch shape, and padded shapes hardly repeat from batch to batch: at 1024 it compiles again and again. Four times
#: as many keep them all; the numbers do not change.
#: Source: oneDNN developer guide, "Primitive Cache", run-time controls; measured: about 1.6x a step on a CPU.
PRIMITIVE_CACHE = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "4096")


def main() -> None:
    """Run the command line and leave with its exit code."""
    os.environ.setdefault(*PRIMITIVE_CACHE)
    from detkit.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
