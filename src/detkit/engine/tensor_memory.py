"""The most memory that tensors take in a forward pass, as torch's own allocators count it.

The memory of a whole process cannot tell: on a CPU it never falls again, and training needed more than inference does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def inference_bytes(model: nn.Module, forward: Callable[[], Any], device: torch.device) -> int:
    """The model's parameters and buffers, and the most that a pass adds to them.

    Raises:
        NotImplementedError: this device counts no peak.
    """
    if device.type == "cuda":
        added = _added_on_gpu(forward, device)
    elif device.type == "cpu":
        added = _added_on_cpu(forward)
    else:
        raise NotImplementedError(f"torch counts no peak of memory on {device.type}")
    return added + sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def _added_on_gpu(forward: Callable[[], Any], device: torch.device) -> int:
    # What training holds is still there and no part of inference: only the rise counts.
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    forward()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _added_on_cpu(forward: Callable[[], Any]) -> int:
    held, most = 0, 0
    with _allocations() as sizes:
        forward()
    for size in sizes:
        held += size
        most = max(most, held)
    return most


@contextmanager
def _allocations() -> Iterator[list[int]]:
    """What torch's CPU allocator hands out and gets back in the block, bytes, in order; filled when the block ends.

    By torch's older profiler, which has no public name: starting the newer one takes two seconds.
    """
    from torch._C._autograd import _disable_profiler_legacy, _enable_profiler_legacy
    from torch._C._profiler import ProfilerConfig, ProfilerState, _ExperimentalConfig

    sizes: list[int] = []
    _enable_profiler_legacy(
        ProfilerConfig(
            ProfilerState.CPU,
            False,  # the shapes of inputs
            True,  # memory
            False,  # stacks
            False,  # FLOPs
            False,  # modules
            _ExperimentalConfig(),
        )
    )
    try:
        yield sizes
    finally:
        records = _disable_profiler_legacy()
        sizes += [r.cpu_memory_usage() for thread in records for r in thread if str(r.kind()) == "memory_alloc"]
