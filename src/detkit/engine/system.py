"""CPU, memory and GPU load of a run, every few seconds, and the peak of its memory."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

from detkit.record.streams import StreamWriter

INTERVAL_S = 5.0


class SystemSampler:
    """A thread that appends to system.jsonl until it is stopped; the first sample is taken at once."""

    def __init__(self, stream: StreamWriter, interval_s: float = INTERVAL_S) -> None:
        self._stream = stream
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="system-sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _work(self) -> None:
        import psutil

        process = psutil.Process()
        psutil.cpu_percent()  # the first call only sets the beginning of the interval
        while True:
            self._stream.append(_sample(process))
            if self._stop.wait(self._interval_s):
                return


def _sample(process: Any) -> dict[str, float]:
    import psutil

    family = [process, *process.children(recursive=True)]
    memory = 0
    for member in family:
        try:
            memory += member.memory_info().rss
        except psutil.NoSuchProcess:  # a worker that ended since
            continue
    sample = {
        "time": time.time(),
        "cpu_percent": psutil.cpu_percent(),
        "memory_bytes": memory,
        "memory_available_bytes": psutil.virtual_memory().available,
    }
    return {**sample, **_gpu_sample()}


def _gpu_sample() -> dict[str, float]:
    import torch

    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's own gap
        return {}
    sample: dict[str, float] = {"gpu_memory_bytes": torch.cuda.memory_allocated()}
    with suppress(RuntimeError, ImportError):  # NVIDIA's management library is optional
        sample["gpu_percent"] = torch.cuda.utilization()
    return sample


class Processors:
    """How busy others keep the machine from here on: what is timed meanwhile is slower for it."""

    def __init__(self) -> None:
        self._before = _processor_seconds()

    def used_by_others(self) -> float:
        """The share of all processors, 0 to 1, that processes beside this one have used."""
        total, idle, own = (now - then for now, then in zip(_processor_seconds(), self._before, strict=True))
        return min(1.0, max(0.0, (total - idle - own) / total)) if total else 0.0


def _processor_seconds() -> tuple[float, float, float]:
    """Of all processors together, of which idle, of which this process's."""
    import psutil

    times, own = psutil.cpu_times(), psutil.Process().cpu_times()
    # Linux counts the time of guests within that of users too.
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return sum(times) - guests, times.idle + getattr(times, "iowait", 0.0), own.user + own.system


def memory_bytes() -> int:
    """What this process holds now, resident."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_memory_bytes(device: str) -> int:
    """The most memory that this process has held since it began: of the GPU where it uses one, else resident."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB elsewhere
