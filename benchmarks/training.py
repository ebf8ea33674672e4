"""A training step of detkit against the plain TorchVision loop that does the same work, by family, backbone and size.

    python benchmarks/training.py [--case faster_rcnn:resnet50_fpn:320 ...] [--rounds 20] [--json FILE]

Each loop has a process of its own, with its own settings of oneDNN, and they take turns step by step, each on the same
batches of images of changing sizes; who begins changes from round to round. Data is loaded within the step. The weights
are random but bring statistics, so that norms are frozen, as after COCO or ImageNet. Ratios are those of the rounds:
their median, and its 95 % bootstrap interval. Prints a table; `--json` keeps every time.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from engine_overhead import interval

from detkit.engine.compute import has_bf16

CASES = (
    *(f"{family}:resnet50_fpn:320" for family in ("faster_rcnn", "mask_rcnn", "retinanet", "fcos", "fast_rcnn")),
    *(f"{family}:mobilenet_v2_fpn:320" for family in ("faster_rcnn", "mask_rcnn", "retinanet", "fcos")),
    "faster_rcnn:resnet18_fpn:320",
    "faster_rcnn:mobilenet_v3_large_fpn:320",
    "faster_rcnn:mobilenet_v2:320",
    *(f"{family}:resnet50_fpn:800" for family in ("faster_rcnn", "retinanet")),
)
WARM_UP = 3
WORKER = Path(__file__).with_name("training_worker.py")


@dataclass(frozen=True, slots=True)
class Loop:
    """One of those that take turns. `name` as in the table, `kind` and `precision` as the worker takes them."""

    name: str
    kind: str
    precision: str


def loops() -> list[Loop]:
    fp32 = [Loop("plain fp32", "plain", "fp32"), Loop("detkit fp32", "engine", "fp32")]
    half = [Loop("plain bf16", "plain", "bf16"), Loop("detkit auto", "engine", "auto")]
    return [*fp32, *half] if has_bf16("cpu") else fp32


def write_weights(backbone: str, file: Path) -> None:
    """Random weights of a classification network with statistics of its norms."""
    from torchvision import models

    makers = {
        "resnet50_fpn": models.resnet50,
        "resnet18_fpn": models.resnet18,
        "mobilenet_v2": models.mobilenet_v2,
        "mobilenet_v2_fpn": models.mobilenet_v2,
        "mobilenet_v3_large_fpn": models.mobilenet_v3_large,
    }
    torch.manual_seed(0)
    torch.save(makers[backbone](weights=None).state_dict(), file)


class Worker:
    """A loop in its process."""

    def __init__(self, loop: Loop, case: str, batch: int, folder: Path) -> None:
        family, backbone, size = case.split(":")
        weights = folder.parent / f"{backbone}.pth"
        if not weights.exists():
            write_weights(backbone, weights)
        folder.mkdir()
        command = [WORKER, loop.kind, family, backbone, size, loop.precision, batch, weights, folder]
        self._process = subprocess.Popen(
            [sys.executable, *map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise SystemExit(f"a loop ended with code {self._process.wait()}")

    def step(self) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write("step\n")
        self._process.stdin.flush()
        return float(self.read()["seconds"])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def measure(case: str, rounds: int, batch: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of each loop's steps, by its name."""
    workers: dict[str, Worker] = {}
    try:
        for number, loop in enumerate(loops()):
            workers[loop.name] = Worker(loop, case, batch, folder / f"{case.replace(':', '-')}-{number}")
            workers[loop.name].read()
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        for number in range(rounds + WARM_UP):
            order = list(workers) if number % 2 else list(reversed(workers))
            for name in order:
                seconds[name].append(workers[name].step())
        return {name: values[WARM_UP:] for name, values in seconds.items()}
    finally:
        for worker in workers.values():
            worker.close()


def ratios(seconds: dict[str, list[float]]) -> dict[str, tuple[float, float, float]]:
    """How many times as fast detkit's loops are as the plain ones: median, and its 95 % interval."""
    pairs = [("detkit fp32", "plain fp32"), ("detkit auto", "plain fp32"), ("detkit auto", "plain bf16")]
    found = {}
    for ours, theirs in pairs:
        if ours in seconds and theirs in seconds:
            values = [b / a for a, b in zip(seconds[ours], seconds[theirs], strict=True)]
            found[f"{ours} / {theirs}"] = (statistics.median(values), *interval(values))
    return found


def machine() -> dict[str, Any]:
    """What the times depend on."""
    import torchvision

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {
        "processor": model,
        "threads": torch.get_num_threads(),
        "bf16": has_bf16("cpu"),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="*", default=list(CASES), help="family:backbone:size")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    about = machine()
    print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in arguments.case:
            seconds = measure(case, arguments.rounds, arguments.batch, Path(folder))
            found = ratios(seconds)
            results[case] = {"seconds": seconds, "ratios": found}
            print(case)
            for name, values in seconds.items():
                print(f"  {name:12} {statistics.median(values):7.3f} s a step")
            for name, (median, low, high) in found.items():
                print(f"  {name:26} {median:5.2f} times as fast ({low:.2f} to {high:.2f})", flush=True)
            if arguments.json:
                kept = {"machine": about, "batch": arguments.batch, "cases": results}
                arguments.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
