"""Wrong transforms: an honest mirror, bent in one way each."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from detkit import TransformComponent
from testing.wrong_form import NoOptions, Wrong, builds

WRONG: list[Wrong] = []
Change = Callable[[Any, Any, Any], Any]


def mirror(image: Any, target: Any, draw: Any) -> Any:
    """Honest: mirrors half of the images."""
    if not draw.chance(0.5):
        return image, target
    changed = {"boxes": functional.horizontal_flip(target["boxes"])}
    if "masks" in target:
        changed["masks"] = functional.horizontal_flip(target["masks"])
    return functional.horizontal_flip(image), {**target, **changed}


def component(make: Callable[[], Any]) -> TransformComponent[Any]:
    return TransformComponent("wrong", NoOptions, builds(make), "a mirror")


HONEST = component(lambda: mirror)


def transform(rule: str, says: str) -> Callable[[Change], Change]:
    def added(change: Change) -> Change:
        WRONG.append(Wrong(rule, change.__name__.replace("_", " "), says, component(lambda: change)))
        return change

    return added


def plain(value: Any) -> Tensor:
    return value.as_subclass(Tensor)  # type: ignore[no-any-return]  # torch's own types


@transform("transform-result", "it returned")
def the_image_alone(image: Any, target: Any, draw: Any) -> Any:
    return image


@transform("transform-result", "float32")
def a_float_image(image: Any, target: Any, draw: Any) -> Any:
    return image / 255, target


@transform("transform-result", "masks")
def masks_of_the_old_size(image: Any, target: Any, draw: Any) -> Any:
    return functional.resize(image, [48, 64]), {**target, "boxes": functional.resize(target["boxes"], [48, 64])}


@transform("transform-result", "area")
def labels_left_out_alone(image: Any, target: Any, draw: Any) -> Any:
    return image, {**target, "labels": target["labels"][:1], "boxes": target["boxes"][:1]}


@transform("transform-result", "lacks image_id")
def a_target_of_its_own(image: Any, target: Any, draw: Any) -> Any:
    return image, {name: value for name, value in target.items() if name != "image_id"}


@transform("transform-result", "IndexError")
def the_first_object_of_none(image: Any, target: Any, draw: Any) -> Any:
    target["boxes"][0]
    return image, target


@transform("transform-result", "KeyError")
def masks_that_must_be_there(image: Any, target: Any, draw: Any) -> Any:
    return image, {**target, "masks": target["masks"]}


@transform("transform-input-untouched", "image of image 0")
def darker_in_place(image: Any, target: Any, draw: Any) -> Any:
    image //= 2
    return image, target


@transform("transform-input-untouched", "image of image 0")
def written_by_numpy(image: Any, target: Any, draw: Any) -> Any:
    plain(image).numpy()[:, :4] = 0
    return image, target


@transform("transform-input-untouched", "boxes of image 0")
def boxes_moved_in_place(image: Any, target: Any, draw: Any) -> Any:
    plain(target["boxes"]).add_(1)
    return image, target


@transform("transform-input-untouched", "image of image")
def another_image_written_to(image: Any, target: Any, draw: Any) -> Any:
    other, _ = draw.another()
    plain(other).numpy()[:] = 0
    return image, target


TICKS = itertools.count()


@transform("transform-deterministic", "another image")
def every_second_call(image: Any, target: Any, draw: Any) -> Any:
    return (tv_tensors.Image(plain(image) // 2) if next(TICKS) % 2 else image), target


@transform("transform-image-id", "becomes")
def the_id_of_another(image: Any, target: Any, draw: Any) -> Any:
    _, other = draw.fetch(draw.pool[0])
    return image, {**target, "image_id": other["image_id"] + 1}


@transform("transform-aim", "are not where their boxes say")
def the_image_alone_is_mirrored(image: Any, target: Any, draw: Any) -> Any:
    return functional.horizontal_flip(image), target


@transform("transform-aim", "are not where their")
def the_boxes_alone_are_mirrored(image: Any, target: Any, draw: Any) -> Any:
    return image, {**target, "boxes": functional.horizontal_flip(target["boxes"])}


@transform("transform-aim", "are not where their")
def masks_that_stay_where_they_were(image: Any, target: Any, draw: Any) -> Any:
    return functional.vertical_flip(image), {**target, "boxes": functional.vertical_flip(target["boxes"])}


@transform("transform-pool", "that is no training image")
def the_first_image_of_the_dataset(image: Any, target: Any, draw: Any) -> Any:
    draw.fetch(0)
    return image, target


@transform("transform-pool", "raises")
def another_than_this(image: Any, target: Any, draw: Any) -> Any:
    draw.fetch(draw.pool[1 + draw.integer(len(draw.pool) - 1)])
    return image, target


@transform("transform-sizes", "of (16, 16)")
def a_crop_of_32_pixels(image: Any, target: Any, draw: Any) -> Any:
    torch.randint(0, image.shape[-2] - 31, (1,))
    return image, target


@transform("transform-crowds", "0 are")
def crowds_made_single(image: Any, target: Any, draw: Any) -> Any:
    return image, {**target, "iscrowd": torch.zeros_like(target["iscrowd"])}


@transform("transform-leaves-settings", "number of threads")
def threads_of_its_own(image: Any, target: Any, draw: Any) -> Any:
    torch.set_num_threads(torch.get_num_threads() + 1)
    return image, target


WRONG += [
    Wrong("transform-callable", "a text", "a str", component(lambda: "mirror")),
    Wrong("transform-pickles", "a lambda", "pickle", component(lambda: lambda image, target, draw: (image, target))),
]
