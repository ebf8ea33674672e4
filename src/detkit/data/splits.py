"""Which images train, which select, which score: a function of the images' ids, the sizes and a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detkit.errors import DataError

#: The share of the images that selects where neither the spec nor the data says.
DEFAULT_VALIDATION = 0.2


@dataclass(frozen=True, slots=True)
class Splits:
    """Indices into the dataset, each ascending; an image is in one split at most."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...] = ()

    @property
    def scored(self) -> tuple[int, ...]:
        """The images of the final figures: the test split, else the validation split."""
        return self.test or self.validation

    @property
    def scored_name(self) -> str:
        return "test" if self.test else "validation"


def make_splits(
    image_ids: Sequence[int],
    *,
    validation: int | float | None,
    test: int | float | None,
    seed: int,
    brought: Mapping[str, Sequence[int]] | None = None,
) -> Splits:
    """Divide a dataset.

    Images are ordered by a hash of seed and image id: stable across machines and library versions, and an image keeps
    its place when others are added.

    Args:
        image_ids: of the dataset, by index.
        validation, test: counts or fractions of all images; None: the split that the data brings, else the default.
        brought: the data's own splits as name to indices; "val" and "valid" are names of "validation" too.

    Raises:
        DataError: nothing is left to train on, or to select on; or the data's own splits share images.
    """
    total = len(image_ids)
    own = {("validation" if name in ("val", "valid") else name): indices for name, indices in (brought or {}).items()}
    if "train" in own and "validation" in own and validation is None and test is None:
        return _own_splits(own)
    counts = {
        "validation": _count(DEFAULT_VALIDATION if validation is None else validation, total),
        "test": _count(0 if test is None else test, total),
    }
    left = total - counts["validation"] - counts["test"]
    if left < 1 or counts["validation"] < 1:
        raise DataError(
            f"[dataset.split]: {total} images cannot give validation = {counts['validation']} and"
            f" test = {counts['test']} and leave some to train on; training and validation need at least 1 image each"
        )
    order = sorted(range(total), key=lambda index: hashlib.sha256(f"{seed}/{image_ids[index]}".encode()).digest())
    held = counts["validation"] + counts["test"]
    return Splits(
        train=tuple(sorted(order[held:])),
        validation=tuple(sorted(order[: counts["validation"]])),
        test=tuple(sorted(order[counts["validation"] : held])),
    )


def _count(amount: int | float, total: int) -> int:
    return amount if isinstance(amount, int) else max(1, round(amount * total))


def _own_splits(own: Mapping[str, Sequence[int]]) -> Splits:
    splits = Splits(*(tuple(sorted(own.get(name, ()))) for name in ("train", "validation", "test")))
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        shared = set(getattr(splits, first)) & set(getattr(splits, second))
        if shared:
            raise DataError(
                f"the data's own splits {first!r} and {second!r} share {len(shared)} images (index {min(shared)} is"
                " one); set [dataset.split] validation to have detkit divide the images"
            )
    if not splits.train or not splits.validation:
        raise DataError("the data's own splits leave 'train' or 'validation' empty; set [dataset.split] validation")
    return splits
