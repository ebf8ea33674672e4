"""The host of transforms: seeds, fetched images, foreign transforms, and what holds after each of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from detkit.components import BOXES_AND_MASKS, Dataset, Draw
from detkit.data.augment import Augmentation, Stage, are_tight, mask_extents
from detkit.data.loading import Sample, SeededItems, training_loader
from detkit.data.sampling import Item, plan_epoch
from detkit.data.types import Target
from detkit.errors import ComponentError, DataError, DetkitError

Function = Callable[[Any, Any, Draw], Any]
THIRD = Item(1, 0, 3)


class Shapes(Dataset):
    """Image i is 40 x 30, grey i, with a triangle as the mask of one object, and a crowd beside it."""

    class_names = ("thing", "crowd")
    provides = BOXES_AND_MASKS

    def __init__(self, *, looser: float = 0.0) -> None:
        self._looser = looser

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int, /) -> tuple[tv_tensors.Image, Target]:
        masks = torch.zeros((2, 30, 40), dtype=torch.uint8)
        masks[0, 10:20, 10:20] = torch.tril(torch.ones(10, 10, dtype=torch.uint8))
        masks[1, 5:9, 30:38] = 1
        boxes = torch.tensor([[10.0, 10.0, 20.0, 20.0], [30.0, 5.0, 38.0, 9.0]])
        boxes += torch.tensor([-1.0, -1.0, 1.0, 1.0]) * self._looser
        form = tv_tensors.BoundingBoxFormat.XYXY
        target: Target = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format=form, canvas_size=(30, 40)),
            "labels": torch.tensor([1, 2]),
            "image_id": index,
            "area": torch.tensor([55.0, 32.0]),
            "iscrowd": torch.tensor([False, True]),
            "masks": tv_tensors.Mask(masks),
        }
        return tv_tensors.Image(torch.full((3, 30, 40), index, dtype=torch.uint8)), target


def sample_of(*functions: Function, dataset: Dataset | None = None, item: Item = THIRD, seed: int = 1) -> Sample:
    images = dataset or Shapes()
    found = SeededItems(images, seed, chain(*functions, dataset=images))[item]
    if isinstance(found, DetkitError):
        raise found
    return found


def chain(*functions: Function, dataset: Dataset, pool: Any = range(6)) -> Augmentation:
    return Augmentation(
        [Stage(f"t{number}", f"transform 't{number}'", function) for number, function in enumerate(functions)],
        dataset,
        pool,
    )


# --- random numbers --------------------------------------------------------------------------------------------------


def noisy(image: Any, target: Any, draw: Draw) -> Any:
    """Draws from the three global generators and from its own."""
    values = [int(torch.randint(64, ())), int(np.random.randint(64)), random.randrange(64), draw.integer(64)]
    return tv_tensors.Image(image + torch.tensor(values[:3], dtype=torch.uint8)[:, None, None] + values[3]), target


@pytest.mark.parametrize("workers", [1, 3])
def test_global_generators_give_the_same_with_any_number_of_workers(workers: int) -> None:
    dataset = Shapes()
    make = chain(noisy, noisy, dataset=dataset)
    plan = [step[0] for step in plan_epoch(range(8), batch_size=2, accumulate=1, processes=1, seed=1, epoch=1)]

    def loaded(start: int, count: int) -> list[bytes]:
        batches = training_loader(dataset, plan[start:], seed=1, workers=count, pin_memory=False, make=make)
        return [image.numpy().tobytes() for images, _ in batches for image in images]

    alone = loaded(0, 0)
    assert len(set(alone)) == 8
    assert loaded(0, workers) == alone
    assert loaded(2, workers) == alone[4:]


def test_a_key_has_numbers_of_its_own() -> None:
    """Not those of the dataset's item, of the transform before it, or of another item."""
    first = sample_of(noisy)[0]
    drawn = sample_of(lambda image, target, draw: (torch.rand(100), np.random.rand(100), (image, target))[2], noisy)
    assert not torch.equal(drawn[0], first)  # another key

    def spends(image: Any, target: Any, draw: Draw) -> Any:
        torch.rand(1000, generator=draw.generator)
        np.random.rand(7)
        return image, target

    second = sample_of(lambda image, target, draw: (image, target), noisy)[0]
    assert torch.equal(sample_of(spends, noisy)[0], second)


# --- other images ----------------------------------------------------------------------------------------------------


def test_fetched_images_come_from_the_pool_as_the_transforms_before_make_them() -> None:
    seen: list[tuple[int, int]] = []

    def brighter(image: Any, target: Any, draw: Draw) -> Any:
        return tv_tensors.Image(image + 100), target

    def looks(image: Any, target: Any, draw: Draw) -> Any:
        assert tuple(draw.pool) == (0, 1, 2, 3, 4, 5)
        for index in (0, 5):
            other, objects = draw.fetch(index)
            seen.append((int(other[0, 0, 0]), int(objects["image_id"])))
        return image, target

    def never(image: Any, target: Any, draw: Draw) -> Any:
        return tv_tensors.Image(image * 0), target

    sample_of(brighter, looks, never)
    assert seen == [(100, 0), (105, 5)]


def test_a_fetched_image_is_drawn_anew_each_time_and_moves_nothing() -> None:
    found: list[list[bytes]] = []

    def fetches(image: Any, target: Any, draw: Draw) -> Any:
        states = torch.get_rng_state(), draw.generator.get_state(), random.getstate()
        found.append([draw.fetch(index)[0].numpy().tobytes() for index in (2, 2, 3)])
        assert torch.equal(torch.get_rng_state(), states[0])
        assert torch.equal(draw.generator.get_state(), states[1])
        assert random.getstate() == states[2]
        return image, target

    for item in (Item(1, 0, 3), Item(1, 0, 3), Item(2, 0, 3)):
        sample_of(noisy, fetches, item=item)
    assert found[0] == found[1]
    assert len({*found[0], *found[2]}) == 6


def test_an_image_outside_of_the_pool_is_refused_whatever_it_is() -> None:
    """A validation image that is mixed into training would make its figures false."""
    with pytest.raises(
        ComponentError, match=r"transform 't0' failed on image 3 .*fetch\(6\): that is no training image"
    ):
        sample_of(lambda image, target, draw: draw.fetch(6))


def test_another_is_spread_over_the_pool() -> None:
    counts: dict[int, int] = {}

    def counting(image: Any, target: Any, draw: Draw) -> Any:
        for _ in range(300):
            index = int(draw.another()[1]["image_id"])
            counts[index] = counts.get(index, 0) + 1
        return image, target

    sample_of(counting)
    assert sorted(counts) == list(range(6))
    assert min(counts.values()) > 25


def test_an_image_that_cannot_be_read_keeps_its_own_error() -> None:
    class Broken(Shapes):
        def __getitem__(self, index: int, /) -> Any:
            if index == 4:
                raise OSError("cut off")
            return super().__getitem__(index)

    with pytest.raises(DataError, match="image 4 cannot be read: OSError: cut off"):
        sample_of(lambda image, target, draw: draw.fetch(4), dataset=Broken())


# --- torchvision's own, as a plugin may use them ---------------------------------------------------------------------


def rotated(image: Any, target: Any, draw: Draw) -> Any:
    return v2.RandomRotation((30, 30))(image, target)


def test_boxes_are_made_from_masks_where_they_are_tight() -> None:
    target = sample_of(rotated)[1]
    extents, there = mask_extents(target["masks"])
    assert there.all()
    assert torch.equal(target["boxes"].as_subclass(Tensor), extents)
    assert torch.equal(target["area"], target["masks"].flatten(1).sum(1).float())
    loose = sample_of(rotated, dataset=Shapes(looser=4.0))[1]
    extents = mask_extents(loose["masks"])[0]
    sides = [box[:, 2:] - box[:, :2] for box in (loose["boxes"].as_subclass(Tensor), extents)]
    assert (sides[0] > sides[1]).all()
    assert (loose["boxes"] >= 0).all()
    assert (loose["boxes"] <= torch.tensor([40.0, 30.0, 40.0, 30.0])).all()


def test_a_pixel_more_is_tight_and_more_is_not() -> None:
    assert are_tight(Shapes()[0][1])
    assert are_tight(Shapes(looser=1.0)[0][1])
    assert not are_tight(Shapes(looser=1.1)[0][1])
    target = Shapes()[0][1]
    target["masks"][0] = 0
    assert not are_tight(target)
    del target["masks"]
    assert not are_tight(target)


def test_mixed_with_a_loose_sample_a_tight_one_is_loose() -> None:
    class Mixed(Shapes):
        def __getitem__(self, index: int, /) -> tuple[tv_tensors.Image, Target]:
            return Shapes(looser=3.0 if index == 5 else 0.0)[index]

    def takes(index: int) -> Function:
        def function(image: Any, target: Any, draw: Draw) -> Any:
            return rotated(*draw.fetch(index), draw)

        return function

    for index, same in ((4, True), (5, False)):
        target = sample_of(takes(index), dataset=Mixed())[1]
        assert torch.equal(target["boxes"].as_subclass(Tensor), mask_extents(target["masks"])[0]) is same


def test_what_left_the_image_leaves_all_fields() -> None:
    def cropped(image: Any, target: Any, draw: Draw) -> Any:
        crop = v2.functional.crop
        changed = {name: crop(target[name], 0, 25, 20, 15) for name in ("boxes", "masks")}
        return crop(image, 0, 25, 20, 15), {**target, **changed, "extra": torch.tensor([7.0, 8.0])}

    image, target = sample_of(cropped)
    assert image.shape == (3, 20, 15)
    assert target["boxes"].tolist() == [[5.0, 5.0, 13.0, 9.0]]
    assert target["boxes"].canvas_size == (20, 15)
    assert target["labels"].tolist() == [2]
    assert target["iscrowd"].tolist() == [True]
    assert target["area"].tolist() == [32.0]
    assert target["masks"].shape == (1, 20, 15)
    assert target["extra"].tolist() == [8.0]  # type: ignore[typeddict-item]  # the transform's own
    assert isinstance(target["boxes"], tv_tensors.BoundingBoxes)


def test_what_did_not_move_is_left_as_it_was() -> None:
    """Also boxes that no mask would give, and areas that are not a count."""
    loose = Shapes(looser=0.7)
    before = loose[3][1]
    image, target = sample_of(lambda image, target, draw: (tv_tensors.Image(image + 1), {**target}), dataset=loose)
    assert (image == 4).all()
    assert torch.equal(target["boxes"], before["boxes"])
    target = sample_of(lambda image, target, draw: v2.RandomHorizontalFlip(0.0)(image, target), dataset=loose)[1]
    assert torch.equal(target["boxes"], before["boxes"])
    moved = sample_of(lambda image, target, draw: v2.RandomHorizontalFlip(1.0)(image, target), dataset=loose)[1]
    assert moved["boxes"].tolist() == [[20.0, 10.0, 30.0, 20.0], [2.0, 5.0, 10.0, 9.0]]


# --- breaches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda i, t, d: (i.float(), t), r"the image it returned is torch.float32 \[3, 30, 40\]; it must be uint8"),
        (lambda i, t, d: (i.numpy(), t), "the image it returned is a ndarray"),
        (lambda i, t, d: (i[:, :0], t), "has no pixels"),
        (
            lambda i, t, d: (i[:, :20], t),
            r"masks of shape \[2, 30, 40\]; with 2 labels and an image of 20 x 40 it must",
        ),
        (lambda i, t, d: (i, {**t, "labels": t["labels"][:1]}), r"boxes of shape \[2, 4\]; with 1 labels"),
        (lambda i, t, d: (i, {k: v for k, v in t.items() if k != "area"}), "the target it returned lacks area"),
        (lambda i, t, d: (i, {**t, "boxes": t["boxes"] * float("nan")}), "a box that it returned is not finite"),
        (lambda i, t, d: i, "TypeError: it returned a Image; it must return the image and its target"),
        (lambda i, t, d: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_breach_names_the_transform_and_the_image(function: Function, says: str) -> None:
    with pytest.raises(ComponentError, match=f"transform 't0' failed on image 3 .*: .*{says}"):
        sample_of(function)
