"""What a component shares with everybody else in the process: generators, threads, dtype, environment."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from detkit.data.seeds import seeded
from detkit.testing.rule import Broken

#: What torch writes itself on first use.
OWN_VARIABLES = ("KMP_", "OMP_", "TORCHINDUCTOR_", "PYTEST_", "KINETO_")

#: New variables of these beginnings are read by others: torch, Python, the system. A library may set its own.
SHARED_VARIABLES = ("CUDA", "CUBLAS", "NVIDIA", "NCCL", "MKL", "OPENBLAS", "PYTORCH", "TORCH_", "PYTHON", "LD_", "PATH")
#: Of the global generators while somebody looks whether they move.
SOME_SEED = 1_234_567
VARIABLE = "the environment variable "


def generators() -> dict[str, bytes]:
    """The states of the global generators."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch's global generator": torch.get_rng_state().numpy().tobytes(),
        "numpy's global generator": f"{name}{rest}".encode() + np.asarray(keys).tobytes(),
        "random's global generator": repr(random.getstate()).encode(),
    }


def settings() -> dict[str, Any]:
    """What is set for the whole process."""
    return {
        "torch's number of threads": torch.get_num_threads(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": str(torch.get_default_device()),
        "whether torch records gradients": torch.is_grad_enabled(),
        "whether torch insists on deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "the working directory": os.getcwd(),
        **{f"{VARIABLE}{name}": value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)},
    }


@contextmanager
def left_alone(what: str, *, with_generators: bool, but: str = "") -> Iterator[None]:
    """Look whether the block leaves the process as it was, and put it back.

    Args:
        with_generators: whether the global generators may not move either. but: the one that may.

    Raises:
        Broken: it does not; names what was changed.
    """
    # In a state that nobody would seed them with: what sets it is seen.
    with seeded(SOME_SEED) if with_generators else nullcontext():
        before = settings() | (generators() if with_generators else {})
        try:
            yield
        finally:
            after = settings() | (generators() if with_generators else {})
            put_back(before)
    changed = sorted(
        name
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name) and name != but and (name in before or _matters(name))
    )
    if changed:
        shown = [f"{name}{_change(before.get(name), after.get(name))}" for name in changed]
        raise Broken(f"{what} changes {', '.join(shown)}", "what belongs to the whole process stays as it was")


def _matters(name: str) -> bool:
    """Whether a variable that is new in the environment is more than a library's own."""
    return name.removeprefix(VARIABLE).startswith(SHARED_VARIABLES)


def _change(before: Any, after: Any) -> str:
    return "" if isinstance(before, bytes) else f" ({before} becomes {after})"


@contextmanager
def restored() -> Iterator[None]:
    """Put settings back after the block, so that what one rule finds does not disturb the next."""
    before = settings()
    try:
        yield
    finally:
        put_back(before)


def put_back(before: Mapping[str, Any]) -> None:
    """Set what `settings` gave."""
    if settings() == {name: value for name, value in before.items() if "generator" not in name}:
        return
    torch.set_num_threads(before["torch's number of threads"])
    torch.set_default_dtype(before["torch's default dtype"])
    torch.set_grad_enabled(before["whether torch records gradients"])
    torch.use_deterministic_algorithms(before["whether torch insists on deterministic algorithms"])
    os.chdir(before["the working directory"])
    variables = {name.removeprefix(VARIABLE): value for name, value in before.items() if name.startswith(VARIABLE)}
    for name in [name for name in os.environ if not name.startswith(OWN_VARIABLES) and name not in variables]:
        del os.environ[name]
    os.environ.update(variables)
