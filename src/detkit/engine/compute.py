"""From `[compute]` to devices and precision that this machine has, and to fabric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from detkit.errors import ComputeError
from detkit.spec.model import ComputeTable

Accelerator = Literal["cpu", "cuda", "mps"]
Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True)
class Compute:
    """What a run computes on, resolved.

    Attributes:
        accelerator: cpu, cuda or mps. processes: that train one model together.
        precision: of the forward pass; weights and optimizer stay fp32. strategy: fabric's.
    """

    accelerator: Accelerator
    processes: int
    precision: Precision
    threads: int | None
    strategy: Literal["auto", "ddp"] = "auto"


def resolve_compute(table: ComputeTable) -> Compute:
    """Fill in every "auto".

    Raises:
        ComputeError: the device or precision is not to be had here; says what is.
    """
    accelerator = _accelerator(table)
    strategy: Literal["auto", "ddp"] = "ddp" if table.devices > 1 else table.parallel
    return Compute(accelerator, table.devices, _precision(table, accelerator), table.threads, strategy)


def _accelerator(table: ComputeTable) -> Accelerator:
    torch = import_torch()
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    there = ["cpu", *(["cuda"] if cuda else []), *(["mps"] if mps else [])]
    wanted = table.device
    if wanted == "auto":
        wanted = "cuda" if cuda else "mps" if mps else "cpu"
    if wanted not in there:
        raise ComputeError(
            f"[compute] device: there is no {wanted} device on this machine; there are: {', '.join(there)}"
        )
    if wanted == "cuda" and table.devices > torch.cuda.device_count():
        raise ComputeError(
            f"[compute] devices: {table.devices} are asked for, this machine has {torch.cuda.device_count()} GPUs"
        )
    if wanted == "mps" and table.devices > 1:
        raise ComputeError("[compute] devices: mps has one device; set devices = 1")
    return wanted


def _precision(table: ComputeTable, accelerator: str) -> Precision:
    if table.precision == "auto":
        return "bf16" if has_bf16(accelerator) else "fp32"
    if table.precision == "fp16" and accelerator == "cpu":
        raise ComputeError('[compute] precision: fp16 does not work on a CPU; use "bf16", "fp32" or "auto"')
    return table.precision


def has_bf16(accelerator: str) -> bool:
    """Whether the hardware computes in bfloat16, so that it is faster and not only emulated."""
    torch = import_torch()
    if accelerator == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator == "cpu":
        # Private names of torch, hence the defaults: a torch without them computes in fp32.
        checks = (
            getattr(torch.cpu, name, lambda: False) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        )
        return any(check() for check in checks)
    return False


def import_torch() -> Any:
    """torch, with a torchvision that fits it.

    Raises:
        ComputeError: the two were built for different versions of each other, or one is missing.
    """
    try:
        import torch
        import torchvision  # noqa: F401 - it registers its operators, which is what may fail
    except (ImportError, RuntimeError, OSError) as error:
        raise ComputeError(
            f"torch and torchvision do not work together here ({' '.join(str(error).split())});"
            " install a matching pair with: pip install --force-reinstall torch torchvision"
        ) from error
    return torch


def make_fabric(compute: Compute) -> Any:
    """Fabric for these devices, this precision, and DDP where there are several processes."""
    from lightning_fabric import Fabric

    torch = import_torch()
    if compute.threads is not None:
        torch.set_num_threads(compute.threads)
    return Fabric(
        accelerator=compute.accelerator,
        devices=compute.processes,
        strategy=compute.strategy,
        plugins=[_precision_plugin(compute)],
    )


def _precision_plugin(compute: Compute) -> Any:
    from lightning_fabric.plugins import MixedPrecision, Precision

    if compute.precision == "fp32":
        return Precision()

    class AutocastOnly(MixedPrecision):
        """Autocast for the operations, and inputs left alone.

        Fabric's own casts them, and in bfloat16 the box of a target would be rounded to whole or even pixels.
        """

        def convert_input(self, data: Any) -> Any:
            return data

    return AutocastOnly("bf16-mixed" if compute.precision == "bf16" else "16-mixed", compute.accelerator)
