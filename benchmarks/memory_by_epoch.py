"""Memory of a run after each epoch, as the run itself records it. It must not grow from epoch to epoch."""

from __future__ import annotations

import tempfile
from pathlib import Path

import detkit

SPEC = """
[experiment]
name = "memory"
output = "{output}"
[dataset]
use = "synthetic"
images = 60
[input]
min_size = 128
max_size = 160
[train]
epochs = 12
batch_size = 4
[models.mask_rcnn]
backbone = "tiny_fpn"
[metrics.coco]
[metrics.torchmetrics]
[loggers.csv]
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "spec.toml"
        spec.write_text(SPEC.format(output=folder))
        record = detkit.run(spec)
        memory = [row["measured"]["memory_bytes"] / 1e6 for row in record.runs[0].epochs()]
        print("after each epoch, MB:", ", ".join(f"{value:.0f}" for value in memory))
        half = memory[len(memory) // 2 :]
        print(f"second half: {half[0]:.0f} to {half[-1]:.0f} MB, {100 * (half[-1] / half[0] - 1):+.1f} %")


if __name__ == "__main__":
    main()
