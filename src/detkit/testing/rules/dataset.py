"""What datasets promise: their attributes, order, determinism, and `info`."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detkit.components import Dataset, DatasetComponent
from detkit.data.seeds import seeded
from detkit.data.targets import decode_masks
from detkit.data.types import ImageInfo, Target
from detkit.testing.rule import Broken, NotApplicable, rule, told
from detkit.testing.rules.common import capabilities
from detkit.testing.subject import Subject
from detkit.testing.surroundings import left_alone

#: So many images are looked at, the first and the last among them; and so many infos, for one without objects.
LOOKED_AT, INFOS = 8, 200
#: Boxes of `info` are as read, in float64, and those of targets rounded to float32, pixels.
ROUNDED_PX = 0.01
#: Areas of polygons and of their pixels differ a little.
AREA_SHARE, AREA_PX = 0.05, 4.0


def dataset_of(subject: Subject) -> Dataset:
    """The one that rules share.

    Raises:
        NotApplicable: what was built is no dataset; `dataset-type` says so.
    """
    built = subject.once("dataset", subject.build)
    if not isinstance(built, Dataset):
        raise NotApplicable("it is no dataset: see the rule dataset-type")
    return built


def indices_of(subject: Subject) -> list[int]:
    """The images that are looked at: spread over all of them, and the first one without objects."""

    def chosen() -> list[int]:
        dataset = dataset_of(subject)
        count = len(dataset)
        spread = {round(place * (count - 1) / (LOOKED_AT - 1)) for place in range(LOOKED_AT)}
        for index in range(min(count, INFOS)):
            try:
                if not dataset.info(index).annotations:
                    return sorted(spread | {index})
            except Exception:  # noqa: BLE001 - the rules that read it say what is wrong with it
                break
        return sorted(spread)

    return subject.once("indices", chosen)


def samples_of(subject: Subject) -> list[tuple[int, Any, Target]]:
    """Index, image and target of the images that are looked at."""

    def read() -> list[tuple[int, Any, Target]]:
        dataset = dataset_of(subject)
        return [(index, *sample(subject, dataset, index)) for index in indices_of(subject)]

    return subject.once("samples", read)


def sample(subject: Subject, dataset: Dataset, index: int) -> tuple[Any, Target]:
    """One image and its target, read with seeded generators as the engine does.

    Raises:
        Broken: it cannot be read, or is no pair of an image and a dict.
    """
    with subject.doing(f"reading image {index}"), seeded(index):
        found: Any = dataset[index]
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[1], dict):
        raise Broken(f"dataset[{index}] gives a {type(found).__name__}", "an image and its target, a dict")
    return found


@rule("dataset", "dataset-type", "what is built is a `detkit.Dataset` that holds images")
def is_dataset(subject: Subject) -> None:
    """The built object is an instance of `detkit.Dataset`, and its length is at least 1."""
    built = subject.build()
    if not isinstance(built, Dataset):
        raise Broken(f"it built a {type(built).__name__}", "a subclass of detkit.Dataset")
    with subject.doing("len(dataset)"):
        count = len(built)
    if count < 1:
        raise Broken(f"it holds {count} images", "at least one")


@rule("dataset", "dataset-class-names", "`class_names` are different names, at least one")
def class_names(subject: Subject) -> None:
    """`class_names` is a tuple (or list) of the K foreground classes in the order of their labels: texts, none empty,
    none twice. The background is not among them."""
    found = getattr(dataset_of(subject), "class_names", None)
    if not isinstance(found, tuple | list) or not found:
        raise Broken(f"class_names is {found!r}", "a tuple of names, at least one")
    for name in found:
        if not isinstance(name, str) or not name.strip():
            raise Broken(f"one of the class names is {name!r}", "texts that are not empty")
        if found.count(name) > 1:
            raise Broken(f"the class name {name!r} stands twice", "a name for each label")


@rule("dataset", "dataset-provides", "`provides` says what every target holds, as `may_provide` announced")
def provides(subject: Subject) -> None:
    """`provides` of the built dataset is `detkit.BOXES` or `detkit.BOXES_AND_MASKS`, and no more than `may_provide` of
    the component said of the same options: `detkit check` refuses a model that needs masks by what that says. Every
    target has `masks` where `provides` says so, and none has them where it does not."""
    dataset = dataset_of(subject)
    found = dataset.provides
    if not isinstance(found, frozenset) or "boxes" not in found or not found <= {"boxes", "masks"}:
        raise Broken(f"provides is {found!r}", "detkit.BOXES or detkit.BOXES_AND_MASKS")
    announced = capabilities(subject, "may_provide")
    if not found <= announced:
        raise Broken(f"provides holds masks, and may_provide gives {sorted(announced)}", "may_provide announces them")
    for index, _, target in samples_of(subject):
        if ("masks" in target) != ("masks" in found):
            has = "holds" if "masks" in target else "holds no"
            raise Broken(f"the target of image {index} {has} masks; provides is {sorted(found)}", "the two agree")


@rule("dataset", "dataset-splits", "`splits` name indices of the dataset, none twice in a split")
def splits(subject: Subject) -> None:
    """`splits` is None, or a mapping from names to whole numbers in 0..len-1, each once in a split. A split that is
    there holds at least one image."""
    dataset = dataset_of(subject)
    if dataset.splits is None:
        raise NotApplicable("the data brings no splits")
    for name, indices in dataset.splits.items():
        wrong = [index for index in indices if not 0 <= index < len(dataset)]
        if not isinstance(name, str) or not len(indices):
            raise Broken(f"the split {name!r} holds {len(indices)} images", "a name, and at least one image")
        if wrong:
            raise Broken(f"the split {name!r} holds the index {wrong[0]}", f"indices in 0..{len(dataset) - 1}")
        if len(set(indices)) < len(indices):
            raise Broken(f"the split {name!r} holds an index twice", "each image once in a split")


@rule("dataset", "dataset-deterministic", "an image is the same whenever it is read, and in whatever order")
def deterministic(subject: Subject) -> None:
    """`dataset[i]` gives the same bits for the same i when the global generators (torch, numpy, random) are seeded
    alike, which the engine does for every image: read again, read in another order, read by another dataset that was
    built from the same options. A generator that goes on from call to call breaks it, and with it exact resume."""
    again = subject.build(random_state=1)
    for index, image, target in reversed(samples_of(subject)):
        for other in (again, dataset_of(subject)):
            what = difference(image, target, *sample(subject, other, index))
            if what:
                raise Broken(f"image {index}, read again, has another {what}", "the same bits")


@rule("dataset", "dataset-pickles", "it can be pickled to the processes that load images")
def pickles(subject: Subject) -> None:
    """`pickle.loads(pickle.dumps(dataset))` works and gives the same images: that is how it gets to the workers of a
    data loader where they are not forked. Open files and connections are opened on first use in each process, not kept
    in the object; lambdas and local functions cannot be pickled."""
    dataset = dataset_of(subject)
    try:
        copy = pickle.loads(pickle.dumps(dataset))
    except Exception as error:
        raise Broken(f"pickling it raises {told(error)}", "it can be pickled and unpickled") from error
    for index, image, target in samples_of(subject)[:3]:
        what = difference(image, target, *sample(subject, copy, index))
        if what:
            raise Broken(f"unpickled, image {index} has another {what}", "the same bits")


@rule("dataset", "dataset-leaves-settings", "reading an image changes nothing that belongs to the process")
def leaves_settings(subject: Subject) -> None:
    """Reading an image, its target or its `info` leaves torch's threads, default dtype and gradient mode, the working
    directory and the environment as they were. (The global generators may be drawn from: the engine seeds and restores
    them around each image.)"""
    dataset = dataset_of(subject)
    with left_alone("reading images", with_generators=False), subject.doing("reading images"):
        for index in indices_of(subject)[:2]:
            dataset[index]
            dataset.info(index)


@rule("dataset", "dataset-image-ids", "`image_id` is a whole number of each image's own")
def image_ids(subject: Subject) -> None:
    """`image_id` is an `int`, and no two images have the same: predictions, ground truth and the record find each other
    by it. It need not be the index."""
    seen: dict[int, int] = {}
    for index, _, target in samples_of(subject):
        found: Any = target.get("image_id")
        if type(found) is not int:
            raise Broken(f"image_id of image {index} is a {type(found).__name__}", "an int")
    for index, info in infos_of(subject):
        if info.image_id in seen:
            raise Broken(f"images {seen[info.image_id]} and {index} have the image_id {info.image_id}", "different ids")
        seen[info.image_id] = index


def infos_of(subject: Subject) -> Iterator[tuple[int, ImageInfo]]:
    """Those of the first images, and of all that are looked at."""
    dataset = dataset_of(subject)
    for index in sorted({*range(min(len(dataset), INFOS)), *indices_of(subject)}):
        with subject.doing(f"info({index})"), seeded(index):
            found = dataset.info(index)
        if not isinstance(found, ImageInfo):
            raise Broken(f"info({index}) gives a {type(found).__name__}", "a detkit.data.types.ImageInfo")
        yield index, found


@rule("dataset", "dataset-info-agrees", "`info(i)` says of an image what `dataset[i]` says")
def info_agrees(subject: Subject) -> None:
    """Evaluation takes the ground truth from `info(i)`, training from `dataset[i]`: the same image_id, size, objects in
    the same order, labels, boxes (to rounding), crowd flags, and masks. Where `info` is not overridden, it follows."""
    dataset = dataset_of(subject)
    for index, image, target in samples_of(subject):
        with subject.doing(f"info({index})"), seeded(index):
            info = dataset.info(index)
        for what, stated, had in _compared(info, image, target):
            if stated != had:
                raise Broken(f"info({index}) says {what} {stated}, dataset[{index}] {had}", "the same in both")
        _compare_objects(index, info, target)


def _compared(info: ImageInfo, image: Tensor, target: Target) -> list[tuple[str, object, object]]:
    return [
        ("image_id", info.image_id, int(target["image_id"])),
        ("height and width", (info.height, info.width), tuple(image.shape[-2:])),
        ("number of objects", len(info.annotations), len(target["labels"])),
        ("labels", [item.label for item in info.annotations], target["labels"].tolist()),
        ("crowds", [item.iscrowd for item in info.annotations], target["iscrowd"].tolist()),
    ]


def _compare_objects(index: int, info: ImageInfo, target: Target) -> None:
    for place, (item, box, area) in enumerate(
        zip(info.annotations, target["boxes"].tolist(), target["area"].tolist(), strict=True)
    ):
        if any(abs(stated - had) > ROUNDED_PX for stated, had in zip(item.box, box, strict=True)):
            raise Broken(f"info({index}) says box {item.box} of object {place}, dataset[{index}] {box}", "the same box")
        if abs(item.area - area) > AREA_PX + AREA_SHARE * abs(area):
            raise Broken(f"info({index}) says area {item.area} of object {place}, dataset[{index}] {area}", "the same")
    if "masks" not in target:
        return
    rles = [item.mask for item in info.annotations if item.mask is not None]
    if len(rles) < len(info.annotations):
        raise Broken(f"info({index}) has {len(rles)} masks of {len(info.annotations)} objects", "a mask of each")
    stated_masks = decode_masks(rles, info.height, info.width)
    if not np.array_equal(stated_masks, target["masks"].as_subclass(Tensor).numpy() != 0):
        raise Broken(f"the masks of info({index}) are others than those of dataset[{index}]", "the same pixels")


def difference(image: Any, target: Target, other_image: Any, other: Target) -> str:
    """The first thing in which two samples differ; empty where they are the same bit for bit."""
    if not _equal(image, other_image):
        return "image"
    if target.keys() != other.keys():
        return "set of fields"
    return next((name for name in target if not _equal(target[name], other[name])), "")  # type: ignore[literal-required]  # both have it


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        plain = one.as_subclass(Tensor), other.as_subclass(Tensor)
        return plain[0].dtype == plain[1].dtype and torch.equal(*plain)
    return bool(one == other)


@rule("dataset", "dataset-write-reads-back", "what `write` puts into a folder, the component reads")
def write_reads_back(subject: Subject) -> None:
    """A component with `write` reads with `root` set to the folder (and the options that `Written` names) what was
    written: as many images and objects as `Written` says, the same classes, labels in the same numbers, boxes within a
    pixel. What the format cannot hold is in `Written.losses`. An image without objects is written too."""
    from detkit.testing.scenes import Scenes

    component = subject.component
    if not isinstance(component, DatasetComponent) or component.write is None:
        raise NotApplicable("it only reads")
    folder = subject.fresh("written")
    scenes = Scenes(6, class_names=subject.class_names, size=subject.size)
    with subject.doing("writing six drawn scenes"):
        written = component.write(scenes, folder, "copy", subject.messages)
    with subject.doing("reading what was written"):
        options = _read_options(component, {"root": str(folder), **written.options})
        again = component.build(options, subject.context())
        infos = [again.info(index) for index in range(len(again))]
    if (len(again), sum(len(info.annotations) for info in infos)) != (written.images, written.objects):
        objects = sum(len(info.annotations) for info in infos)
        raise Broken(
            f"it says {written.images} images and {written.objects} objects were written, and reads {len(again)} and"
            f" {objects}",
            "the same numbers",
        )
    if tuple(again.class_names) != scenes.class_names and set(again.class_names) != set(scenes.class_names):
        raise Broken(f"classes {scenes.class_names} come back as {tuple(again.class_names)}", "the same names")
    _compare_written([scenes.info(index) for index in range(len(scenes))], scenes.class_names, infos, again.class_names)


def _read_options(component: DatasetComponent[Any], values: dict[str, Any]) -> Any:
    from detkit.testing.subject import validated

    return validated(component, values)


def _compare_written(
    before: Sequence[ImageInfo], names: Sequence[str], after: Sequence[ImageInfo], names_after: Sequence[str]
) -> None:
    """Images may come in another order and under other ids: their objects say which they are."""
    wanted = sorted(_summary(info, names) for info in before)
    found = sorted(_summary(info, names_after) for info in after)
    if [row[0] for row in wanted] != [row[0] for row in found]:
        raise Broken("other objects are read than were written", "each image with its objects, by class")
    for (_, boxes), (_, others) in zip(wanted, found, strict=True):
        if any(
            abs(a - b) > 1 for box, other in zip(boxes, others, strict=True) for a, b in zip(box, other, strict=True)
        ):
            raise Broken(f"the boxes {boxes} come back as {others}", "boxes within a pixel")


def _summary(info: ImageInfo, names: Sequence[str]) -> tuple[tuple[Any, ...], list[tuple[float, ...]]]:
    rows = sorted((names[item.label - 1], item.box) for item in info.annotations)
    return (info.height, info.width, *(name for name, _ in rows)), [box for _, box in rows]
