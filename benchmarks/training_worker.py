"""One process of `training.py`: trains one detector, a step for each line it reads, and prints what the step took.

    training_worker.py engine|plain FAMILY BACKBONE SIZE PRECISION BATCH WEIGHTS FOLDER

"engine" is detkit as `detkit run` trains. "plain" is the loop of TorchVision's references/detection/engine.py over
TorchVision's own modules, with the same images, batches, optimizer and rate; its process has torch's own settings.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SPEC = """
plugins = ["{plugin}"]
[experiment]
name = "training"
output = "{folder}/runs"
[dataset]
use = "street_scenes"
[input]
min_size = {size}
max_size = {longest}
[compute]
device = "cpu"
precision = "{precision}"
workers = 0
[train]
epochs = 100
batch_size = {batch}
trainable_layers = 3
validation_loss = false
[models.{family}]
backbone = "{backbone}"
weights = "{weights}"
accelerate = "{accelerate}"
[metrics.coco]
"""


def main() -> None:
    kind, family, backbone, size, precision, batch, weights, folder = sys.argv[1:]
    if kind == "engine":
        from detkit.environment import set_defaults

        set_defaults()
    text = SPEC.format(
        plugin=Path(__file__).with_name("street_scenes.py"),
        folder=folder,
        family=family,
        backbone=backbone,
        size=size,
        longest=int(int(size) * 1333 / 800),
        precision=precision,
        batch=batch,
        weights=weights,
        accelerate="auto" if kind == "engine" else "off",
    )
    step = steps(kind, Path(folder), text)
    print(json.dumps({"ready": True}), flush=True)
    for _line in sys.stdin:
        print(json.dumps(step()), flush=True)


def steps(kind: str, folder: Path, text: str) -> Callable[[], dict[str, float]]:
    """A function that trains one step more and returns its seconds and its loss."""
    from engine_overhead import BareLoop, assemble_run

    from detkit.data.loading import fetch, stacked
    from detkit.engine.loop import load_batches, train_step

    run, state = assemble_run(folder, text)
    bare = BareLoop(run) if kind == "plain" else None

    def epochs() -> Iterator[dict[str, float]]:
        while True:
            plan = run.plan(state.epoch)
            images = sum(len(batch) for batch in plan[0])
            ours = load_batches(run, plan)
            theirs = iter(stacked([fetch(run.dataset, item.sample) for item in step[0]]) for step in plan)
            for number, step_plan in enumerate(plan):
                began = time.perf_counter()
                if bare:
                    bare.step((state.epoch - 1) * len(plan) + number, theirs)
                else:
                    train_step(run, state, step_plan, ours)
                yield {"seconds": time.perf_counter() - began, "images": images}
            state.next_epoch()

    return epochs().__next__


if __name__ == "__main__":
    main()
