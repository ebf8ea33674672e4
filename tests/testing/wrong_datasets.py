"""Wrong datasets: the kit's scenes, each bent in one way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors

from detkit import BOXES, BOXES_AND_MASKS, Dataset, DatasetComponent, Options
from detkit.data.types import ImageInfo
from detkit.testing import Scenes
from testing.wrong_form import NoOptions, Wrong, builds

Bend = Callable[[int, Any, Any], Any]
WRONG: list[Wrong] = []


class Bent(Dataset):
    """Scenes, with what a function makes of each. The honest one when it makes nothing of them."""

    def __init__(self, bend: Bend | None = None, **attributes: Any) -> None:
        self._scenes = Scenes(8)
        self._bend = bend
        self.class_names, self.provides = self._scenes.class_names, self._scenes.provides
        self.splits: Mapping[str, Sequence[int]] | None = {"train": [0, 1, 2], "validation": [3, 4]}
        for name, value in attributes.items():
            setattr(self, name, value)

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int, /) -> Any:
        image, target = self._scenes[index]
        return self._bend(index, image, target) if self._bend else (image, target)


def component(make: Callable[[], Any], may_provide: Any = BOXES_AND_MASKS, **more: Any) -> DatasetComponent[Any]:
    return DatasetComponent(
        "wrong", NoOptions, builds(make), "scenes", may_provide=lambda _options: may_provide, **more
    )


HONEST = component(Bent)


def bent(rule: str, says: str) -> Callable[[Bend], Bend]:
    """Add a dataset whose samples are bent."""

    def added(bend: Bend) -> Bend:
        fault = bend.__name__.replace("_", " ")
        WRONG.append(Wrong(rule, fault, says, component(lambda: Bent(bend))))
        return bend  # itself, so that it can be pickled by its name

    return added


def wrong(rule: str, fault: str, says: str, made: DatasetComponent[Any]) -> None:
    WRONG.append(Wrong(rule, fault, says, made))


def boxes_like(target: Any, values: Tensor, **changes: Any) -> Any:
    boxes = target["boxes"]
    options = {"format": "XYXY", "canvas_size": boxes.canvas_size} | changes
    return {**target, "boxes": tv_tensors.BoundingBoxes(values, **options)}


def plain(value: Any) -> Tensor:
    return value.as_subclass(Tensor)  # type: ignore[no-any-return]  # torch's own types


# --- images and targets ---


@bent("dataset-image", "float32")
def float_image(_index: int, image: Any, target: Any) -> Any:
    return tv_tensors.Image(image.float() / 255), target


@bent("dataset-image", "[96, 128, 3]")
def colours_last(_index: int, image: Any, target: Any) -> Any:
    return tv_tensors.Image(image.permute(1, 2, 0)), target


@bent("dataset-image", "of type Tensor")
def plain_tensor_image(_index: int, image: Any, target: Any) -> Any:
    return plain(image), target


@bent("dataset-target-fields", "iscrowd")
def no_crowd_field(_index: int, image: Any, target: Any) -> Any:
    return image, {name: value for name, value in target.items() if name != "iscrowd"}


@bent("dataset-boxes", "[0]")
def empty_boxes_of_shape_0(_index: int, image: Any, target: Any) -> Any:
    if len(target["labels"]):
        return image, target
    empty = torch.zeros(0).as_subclass(tv_tensors.BoundingBoxes)
    return image, {**target, "boxes": empty}


@bent("dataset-boxes", "float64")
def boxes_in_float64(_index: int, image: Any, target: Any) -> Any:
    return image, boxes_like(target, plain(target["boxes"]).double())


@bent("dataset-boxes", "a Tensor")
def boxes_as_plain_tensor(_index: int, image: Any, target: Any) -> Any:
    return image, {**target, "boxes": plain(target["boxes"])}


@bent("dataset-boxes", "canvas of (128, 96)")
def canvas_as_width_and_height(_index: int, image: Any, target: Any) -> Any:
    return image, boxes_like(target, plain(target["boxes"]), canvas_size=tuple(image.shape[:0:-1]))


@bent("dataset-boxes-in-image", "box 0 of image")
def width_and_height_in_place_of_corners(_index: int, image: Any, target: Any) -> Any:
    boxes = plain(target["boxes"]).clone()
    boxes[:, 2:] -= boxes[:, :2]
    return image, boxes_like(target, boxes)


@bent("dataset-boxes-in-image", "box 0 of image")
def boxes_of_a_larger_image(_index: int, image: Any, target: Any) -> Any:
    return image, boxes_like(target, plain(target["boxes"]) * 2)


@bent("dataset-labels", "label 0")
def labels_from_0(_index: int, image: Any, target: Any) -> Any:
    return image, {**target, "labels": target["labels"] - 1}


@bent("dataset-labels", "int32")
def labels_in_int32(_index: int, image: Any, target: Any) -> Any:
    return image, {**target, "labels": target["labels"].int()}


@bent("dataset-area", "the area")
def area_of_the_image(_index: int, image: Any, target: Any) -> Any:
    return image, {**target, "area": torch.full((len(target["labels"]),), float(image[0].numel()))}


@bent("dataset-area", "int64")
def area_as_whole_numbers(_index: int, image: Any, target: Any) -> Any:
    return image, {**target, "area": target["area"].long()}


@bent("dataset-iscrowd", "int64")
def crowds_as_numbers(_index: int, image: Any, target: Any) -> Any:
    return image, {**target, "iscrowd": target["iscrowd"].long()}


@bent("dataset-masks", "hold 255")
def masks_of_255(_index: int, image: Any, target: Any) -> Any:
    return image, {**target, "masks": tv_tensors.Mask(plain(target["masks"]) * 255)}


@bent("dataset-masks", "bool")
def masks_of_booleans(_index: int, image: Any, target: Any) -> Any:
    return image, {**target, "masks": tv_tensors.Mask(plain(target["masks"]).bool())}


@bent("dataset-masks-fit-boxes", "its mask the extents")
def masks_in_another_order(_index: int, image: Any, target: Any) -> Any:
    return image, {**target, "masks": tv_tensors.Mask(plain(target["masks"]).flip(0))}


@bent("dataset-masks-fit-boxes", "is empty")
def empty_masks(_index: int, image: Any, target: Any) -> Any:
    return image, {**target, "masks": tv_tensors.Mask(torch.zeros_like(plain(target["masks"])))}


@bent("dataset-provides", "holds no masks")
def masks_of_images_with_objects_only(_index: int, image: Any, target: Any) -> Any:
    if len(target["labels"]):
        return image, target
    return image, {name: value for name, value in target.items() if name != "masks"}


@bent("dataset-image-ids", "a Tensor")
def image_id_as_tensor(_index: int, image: Any, target: Any) -> Any:
    return image, {**target, "image_id": torch.tensor(target["image_id"])}


@bent("dataset-image-ids", "have the image_id 7")
def one_image_id_for_all(_index: int, image: Any, target: Any) -> Any:
    return image, {**target, "image_id": 7}


# --- the dataset as a whole ---


class Counting(Bent):
    """Its noise goes on from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def __getitem__(self, index: int, /) -> Any:
        image, target = super().__getitem__(index)
        self._calls += 1
        return tv_tensors.Image(plain(image) + self._calls % 2), target


class ByBuild(Bent):
    """Every one that is built is another."""

    made = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self._number = next(self.made)

    def __getitem__(self, index: int, /) -> Any:
        image, target = super().__getitem__(index)
        return tv_tensors.Image(plain(image) + self._number % 2), target


class Threaded(Bent):
    def __getitem__(self, index: int, /) -> Any:
        torch.set_num_threads(torch.get_num_threads() + 1)
        return super().__getitem__(index)


class Ungrad(Bent):
    def info(self, index: int) -> ImageInfo:
        torch.set_grad_enabled(False)
        return super().info(index)


class OtherInfo(Bent):
    def __init__(self, change: Callable[[ImageInfo], Any]) -> None:
        super().__init__()
        self._change = change

    def info(self, index: int) -> ImageInfo:
        return self._change(super().info(index))  # type: ignore[no-any-return]  # wrong on purpose


class NoDataset:
    def __len__(self) -> int:
        return 1


class Empty(Bent):
    def __len__(self) -> int:
        return 0


def shifted(info: ImageInfo) -> ImageInfo:
    moved = [replace(item, box=tuple(number + 1 for number in item.box)) for item in info.annotations]  # type: ignore[arg-type]  # four of them
    return replace(info, annotations=tuple(moved))


wrong("dataset-type", "no Dataset", "a NoDataset", component(NoDataset))
wrong("dataset-type", "no images", "holds 0 images", component(Empty))
wrong(
    "dataset-class-names", "one name for two classes", "stands twice", component(lambda: Bent(class_names=("a", "a")))
)
wrong("dataset-class-names", "a text in place of names", "'disc'", component(lambda: Bent(class_names="disc")))
wrong("dataset-provides", "a set of words", "provides is", component(lambda: Bent(provides={"boxes"})))
wrong("dataset-provides", "more than was announced", "may_provide gives", component(Bent, BOXES))
wrong("dataset-splits", "an index beyond the end", "the index 8", component(lambda: Bent(splits={"train": [0, 8]})))
wrong("dataset-splits", "an image twice", "twice", component(lambda: Bent(splits={"train": [0, 1, 1]})))
wrong("dataset-deterministic", "noise that goes on", "another image", component(Counting))
wrong("dataset-deterministic", "another one by each build", "another image", component(ByBuild))
wrong("dataset-pickles", "a lambda in it", "pickle", component(lambda: Bent(lambda _i, image, target: (image, target))))
wrong("dataset-leaves-settings", "more threads with each image", "number of threads", component(Threaded))
wrong("dataset-leaves-settings", "gradients off", "gradients", component(Ungrad))
wrong("dataset-info-agrees", "boxes a pixel aside", "says box", component(lambda: OtherInfo(shifted)))
wrong(
    "dataset-info-agrees",
    "width for height",
    "height and width",
    component(lambda: OtherInfo(lambda info: replace(info, width=info.height, height=info.width))),
)
wrong(
    "dataset-info-agrees",
    "masks left out",
    "has 0 masks",
    component(
        lambda: OtherInfo(
            lambda info: replace(info, annotations=tuple(replace(item, mask=None) for item in info.annotations))
        )
    ),
)


# --- writing ---


class RootOptions(Options):
    root: str = ""


def write_nothing(dataset: Dataset, _folder: Path, _transfer: Any, _messages: Any) -> Any:
    from detkit import Written

    return Written(len(dataset), 99)


def _reader(_options: Any, _context: Any) -> Any:
    return Bent()


wrong(
    "dataset-write-reads-back",
    "objects that are lost in silence",
    "99 objects were written",
    DatasetComponent(
        "wrong", RootOptions, _reader, "scenes", may_provide=lambda _o: BOXES_AND_MASKS, write=write_nothing
    ),
)
