"""`detkit doctor`: what belongs in a bug report. Nothing that it looks at may stop it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from detkit import __version__
from detkit.cli.options import json_option
from detkit.errors import ComputeError, PluginError

Facts = dict[str, Any]

#: Distributions whose versions matter, the required ones first.
PACKAGES = (
    "torch",
    "torchvision",
    "lightning-fabric",
    "numpy",
    "pillow",
    "pydantic",
    "pluggy",
    "click",
    "rich",
    "pycocotools",
    "hotcoco",
    "torchmetrics",
    "comet_ml",
)
#: Variables that change what detkit, torch or a bundled plugin does.
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_ENABLE_MPS_FALLBACK",
    "TORCH_HOME",
    "XDG_CACHE_HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "COMET_OFFLINE_DIRECTORY",
    "COMET_URL_OVERRIDE",
)
#: Variables of which only whether they are set is told. A proxy's address may hold a password.
HIDDEN_VARIABLES = ("COMET_API_KEY", "HTTP_PROXY", "HTTPS_PROXY")
#: What Linux calls the instructions that make bfloat16 fast on a CPU (arch/x86/include/asm/cpufeatures.h).
BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Print versions, hardware and its precision, plugins, disk space and environment: what belongs in a bug report."""
    facts = collect_facts()
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(_lines(facts)))


def collect_facts() -> Facts:
    """Plain nested data, ready for JSON."""
    sections: Mapping[str, Callable[[], Any]] = {
        "versions": versions,
        "platform": platform_facts,
        "processor": processor_facts,
        "torch": torch_facts,
        "plugins": plugin_facts,
        "disk": disk_facts,
        "environment": environment_facts,
    }
    return {name: _safely(section) for name, section in sections.items()}


def _safely(section: Callable[[], Any]) -> Any:
    try:
        return section()
    except Exception as error:  # noqa: BLE001 - a report on a broken machine must not break on it
        return {"error": " ".join(f"{type(error).__name__}: {error}".split())}


def versions() -> Facts:
    """Of Python, detkit and what it stands on; None for what is not installed."""
    found: Facts = {"python": platform.python_version(), "detkit": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def platform_facts() -> Facts:
    """The operating system and the Python that runs."""
    return {"system": platform.platform(), "machine": platform.machine(), "python": sys.executable}


def processor_facts() -> Facts:
    """Model, cores, memory, and whether the instructions are there that make bfloat16 fast (None: not known)."""
    import psutil

    memory = psutil.virtual_memory()
    model, flags = _cpu_info()
    return {
        "model": model or platform.processor() or None,
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "usable_threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count(),
        "memory_gb": round(memory.total / 1e9, 1),
        "memory_available_gb": round(memory.available / 1e9, 1),
        "bf16_instructions": [flag for flag in BF16_FLAGS if flag in flags] if flags else None,
    }


def _cpu_info() -> tuple[str, frozenset[str]]:
    """The model's name and the flags, from Linux's /proc; empty elsewhere."""
    model, flags = "", frozenset[str]()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return model, flags
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name" and not model:
            model = value.strip()
        if name.strip() in ("flags", "Features") and not flags:
            flags = frozenset(value.split())
    return model, flags


def torch_facts() -> Facts:
    """Whether torch and torchvision work together, and the devices with the precisions that they are fast in."""
    from detkit.engine.compute import import_torch

    error = None
    try:
        import_torch()
    except ComputeError as found:
        error = str(found)
    devices = _safely(lambda: _torch_devices(works=error is None))
    return {**devices, "works": error is None, "error": error or devices.get("error")}


def _torch_devices(*, works: bool) -> Facts:
    """What torch sees by itself; a torchvision that is broken must not hide it, though the precision stays unknown."""
    from detkit.engine.compute import has_bf16

    torch = import_module("torch")
    devices = [{"device": "cpu", "name": "", "precision": ["fp32", *(["bf16"] if works and has_bf16("cpu") else [])]}]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        devices.append(
            {
                "device": f"cuda:{index}",
                "name": f"{properties.name}, {properties.total_memory / 1e9:.0f} GB",
                "precision": ["fp32", "fp16", *(["bf16"] if works and has_bf16("cuda") else [])],
            }
        )
    if torch.backends.mps.is_available():
        devices.append({"device": "mps", "name": "Apple GPU", "precision": ["fp32"]})
    return {"cuda_built": torch.version.cuda, "threads": torch.get_num_threads(), "devices": devices}


def plugin_facts() -> list[Facts]:
    """The installed plugins and what became of them."""
    from detkit.plugins import collect

    try:
        plugins = collect().plugins
    except PluginError as error:  # two of them clash: still worth a report
        return [{"name": "", "version": "", "distribution": "", "state": "failed", "reason": str(error)}]
    return [
        {
            "name": plugin.name,
            "version": plugin.version,
            "distribution": plugin.distribution,
            "state": plugin.state,
            "reason": plugin.reason,
        }
        for plugin in plugins
    ]


def disk_facts() -> Facts:
    """Free space where experiments and downloads usually go, in GB (10^9 bytes)."""
    folders = {"working_folder": Path.cwd(), "home": Path.home()}
    return {f"{name}_free_gb": round(shutil.disk_usage(folder).free / 1e9, 1) for name, folder in folders.items()}


def environment_facts() -> Facts:
    """The variables' values; of secrets only whether they are set."""
    shown = {name: os.environ.get(name) for name in VARIABLES if name not in HIDDEN_VARIABLES}
    hidden = {name: "set" if os.environ.get(name) else None for name in HIDDEN_VARIABLES}
    return {**shown, **hidden}


# --- for people ------------------------------------------------------------------------------------------------------


def _lines(facts: Facts) -> list[str]:
    lines: list[str] = []
    for section, found in facts.items():
        lines.append(section)
        lines += [f"  {line}" for line in _section_lines(section, found)]
    return lines


def _section_lines(section: str, found: Any) -> list[str]:
    if section == "plugins" and isinstance(found, list):
        return [_plugin_line(plugin) for plugin in found] or ["none"]
    lines = []
    for name, value in found.items():
        if name == "devices":
            lines += [_device_line(device) for device in value]
        elif value is not None:
            title = name if section in ("versions", "environment") else name.replace("_", " ")
            lines.append(f"{title}: {_words(value)}")
        elif section == "versions":
            lines.append(f"{name}: not installed")
        elif section == "environment":
            lines.append(f"{name}: not set")
    return lines


def _plugin_line(plugin: Facts) -> str:
    origin = " ".join(part for part in (plugin["distribution"], plugin["version"]) if part)
    reason = f": {plugin['reason']}" if plugin["reason"] else ""
    return f"{plugin['name']} ({origin}) {plugin['state']}{reason}"


def _device_line(device: Facts) -> str:
    name = f" ({device['name']})" if device["name"] else ""
    return f"{device['device']}{name}: {', '.join(device['precision'])}"


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
