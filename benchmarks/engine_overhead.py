"""The engine's training step against a bare TorchVision loop doing the same work, in alternating pairs of steps.

Both train the same detector on the same batches in the same order, at the same precision, with the same optimizer,
clipping and learning rate, and read their losses. The engine's step includes what it does around it: the guard, the
record, the events, the progress. Prints the median of the pairs' ratios with its 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import math
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before torch is imported; who imports this file has seen to it
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "4096")

import torch

from detkit.data.loading import RawBatch, fetch, stacked
from detkit.engine.assembly import assemble
from detkit.engine.child import StreamMessages
from detkit.engine.compute import make_fabric, resolve_compute
from detkit.engine.display import SilentDisplay
from detkit.engine.experiment import prepare, write_experiment, write_run
from detkit.engine.loop import load_batches, train_step
from detkit.engine.optim import build_optimizer, learning_rate
from detkit.engine.rerun import plan_runs
from detkit.engine.run import Run
from detkit.engine.signals import StopRequest
from detkit.engine.state import TrainState
from detkit.engine.strategy import plan_strategy
from detkit.record.layout import ExperimentLayout
from detkit.spec.loader import load_spec

SPEC = """
[experiment]
name = "overhead"
output = "{output}"
[dataset]
use = "synthetic"
images = 120
[input]
min_size = {size}
max_size = {size}
[compute]
device = "cpu"
precision = "{precision}"
[train]
epochs = 100
batch_size = 2
validation_loss = false
[models.{model}]
backbone = "{backbone}"
weights = "none"
[metrics.coco]
"""


def assemble_run(folder: Path, text: str) -> tuple[Run, TrainState]:
    """The engine's run of a spec's only model, ready for its first step; `folder` holds its record."""
    file = folder / "spec.toml"
    file.write_text(text)
    spec = load_spec(file)
    layout = ExperimentLayout(spec.record_folder)
    prepare(spec, layout, SilentDisplay(), None)
    (plan,) = plan_runs(spec, resume=False, extend=False)
    write_experiment(spec, layout, [plan.record])
    write_run(spec, plan, None)
    compute = resolve_compute(spec.compute)
    fabric = make_fabric(compute)
    messages = StreamMessages(plan.record.files.messages)
    run, state, facts = assemble(spec, plan.record.files.folder, compute, fabric, messages, StopRequest())
    run.recorder.start(run.info, facts)  # the system's sampler runs along, as in a real run
    return run, state


class BareLoop:
    """What TorchVision's references/detection/engine.py does in a step, with detkit's clipping and learning rate."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._model = copy.deepcopy(run.bare_model).train()
        self._optimizer = build_optimizer(plan_strategy(self._model, run.train), run.train)
        self._bf16 = run.info.precision == "bf16"

    def step(self, number: int, batches: Iterator[RawBatch]) -> None:
        rate = learning_rate(number, self._run.schedule[1], self._run.train, self._run.info.steps_per_epoch)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        images, targets = next(batches)
        inputs = [image.as_subclass(torch.Tensor).float() / 255 for image in images]
        with torch.autocast("cpu", dtype=torch.bfloat16) if self._bf16 else contextlib.nullcontext():
            losses = self._model(inputs, targets)
        total = sum(losses.values())
        if not math.isfinite(total.item()):
            raise SystemExit("the reference's loss is not finite")
        total.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._run.train.clip_norm or math.inf)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)


def measure(run: Run, state: TrainState, pairs: int) -> list[float]:
    """Ratios of the engine's step to the bare one's, pair by pair; who goes first changes from pair to pair."""
    bare = BareLoop(run)
    ratios: list[float] = []
    warm_up = 10
    while len(ratios) < pairs + warm_up:
        plan = run.plan(state.epoch)
        ours = load_batches(run, plan)
        theirs = iter([stacked([fetch(run.dataset, item.sample) for item in step[0]]) for step in plan])
        for step_plan in plan:
            number = state.step
            took: dict[str, float] = {}
            for who in ("ours", "theirs") if len(ratios) % 2 else ("theirs", "ours"):
                began = time.perf_counter()
                if who == "ours":
                    train_step(run, state, step_plan, ours)
                else:
                    bare.step(number, theirs)
                took[who] = time.perf_counter() - began
            ratios.append(took["ours"] / took["theirs"])
        state.next_epoch()
    return ratios[warm_up : warm_up + pairs]


def interval(values: list[float], resamples: int = 2000) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the median."""
    generator = random.Random(0)
    medians = sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(resamples))
    return medians[int(0.025 * resamples)], medians[int(0.975 * resamples)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="faster_rcnn")
    parser.add_argument("--backbone", default="mobilenet_v2_fpn")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--pairs", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = SPEC.format(output=Path(folder) / "runs", **vars(arguments))
        run, state = assemble_run(Path(folder), text)
        ratios = measure(run, state, arguments.pairs)
        low, high = interval(ratios)
        describe: dict[str, Any] = {**vars(arguments), "precision": run.info.precision}
        print(", ".join(f"{name} {value}" for name, value in describe.items()))
        print(
            f"engine / bare TorchVision: median {statistics.median(ratios):.4f}, 95 % interval {low:.4f} to {high:.4f}"
        )


if __name__ == "__main__":
    main()
