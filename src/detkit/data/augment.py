"""Training images through the transforms of `[augment]`, as a function of (seed, epoch, position).

Each transform draws from generators of its own, seeded by the item's seed and the transform's key: what one of them
draws, or whether it is there at all, does not change what the others draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from detkit.components import Dataset, Draw, Transform
from detkit.data.augment_contract import Given
from detkit.data.loading import Sample, fetch, label_of
from detkit.data.seeds import derive_seed, plant, seeded
from detkit.data.types import Target
from detkit.errors import ComponentError, DetkitError

if TYPE_CHECKING:
    from torchvision.tv_tensors import Image

#: Boxes that lie no further than this from the extents of their masks, pixels, count as made from them: polygons have
#: fractional corners, their masks whole pixels.
TIGHT_PX = 1.0
#: Objects whose box has a shorter side than this, pixels, after a change of geometry are taken out.
SMALLEST_PX = 1.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One transform of a chain.

    Attributes:
        key: its name in the spec. title: how messages name it.
    """

    key: str
    title: str
    transform: Transform


class Augmentation:
    """A chain of transforms over the training images of a dataset.

    Args:
        stages: in the order of application. pool: the indices that `Draw.fetch` may give: the training images.
    """

    def __init__(self, stages: Sequence[Stage], dataset: Dataset, pool: Sequence[int]) -> None:
        self._stages = tuple(stages)
        self._dataset = dataset
        self._pool = tuple(pool)
        self._members = frozenset(pool)

    def __call__(self, index: int, seed: int) -> Sample:
        """The augmented sample. The global generators must be seeded with `seed`, and are moved.

        Raises:
            DataError: an image cannot be read. ComponentError: a transform raised, or broke its contract.
        """
        image, target, _ = self._made(index, seed, self._stages)
        return image, target

    def _made(self, index: int, seed: int, stages: Sequence[Stage]) -> tuple[Image, Target, bool]:
        """The sample after some stages, and whether its boxes are the extents of its masks."""
        with one_thread():
            image, target = fetch(self._dataset, index)
            tight = are_tight(target)
            for number, stage in enumerate(stages):
                own_seed = derive_seed(seed, stage.key)
                plant(own_seed)
                fetched: list[bool] = []
                draw = Draw(
                    generator=torch.Generator().manual_seed(own_seed),
                    pool=self._pool,
                    fetch=self._fetcher(stages[:number], own_seed, fetched),
                )
                try:
                    given = Given(image, target, len(self._dataset.class_names))
                    changed, objects = given.accepted(stage.transform(image, {**target}, draw))
                    tight = tight and all(fetched)
                    image, target = changed, settled(image, target, changed, objects, tight=tight)
                except DetkitError:
                    raise
                except Exception as error:  # foreign code: its own error stays attached as the cause
                    text = " ".join(f"{type(error).__name__}: {error}".split())
                    label = label_of(self._dataset, index)
                    raise ComponentError(f"{stage.title} failed on image {label}: {text}") from error
        return image, target, tight

    def _fetcher(
        self, stages: Sequence[Stage], seed: int, fetched: list[bool]
    ) -> Callable[[int], tuple[Image, Target]]:
        def fetch_one(index: int) -> tuple[Image, Target]:
            if index not in self._members:
                raise ValueError(f"fetch({index}): that is no training image; take one of `draw.pool`")
            own_seed = derive_seed(seed, "fetched", len(fetched), index)
            with seeded(own_seed):
                image, target, tight = self._made(index, own_seed, stages)
            fetched.append(tight)
            return image, target

        return fetch_one


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, as a loader's worker does: how sums are divided may show in their last bits."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# --- what holds after every transform --------------------------------------------------------------------------------


def are_tight(target: Target) -> bool:
    """Whether the boxes of a target are the extents of its masks. Without masks they are not; without objects they are.

    Crowds count too; an empty mask has no extents.
    """
    if "masks" not in target:
        return False
    extents, there = mask_extents(target["masks"])
    return bool(there.all()) and bool(((target["boxes"] - extents).abs() <= TIGHT_PX).all())


def settled(image_before: Image, before: Target, image: Image, target: Target, *, tight: bool) -> Target:
    """The target of a changed image with its fields in agreement.

    Where the geometry has changed: boxes anew from the masks (`tight`), or clipped to the image; objects of which
    nothing is left are taken out; area is the masks' pixels, else the boxes' area.
    """
    if image.shape == image_before.shape and _same_objects(before, target):
        return target
    size = (image.shape[-2], image.shape[-1])
    boxes = target["boxes"].as_subclass(Tensor).to(torch.float32)
    keep = torch.ones(len(boxes), dtype=torch.bool)
    masks = target["masks"].as_subclass(Tensor) if "masks" in target else None
    if masks is not None:
        extents, keep = mask_extents(masks)
        boxes = extents if tight else boxes
    limits = torch.tensor([size[1], size[0]] * 2, dtype=boxes.dtype)
    boxes = torch.minimum(boxes.clamp(min=0), limits)
    sides = boxes[:, 2:] - boxes[:, :2]
    keep &= (sides >= SMALLEST_PX).all(dim=1)
    area = mask_pixels(masks) if masks is not None else sides.prod(dim=1)
    changed: Target = {
        **target,
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
        "area": area,
    }
    if masks is not None:
        changed["masks"] = tv_tensors.Mask(masks)
    return changed if bool(keep.all()) else without(changed, keep)


def _same_objects(before: Target, after: Target) -> bool:
    names = [name for name in ("boxes", "masks") if name in before or name in after]
    return all(_same(before.get(name), after.get(name)) for name in names)


def _same(before: object, after: object) -> bool:
    if before is after:
        return True
    if not isinstance(before, Tensor) or not isinstance(after, Tensor) or before.shape != after.shape:
        return False
    return before.data_ptr() == after.data_ptr() or bool(torch.equal(before, after))


def without(target: Target, keep: Tensor) -> Target:
    """Only the objects of a mask, bool [N], in every field that has one entry an object."""
    count = len(target["labels"])
    return {  # type: ignore[return-value]  # the same keys with the same types
        name: _picked(value, keep) if isinstance(value, Tensor) and value.ndim and len(value) == count else value
        for name, value in target.items()
    }


def _picked(value: Tensor, keep: Tensor) -> Tensor:
    picked = value[keep]
    return tv_tensors.wrap(picked, like=value) if isinstance(value, tv_tensors.TVTensor) else picked


def mask_pixels(masks: Tensor) -> Tensor:
    """float32 [N]; numpy counts a hundred times as fast as torch sums bytes."""
    return torch.tensor([np.count_nonzero(mask) for mask in masks.numpy()], dtype=torch.float32)


def mask_extents(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes around masks, the far edges included: float32 [N, 4]; and bool [N], whether a mask has any pixel.

    Args:
        masks: uint8 [N, H, W].
    """
    plain = masks.as_subclass(Tensor)
    count, height, width = plain.shape
    if not count or not height or not width:
        return torch.zeros((count, 4)), torch.zeros(count, dtype=torch.bool)
    columns, rows = plain.amax(dim=1) > 0, plain.amax(dim=2) > 0
    x0, y0 = columns.int().argmax(dim=1), rows.int().argmax(dim=1)
    x1 = width - columns.flip(1).int().argmax(dim=1)
    y1 = height - rows.flip(1).int().argmax(dim=1)
    there = columns.any(dim=1)
    boxes = torch.stack([x0, y0, x1, y1], dim=1).to(torch.float32)
    return boxes * there[:, None], there
