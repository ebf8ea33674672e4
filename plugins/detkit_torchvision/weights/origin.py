"""What a model says of its weights: one line for people, plain values for the record, names for the strategy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

from torch import nn

from detkit import Messages, Part
from detkit_torchvision.weights.files import Weights
from detkit_torchvision.weights.loading import Taken, some


def names_in(model: nn.Module, module: nn.Module, names: frozenset[str]) -> frozenset[str]:
    """The names that tensors of a module have in the model that was built around it; what was cut off is left out."""
    tensors = chain(module.named_parameters(), module.named_buffers())
    ids = {id(tensor) for name, tensor in tensors if name in names}
    return frozenset(
        name for name, tensor in chain(model.named_parameters(), model.named_buffers()) if id(tensor) in ids
    )


def tell_origin(
    model: nn.Module,
    title: str,
    source: str,
    weights: Weights,
    taken: Taken,
    parts: Sequence[Part],
    messages: Messages,
) -> dict[str, Any]:
    """Say in one line which weights were taken, and return it in plain values.

    Args:
        taken: names as the model has them. parts: of the model, by which what was taken is counted.
    """
    new = [name for name in model.state_dict() if name not in taken.taken]
    messages.info(
        f"{title}: {weights.file.name}: {len(taken.taken)} tensors taken,"
        f" {len(taken.dropped)} dropped{some(taken.dropped)}, {len(new)} new{some(new)}"
    )
    return {
        "source": source,
        "file": weights.file.name,
        "sha256": weights.digest,
        "taken": len(taken.taken),
        "taken_by_part": _count_by_part(model, parts, taken.taken),
        "dropped": list(taken.dropped),
        "new": new,
    }


def _count_by_part(model: nn.Module, parts: Sequence[Part], names: frozenset[str]) -> dict[str, int]:
    tensors = chain(model.named_parameters(), model.named_buffers())
    by_id = {id(tensor): name for name, tensor in tensors}
    counts: Counter[str] = Counter()
    for part in parts:
        for module in part.modules:
            counts[part.name] += sum(
                by_id[id(tensor)] in names for tensor in chain(module.parameters(), module.buffers())
            )
    return {name: count for name, count in counts.items() if count}
