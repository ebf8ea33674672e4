"""What the Comet logger costs a training step: the real client, online against a server on loopback.

Two processes train the same detector on the same batches, one with the logger and one without, in turns: a block of
steps here, then a block there, who goes first changing. Prints the median of the blocks' ratios of time with its 95 %
bootstrap interval, and the ratio of processor time over all blocks: that has the client's own threads in it, whenever
they ran.

    python benchmarks/comet_overhead.py --size 320 --blocks 30
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

LOGGER = """
[loggers.comet]
mode = "online"
"""
#: A block has so many steps, and with the default `log_every_steps` one of them is logged.
BLOCK = 10


class Worker:
    """The training of one side, a block at a time."""

    def __init__(self, side: str, arguments: argparse.Namespace, url: str, folder: Path) -> None:
        environment = {**os.environ, "COMET_API_KEY": "K3y" * 8 + "K", "COMET_URL_OVERRIDE": url, "HOME": str(folder)}
        given = ["--size", str(arguments.size), "--model", arguments.model, "--backbone", arguments.backbone]
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--side", side, "--folder", str(folder), *given],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def block(self) -> dict[str, float]:
        """Do a block; its time, and its process's processor time until now, seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def work(arguments: argparse.Namespace) -> None:
    """One side, in its own process."""
    import engine_overhead

    from detkit import Outcome

    if arguments.side == "on":
        engine_overhead.SPEC += LOGGER
    folder = arguments.folder
    arguments.precision = "auto"
    answers = sys.stdout
    sys.stdout = sys.stderr
    run, state = engine_overhead.assemble_run(folder, arguments)
    steps = _steps(run, state)
    for _ in sys.stdin:
        began = time.perf_counter()
        for _ in range(BLOCK):
            next(steps)
        took = time.perf_counter() - began
        answers.write(json.dumps({"took_s": took, "processor_s": time.process_time()}) + "\n")
        answers.flush()
    run.recorder.close(Outcome("interrupted"))
    os._exit(0)


def _steps(run: Any, state: Any) -> Iterator[None]:
    from detkit.engine.loop import load_batches, train_step

    while True:
        plan = run.plan(state.epoch)
        batches = load_batches(run, plan)
        for step_plan in plan:
            train_step(run, state, step_plan, batches)
            yield
        state.next_epoch()


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    from engine_overhead import interval

    from plugins.comet_stub import Stub

    with Stub() as stub:
        workers = {side: Worker(side, arguments, stub.url, folder / side) for side in ("on", "off")}
        warm = {side: worker.block() for side, worker in workers.items()}
        ratios: list[float] = []
        last = warm
        steps_s: list[float] = []
        for number in range(arguments.blocks):
            order = ("on", "off") if number % 2 else ("off", "on")
            last = {side: workers[side].block() for side in order}
            ratios.append(last["on"]["took_s"] / last["off"]["took_s"])
            steps_s.append(last["off"]["took_s"] / BLOCK)
        for worker in workers.values():
            worker.close()
        metrics = sum(len(body["values"]) for body in stub.bodies("/experiment/metric"))
    low, high = interval(ratios)
    spent = {side: last[side]["processor_s"] - warm[side]["processor_s"] for side in last}
    print(f"{arguments.model}, {arguments.size} px, a step {1000 * statistics.median(steps_s):.0f} ms, ", end="")
    print(f"{arguments.blocks} blocks of {BLOCK} steps, {metrics} metrics sent")
    print(f"on / off: median {statistics.median(ratios):.4f}, 95 % interval {low:.4f} to {high:.4f}")
    print(f"processor time on / off: {spent['on'] / spent['off']:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="faster_rcnn")
    parser.add_argument("--backbone", default="mobilenet_v2_fpn")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--side", choices=("on", "off"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        work(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, Path(folder))


if __name__ == "__main__":
    main()
