"""Datasets in COCO's form: one JSON file, or one for each split. https://cocodataset.org/#format-data"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from detkit import BOXES, BOXES_AND_MASKS, Capabilities, DataError, Dataset, Messages
from detkit.data.classes import chosen_classes, labels_by_name, unlisted
from detkit.data.coco import CocoTruth, parse_truth, read_json
from detkit.data.faults import Fault, raise_faults, settle_faults
from detkit.data.file_dataset import ImageFile, files_ending, image_ids, is_there, missing_images
from detkit.data.remarks import Remark
from detkit.data.types import Annotation
from detkit_formats import CocoOptions
from detkit_formats.common import (
    FARTHEST_PX,
    LeaveOut,
    ReadDataset,
    reading_of,
    repeated_files,
    tell_left_out,
    tell_unnamed,
)

SPLITS = ("train", "validation", "test")
#: What people call the splits' folders and files, in the order in which they are looked for.
SPLIT_NAMES: Mapping[str, Sequence[str]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "val"),
    "test": ("test",),
}
#: The keys of images and annotations that are read.
READ = frozenset(
    {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation", "file_name", "width", "height"}
)
#: So many images of a file are looked for to find their folder.
TRIED = 20


@dataclass(frozen=True, slots=True)
class Part:
    """One JSON file; `split` is its name among the data's splits, "" where it holds all; `images` is as given."""

    split: str
    file: Path
    images: Path | None


def open_coco(options: CocoOptions, messages: Messages, leave_out: LeaveOut = None) -> Dataset:
    """Read all files.

    Raises:
        DataError: a file or image is missing, or something in the files is wrong; everything at once.
    """
    parts = _parts(options)
    unread: Counter[str] = Counter()
    truths = _truths(parts, unread, leave_out, masks=options.masks == "auto")
    for part, truth in zip(parts, truths, strict=True):
        for remark in truth.remarks:
            messages.info(f"{part.file}: {remark}")
    names = chosen_classes(_found_classes(truths), options.classes, f"{parts[0].file}: categories")
    drop = options.classes is not None and options.unlisted == "drop"
    if not drop:
        raise_faults(
            [fault for part, truth in zip(parts, truths, strict=True) for fault in _unlisted(part, truth, names)]
        )
    raise_faults([fault for part, truth in zip(parts, truths, strict=True) for fault in _too_far(part, truth)])
    files = _image_files(parts, truths, check_size=options.stated_size == "check")
    objects = [_relabelled(info.annotations, truth, names) for truth in truths for info in truth.infos]
    raise_faults([fault for part in parts for fault in repeated_files([f for f in files if f.source == part.file])])
    gone = settle_faults(missing_images(files), leave_out)
    there = [index for index, file in enumerate(files) if file.path not in gone]
    files, objects = [files[index] for index in there], [objects[index] for index in there]
    tell_unnamed(files, messages, "a row in the list of images takes an image without objects in")
    total = sum(len(info.annotations) for truth in truths for info in truth.infos)
    tell_left_out(messages, total - sum(map(len, objects)), total)
    _tell_ids(parts, truths, names, messages)
    objects, provides = _with_masks(objects, files, messages)
    return ReadDataset(
        names,
        files,
        objects,
        reading=reading_of(options),
        provides=provides,
        splits=_splits(parts, truths, there),
        unread=unread,
    )


# --- files -----------------------------------------------------------------------------------------------------------


def _parts(options: CocoOptions) -> list[Part]:
    if options.annotations is not None:
        return [Part("", options.annotations, options.images)]
    named = [
        Part(split, file, getattr(options, f"{split}_images") or options.images)
        for split in SPLITS
        if (file := getattr(options, split)) is not None
    ]
    if named:
        return named
    assert options.root is not None
    return _looked_for(options.root, options.images)


def _looked_for(root: Path, images: Path | None) -> list[Part]:
    """The files of a folder: one for each split, else the only one."""
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    found: list[Part] = []
    for split in SPLITS:
        candidates = [file for name in SPLIT_NAMES[split] for file in _candidates(root, name) if file.is_file()]
        if candidates:
            found.append(Part(split, candidates[0], images))
    if found and found[0].split == "train":
        return found
    alone = sorted(file for folder in (root, root / "annotations") for file in files_ending(folder, ".json"))
    if len(alone) == 1:
        return [Part("", alone[0], images)]
    there = f"it holds {', '.join(file.name for file in alone[:5])}" if alone else "it holds no JSON file"
    raise DataError(
        f'{root}: no COCO files are found there ({there}); name them: annotations = "...json", or train, validation'
        " and test"
    )


def _candidates(root: Path, split: str) -> Iterator[Path]:
    """Where the split's file is in COCO's own layout, in what Roboflow exports, and in plain ones."""
    for folder in (root / "annotations", root):
        yield from sorted(folder.glob(f"instances_{split}*.json"))
        yield folder / f"{split}.json"
    yield root / split / "_annotations.coco.json"
    yield from files_ending(root / split, ".json")


def _truths(parts: Sequence[Part], unread: Counter[str], leave_out: LeaveOut, *, masks: bool) -> list[CocoTruth]:
    """What each file holds; what it states beside is added to `unread`."""
    truths, errors = [], []
    for part in parts:
        try:
            content = read_json(part.file)
            truths.append(parse_truth(content, part.file, masks=masks, leave_out=leave_out))
        except DataError as error:
            errors.append(error)
        else:
            for key, what in (("annotations", "objects"), ("images", "images")):
                unread.update(f"{name} of {what}" for row in content[key] for name in row if name not in READ)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise DataError("\n".join(map(str, errors)))
    return truths


def _image_files(parts: Sequence[Part], truths: Sequence[CocoTruth], *, check_size: bool) -> list[ImageFile]:
    rows: list[tuple[Part, int, Path, str, tuple[int, int]]] = []
    faults: list[Fault] = []
    for part, truth in zip(parts, truths, strict=True):
        unnamed = [place for place, info in enumerate(truth.infos) if not info.name]
        faults += (Fault(part.file, f"images[{place}]", "has no 'file_name'") for place in unnamed)
        if unnamed:
            continue
        first: dict[str, int] = {}
        folder = part.images or _image_folder(part.file, [info.name for info in truth.infos])
        for place, info in enumerate(truth.infos):
            if first.setdefault(info.name, place) != place:
                faults.append(
                    Fault(
                        part.file,
                        f"images[{place}] (id {info.image_id})",
                        f"is {info.name}, as images[{first[info.name]}] is; an image must be in the list once",
                    )
                )
            rows.append((part, info.image_id, _path(folder, info.name), info.name, (info.width, info.height)))
    raise_faults(faults)
    repeated = {name for name, count in Counter(name for _, _, _, name, _ in rows).items() if count > 1}
    names = [f"{part.split}/{name}" if name in repeated else name for part, _, _, name, _ in rows]
    own = [image_id for _, image_id, _, _, _ in rows]
    # Files of splits often count from 1 each; ids are unique in a dataset.
    ids = own if len(set(own)) == len(own) else image_ids(names)
    return [
        ImageFile(path, name, image_id, size if check_size else None, part.file)
        for (part, _, path, _, size), name, image_id in zip(rows, names, ids, strict=True)
    ]


def _path(folder: Path, name: str) -> Path:
    path = folder / name
    if "\\" in name and not is_there(path):
        return folder / name.replace("\\", "/")  # written on Windows
    return path


def _image_folder(file: Path, names: Sequence[str]) -> Path:
    """The folder to which a file's names are relative, as far as looking for the first of them tells."""
    folder = file.parent
    stem = file.name.split(".")[0].removeprefix("instances_")
    candidates = [
        folder,
        folder / "images",
        folder / stem,
        folder.parent / stem,
        folder.parent / "images" / stem,
        folder.parent / "images",
        folder.parent,
    ]
    for candidate in candidates:
        if any(is_there(_path(candidate, name)) for name in names[:TRIED]):
            return candidate
    looked = ", ".join(dict.fromkeys(str(candidate) for candidate in candidates))
    raise DataError(
        f'{file}: its images ({names[0][:200]} is the first) are in none of {looked}; name their folder: images = "..."'
    )


# --- classes ---------------------------------------------------------------------------------------------------------


def _found_classes(truths: Sequence[CocoTruth]) -> list[str]:
    """The classes of all files: in the order of the first file's category ids, then what others add in theirs."""
    return list(dict.fromkeys(name for truth in truths for name in truth.class_names))


def _counts(truth: CocoTruth) -> Counter[str]:
    return Counter(truth.class_names[item.label - 1] for info in truth.infos for item in info.annotations)


def _unlisted(part: Part, truth: CocoTruth, names: Sequence[str]) -> Iterator[Fault]:
    counts = _counts(truth)
    for name, category in zip(truth.class_names, truth.category_ids.tolist(), strict=True):
        if name not in names and counts[name]:
            place = f"category {category} ({counts[name]} objects)"
            yield Fault(part.file, place, unlisted(name, names))


def _tell_ids(parts: Sequence[Part], truths: Sequence[CocoTruth], names: Sequence[str], messages: Messages) -> None:
    """Say what became of category ids that are not 1 to K."""
    for part, truth in zip(parts, truths, strict=True):
        ids = truth.category_ids.tolist()
        if ids != list(range(1, len(ids) + 1)):
            labels = labels_by_name(names)
            pairs = ", ".join(
                f"{category} {name} is {labels[name]}"
                for category, name in zip(ids[:5], truth.class_names, strict=False)
                if name in labels
            )
            text = f"{part.file}: category ids are not 1 to {len(ids)}: as labels, {pairs}{', ...' * (len(ids) > 5)}"
            messages.info(Remark("class-ids-with-holes", text))


def _too_far(part: Part, truth: CocoTruth) -> Iterator[Fault]:
    for info in truth.infos:
        for item in info.annotations:
            if max(map(abs, item.box)) > FARTHEST_PX:
                told = f"has a box {FARTHEST_PX:,} pixels or more away from its image, {info.name}"
                yield Fault(part.file, item.source, told)


def _relabelled(items: Sequence[Annotation], truth: CocoTruth, names: Sequence[str]) -> tuple[Annotation, ...]:
    """The objects under the dataset's labels, without those of classes that it does not have."""
    labels = labels_by_name(names)
    own = [labels.get(name) for name in truth.class_names]
    return tuple(replace(item, label=label) for item in items if (label := own[item.label - 1]) is not None)


# --- masks and splits ------------------------------------------------------------------------------------------------


def _with_masks(
    objects: list[tuple[Annotation, ...]], files: Sequence[ImageFile], messages: Messages
) -> tuple[list[tuple[Annotation, ...]], Capabilities]:
    """Masks where every object has one; else none at all, and that is said."""
    total = sum(map(len, objects))
    masked = sum(item.mask is not None for items in objects for item in items)
    if total and masked == total:
        return objects, BOXES_AND_MASKS
    if masked:
        file, item = next(
            (file, item) for file, items in zip(files, objects, strict=True) for item in items if item.mask is None
        )
        messages.warning(
            f"{total - masked} of {total} objects have no segmentation ({file.name}, {item.source} is one): the dataset"
            " gives boxes only"
        )
    return [tuple(replace(item, mask=None) for item in items) for items in objects], BOXES


def _splits(parts: Sequence[Part], truths: Sequence[CocoTruth], there: Sequence[int]) -> dict[str, range] | None:
    """Args: there: the places, among all images of the files, of those that the dataset has; ascending."""
    if not parts[0].split:
        return None
    splits, end = {}, 0
    for part, truth in zip(parts, truths, strict=True):
        begin, end = end, end + len(truth.infos)
        splits[part.split] = range(bisect_left(there, begin), bisect_left(there, end))
    return splits
