"""The `detkit` program. Sets what must be set before torch is imported, then hands over to the commands."""

from __future__ import annotations

import sys

from detkit.environment import set_defaults


def main() -> None:
    """Run the command line and leave with its exit code."""
    set_defaults()
    from detkit.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
