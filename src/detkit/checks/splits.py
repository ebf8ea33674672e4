"""How the spec divides the images: whether it can, and what of each class the parts have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from detkit.checks.finding import Check, Finding
from detkit.checks.images import Seen
from detkit.components import Dataset
from detkit.data.fingerprint import split_labels
from detkit.data.splits import Division, Wish, divide
from detkit.data.types import ImageInfo
from detkit.errors import DataError

IMPOSSIBLE = Check(
    "split-impossible",
    "error",
    "the images cannot be divided as [dataset.split] says, or the data's own splits share images",
    "see the text",
    vital=True,
)
NOTHING_TO_LEARN = Check(
    "train-without-objects",
    "error",
    "no image to train on has an object: there is nothing to learn",
    "label images, or move labelled ones into the training split",
    vital=True,
)
CLASS_MISSING = Check(
    "class-not-in-split",
    "warning",
    "a class of which there are objects, and none to train on, or none to validate on",
    "set stratify = true in [dataset.split], or move images",
)
CHECKS = (IMPOSSIBLE, NOTHING_TO_LEARN, CLASS_MISSING)


def divided(
    dataset: Dataset, seen: Sequence[Seen], infos: Sequence[ImageInfo | None], wish: Wish
) -> tuple[Division | None, list[Finding]]:
    """The division of all images, also of those that cannot be read, so that each is where a run would have it.

    Args:
        infos: as they are trained on, None of images that cannot be read.
    """
    everywhere = [info or _stand_in(seen[index], index) for index, info in enumerate(infos)]
    try:
        division = divide(everywhere, wish, dataset.splits)
    except DataError as error:
        return None, [Finding(IMPOSSIBLE, IMPOSSIBLE.severity, str(error))]
    return division, [*_nothing_to_learn(division, everywhere), *_missing(division, everywhere, dataset.class_names)]


def labels(division: Division | None, count: int) -> list[str]:
    """The split of each image; the same for all where there are none."""
    return ["all"] * count if division is None else split_labels(count, division)


def _stand_in(one: Seen, index: int) -> ImageInfo:
    return ImageInfo(-1 - index if one.image_id is None else one.image_id, one.where.path, 0, 0, name=one.where.image)


def _nothing_to_learn(division: Division, infos: Sequence[ImageInfo]) -> Iterator[Finding]:
    for number, splits in enumerate(division.folds, 1):
        train = [infos[index] for index in splits.train]
        if not any(info.annotations for info in train) and all(info.width for info in train):
            text = f"no training image{f' of fold {number}' * division.folded} has an object; there is nothing to learn"
            yield Finding(NOTHING_TO_LEARN, NOTHING_TO_LEARN.severity, text)


def _missing(division: Division, infos: Sequence[ImageInfo], names: Sequence[str]) -> Iterator[Finding]:
    everywhere = {item.label for info in infos for item in info.annotations}
    for number, splits in enumerate(division.folds, 1):
        parts: Mapping[str, Sequence[int]] = {"train": splits.train, "validation": splits.validation}
        if splits.test:
            parts = {**parts, "test": splits.test}
        for part, indices in parts.items():
            if not all(infos[index].width for index in indices):
                continue  # nobody knows what is in an image that cannot be read
            there = {item.label for index in indices for item in infos[index].annotations}
            of_fold = f" of fold {number}" if division.folded else ""
            for label in sorted(everywhere - there):
                if 1 <= label <= len(names):
                    text = f"{part}{of_fold} has no object of class {names[label - 1]!r}"
                    yield Finding(CLASS_MISSING, CLASS_MISSING.severity, text)
