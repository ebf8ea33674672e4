"""Seeds that are functions of names, so that no random number depends on what was drawn before it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager


def derive_seed(*parts: int | str) -> int:
    """A seed in 0..2**31-1 from numbers and names; the same on every machine and version (SHA-256)."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def plant(seed: int) -> None:
    """Seed torch's CPU generator, numpy's and random's global ones."""
    import random

    import numpy as np
    import torch

    torch.default_generator.manual_seed(seed)  # not torch.manual_seed: that would move the GPUs' generators
    np.random.seed(seed)
    random.seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator, numpy's and random's global ones for the block, and restore them after it."""
    import random

    import numpy as np
    import torch

    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    plant(seed)
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
