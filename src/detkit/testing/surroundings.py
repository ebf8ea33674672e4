"""What a component shares with everybody else in the process: generators, threads, dtype, environment."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from detkit.testing.rule import Broken

#: What torch writes itself on first use.
OWN_VARIABLES = ("KMP_", "OMP_", "TORCHINDUCTOR_", "PYTEST_", "KINETO_")


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
        **{
            f"the environment variable {name}": value
            for name, value in os.environ.items()
            if not name.startswith(OWN_VARIABLES)
        },
    }


@contextmanager
def left_alone(what: str, *, with_generators: bool) -> Iterator[None]:
    """Look whether the block leaves the process as it was, and put it back.

    Raises:
        Broken: it does not; names what was changed.
    """
    before = settings() | (generators() if with_generators else {})
    try:
        yield
    finally:
        after = settings() | (generators() if with_generators else {})
        _put_back(before)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        shown = [f"{name}{_change(before.get(name), after.get(name))}" for name in changed]
        raise Broken(f"{what} changes {', '.join(shown)}", "what belongs to the whole process stays as it was")


def _change(before: Any, after: Any) -> str:
    return "" if isinstance(before, bytes) else f" ({before} becomes {after})"


def _put_back(before: Mapping[str, Any]) -> None:
    torch.set_num_threads(before["torch's number of threads"])
    torch.set_default_dtype(before["torch's default dtype"])
    torch.set_grad_enabled(before["whether torch records gradients"])
    torch.use_deterministic_algorithms(before["whether torch insists on deterministic algorithms"])
    os.chdir(before["the working directory"])
