"""Folds, stratified and grouped splits: no image twice, groups whole, counts met, balance, and the same everywhere."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.data.apportion import Unit, apportion
from detkit.data.groups import group_images
from detkit.data.names import image_names
from detkit.data.splits import Division, Splits, divide, make_splits
from detkit.data.types import Annotation, ImageInfo
from detkit.errors import DataError

CLIP = r"^(clip\d+)_"


@dataclass(frozen=True)
class Wish:
    validation: int | float | Path | None = None
    test: int | float | Path | None = None
    train: Path | None = None
    folds: int | None = None
    stratify: bool | None = None
    group: str | None = None
    seed: int = 0


def image(image_id: int, labels: Sequence[int] = (), name: str = "") -> ImageInfo:
    objects = tuple(Annotation(label, (0.0, 0.0, 1.0, 1.0), 1.0) for label in labels)
    return ImageInfo(image_id, None, 10, 10, objects, name)


def clips(*sizes: int) -> list[ImageInfo]:
    """Frames of clips; every third frame is empty, every fifth holds the rarer class too."""
    names = [f"clip{clip}_{frame:03d}.jpg" for clip, size in enumerate(sizes) for frame in range(size)]
    return [image(i, [1] * (i % 3) + [2] * (i % 5 == 0), name) for i, name in enumerate(names)]


def drawn(images: int, classes: int, seed: int) -> list[ImageInfo]:
    """Images with few and with many objects, of common and of rare classes."""
    rng = random.Random(seed)
    infos = []
    for number in range(images):
        count = int(rng.expovariate(1 / 4))
        labels = [min(classes, 1 + int(rng.expovariate(0.8))) for _ in range(count)]
        infos.append(image(number, labels, f"clip{rng.randrange(max(2, images // 8))}_{number}.jpg"))
    return infos


def clip_of(infos: Sequence[ImageInfo], indices: Sequence[int]) -> set[str]:
    return {infos[index].label.partition("_")[0] for index in indices}


def most_held_out(sizes: Sequence[int], test: int | float | None) -> int:
    """How many units the test split can take at most: the smallest ones, until they hold as many images as it wants."""
    wanted = test if isinstance(test, int) else round((test or 0.0) * sum(sizes))
    held = taken = 0
    while held < wanted and taken < len(sizes):
        held += sizes[taken]
        taken += 1
    return max(taken, bool(test))


def validated(division: Division) -> list[tuple[int, ...]]:
    return [splits.validation for splits in division.folds]


# --- what must always hold -------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    images=st.integers(2, 60),
    classes=st.integers(1, 4),
    folds=st.integers(2, 6),
    test=st.none() | st.integers(0, 20) | st.floats(0.05, 0.5),
    stratify=st.none() | st.booleans(),
    group=st.none() | st.just(CLIP),
    seed=st.integers(0, 5),
)
def test_every_image_is_validated_once_or_held_out(
    images: int,
    classes: int,
    folds: int,
    test: int | float | None,
    stratify: bool | None,
    group: str | None,
    seed: int,
) -> None:
    infos = drawn(images, classes, seed)
    try:
        division = divide(infos, Wish(test=test, folds=folds, stratify=stratify, group=group, seed=seed))
    except DataError as error:
        assert "[dataset.split]" in str(error)  # noqa: PT017 - fewer units than folds is the other outcome allowed
        sizes = sorted(Counter(info.label.partition("_")[0] for info in infos).values()) if group else [1] * images
        assert len(sizes) - most_held_out(sizes, test) < max(folds, 2) or images < 2 * folds
        return
    held = division.test
    assert sorted([*held, *(index for fold in validated(division) for index in fold)]) == list(range(images))
    for splits in division.folds:
        assert splits.validation
        assert splits.test == held
        assert sorted([*splits.train, *splits.validation, *held]) == list(range(images))
    if group is None:
        sizes = [len(fold) for fold in validated(division)]
        assert max(sizes) - min(sizes) <= 1
        if isinstance(test, int):
            assert len(held) == test
    else:
        parts = [clip_of(infos, part) for part in (held, *validated(division))]
        assert sum(map(len, parts)) == len(set().union(*parts))


@settings(deadline=None)
@given(
    images=st.integers(3, 80),
    validation=st.integers(1, 30) | st.floats(0.05, 0.5),
    test=st.integers(0, 20),
    stratify=st.booleans(),
    seed=st.integers(0, 5),
)
def test_stratified_counts_are_exact_and_groups_stay_whole(
    images: int, validation: int | float, test: int, stratify: bool, seed: int
) -> None:
    infos = drawn(images, 3, seed)
    count = validation if isinstance(validation, int) else max(1, round(validation * images))
    wish = Wish(validation=validation, test=test, stratify=True, seed=seed)
    if count + test >= images:
        with pytest.raises(DataError, match="cannot give validation"):
            divide(infos, wish)
        return
    splits = divide(infos, wish).of(None)
    assert (len(splits.validation), len(splits.test)) == (count, test)
    assert sorted([*splits.train, *splits.validation, *splits.test]) == list(range(images))

    grouped = Wish(validation=validation, test=test, stratify=stratify, group=CLIP, seed=seed)
    if len(clip_of(infos, range(images))) < 2 + bool(test):
        with pytest.raises(DataError, match="each needs a group"):
            divide(infos, grouped)
        return
    splits = divide(infos, grouped).of(None)
    assert sorted([*splits.train, *splits.validation, *splits.test]) == list(range(images))
    assert splits.train
    assert splits.validation
    assert bool(splits.test) == bool(test)
    parts = [clip_of(infos, part) for part in (splits.train, splits.validation, splits.test)]
    assert sum(map(len, parts)) == len(set().union(*parts))


@settings(deadline=None)
@given(seed=st.integers(0, 5), shuffle=st.randoms(use_true_random=False), group=st.none() | st.just(CLIP))
def test_the_order_of_the_listing_does_not_matter(seed: int, shuffle: random.Random, group: str | None) -> None:
    infos = drawn(50, 3, seed)
    wish = Wish(test=8, folds=3, group=group, seed=seed)
    listed = list(infos)
    shuffle.shuffle(listed)
    one, other = divide(infos, wish), divide(listed, wish)
    for first, second in zip(one.folds, other.folds, strict=True):
        for name in ("train", "validation", "test"):
            ids = {infos[index].image_id for index in getattr(first, name)}
            assert ids == {listed[index].image_id for index in getattr(second, name)}


# --- the same on every machine ---------------------------------------------------------------------------------------


def test_small_cases_are_what_they_were() -> None:
    """Hard-coded: a change of one of these changes the numbers of experiments that people have begun."""
    infos = clips(4, 4, 4, 4)
    assert validated(divide(infos, Wish(folds=4))) == [(2, 5, 6, 13), (4, 8, 9, 10), (0, 7, 12, 14), (1, 3, 11, 15)]
    held_out = divide(infos, Wish(folds=3, test=4))
    assert held_out.test == (0, 7, 9, 14)
    assert validated(held_out) == [(2, 5, 6, 13), (4, 8, 10, 12), (1, 3, 11, 15)]
    plain = divide(infos, Wish(folds=3, stratify=False))
    assert validated(plain) == [(0, 4, 6, 10, 11, 14), (2, 7, 9, 12, 13), (1, 3, 5, 8, 15)]
    assert divide(infos, Wish(validation=4, stratify=True)).of(None).validation == (0, 7, 9, 14)
    grouped = divide(infos, Wish(validation=4, test=4, group=CLIP)).of(None)
    assert (grouped.validation, grouped.test) == ((4, 5, 6, 7), (12, 13, 14, 15))


def test_specs_without_the_new_keys_keep_their_splits() -> None:
    assert make_splits(range(10), validation=0.3, test=2, seed=0) == Splits((1, 2, 3, 5, 8), (0, 4, 6), (7, 9))
    assert make_splits([7, 3, 12, 40, 5, 9], validation=None, test=None, seed=3) == Splits((0, 1, 2, 4, 5), (3,))
    for wish in (Wish(validation=0.3, test=2), Wish(validation=0.3, test=2, stratify=False)):
        assert divide(clips(10), wish) == Division((Splits((1, 2, 3, 5, 8), (0, 4, 6), (7, 9)),))


def test_the_seed_decides() -> None:
    infos = clips(*[5] * 8)
    for wish in (
        {"folds": 4},
        {"folds": 4, "group": CLIP},
        {"validation": 10, "group": CLIP},
        {"validation": 8, "stratify": True},
    ):
        found = {tuple(validated(divide(infos, Wish(**wish, seed=seed)))) for seed in range(6)}
        assert len(found) > 1


# --- balance ---------------------------------------------------------------------------------------------------------


def imbalance(infos: Sequence[ImageInfo], parts: Sequence[Sequence[int]]) -> float:
    """Over classes and empty images, the sum of the parts' deviations from their shares, relative to the total."""
    holdings = [
        Counter([item.label for index in part for item in infos[index].annotations])
        + Counter({0: sum(not infos[index].annotations for index in part)})
        for part in parts
    ]
    totals = sum(holdings, Counter())
    images = sum(map(len, parts))
    return sum(
        abs(holds[label] - total * len(part) / images) / total
        for holds, part in zip(holdings, parts, strict=True)
        for label, total in totals.items()
    )


@pytest.mark.parametrize("seed", range(5))
def test_stratified_splits_are_far_better_balanced_than_random_ones(seed: int) -> None:
    infos = drawn(200, 5, seed)
    plain = imbalance(infos, validated(divide(infos, Wish(folds=5, stratify=False, seed=seed))))
    stratified = imbalance(infos, validated(divide(infos, Wish(folds=5, seed=seed))))
    assert stratified < plain / 2

    one, other = (divide(infos, Wish(validation=40, test=20, stratify=s, seed=seed)).of(None) for s in (True, False))
    assert imbalance(infos, [one.train, one.validation, one.test]) < imbalance(
        infos, [other.train, other.validation, other.test]
    )


@pytest.mark.parametrize("seed", range(5))
def test_few_and_many_objects_are_spread(seed: int) -> None:
    """One class, so that nothing but the number of objects tells images apart."""
    infos = [image(number, [1] * (20 if number % 10 == 0 else 1)) for number in range(100)]
    crowded = [
        sum(len(infos[i].annotations) > 1 for i in fold) for fold in validated(divide(infos, Wish(folds=5, seed=seed)))
    ]
    assert crowded == [2] * 5


def test_a_rare_class_reaches_every_fold_that_it_can() -> None:
    infos = [image(number, [1] + [2] * (number in (3, 50, 51, 97))) for number in range(100)]
    held = [
        sum(2 in [a.label for a in infos[i].annotations] for i in fold)
        for fold in validated(divide(infos, Wish(folds=4)))
    ]
    assert held == [1, 1, 1, 1]


# --- groups ----------------------------------------------------------------------------------------------------------


def test_counts_are_met_as_nearly_as_groups_allow_and_the_rest_is_told() -> None:
    exact = divide(clips(7, 5, 11, 3, 9, 6), Wish(validation=10, group=CLIP))
    # Several sums of these sizes make 10, as 7 + 3.
    assert len(exact.of(None).validation) == 10
    assert exact.notes == ()
    odd = divide(clips(8, 8, 8, 8), Wish(validation=10, group=CLIP))
    assert len(odd.of(None).validation) == 8
    assert odd.notes == ("validation has 8 images instead of 10: groups stay whole",)
    folded = divide(clips(9, 4, 4, 4), Wish(folds=2, stratify=False, group=CLIP))
    assert sorted(map(len, validated(folded))) == [9, 12]
    assert "groups stay whole" in folded.notes[0]


def test_a_group_larger_than_the_validation_split_leaves_none_empty() -> None:
    splits = divide(clips(50, 50), Wish(validation=0.2, group=CLIP)).of(None)
    assert sorted((len(splits.train), len(splits.validation))) == [50, 50]


def test_folders_name_groups_too(tmp_path: Path) -> None:
    infos = [
        ImageInfo(number, tmp_path / "data" / f"video{number // 3}" / f"{number % 3}.jpg", 10, 10)
        for number in range(12)
    ]
    assert image_names(infos)[4] == "video1/1.jpg"
    elsewhere = [
        ImageInfo(i.image_id, Path("/video9/else") / name, 10, 10)
        for i, name in zip(infos, image_names(infos), strict=True)
    ]
    assert image_names(elsewhere) == image_names(infos)
    folds = validated(divide(infos, Wish(folds=4, group=r"^(video\d)/")))
    assert sorted(folds) == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)]


def test_groups_by_several_parts_and_by_the_whole_match() -> None:
    names = ["a1_b1_0", "a1_b1_1", "a1_b2_0", "a1_b22", "other"]
    found = group_images(names, r"(a\d)_(b\d)")
    assert [found.keys.index(key) for key in found.keys] == [0, 0, 2, 2, 4]
    assert found.note == "1 of 5 images do not match `group` and stand alone: other"
    assert group_images(names, r"a\d_b\d").count == 3
    # ("a", "bc") and ("ab", "c") are two groups.
    assert group_images(["a-bc", "ab-c"], r"(\w+)-(\w+)").count == 2


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(DataError, match=r"matches none of the 8 images' names, as 'clip0_000.jpg'"):
        divide(clips(4, 4), Wish(folds=2, group=r"^(video\d+)_"))


def test_the_refusals() -> None:
    with pytest.raises(DataError, match="folds: 3 images cannot make 4 folds"):
        divide(clips(3), Wish(folds=4))
    with pytest.raises(DataError, match="folds: 2 groups cannot make 3 folds"):
        divide(clips(3, 4), Wish(folds=3, group=CLIP))
    with pytest.raises(DataError, match="test: 6 images cannot give 6 and leave some for the folds"):
        divide(clips(6), Wish(folds=3, test=6))
    with pytest.raises(DataError, match="folds: 2 images beside the test split cannot make 3 folds"):
        divide(clips(6), Wish(folds=3, test=4))
    brought = {"train": [0, 1, 2], "val": [3], "test": [4, 5]}
    for wish, key in ((Wish(group=CLIP), "group"), (Wish(stratify=True), "stratify")):
        with pytest.raises(DataError, match=f"{key}: the data brings its own splits"):
            divide(clips(3, 3), wish, brought)


def test_folds_leave_the_datas_own_test_split_alone() -> None:
    brought = {"train": [0, 1, 2, 3], "val": [4, 5], "test": [6, 7]}
    division = divide(clips(4, 4), Wish(folds=2), brought)
    assert division.test == (6, 7)
    assert sorted(index for fold in validated(division) for index in fold) == [0, 1, 2, 3, 4, 5]
    assert "own test split (2 images) is held out" in division.notes[0]
    with pytest.raises(DataError, match=r"own test split has a part of the group of clip1_000\.jpg"):
        divide(clips(4, 4), Wish(folds=2, group=CLIP), brought)
    assert divide(clips(4, 4), Wish(folds=2, test=0), brought).test == ()


def test_the_datas_own_test_split_never_trains() -> None:
    """Data with training and test images and none to select on, as VOC 2007's, or many exports."""
    brought = {"train": [0, 1, 2, 3, 4, 5], "test": [6, 7]}
    division = divide(clips(4, 4), Wish(), brought)
    (splits,) = division.folds
    assert splits.test == division.test == (6, 7)
    assert len(splits.validation) == 1
    assert sorted((*splits.train, *splits.validation)) == [0, 1, 2, 3, 4, 5]
    assert "1 of its 6 training images are it; its own test split (2 images) is kept" in division.notes[0]
    apart = {"train": [0, 1, 2, 3], "test": [4, 5, 6, 7]}
    with pytest.raises(DataError, match="1 groups cannot be divided into"):
        divide(clips(4, 4), Wish(group=CLIP), apart)
    with pytest.raises(DataError, match=r"own test split has a part of the group of clip1_000\.jpg"):
        divide(clips(4, 4), Wish(group=CLIP), brought)
    with pytest.raises(DataError, match="'train' and 'test' share 1 images"):
        divide(clips(4, 4), Wish(), {"train": [0, 1, 6], "test": [6, 7]})
    assert divide(clips(4, 4), Wish(validation=2), brought).test == ()
    assert divide(clips(4, 4), Wish(), {"test": [6, 7]}).test == ()  # and nothing to train on apart


def test_apportioning_is_by_highest_averages() -> None:
    """Ten alike units in shares of 7 and 3, dealt so that no part is ever far ahead."""
    units = [Unit((number,), bytes([number])) for number in range(10)]
    first, second = apportion(units, [7, 3])
    assert (len(first), len(second)) == (7, 3)
    assert [unit.members[0] for unit in second] == [1, 4, 8]


# --- lists of names --------------------------------------------------------------------------------------------------


def names_file(folder: Path, name: str, *lines: str) -> Path:
    file = folder / name
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_lists_name_the_images(tmp_path: Path) -> None:
    infos = clips(4, 4)
    validation = names_file(tmp_path, "val.txt", "# two ways to say it", "", "clip0_001", "./images/clip1_002.jpg")
    test = names_file(tmp_path, "test.txt", "clip1_003.jpg", "clip1_003.jpg")
    assert divide(infos, Wish(validation=validation, test=test)).of(None) == Splits((0, 2, 3, 4, 5), (1, 6), (7,))
    train = names_file(tmp_path, "train.txt", "clip0_000.jpg", "clip0_002.jpg")
    named = divide(infos, Wish(validation=validation, test=test, train=train))
    assert named.of(None) == Splits((0, 2), (1, 6), (7,))
    assert named.notes == ("3 of 8 images are in no list, and are not used",)
    # The data's own splits do not count then.
    assert divide(infos, Wish(validation=validation), {"train": [0], "val": [2]}).of(None).validation == (1, 6)


def test_a_list_of_test_images_goes_with_all_other_ways(tmp_path: Path) -> None:
    infos = clips(4, 4, 4)
    test = names_file(tmp_path, "test.txt", *(f"clip1_00{frame}.jpg" for frame in range(4)))
    folded = divide(infos, Wish(test=test, folds=2, group=CLIP))
    assert folded.test == (4, 5, 6, 7)
    assert sorted(validated(folded)) == [(0, 1, 2, 3), (8, 9, 10, 11)]
    for wish in (Wish(test=test, validation=3), Wish(test=test, validation=3, stratify=True)):
        splits = divide(infos, wish).of(None)
        assert splits.test == (4, 5, 6, 7)
        assert len(splits.validation) == 3
        assert sorted([*splits.train, *splits.validation]) == [0, 1, 2, 3, 8, 9, 10, 11]
    part = names_file(tmp_path, "part.txt", "clip1_000")
    for wish in (Wish(test=part, folds=2, group=CLIP), Wish(test=part, validation=4, group=CLIP)):
        with pytest.raises(DataError, match=r"the list of test has a part of the group of clip1_001\.jpg"):
            divide(infos, wish)


def test_what_is_wrong_with_lists_is_told_by_line(tmp_path: Path) -> None:
    folders = [ImageInfo(n, tmp_path / part / "a.jpg", 10, 10) for n, part in enumerate(("x", "y", "z"))]
    validation = names_file(tmp_path, "val.txt", "x/a.jpg", "a.jpg", "w/a.jpg", "x/b.jpg")
    test = names_file(tmp_path, "test.txt", "y/a.jpg", "x/a")
    with pytest.raises(DataError) as refused:
        divide(folders, Wish(validation=validation, test=test))
    said = str(refused.value)
    assert "have 4 faults" in said
    assert f"{validation}:2: 'a.jpg' may mean 3 images: x/a.jpg, y/a.jpg, z/a.jpg" in said
    assert f"{validation}:3: no image is named 'w/a.jpg'; did you mean" in said
    assert f"{validation}:4: no image is named 'x/b.jpg'" in said
    assert f"{test}:2: 'x/a.jpg' is in validation too, by {validation}:1" in said
    with pytest.raises(DataError, match=r"nowhere\.txt cannot be read: No such file"):
        divide(folders, Wish(validation=tmp_path / "nowhere.txt"))
    with pytest.raises(DataError, match=r"empty\.txt names no image"):
        divide(folders, Wish(validation=names_file(tmp_path, "empty.txt", "# none")))
    with pytest.raises(DataError, match="leave no image to train on"):
        divide(folders, Wish(validation=names_file(tmp_path, "all.txt", "x/a", "y/a", "z/a")))
