"""On which device and with which precision a detector works."""

from __future__ import annotations

import re
from typing import Literal

from detkit.components import Messages
from detkit.engine.compute import Compute, Precision, has_bf16, import_torch, resolve_compute
from detkit.errors import ComputeError
from detkit.spec.model import ComputeTable

DEVICE = re.compile(r"(auto|cpu|cuda|mps)|cuda:(\d+)")


def resolve_device(device: str) -> str:
    """As torch names it: "cpu", "cuda:0", "mps".

    Args:
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        ComputeError: there is no such device here; says which there are.
    """
    named = DEVICE.fullmatch(device)
    if named is None:
        raise ComputeError(f"no device is called {device!r}; there are: auto, cpu, cuda, cuda:N, mps")
    number = int(named.group(2) or 0)
    wanted: Literal["auto", "cpu", "cuda", "mps"] = named.group(1) or "cuda"  # type: ignore[assignment]  # so the pattern
    accelerator = _resolved(ComputeTable(device=wanted)).accelerator
    if accelerator != "cuda":
        return accelerator
    count = import_torch().cuda.device_count()
    if number >= count:
        raise ComputeError(f"there is no device cuda:{number}; this machine has cuda:0 to cuda:{count - 1}")
    return f"cuda:{number}"


def resolve_precision(
    wanted: Literal["auto", "fp32", "bf16", "fp16"], of_run: Precision, device: str, messages: Messages
) -> Precision:
    """The precision asked for; "auto" is the run's own, or fp32 where the device does not compute in that.

    Raises:
        ComputeError: the device cannot do what was asked.
    """
    accelerator: Literal["cpu", "cuda", "mps"] = device.split(":")[0]  # type: ignore[assignment]  # of resolve_device
    if wanted != "auto":
        return _resolved(ComputeTable(device=accelerator, precision=wanted)).precision
    has = {"fp32": True, "bf16": has_bf16(accelerator), "fp16": accelerator != "cpu"}
    if has[of_run]:
        return of_run
    messages.warning(f"trained in {of_run}, which {device} does not have: predicts in fp32; scores may differ slightly")
    return "fp32"


def _resolved(table: ComputeTable) -> Compute:
    """As for a run; but what was asked stands in no spec."""
    try:
        return resolve_compute(table)
    except ComputeError as error:
        raise ComputeError(str(error).removeprefix("[compute] ")) from error
