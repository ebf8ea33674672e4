"""The order of images in an epoch: a function of (seed, epoch) alone, whatever the number of workers or processes."""

from __future__ import annotations

from collections.abc import Sequence
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
    indices: Sequence[int], *, batch_size: int, accumulate: int, processes: int, seed: int, epoch: int
) -> list[StepPlan]:
    """Every optimizer step of an epoch; each image once.

    The last batch may be smaller. Where it would leave a process without an image, it joins the batch before it, since
    a process that sits out a step blocks the others' collectives.

    Raises:
        ValueError: there are fewer images, or fewer images in a batch, than processes.
    """
    import torch

    if min(len(indices), batch_size) < processes:
        raise ValueError(f"batches of {batch_size} of {len(indices)} images cannot be shared by {processes} processes")
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    shuffled = torch.randperm(len(indices), generator=generator).tolist()
    items = [Item(epoch, position, indices[number]) for position, number in enumerate(shuffled)]
    batches = [items[start : start + batch_size] for start in range(0, len(items), batch_size)]
    if len(batches) > 1 and len(batches[-1]) < processes:
        batches[-2:] = [batches[-2] + batches[-1]]
    return [batches[start : start + accumulate] for start in range(0, len(batches), accumulate)]


def share_of(batch: Sequence[Item], rank: int, processes: int) -> Sequence[Item]:
    """The items of one process; the shares of all are disjoint, not empty, and together the batch."""
    return batch[rank::processes]
