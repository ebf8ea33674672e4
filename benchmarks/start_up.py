"""How long commands take to start, beside an interpreter that does nothing. Medians of alternating runs."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPEC = """
[dataset]
use = "synthetic"
[models.fcos]
[models.faster_rcnn]
[metrics.coco]
[loggers.console]
"""


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "spec.toml"
        spec.write_text(SPEC)
        detkit = str(Path(sys.executable).with_name("detkit"))
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "detkit --help": [detkit, "--help"],
            "detkit check": [detkit, "check", str(spec)],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(21):
            for name, command in commands.items():
                times[name].append(seconds(command))
        for name, values in times.items():
            print(f"{name}: median {statistics.median(values):.3f} s, best {min(values):.3f} s")


if __name__ == "__main__":
    main()
