"""What exactly was trained on, as a digest: over the images' contents, their objects, and the classes.

It depends neither on where the data lies, nor on the names of the files, nor on the order in which the dataset lists
images and objects: two records with the same one have the same data. Which image trains, selects or scores has a digest
of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from detkit.data.digests import ImageDigest
from detkit.data.splits import Division, Splits
from detkit.data.types import Annotation, ImageInfo

#: Of the digest; records of an older detkit have none, and a digest that depends on order and ids.
FORM = 2


def fingerprint(
    infos: Sequence[ImageInfo],
    class_names: Sequence[str],
    division: Division | Splits,
    digests: Sequence[ImageDigest] | None = None,
) -> dict[str, Any]:
    """The digests, and the counts behind them.

    Args:
        digests: of each image's content; without them the images are known by their sizes and objects alone.

    Returns:
        sha256: over contents, objects and classes. objects_sha256: the same without the contents. splits_sha256: over
        the contents of each split. Beside them counts, in plain values.
    """
    contents = [digest.content for digest in digests] if digests else [""] * len(infos)
    splits = split_labels(len(infos), division)
    objects = [objects_digest(info, class_names) for info in infos]
    objects_by_class = Counter(class_names[item.label - 1] for info in infos for item in info.annotations)
    known = [content or of_objects for content, of_objects in zip(contents, objects, strict=True)]
    return {
        "form": FORM,
        "sha256": _digest(class_names, map(" ".join, zip(contents, objects, strict=True))),
        "objects_sha256": _digest(class_names, objects),
        "splits_sha256": _digest((), map(" ".join, zip(known, splits, strict=True))),
        "images": len(infos),
        "bytes": sum(digest.size or 0 for digest in digests or ()),
        "known_by": dict(sorted(Counter(digest.kind for digest in digests or ()).items())),
        "objects": sum(objects_by_class.values()),
        "objects_by_class": {name: objects_by_class[name] for name in class_names},
        "images_without_objects": sum(not info.annotations for info in infos),
        "class_names": list(class_names),
        "split_sizes": _split_sizes(division),
    }


def _digest(class_names: Sequence[str], lines: Iterable[str]) -> str:
    """Of lines in any order; one that comes twice counts twice."""
    text = json.dumps(list(class_names))
    return hashlib.sha256("\n".join([f"detkit {FORM} {text}", *sorted(lines)]).encode()).hexdigest()


def split_labels(images: int, division: Division | Splits) -> list[str]:
    """The split of each image, by index: "train", "validation", "test", or "fold 2": the fold that validates it."""
    folds = division.folds if isinstance(division, Division) else (division,)
    folded = isinstance(division, Division) and division.folded
    labels = ["none"] * images
    for number, splits in enumerate(folds, 1):
        named: Mapping[str, Sequence[int]] = {f"fold {number}": splits.validation} if folded else _named(splits)
        for name, indices in {**named, "test": splits.test}.items():
            for index in indices:
                labels[index] = name
    return labels


def _named(splits: Splits) -> dict[str, Sequence[int]]:
    return {"train": splits.train, "validation": splits.validation}


def _split_sizes(division: Division | Splits) -> dict[str, int]:
    if isinstance(division, Division) and division.folded:
        folds = {f"fold {number}": len(splits.validation) for number, splits in enumerate(division.folds, 1)}
        return folds | {"test": len(division.test)}
    splits = division.of(None) if isinstance(division, Division) else division
    return {name: len(indices) for name, indices in (*_named(splits).items(), ("test", splits.test))}


def objects_digest(info: ImageInfo, class_names: Sequence[str]) -> str:
    """Of an image's size and objects, whose order does not matter."""
    objects = sorted(json.dumps(canonical_object(item, class_names)) for item in info.annotations)
    return hashlib.sha256(json.dumps([info.width, info.height, objects]).encode()).hexdigest()


def canonical_object(item: Annotation, class_names: Sequence[str]) -> list[Any]:
    """An object in plain values: the class by its name, numbers as exact floats, the mask as its runs."""
    # Adding 0.0 makes one zero of the two.
    numbers = [float(value) + 0.0 for value in (*item.box, item.area)]
    mask = None if item.mask is None else [list(item.mask["size"]), item.mask["counts"]]
    return [class_names[item.label - 1], *numbers, bool(item.iscrowd), mask]


def first_form_sha256(infos: Sequence[ImageInfo], class_names: Sequence[str], splits: Splits) -> str:
    """The digest of records of an older detkit: of ids, names, file sizes, objects and splits, all in their order."""
    digest = hashlib.sha256(json.dumps(list(class_names)).encode())
    for info in infos:
        size = info.path.stat().st_size if info.path is not None else None
        objects = [[item.label, *item.box, item.area, item.iscrowd, item.mask] for item in info.annotations]
        digest.update(json.dumps([info.image_id, info.label, size, info.width, info.height, objects]).encode())
    ids = [[infos[index].image_id for index in part] for part in (splits.train, splits.validation, splits.test)]
    digest.update(json.dumps(ids).encode())
    return digest.hexdigest()
