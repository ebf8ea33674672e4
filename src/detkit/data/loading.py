"""From a dataset to batches: seeded items, lists instead of stacked tensors, optional worker processes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from detkit.components import Dataset
from detkit.data.sampling import Item
from detkit.data.seeds import derive_seed, seeded
from detkit.data.types import Batch, Target
from detkit.errors import DataError, DetkitError, OutOfMemory

if TYPE_CHECKING:
    from torchvision.tv_tensors import Image

Sample = tuple["Image", Target]
RawBatch = tuple[list["Image"], list[Target]]
#: Makes the sample of an index with a seed, instead of what the dataset gives: augmentation.
Maker = Callable[[int, int], Sample]


class SeededItems(TorchDataset["Sample | DetkitError"]):
    """Fetches items with the global generators seeded by (seed, epoch, position), and restored afterwards."""

    def __init__(self, dataset: Dataset, seed: int, make: Maker | None = None) -> None:
        self._dataset = dataset
        self._seed = seed
        self._make = make

    def __getitem__(self, item: Item) -> Sample | DetkitError:
        seed = derive_seed(self._seed, "item", item.epoch, item.position)
        with seeded(seed):
            try:
                return self._make(item.sample, seed) if self._make else fetch(self._dataset, item.sample)
            except DetkitError as error:
                # Returned, for the loader would wrap it in a worker's traceback; raised again in `_raising`.
                return error


def fetch(dataset: Dataset, index: int) -> Sample:
    """One sample.

    Raises:
        DataError: it cannot be read; names the image.
    """
    try:
        sample = dataset[index]
        _refuse_foreign(sample)
        return sample
    except DetkitError:
        raise
    except Exception as error:  # the dataset is foreign code: say which image it stumbled over
        raise DataError(f"image {label_of(dataset, index)} cannot be read: {type(error).__name__}: {error}") from error


def _refuse_foreign(sample: Sample) -> None:
    """Hold a dataset to its contract, whose breach would show as a model that learns nothing."""
    image, target = sample
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise TypeError(f"its image is {image.dtype} {list(image.shape)}; it must be uint8 [3, H, W]")
    missing = {"boxes", "labels", "image_id", "area", "iscrowd"} - target.keys()
    if missing:
        raise TypeError(f"its target lacks {', '.join(sorted(missing))}")
    count = len(target["labels"])
    if target["boxes"].shape != (count, 4) or target["labels"].dtype != torch.int64:
        raise TypeError(
            f"its target has boxes {list(target['boxes'].shape)} and labels {target['labels'].dtype} [{count}];"
            " they must be [N, 4] and int64 [N]"
        )


def label_of(dataset: Dataset, index: int) -> str:
    """An image for messages: its index, and its name where it has one."""
    try:
        return f"{index} ({dataset.info(index).label})"
    except Exception:  # noqa: BLE001 - the label only decorates an error that is on its way already
        return str(index)


def stacked(samples: Sequence[Sample]) -> RawBatch:
    """Keep images and targets as lists: sizes and numbers of objects differ."""
    return [image for image, _ in samples], [target for _, target in samples]


def collate(samples: Sequence[Sample | DetkitError]) -> RawBatch | DetkitError:
    """A batch, or the first error among its samples."""
    good: list[Sample] = []
    for sample in samples:
        if isinstance(sample, DetkitError):
            return sample
        good.append(sample)
    return stacked(good)


def training_loader(
    dataset: Dataset,
    batches: Iterable[Sequence[Item]],
    *,
    seed: int,
    workers: int,
    pin_memory: bool,
    make: Maker | None = None,
) -> Iterator[RawBatch]:
    """The given batches in order; their content does not depend on `workers`.

    Args:
        make: augmentation; without it the samples are as the dataset gives them.
    """
    loader: DataLoader[Sample | DetkitError] = DataLoader(
        SeededItems(dataset, seed, make),
        batch_sampler=_Batches(batches),
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin_memory,
        multiprocessing_context=_worker_context(workers),
        # A generator of its own: the loader draws a base seed, which must not move the training's generator.
        generator=torch.Generator().manual_seed(0),
    )
    return _raising(loader, workers)


def _raising(loader: Iterable[RawBatch | DetkitError], workers: int) -> Iterator[RawBatch]:
    try:
        for batch in loader:
            if isinstance(batch, DetkitError):
                raise batch
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise OutOfMemory(
            f"a process that loads images ended unexpectedly ({str(error).splitlines()[0]}), most often because memory"
            f" ran out; lower [compute] workers (now {workers}) or [train] batch_size"
        ) from error


class _Batches(torch.utils.data.Sampler[list[Item]]):
    def __init__(self, batches: Iterable[Sequence[Item]]) -> None:
        self._batches = [list(batch) for batch in batches]

    def __iter__(self) -> Iterator[list[Item]]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


def _worker_context(workers: int) -> str | None:
    # Plugin files are modules that a freshly started interpreter cannot import; a forked worker has them already.
    # Elsewhere than on Linux forking is not safe, or not there.
    return "fork" if workers and sys.platform == "linux" else None


def without_crowds(target: Target) -> Target:
    """The target's single objects: a box around many is no box to learn, and TorchVision's training has none either."""
    flags = target.get("iscrowd")  # of a dataset that breaks its contract there may be none
    if flags is None or not flags.any():
        return target
    crowds = flags.bool()
    kept: dict[str, Any] = dict(target)
    for name in ("boxes", "labels", "area", "iscrowd", "masks"):
        if name in kept:
            kept[name] = kept[name].as_subclass(torch.Tensor)[~crowds]
    return kept  # type: ignore[return-value]  # the same keys


def to_device(images: Sequence[Image], targets: Sequence[Target], device: torch.device) -> Batch:
    """Images as float32 in 0..1 and targets, on the device, as plain tensors, without crowds."""

    def moved(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return value.as_subclass(torch.Tensor).to(device, non_blocking=True)

    return Batch(
        images=[moved(image).to(torch.float32).div_(255) for image in images],
        targets=[{name: moved(value) for name, value in without_crowds(target).items()} for target in targets],  # type: ignore[misc]  # same keys, same types
    )
