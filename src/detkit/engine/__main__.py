"""`python -m detkit.engine RUN_FOLDER`: one run in a process of its own."""

import os
import sys
from pathlib import Path

from detkit.environment import set_defaults

if __name__ == "__main__":
    set_defaults()
    from detkit.engine.child import main

    code = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a logger that hangs, or the exit handlers of its client, must not hold the process.
    os._exit(code)
