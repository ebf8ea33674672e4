"""What must hold of any chain of transforms, on images made to show it; and transforms that break their contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision import tv_tensors

from detkit import BOXES, BOXES_AND_MASKS, BuildContext, Dataset, Draw
from detkit.components import PathBase
from detkit.data.augment import Augmentation, Stage, mask_extents
from detkit.data.loading import Sample, SeededItems, training_loader
from detkit.data.sampling import Item, plan_epoch
from detkit.data.types import Target
from detkit.errors import ComponentError, DetkitError
from detkit.spec.complaints import validate
from detkit_augment import TRANSFORMS
from plugins.drawn_targets import Drawn

#: Each acts on every image, and hard.
HARD: dict[str, dict[str, Any]] = {
    "flip": {"horizontal": 0.5, "vertical": 0.5},
    "crop": {"probability": 1.0},
    "scale_jitter": {"probability": 1.0, "scale": [0.5, 2.0]},
    "rotation": {"probability": 1.0, "degrees": 45.0},
    "mosaic": {"probability": 1.0},
    "mix_up": {"probability": 1.0},
    "copy_paste": {"probability": 1.0},
    "photometric": {"probability": 1.0},
    "blur": {"probability": 1.0},
    "jpeg": {"probability": 1.0},
    "grayscale": {"probability": 1.0},
}
#: Those that move pixels and keep their colours.
MOVING = ("flip", "crop", "scale_jitter", "rotation", "mosaic", "copy_paste")


def stages(names: list[str]) -> list[Stage]:
    components = {component.name: component for component in TRANSFORMS}
    made = []
    for number, name in enumerate(names):
        options = validate(components[name].options, HARD[name], PathBase(Path()))
        assert not isinstance(options, list), options
        built = components[name].build(options, BuildContext())
        made.append(Stage(f"{name}-{number}", f"transform '{name}'", built))
    return made


def sample_of(dataset: Dataset, chain: list[Stage], item: Item, seed: int = 1) -> Sample:
    sample = SeededItems(dataset, seed, Augmentation(chain, dataset, range(len(dataset))))[item]
    if isinstance(sample, DetkitError):
        raise sample
    return sample


def holds(image: Tensor, target: Target) -> None:
    """What the contract of a sample says."""
    height, width = image.shape[-2:]
    boxes, count = target["boxes"], len(target["labels"])
    assert isinstance(image, tv_tensors.Image)
    assert isinstance(boxes, tv_tensors.BoundingBoxes)
    assert (boxes.canvas_size, boxes.dtype, boxes.shape) == ((height, width), torch.float32, (count, 4))
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([width, height] * 2)).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()
    assert (target["labels"].dtype, target["area"].dtype) == (torch.int64, torch.float32)
    assert (target["iscrowd"].dtype, len(target["iscrowd"]), len(target["area"])) == (torch.bool, count, count)
    if "masks" in target:
        extents, there = mask_extents(target["masks"])
        assert there.all()
        assert torch.equal(boxes.as_subclass(Tensor), extents)
        assert target["area"].tolist() == [float(mask.sum()) for mask in target["masks"]]


# --- what belongs together, seen in the pixels -----------------------------------------------------------------------


class Coloured(Dataset):
    """Rectangles, one a quarter of the image, of a colour and a label that no other object of the dataset has."""

    class_names = tuple(f"class {number}" for number in range(1, 49))

    def __init__(self, *, masks: bool) -> None:
        self.provides = BOXES_AND_MASKS if masks else BOXES

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int, /) -> Sample:
        numbers = np.random.RandomState(range(12)[index])
        height, width = 96, 120
        pixels = torch.zeros((3, height, width), dtype=torch.uint8)
        boxes, labels = [], []
        for quarter in range(4):
            if numbers.rand() < 0.25:
                continue
            w, h = numbers.randint(24, 50), numbers.randint(20, 40)
            x = (quarter % 2) * 60 + numbers.randint(0, 60 - w)
            y = (quarter // 2) * 48 + numbers.randint(0, 48 - h)
            labels.append(4 * index + quarter + 1)
            boxes.append([x, y, x + w, y + h])
            pixels[:, y : y + h, x : x + w] = COLOURS[labels[-1]].reshape(3, 1, 1)
        masks = torch.zeros((len(boxes), height, width), dtype=torch.uint8)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
            mask[y0:y1, x0:x1] = 1
        corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        target: dict[str, Any] = {
            "boxes": tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=(height, width)),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "image_id": index,
            "area": (corners[:, 2:] - corners[:, :2]).prod(dim=1),
            "iscrowd": torch.zeros(len(labels), dtype=torch.bool),
            "tag": [*labels] and torch.tensor(labels) * 3,
        }
        if not labels:
            target["tag"] = torch.zeros(0, dtype=torch.int64)
        if "masks" in self.provides:
            target["masks"] = tv_tensors.Mask(masks)
        return tv_tensors.Image(pixels), target  # type: ignore[return-value]  # a target with a field more


#: By label; 0 is the black that the images have elsewhere, the last one the grey of what lies outside.
COLOURS = torch.tensor(
    [[0, 0, 0], *([64 + 63 * (n % 4), 64 + 63 * (n // 4 % 4), 64 + 63 * (n // 16)] for n in range(48)), [114] * 3],
    dtype=torch.uint8,
)


def label_by_colour(pixels: Tensor) -> int:
    """Of which object most of the pixels, [3, N], are."""
    distances = (pixels.T.float()[:, None] - COLOURS.float()[None]).abs().sum(dim=2)
    return int(distances.argmin(dim=1).bincount(minlength=len(COLOURS)).argmax())


@given(
    chain=st.lists(st.sampled_from(MOVING), min_size=1, max_size=6),
    index=st.integers(0, 11),
    seed=st.integers(0, 10_000),
    masks=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_every_object_lies_where_its_pixels_are(chain: list[str], index: int, seed: int, masks: bool) -> None:
    """The colour under a mask (or in a box, where nothing was turned or pasted) is that of the label."""
    chain = [name for name in chain if masks or name not in ("copy_paste", "rotation")]
    image, target = sample_of(Coloured(masks=masks), stages(chain), Item(1, 0, index), seed)
    holds(image, target)
    assert torch.equal(target["tag"], target["labels"] * 3)  # type: ignore[typeddict-item]  # the dataset's own
    for number, label in enumerate(target["labels"].tolist()):
        x0, y0, x1, y1 = (round(value) for value in target["boxes"][number].tolist())
        there = target["masks"][number].bool() if masks else torch.zeros(image.shape[-2:], dtype=torch.bool)
        if not masks:
            there[y0:y1, x0:x1] = True
        if int(there.sum()) >= 64 and min(x1 - x0, y1 - y0) >= 8:  # of smaller ones most pixels are mixed edges
            assert label_by_colour(image.as_subclass(Tensor)[:, there]) == label


@given(
    order=st.permutations(("mosaic", "mix_up", "copy_paste", "rotation", "crop", "scale_jitter")),
    index=st.integers(0, 11),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=20, deadline=None)
def test_all_of_the_great_ones_in_any_order(order: list[str], index: int, seed: int) -> None:
    image, target = sample_of(Drawn(masks=True, tight=True), stages(list(order)), Item(2, 3, index), seed)
    holds(image, target)


class Odd(Dataset):
    """Images of a pixel, of a line, of a column, without objects, and with one that fills all."""

    class_names = ("thing",)
    provides = BOXES_AND_MASKS
    sizes = ((1, 1), (1, 90), (90, 1), (2, 3), (9, 8), (300, 7), (40, 50))

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int, /) -> Sample:
        height, width = self.sizes[index]
        count = index % 3
        boxes = torch.tensor([[0, 0, width, height]] * count, dtype=torch.float32).reshape(-1, 4)
        target: Target = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(height, width)),
            "labels": torch.ones(count, dtype=torch.int64),
            "image_id": index,
            "area": torch.full((count,), float(width * height)),
            "iscrowd": torch.zeros(count, dtype=torch.bool),
            "masks": tv_tensors.Mask(torch.ones((count, height, width), dtype=torch.uint8)),
        }
        return tv_tensors.Image(torch.full((3, height, width), 50 + index, dtype=torch.uint8)), target


@given(
    chain=st.lists(st.sampled_from(sorted(HARD)), min_size=1, max_size=5),
    index=st.integers(0, 6),
    seed=st.integers(0, 999),
)
@settings(max_examples=50, deadline=None)
def test_images_of_odd_sizes(chain: list[str], index: int, seed: int) -> None:
    holds(*sample_of(Odd(), stages(chain), Item(1, 0, index), seed))


@pytest.mark.parametrize("name", sorted(HARD))
def test_a_single_training_image_is_enough(name: str) -> None:
    for index in (0, 3):
        dataset = Odd()
        sample = SeededItems(dataset, 1, Augmentation(stages([name]), dataset, [index]))[Item(1, 0, index)]
        assert not isinstance(sample, DetkitError), sample
        holds(*sample)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_bytes_whatever_the_workers_and_from_the_middle_of_an_epoch(workers: int) -> None:
    """With every transform there is, and a third epoch taken up after its second batch, as after a resume."""
    dataset = Coloured(masks=True)
    make = Augmentation(stages(list(HARD)), dataset, range(6))

    def loaded(epoch: int, start: int, count: int) -> list[tuple[bytes, ...]]:
        steps = plan_epoch(range(6), batch_size=2, accumulate=1, processes=1, seed=4, epoch=epoch)
        plan = [batch for step in steps for batch in step]
        batches = training_loader(dataset, plan[start:], seed=4, workers=count, pin_memory=False, make=make)
        return [
            (
                image.numpy().tobytes(),
                *(value.numpy().tobytes() for value in target.values() if isinstance(value, Tensor)),
            )
            for images, targets in batches
            for image, target in zip(images, targets, strict=True)
        ]

    whole = loaded(3, 0, 0)
    assert len(set(whole)) == 6
    assert loaded(3, 0, workers) == whole
    assert loaded(3, 2, workers) == loaded(3, 2, 0) == whole[4:]
    assert loaded(2, 0, workers) != whole


# --- what transforms must not do -------------------------------------------------------------------------------------

Function = Callable[[Any, Any, Draw], Any]


def with_field(name: str, change: Callable[[Any], Any]) -> Function:
    return lambda image, target, draw: (image, {**target, name: change(target[name])})


def written(name: str) -> Function:
    def function(image: Any, target: Any, draw: Draw) -> Any:
        {"image": image, **target}[name][:] += 1
        return image, target

    return function


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (with_field("labels", lambda labels: None), "the labels it returned are a NoneType; they must be int64"),
        (with_field("labels", lambda labels: labels.float()), r"the labels it returned are torch.float32 \[3\]"),
        (with_field("labels", lambda labels: labels[:, None]), r"the labels it returned are torch.int64 \[3, 1\]"),
        (with_field("labels", lambda labels: labels * 0), "a label it returned is 0; with 3 classes labels are 1 to 3"),
        (with_field("labels", lambda labels: labels + 90), "a label it returned is 9.; with 3 classes"),
        (with_field("boxes", lambda boxes: boxes.numpy()), "has boxes that are a ndarray; they must be a tensor"),
        (with_field("area", lambda area: area * float("inf")), "an area that it returned is not finite"),
        (with_field("masks", lambda masks: None), "has masks that are a NoneType"),
        (with_field("masks", lambda masks: masks.float()), "the masks it returned are torch.float32"),
        (with_field("masks", lambda masks: masks * 255), "the masks it returned hold 255"),
        (lambda i, t, d: (i, {k: v for k, v in t.items() if k != "masks"}), "the target it returned lacks masks"),
        (written("boxes"), "it wrote to the boxes that it was given"),
        (written("labels"), "it wrote to the labels that it was given"),
        (written("image"), "it wrote to the image that it was given"),
        (written("masks"), "it wrote to the masks that it was given"),
        (lambda i, t, d: d.fetch(-1), r"fetch\(-1\): that is no training image"),
    ],
)
def test_rubbish_is_refused_with_the_transform_and_the_image(function: Function, says: str) -> None:
    dataset = Drawn()
    index = next(index for index in range(12) if len(dataset[index][1]["labels"]) == 3)
    with pytest.raises(ComponentError, match=rf"transform 'k' failed on image {index} .*{says}"):
        sample_of(dataset, [Stage("k", "transform 'k'", function)], Item(1, 0, index))


@pytest.mark.parametrize(
    "function",
    [
        lambda i, t, d: (i.as_subclass(Tensor), {**t, "boxes": t["boxes"].as_subclass(Tensor)}),
        with_field("boxes", lambda boxes: boxes.double()),
        with_field("boxes", lambda boxes: (boxes.as_subclass(Tensor) + 0.5).requires_grad_()),
        with_field("masks", lambda masks: masks.bool()),
        with_field("iscrowd", lambda crowds: crowds.long()),
        with_field("area", lambda area: area.long()),
    ],
)
def test_other_types_of_the_same_values_are_taken(function: Function) -> None:
    dataset = Drawn()
    for index in range(12):
        image, target = sample_of(dataset, [Stage("k", "transform 'k'", function)], Item(1, 0, index))
        holds(image, target)
        assert not target["boxes"].requires_grad


def test_a_target_that_is_changed_in_its_place_is_settled_too() -> None:
    """Its dict is the transform's own to change; boxes are clipped all the same."""

    def moved(image: Any, target: Any, draw: Draw) -> Any:
        target["boxes"] = target["boxes"] + 30
        return image, target

    dataset = Drawn(masks=False)
    for index in range(12):
        holds(*sample_of(dataset, [Stage("k", "transform 'k'", moved)], Item(1, 0, index)))
