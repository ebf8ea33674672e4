"""The order of images in an epoch: a function of (seed, epoch) alone, whatever the number of workers or processes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from detkit.data.seeds import derive_seed


class Item(NamedTuple):
    """One image at one place of the training: its random numbers depend on (seed, epoch, position).

    `sample` is its index in the dataset.
    """

    epoch: int
    position: int
    sample: int


#: Of one optimizer step: its batches, each the items of all processes together.
StepPlan = Sequence[Sequence[Item]]


def plan_epoch(
    indices: Sequence[int],
    *,
    batch_size: int,
    accumulate: int,
    processes: int,
    seed: int,
    epoch: int,
    aspects: Mapping[int, float] | None = None,
) -> list[StepPlan]:
    """Every optimizer step of an epoch; each image once.

    The number of steps depends on none of seed, epoch and aspects. The last batch may be smaller. Where it would leave
    a process without an image, it joins the batch before it, since a process that sits out a step blocks the others'
    collectives.

    Args:
        aspects: index to width over height: images of like ones then share batches, as far as they go round; None: at
            random.

    Raises:
        ValueError: there are fewer images, or fewer images in a batch, than processes.
    """
    import torch

    if min(len(indices), batch_size) < processes:
        raise ValueError(f"batches of {batch_size} of {len(indices)} images cannot be shared by {processes} processes")
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    shuffled = torch.randperm(len(indices), generator=generator).tolist()
    items = [Item(epoch, position, indices[number]) for position, number in enumerate(shuffled)]
    if aspects is not None:
        items = _by_aspect(items, batch_size, aspects)
    batches = [items[start : start + batch_size] for start in range(0, len(items), batch_size)]
    if len(batches) > 1 and len(batches[-1]) < processes:
        batches[-2:] = [batches[-2] + batches[-1]]
    return [batches[start : start + accumulate] for start in range(0, len(batches), accumulate)]


#: Between these widths over heights lie the groups: TorchVision's reference scripts have these seven.
ASPECTS = tuple(2 ** (number / 3 - 1) for number in range(7))


def _by_aspect(items: Sequence[Item], batch_size: int, aspects: Mapping[int, float]) -> list[Item]:
    """The items in an order in which batches are of one group: each as soon as it is full. What is left comes last."""
    waiting: dict[int, list[Item]] = {}
    ordered: list[Item] = []
    for item in items:
        group = waiting.setdefault(bisect_right(ASPECTS, aspects[item.sample]), [])
        group.append(item)
        if len(group) == batch_size:
            ordered += group
            group.clear()
    return [*ordered, *(item for number in sorted(waiting) for item in waiting[number])]


def share_of(batch: Sequence[Item], rank: int, processes: int) -> Sequence[Item]:
    """The items of one process; the shares of all are disjoint, not empty, and together the batch."""
    return batch[rank::processes]
