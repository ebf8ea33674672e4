"""What a run was made with: versions, hardware, plugins. For run.json."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from detkit.spec.model import ExperimentSpec

if TYPE_CHECKING:
    import torch

PACKAGES = (
    "detkit",
    "torch",
    "torchvision",
    "lightning-fabric",
    "numpy",
    "pillow",
    "pycocotools",
    "hotcoco",
    "torchmetrics",
)


def versions() -> dict[str, str]:
    """Of Python and of the packages that can change a number."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores, memory, GPUs."""
    import psutil
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": gpus,
        "threads": torch.get_num_threads(),
    }


def device_name(device: torch.device) -> str:
    """As its maker calls the GPU or the processor that a run computes on."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
            return next(names, platform.processor())
    except OSError:
        return platform.processor()


def plugins(spec: ExperimentSpec) -> list[dict[str, str]]:
    """Name, version, distribution and source of every loaded plugin."""
    return [
        {"name": p.name, "version": p.version, "distribution": p.distribution, "source": p.source}
        for p in spec.registry.plugins
        if p.state == "loaded"
    ]
