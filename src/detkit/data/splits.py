"""Which images train, which select, which score: a function of the images' ids, what is asked for, and a seed."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Protocol

from detkit.data.apportion import Unit, apportion
from detkit.data.groups import group_images
from detkit.data.names import image_names
from detkit.data.split_lists import read_split_lists
from detkit.data.types import ImageInfo
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


@dataclass(frozen=True, slots=True)
class Division:
    """How a dataset is divided.

    Attributes:
        folds: one or more ways to divide it; of `[dataset.split] folds`, as many. All have the same test split, and
            each image beside it is in the validation split of exactly one.
        folded: whether folds were asked for.
        notes: what people should know of it.
    """

    folds: tuple[Splits, ...]
    folded: bool = False
    notes: tuple[str, ...] = ()

    def of(self, fold: int | None) -> Splits:
        """Of a fold, counted from 1; of None, the only division."""
        return self.folds[0 if fold is None else fold - 1]

    @property
    def test(self) -> tuple[int, ...]:
        return self.folds[0].test


class Wish(Protocol):
    """What `[dataset.split]` asks for; see there."""

    @property
    def validation(self) -> int | float | Path | None: ...
    @property
    def test(self) -> int | float | Path | None: ...
    @property
    def train(self) -> Path | None: ...
    @property
    def folds(self) -> int | None: ...
    @property
    def stratify(self) -> bool | None: ...
    @property
    def group(self) -> str | None: ...
    @property
    def seed(self) -> int: ...


def divide(infos: Sequence[ImageInfo], wish: Wish, brought: Mapping[str, Sequence[int]] | None = None) -> Division:
    """Divide a dataset as its spec wants it.

    Without `folds`, `stratify` and `group` this is `make_splits`: an image keeps its place when others are added. With
    them the images are dealt out together, by `apportion`, and the place of each depends on all. Neither depends on the
    order in which the dataset lists its images.

    Args:
        infos: of the dataset, by index. brought: the data's own splits, as for `make_splits`.

    Raises:
        DataError: the images, or their groups, are too few; the pattern of the groups matches nothing; or the data's
            own splits would be used, which cannot be grouped or stratified.
    """
    lists = {"train": wish.train, "validation": wish.validation, "test": wish.test}
    files = {name: file for name, file in lists.items() if isinstance(file, Path)}
    if files:
        return _Divider(infos, wish).named(read_split_lists(files, image_names(infos)))
    own = _named(brought)
    validation, test = _amount(wish.validation), _amount(wish.test)
    if wish.folds is None and wish.validation is None and wish.test is None and _lacks_validation(own):
        return _Divider(infos, wish).beside(own)
    if wish.folds is None and not wish.stratify and wish.group is None:
        ids = [info.image_id for info in infos]
        return Division((make_splits(ids, validation=validation, test=test, seed=wish.seed, brought=brought),))
    if wish.folds is None and _uses_own(own, validation, test):
        key = "group" if wish.group is not None else "stratify"
        raise DataError(
            f"[dataset.split] {key}: the data brings its own splits, which are taken as they are; set validation (a"
            " count or a fraction) to have detkit divide all images, or leave the key out"
        )
    return _Divider(infos, wish).divided(own)


def _amount(value: int | float | Path | None) -> int | float | None:
    return None if isinstance(value, Path) else value


class _Divider:
    """Deals out images, or groups of them."""

    def __init__(self, infos: Sequence[ImageInfo], wish: Wish) -> None:
        self._infos = infos
        self._wish = wish
        self._stratify = wish.stratify if wish.stratify is not None else wish.folds is not None
        self._notes: list[str] = []
        self._groups: Sequence[str] | None = None
        if wish.group is not None:
            groups = group_images(image_names(infos), wish.group)
            self._groups = groups.keys
            self._note(groups.note)

    def divided(self, own: Mapping[str, Sequence[int]]) -> Division:
        """As the numbers of the wish say; of the data's own splits only the test split is used, by folds."""
        everything = range(len(self._infos))
        if self._wish.folds is None:
            validation, test, train = self._parts(everything)
            return Division((Splits(train, validation, test),), notes=tuple(self._notes))
        if self._wish.test is None and own.get("test"):
            self._note(f"the data's own test split ({len(own['test'])} images) is held out of the folds")
            return self._folded(tuple(sorted(own["test"])), "the data's own test split", self._wish.folds)
        test, rest = self._held_out(everything)
        return self._in_folds(rest, test, self._wish.folds)

    def beside(self, own: Mapping[str, Sequence[int]]) -> Division:
        """The data's own test split, and its training split divided: nobody's test images may train a model."""
        train, test = tuple(sorted(own["train"])), tuple(sorted(own["test"]))
        if shared := set(train) & set(test):
            raise DataError(_shared_text("train", "test", shared))
        self._refuse_leak(test, "the data's own test split", among=train)
        validation, _, rest = self._parts(train)
        self._note(
            f"the data brings no validation split: {len(validation)} of its {len(train)} training images are it; its"
            f" own test split ({len(test)} images) is kept"
        )
        return Division((Splits(rest, validation, test),), notes=tuple(self._notes))

    def named(self, lists: Mapping[str, tuple[int, ...]]) -> Division:
        """As lists of images say; what they leave is divided, or trains."""
        test = lists.get("test", ())
        held = set(test)
        rest = [index for index in range(len(self._infos)) if index not in held]
        if self._wish.folds is not None:
            return self._folded(test, "the list of test", self._wish.folds)
        if "validation" not in lists:
            self._refuse_leak(test, "the list of test")
            validation, _, train = self._parts(rest)
            return Division((Splits(train, validation, test),), notes=tuple(self._notes))
        validated = set(lists["validation"])
        others = tuple(index for index in rest if index not in validated)
        splits = Splits(lists.get("train", others), lists["validation"], test)
        if not splits.train:
            raise DataError("[dataset.split] validation: the lists leave no image to train on")
        unused = len(others) - len(splits.train)
        self._note(f"{unused} of {len(self._infos)} images are in no list, and are not used" * bool(unused))
        return Division((splits,), notes=tuple(self._notes))

    def _folded(self, test: tuple[int, ...], whose: str, count: int) -> Division:
        """Folds of the images beside a test split that is given."""
        self._refuse_leak(test, whose)
        held = set(test)
        return self._in_folds([index for index in range(len(self._infos)) if index not in held], test, count)

    def _in_folds(self, rest: Sequence[int], test: tuple[int, ...], count: int) -> Division:
        folds = self._folds(rest, count)
        splits = [Splits(tuple(sorted(set(rest) - set(fold))), fold, test) for fold in folds]
        return Division(tuple(splits), folded=True, notes=tuple(self._notes))

    def _parts(self, indices: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Validation, test and train, as counts or fractions say."""
        amounts = _amount(self._wish.validation), _amount(self._wish.test)
        validation, test, left = _counts(len(indices), *amounts)
        if not self._stratify and self._groups is None:
            ids = [self._infos[index].image_id for index in indices]
            plain = make_splits(ids, validation=amounts[0], test=amounts[1], seed=self._wish.seed)
            train, first, second = (
                tuple(indices[place] for place in part) for part in (plain.train, plain.validation, plain.test)
            )
            return first, second, train
        wanted = {"validation": validation, **({"test": test} if test else {}), "train": left}
        parts = self._dealt(indices, wanted)
        return parts["validation"], parts.get("test", ()), parts["train"]

    def _held_out(self, indices: Sequence[int]) -> tuple[tuple[int, ...], Sequence[int]]:
        """The test split, and the others."""
        total = len(indices)
        count = _count(_amount(self._wish.test) or 0, total)
        if not count:
            return (), indices
        if count >= total:
            raise DataError(f"[dataset.split] test: {total} images cannot give {count} and leave some for the folds")
        parts = self._dealt(indices, {"test": count, "others": total - count})
        return parts["test"], parts["others"]

    def _folds(self, indices: Sequence[int], count: int) -> list[tuple[int, ...]]:
        units = self._units(indices)
        what = "images" if self._groups is None else "groups"
        if len(units) < count:
            held = " beside the test split" if len(indices) < len(self._infos) else ""
            raise DataError(f"[dataset.split] folds: {len(units)} {what}{held} cannot make {count} folds")
        size, more = divmod(len(indices), count)
        targets = [size + (number < more) for number in range(count)]
        if not self._stratify and self._groups is None:
            order = [unit.members[0] for unit in sorted(units, key=lambda unit: unit.order)]
            ends = [0, *accumulate(targets)]
            folds = [tuple(sorted(order[start:end])) for start, end in pairwise(ends)]
        else:
            folds = [_members(part) for part in apportion(units, targets, meet=False)]
        if len({len(fold) for fold in folds}) > 1 and self._groups is not None:
            self._note(f"folds have {', '.join(str(len(fold)) for fold in folds)} images: groups stay whole")
        return folds

    def _dealt(self, indices: Sequence[int], wanted: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """By name; the last one takes what whole groups leave."""
        units = self._units(indices)
        if len(units) < len(wanted):
            raise DataError(
                f"[dataset.split] group: {len(indices)} images in {len(units)} groups cannot be divided into"
                f" {', '.join(wanted)}; each needs a group"
            )
        parts = dict(zip(wanted, map(_members, apportion(units, list(wanted.values()))), strict=True))
        for name, count in wanted.items():
            if len(parts[name]) != count and name not in ("train", "others"):
                self._note(f"{name} has {len(parts[name])} images instead of {count}: groups stay whole")
        return parts

    def _units(self, indices: Sequence[int]) -> list[Unit]:
        holds = self._holdings(indices) if self._stratify else {}
        together: dict[str, list[int]] = {}
        for index in indices:
            key = str(self._infos[index].image_id) if self._groups is None else self._groups[index]
            together.setdefault(key, []).append(index)
        return [
            Unit(tuple(members), _order(self._wish.seed, key), _sums([holds.get(index, {}) for index in members]))
            for key, members in together.items()
        ]

    def _holdings(self, indices: Sequence[int]) -> dict[int, dict[str, int]]:
        """What is to be balanced: images and objects of each class, and images by their number of objects.

        The numbers fall into none and the quarters of the images that have some.
        """
        numbers = sorted(len(self._infos[index].annotations) for index in indices if self._infos[index].annotations)
        limits = [numbers[len(numbers) * quarter // 4] for quarter in (1, 2, 3)] if numbers else []
        found: dict[int, dict[str, int]] = {}
        for index in indices:
            classes = Counter(item.label for item in self._infos[index].annotations)
            number = f"number/{bisect_left(limits, classes.total()) if classes else 'none'}"
            found[index] = {
                **{f"objects/{label}": count for label, count in sorted(classes.items())},
                **{f"class/{label}": 1 for label in sorted(classes)},
                number: 1,
            }
        return found

    def _refuse_leak(self, test: Sequence[int], whose: str, among: Sequence[int] | None = None) -> None:
        if self._groups is None:
            return
        held = set(test)
        tested = {self._groups[index] for index in test}
        for index, key in enumerate(self._groups):
            if index not in held and key in tested and (among is None or index in among):
                raise DataError(
                    f"[dataset.split] group: {whose} has a part of the group of"
                    f" {self._infos[index].label}, which is not in it; set test (a count, a fraction or 0) to have"
                    " detkit divide all images"
                )

    def _note(self, text: str) -> None:
        if text:
            self._notes.append(text)


def _sums(holdings: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for holds in holdings:
        total.update(holds)
    return dict(total)


def _members(units: Sequence[Unit]) -> tuple[int, ...]:
    return tuple(sorted(index for unit in units for index in unit.members))


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
    own = _named(brought)
    if _uses_own(own, validation, test):
        return _own_splits(own)
    first, second, _ = _counts(total, validation, test)
    order = sorted(range(total), key=lambda index: _order(seed, str(image_ids[index])))
    held = first + second
    return Splits(
        train=tuple(sorted(order[held:])),
        validation=tuple(sorted(order[:first])),
        test=tuple(sorted(order[first:held])),
    )


def _order(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}/{key}".encode()).digest()


def _named(brought: Mapping[str, Sequence[int]] | None) -> dict[str, Sequence[int]]:
    return {("validation" if name in ("val", "valid") else name): indices for name, indices in (brought or {}).items()}


def _lacks_validation(own: Mapping[str, Sequence[int]]) -> bool:
    """Whether the data brings images to train on and to test on, and none to select on."""
    return bool(own.get("train")) and bool(own.get("test")) and "validation" not in own


def _uses_own(own: Mapping[str, Sequence[int]], validation: int | float | None, test: int | float | None) -> bool:
    return "train" in own and "validation" in own and validation is None and test is None


def _counts(total: int, validation: int | float | None, test: int | float | None) -> tuple[int, int, int]:
    """Images of validation and test, and what is left to train on."""
    counts = (_count(DEFAULT_VALIDATION if validation is None else validation, total), _count(test or 0, total))
    left = total - sum(counts)
    if left < 1 or counts[0] < 1:
        raise DataError(
            f"[dataset.split]: {total} images cannot give validation = {counts[0]} and test = {counts[1]} and leave"
            " some to train on; training and validation need at least 1 image each"
        )
    return (*counts, left)


def _count(amount: int | float, total: int) -> int:
    return amount if isinstance(amount, int) else max(1, round(amount * total))


def _shared_text(first: str, second: str, shared: set[int]) -> str:
    return (
        f"the data's own splits {first!r} and {second!r} share {len(shared)} images (index {min(shared)} is one); set"
        " [dataset.split] validation to have detkit divide the images"
    )


def _own_splits(own: Mapping[str, Sequence[int]]) -> Splits:
    splits = Splits(*(tuple(sorted(own.get(name, ()))) for name in ("train", "validation", "test")))
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        shared = set(getattr(splits, first)) & set(getattr(splits, second))
        if shared:
            raise DataError(_shared_text(first, second, shared))
    if not splits.train or not splits.validation:
        raise DataError("the data's own splits leave 'train' or 'validation' empty; set [dataset.split] validation")
    return splits
