"""What transforms of training images promise: what they return, where objects are afterwards, and repeatability."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from detkit.components import Dataset, Draw
from detkit.data.augment import are_tight, settled
from detkit.data.augment_contract import Given
from detkit.data.seeds import derive_seed, seeded
from detkit.data.types import Target
from detkit.testing.rule import Broken, NotApplicable, rule, told
from detkit.testing.rules.common import capabilities
from detkit.testing.rules.dataset import difference
from detkit.testing.scenes import Scenes
from detkit.testing.subject import Subject
from detkit.testing.surroundings import left_alone

#: So many draws of each image are looked at.
DRAWS = 6
#: Where objects are is looked at over so many draws; so much brighter (or darker) than the rest are they, as a share of
#: the image's range; and so many of all objects at least must be.
AIMED, CONTRAST, LOST = 24, 0.2, 0.2
#: Objects smaller than this are too small to be measured, square pixels.
SMALL_PX = 40.0

Sample = tuple[Any, Target]


def scenes_of(subject: Subject, masks: bool, objects: Sequence[int] = (2, 1, 0, 3)) -> Scenes:
    """What transforms are shown."""
    return Scenes(8, class_names=subject.class_names, size=subject.size, masks=masks, objects=objects)


def kinds_of_masks(subject: Subject) -> tuple[bool, ...]:
    """With masks always; without them where the transform does not need them."""
    return (True,) if "masks" in capabilities(subject, "needs") else (True, False)


def transform_of(subject: Subject) -> Any:
    """A fresh one.

    Raises:
        NotApplicable: it cannot be called; `transform-callable` says so.
    """
    built = subject.build()
    if not callable(built):
        raise NotApplicable("it cannot be called: see the rule transform-callable")
    return built


def draw_for(dataset: Dataset, seed: int, pool: Sequence[int] | None = None) -> Draw:
    """What a transform may draw from: its own generator, and the other images."""
    members = tuple(range(len(dataset)) if pool is None else pool)

    def fetch(index: int) -> Sample:
        if index not in members:
            raise ValueError(f"fetch({index}): that is no training image; take one of `draw.pool`")
        return dataset[index]

    return Draw(torch.Generator().manual_seed(seed), members, fetch)


def raw(subject: Subject, transform: Any, sample: Sample, draw: Draw, seed: int, what: str) -> Any:
    """What the transform returns, called as the engine does.

    Raises:
        Broken: it raises.
    """
    image, target = sample
    with seeded(seed), subject.doing(f"transforming {what}"):
        return transform(image, {**target}, draw)


def transformed(subject: Subject, transform: Any, dataset: Dataset, index: int, seed: int) -> Sample:
    """One image after it, in the types of the contract.

    Raises:
        Broken: it raises. NotApplicable: it breaks `transform-result`, which says so.
    """
    own = derive_seed(seed, index)
    sample = dataset[index]
    returned = raw(subject, transform, sample, draw_for(dataset, own), own, f"image {index}")
    try:
        return Given(*_copied(sample), len(dataset.class_names)).accepted(returned)
    except Exception as error:  # of whatever kind: what was returned is foreign
        raise NotApplicable("what it returns is not accepted: see the rule transform-result") from error


def _copied(sample: Sample) -> Sample:
    image, target = sample
    copies: Any = {name: value.clone() if isinstance(value, Tensor) else value for name, value in target.items()}
    return image.clone(), copies


@rule("transform", "transform-callable", "what is built can be called")
def is_callable(subject: Subject) -> None:
    """The built object is called as `transform(image, target, draw)`."""
    built = subject.build()
    if not callable(built):
        raise Broken(f"it built a {type(built).__name__}, which cannot be called", "transform(image, target, draw)")


@rule("transform", "transform-result", "it returns an image and its target, with fields that fit each other")
def result_accepted(subject: Subject) -> None:
    """It returns the pair (image, target): the image uint8 [3, H, W] of any size; in the target boxes [N, 4] (XYXY,
    finite), labels int64 [N] in 1..K, area [N], iscrowd [N] and image_id, and masks [N, H, W] of 0 and 1 of the new
    size where there were masks: all with the same N. An object that it leaves out, it leaves out of every field. Images
    without objects, of odd sizes, and with masks or without are transformed too."""
    transform = transform_of(subject)
    for masks in kinds_of_masks(subject):
        scenes = scenes_of(subject, masks)
        for index in range(len(scenes)):
            for seed in range(DRAWS):
                own = derive_seed(seed, index)
                sample = scenes[index]
                what = f"image {index} {'with' if masks else 'without'} masks"
                returned = raw(subject, transform, sample, draw_for(scenes, own), own, what)
                try:
                    Given(*_copied(sample), len(scenes.class_names)).accepted(returned)
                except TypeError as error:
                    raise Broken(f"of {what}, {error}", "an image and a target in the form of the contract") from error
                except Exception as error:
                    raise Broken(f"of {what}, what it returned gives {told(error)}", "fields that fit") from error


@rule("transform", "transform-input-untouched", "what it is given is not written to")
def input_untouched(subject: Subject) -> None:
    """Image and target stay as they were, byte for byte, also where they are written to by way of numpy: a dataset may
    give the same tensors again in the next epoch, or to another transform. The same holds for what `draw.fetch`
    gives."""
    transform = transform_of(subject)
    for masks in kinds_of_masks(subject):
        scenes = scenes_of(subject, masks)
        kept = _Keeping(scenes)
        for index in range(len(scenes)):
            for seed in range(DRAWS):
                own = derive_seed(seed, index)
                raw(subject, transform, kept[index], draw_for(kept, own), own, f"image {index}")
                for place, sample in kept.given.items():
                    if what := difference(*sample, *scenes[place]):
                        raise Broken(f"it writes to the {what} of image {place}", "a copy is changed, as from clone()")


class _Keeping(Dataset):
    """Gives the same tensors again and again, as a dataset in memory does."""

    def __init__(self, dataset: Dataset) -> None:
        self.class_names, self.provides, self._dataset = dataset.class_names, dataset.provides, dataset
        self.given: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int, /) -> Sample:
        if index not in self.given:
            self.given[index] = self._dataset[index]
        return self.given[index]


@rule("transform", "transform-deterministic", "the same draw gives the same bytes")
def deterministic(subject: Subject) -> None:
    """The result is a function of image, target and draw: the same ones give the same bytes, whatever was transformed
    before, by whatever object of the kind. It keeps no state from call to call, and no clock; random numbers come from
    `draw` (or the global generators, which are seeded for each call)."""
    first, second = transform_of(subject), transform_of(subject)
    scenes = scenes_of(subject, masks=True)
    places = [(index, seed) for index in range(4) for seed in range(DRAWS)]
    once = {place: transformed(subject, first, scenes, *place) for place in places}
    for place in reversed(places):
        for other in (first, second):
            if what := difference(*once[place], *transformed(subject, other, scenes, *place)):
                raise Broken(f"image {place[0]}, transformed again with the same draw, has another {what}", "the same")


@rule("transform", "transform-pickles", "it can be pickled to the processes that load images")
def pickles(subject: Subject) -> None:
    """`pickle.loads(pickle.dumps(transform))` works and gives the same bytes: lambdas and local functions cannot be
    pickled."""
    transform = transform_of(subject)
    try:
        copy = pickle.loads(pickle.dumps(transform))
    except Exception as error:
        raise Broken(f"pickling it raises {told(error)}", "it can be pickled and unpickled") from error
    scenes = scenes_of(subject, masks=True)
    for index in range(3):
        one, other = (transformed(subject, each, scenes, index, 0) for each in (transform, copy))
        if what := difference(*one, *other):
            raise Broken(f"unpickled, it gives image {index} another {what}", "the same bytes")


@rule("transform", "transform-image-id", "`image_id` stays that of the image")
def image_id(subject: Subject) -> None:
    """`image_id` of the result is that of the image it was given, also where others were mixed in: incidents and
    messages name images by it."""
    transform, scenes = transform_of(subject), scenes_of(subject, masks=True)
    for index in range(len(scenes)):
        wanted = scenes[index][1]["image_id"]
        found = transformed(subject, transform, scenes, index, 1)[1]["image_id"]
        if found != wanted:
            raise Broken(f"image_id {wanted} becomes {found}", "the same id")


@rule("transform", "transform-aim", "boxes and masks move with the image")
def aim(subject: Subject) -> None:
    """Objects are where the target says, after the transform as before: bright discs and blocks on a dark ground differ
    from the rest of the image inside their boxes and masks. At most a fifth of the objects, over two dozen draws, may
    not (some transforms cover them). An image that is mirrored without its boxes breaks this rule, and boxes without
    their image, and masks that stay where they were."""
    transform = transform_of(subject)
    for masks in kinds_of_masks(subject):
        scenes = _Alone(scenes_of(subject, masks, objects=(1,)))
        for name, inside in _areas(masks).items():
            seen = lost = 0
            for number in range(AIMED):
                index, seed = number % len(scenes), 100 + number
                before = scenes[index]
                image, target = transformed(subject, transform, scenes, index, seed)
                after = settled(*before, image, target, tight=are_tight(before[1]) and masks)
                for place in range(len(after["labels"])):
                    contrast = _contrast(image, inside(after, place))
                    seen += contrast is not None
                    lost += contrast is not None and contrast < CONTRAST
            if lost > LOST * seen:
                raise Broken(f"{lost} of {seen} objects are not where their {name} say", "objects stay in them")


def _areas(masks: bool) -> dict[str, Callable[[Target, int], Any]]:
    if masks:
        return {"boxes": _box_area, "masks": lambda target, place: target["masks"].as_subclass(Tensor)[place] > 0}
    return {"boxes": _box_area}


class _Alone(Dataset):
    """Scenes with one object each, in one corner: wherever it is taken, elsewhere there is none."""

    def __init__(self, scenes: Scenes) -> None:
        self.class_names, self.provides, self._scenes = scenes.class_names, scenes.provides, scenes

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int, /) -> Sample:
        return self._scenes[index]


def _box_area(target: Target, place: int) -> Any:
    """bool [H, W], the inner part of a box: of a disc, the corners are ground."""
    boxes: Any = target["boxes"]
    height, width = boxes.canvas_size
    x0, y0, x1, y1 = boxes.as_subclass(Tensor)[place].tolist()
    inside = torch.zeros((height, width), dtype=torch.bool)
    x, y, w, h = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2 * 0.7, (y1 - y0) / 2 * 0.7
    inside[max(0, round(y - h)) : round(y + h), max(0, round(x - w)) : round(x + w)] = True
    return inside


def _contrast(image: Tensor, inside: Tensor) -> float | None:
    """How far the mean of an area is from that of the rest, as a share of the image's range; None where it is small."""
    grey = image.as_subclass(Tensor).float().mean(dim=0)
    if float(inside.sum()) < SMALL_PX or bool(inside.all()):
        return None
    span = float(grey.max() - grey.min())
    return 0.0 if not span else float((grey[inside].mean() - grey[~inside].mean()).abs()) / span


@rule("transform", "transform-pool", "it takes other images from `draw.pool` only, and works where there is one")
def pool_only(subject: Subject) -> None:
    """Other images come from `draw.fetch(index)`, with an index of `draw.pool`: the indices of the training images,
    which need not begin at 0 nor be without gaps. A pool of one image, the one at hand, is enough to work with."""
    transform, scenes = transform_of(subject), scenes_of(subject, masks=True)
    for pool in ((3, 5, 6), (3,)):
        for seed in range(DRAWS):
            what = f"an image with a pool of {len(pool)}"
            raw(subject, transform, scenes[3], draw_for(scenes, seed, pool), seed, what)


@rule("transform", "transform-sizes", "it works on small and on long images")
def sizes(subject: Subject) -> None:
    """Images of 16 x 16 pixels, and such as are five times as wide as high, are transformed too: it may give them back
    as they are."""
    transform = transform_of(subject)
    for size in ((16, 16), (24, 120)):
        scenes = Scenes(4, class_names=subject.class_names, size=size, masks=True)
        for index in range(4):
            for seed in range(2):
                returned = raw(subject, transform, scenes[index], draw_for(scenes, seed), seed, f"an image of {size}")
                try:
                    Given(*_copied(scenes[index]), len(scenes.class_names)).accepted(returned)
                except Exception as error:
                    raise Broken(
                        f"of an image of {size[0]} x {size[1]}, {error}", "the form of the contract"
                    ) from error


@rule("transform", "transform-crowds", "crowds stay crowds")
def crowds(subject: Subject) -> None:
    """`iscrowd` goes with its object: after the transform there are no more crowds than before, and where no object was
    left out or added, as many."""
    transform = transform_of(subject)
    scenes = Scenes(4, class_names=subject.class_names, size=subject.size, crowds=True, objects=(3,))
    for index in range(4):
        for seed in range(DRAWS):
            own = derive_seed(seed, index)
            alone = draw_for(scenes, own, (index,))
            returned = raw(subject, transform, scenes[index], alone, own, f"image {index} with a crowd")
            try:
                target = returned[1]
                before, after = int(scenes[index][1]["iscrowd"].sum()), int(target["iscrowd"].sum())
                count = len(target["labels"])
            except Exception as error:
                raise NotApplicable("what it returns is not accepted: see the rule transform-result") from error
            if count == 3 and after != before:
                raise Broken(f"of 3 objects {before} was a crowd, and {after} are", "crowds stay with their objects")


@rule("transform", "transform-leaves-settings", "transforming changes nothing that belongs to the process")
def leaves_settings(subject: Subject) -> None:
    """It leaves torch's threads, default dtype and gradient mode, the working directory and the environment as they
    were. (The global generators may be drawn from: they are seeded for each call.)"""
    transform, scenes = transform_of(subject), scenes_of(subject, masks=True)
    with left_alone("transforming images", with_generators=False):
        for index in range(3):
            raw(subject, transform, scenes[index], draw_for(scenes, index), index, f"image {index}")
