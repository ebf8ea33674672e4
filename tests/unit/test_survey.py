"""What `detkit data show` counts and chooses, against numbers made by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detkit.components import Dataset
from detkit.data.splits import Division, Splits
from detkit.data.types import RLE, Annotation, ImageInfo
from detkit.spec.model import InputTable
from detkit.survey.collect import Collected, Unreadable
from detkit.survey.counts import Bar, ClassCount, Range, SizeCount, columns, count, input_scale, number_bars
from detkit.survey.plots import CELLS, plot_data, sampled
from detkit.survey.selection import in_turn
from detkit.survey.source import Source
from detkit.survey.terminal import shown_name, tables

NAN = float("nan")


class Nothing(Dataset):
    """A dataset of which only the class names are asked for."""

    class_names = ("cat", "dog", "emu")

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int, /) -> Any:
        raise AssertionError("no pixels are needed")


def thing(label: int, box: tuple[float, float, float, float], **more: Any) -> Annotation:
    area = (box[2] - box[0]) * (box[3] - box[1])
    return Annotation(label, box, more.pop("area", area), **more)


def image(number: int, *objects: Annotation, size: tuple[int, int] = (200, 100)) -> ImageInfo:
    return ImageInfo(number, None, *size, objects, name=f"{number}.jpg")


def collected(infos: Sequence[ImageInfo | None], division: Division | None) -> Collected:
    broken = {index: Unreadable(f"{index}.jpg", None, "is empty") for index, info in enumerate(infos) if info is None}
    return Collected(Nothing(), tuple(infos), broken, 0, division)


def source(least: int = 100, most: int = 200) -> Source:
    size = InputTable(min_size=least, max_size=most)
    return Source("x.toml", Path(), None, None, "error", size)  # type: ignore[arg-type]  # neither is looked at


MASK = RLE(size=[100, 200], counts="x")
INFOS = (
    image(0, thing(1, (0, 0, 10, 20)), thing(1, (0, 0, 40, 40)), thing(2, (0, 0, 100, 100), mask=MASK, area=900.0)),
    image(1, thing(1, (50, 50, 60, 50)), thing(2, (0, 0, NAN, 5)), thing(2, (0, 0, 200, 100), iscrowd=True)),
    image(2),
    None,
    image(4, thing(1, (0, 0, 32, 32)), size=(100, 400)),
)
DIVISION = Division((Splits((0, 3), (1, 2), (4,)),))


def test_the_numbers_of_a_small_dataset() -> None:
    counts = count(collected(INFOS, DIVISION), source())
    everything = counts.everything
    assert (everything.images, everything.without_objects, everything.unreadable, everything.objects) == (5, 1, 1, 7)
    assert everything.classes == (ClassCount("cat", 3, 4), ClassCount("dog", 2, 3), ClassCount("emu", 0, 0))
    told = [(part.title, part.images, part.without_objects, part.unreadable, part.objects) for part in counts.parts]
    assert told == [("train", 2, 0, 1, 3), ("validation", 2, 1, 0, 3), ("test", 1, 0, 0, 1)]
    assert [[one.objects for one in part.classes] for part in counts.parts] == [[2, 1, 0], [1, 2, 0], [1, 0, 0]]
    assert (counts.boxes_without_area, counts.crowds, counts.masks, counts.left_out) == (2, 1, 1, 0)
    assert counts.image_width == Range(100, 200, 175, 200)
    assert counts.image_height == Range(100, 100, 175, 400)
    assert counts.distinct_sizes == 2
    assert counts.common_sizes == (SizeCount(200, 100, 3), SizeCount(100, 400, 1))
    assert counts.per_image == Range(0, 2, 1.75, 3)
    assert [bar.count for bar in counts.boxes_per_image] == [1, 1, 0, 2]


def test_sizes_and_shapes_are_of_boxes_with_area_without_crowds() -> None:
    counts = count(collected(INFOS, DIVISION), source())
    assert counts.box_width == Range(10, 36, 45.5, 100)
    assert counts.box_height == Range(20, 36, 48, 100)
    # By area: 200, 1600, the mask's 900, and 32 x 32, which is not small any more.
    assert counts.box_sizes == (Bar("small", 2), Bar("medium", 2), Bar("large", 0))
    shapes = {bar.name: bar.count for bar in counts.box_aspects if bar.count}
    assert shapes == {"1.4 to 2 high": 1, "1 to 1.4 wide": 3}


def test_a_shape_that_is_a_limit_belongs_to_the_wider_ones() -> None:
    infos = [image(0, *(thing(1, (0, 0, width, 8)) for width in (1, 2, 4, 8, 16, 32)))]
    counts = count(collected(infos, None), source())
    assert {bar.name: bar.count for bar in counts.box_aspects if bar.count} == {
        "over 4 high": 1,
        "2 to 4 high": 1,
        "1.4 to 2 high": 1,
        "1 to 1.4 wide": 1,
        "2 to 4 wide": 1,
        "over 4 wide": 1,
    }
    assert counts.parts == ()


def test_sizes_as_models_see_them() -> None:
    size = InputTable(min_size=100, max_size=200)
    assert input_scale(200, 100, size) == 1
    assert input_scale(100, 400, size) == 0.5
    assert input_scale(50, 50, size) == 2
    counts = count(collected(INFOS, DIVISION), source())
    assert counts.input_box_sizes == (Bar("small", 3), Bar("medium", 1), Bar("large", 0))
    larger = count(collected(INFOS, DIVISION), source(400, 1600))
    assert larger.input_box_sizes == (Bar("small", 0), Bar("medium", 1), Bar("large", 3))


def test_folds_are_parts_of_their_own() -> None:
    folds = Division((Splits((0,), (1, 2), (4,)), Splits((1, 2), (0,), (4,))), folded=True)
    counts = count(collected(INFOS, folds), source())
    assert [(part.title, part.objects) for part in counts.parts] == [
        ("fold 1 train", 3),
        ("fold 1 validation", 3),
        ("fold 2 train", 3),
        ("fold 2 validation", 3),
        ("test", 1),
        ("unused", 0),
    ]
    assert collected(INFOS, folds).part_of(2) == {0: "validation", 1: "train", 2: "train", 3: "unused", 4: "test"}


def test_nothing_to_measure() -> None:
    counts = count(collected([image(0), None], None), source())
    assert counts.box_width is None
    assert counts.boxes_per_image == (Bar("0", 1),)
    assert [heading for heading, _ in tables(counts)][-1] == "objects in an image"
    broken = count(collected([None], None), source())
    assert broken.image_width is None
    assert broken.boxes_per_image == ()
    assert json.dumps(broken.to_dict(), allow_nan=False)
    assert [heading for heading, _ in tables(broken)] == ["objects of each class"]


def test_an_unknown_label_is_no_class() -> None:
    counts = count(collected([image(0, thing(9, (0, 0, 5, 5)), thing(0, (0, 0, 5, 5)))], None), source())
    assert counts.everything.objects == 2
    assert [one.objects for one in counts.everything.classes] == [0, 0, 0]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0, 2, 2], {"0": 1, "1": 0, "2": 2}),
        ([0, 1, 3, 4, 5, 8, 9, 16, 17], {"0": 1, "1": 1, "2": 0, "3-4": 2, "5-8": 2, "9-16": 2, "17-32": 1}),
    ],
)
def test_histograms_of_numbers(numbers: list[int], expected: dict[str, int]) -> None:
    assert {bar.name: bar.count for bar in number_bars(np.array(numbers))} == expected


# --- for the plots ---------------------------------------------------------------------------------------------------


def test_what_the_plots_show() -> None:
    plots = plot_data(collected(INFOS, DIVISION))
    assert plots["sizes"] == [[200, 100, 3], [100, 400, 1]]
    assert plots["boxes"] == [[10, 20, 1], [40, 40, 1], [100, 100, 2], [32, 32, 1]]
    assert (plots["sizesLeft"], plots["boxesLeft"]) == (0, 0)
    assert plots["perImage"] == [[0, 1], [1, 1], [3, 2]]
    assert sum(plots["aspects"]) == 4
    assert sum(map(sum, plots["centres"])) == 4
    # The first box's centre is (5, 10) of 200 x 100; that of the last is (16, 16) of 100 x 400.
    assert plots["centres"][10 * CELLS // 100][5 * CELLS // 200] == 1
    assert plots["centres"][16 * CELLS // 400][16 * CELLS // 100] == 1
    assert json.dumps(plots, allow_nan=False)


def test_of_many_boxes_each_class_keeps_some() -> None:
    labels = np.array([1] * 9990 + [2] * 10)
    found = sampled(labels, 100)
    assert len(found) == 100
    assert found == sorted(set(found))
    assert labels[found].tolist().count(2) == 1
    assert found[:2] == [0, 100]
    assert sampled(labels[:100], 100) == list(range(100))


# --- the choice of images --------------------------------------------------------------------------------------------


def many(count: int) -> list[ImageInfo | None]:
    """Each has a cat; one in ten a dog; the last one an emu; one in seven is empty."""
    box = (0, 0, 5, 5)
    infos: list[ImageInfo | None] = []
    for number in range(count):
        last = number == count - 1
        labels = [] if number % 7 == 3 and not last else [1] + [2] * (number % 10 == 0) + [3] * last
        infos.append(image(number, *(thing(label, box) for label in labels)))
    return infos


def test_rare_classes_and_all_splits_are_chosen() -> None:
    infos = many(200)
    part_of = {index: "train" if index < 160 else "validation" if index < 190 else "test" for index in range(200)}
    order = list(in_turn(infos, part_of, 0))
    assert sorted(order) == list(range(200))
    first = order[:12]
    assert first[0] == 199
    assert {part_of[index] for index in first} == {"train", "validation", "test"}
    dogs = sum(any(item.label == 2 for item in infos[index].annotations) for index in first if infos[index])  # type: ignore[union-attr]
    empty = sum(not infos[index].annotations for index in first)  # type: ignore[union-attr]
    assert dogs >= 3
    assert 3 <= empty <= 5


def test_a_class_that_others_have_brought_passes_its_turn() -> None:
    box = (0, 0, 5, 5)
    infos = [image(number, thing(1, box), *[thing(2, box)] * (number % 4 == 0)) for number in range(20)]
    order = list(in_turn(infos, {}, 0))
    assert sorted(order[:5]) == [0, 4, 8, 12, 16]


def test_the_choice_depends_on_the_seed_and_not_on_the_order() -> None:
    infos = many(100)
    order = list(in_turn(infos, {}, 1))
    assert order == list(in_turn(infos, {}, 1))
    assert order != list(in_turn(infos, {}, 2))
    turned = list(reversed(infos))
    assert [99 - index for index in in_turn(turned, {}, 1)] == order


def test_unreadable_images_are_not_chosen() -> None:
    infos = many(10)
    infos[4] = None
    assert 4 not in list(in_turn(infos, {}, 0))
    assert list(in_turn([None], {}, 0)) == []
    assert list(in_turn([], {}, 0)) == []


# --- as text ---------------------------------------------------------------------------------------------------------


def lines(infos: Sequence[ImageInfo | None], division: Division | None) -> list[str]:
    from detkit.cli.console import plain_table

    found: list[str] = []
    for heading, (head, rows, right) in tables(count(collected(infos, division), source()), fill="#"):
        found += [*heading.splitlines(), *plain_table(head, rows, right=right)]
    return found


def test_all_of_it_fits_80_columns() -> None:
    thousands = [replace(info, image_id=number) for number, info in enumerate(many(1000)) if info]
    for division in (None, Division((Splits(tuple(range(800)), tuple(range(800, 1000))),))):
        assert max(map(len, lines(thousands, division))) <= 80
    parts = [tuple(range(start, 1000, 10)) for start in range(10)]
    folds = Division(tuple(Splits(tuple(set(range(1000)) - set(part)), part) for part in parts), folded=True)
    text = lines(thousands, folds)
    assert max(map(len, text)) <= 80
    assert sum(line.startswith("cat ") for line in text) == 2


def test_bars_are_as_long_as_their_numbers() -> None:
    text = lines([image(0, *[thing(1, (0, 0, 5, 5))] * 100, thing(2, (0, 0, 5, 5)))], None)
    cat, dog, emu = (next(line for line in text if line.startswith(name)) for name in ("cat", "dog", "emu"))
    assert cat.count("#") == 40
    assert dog.count("#") == 1
    assert emu.count("#") == 0


def test_names_are_one_line_of_letters() -> None:
    assert shown_name("cat") == "cat"
    assert shown_name("a\nb\x1b[31m") == r"a\nb\x1b[31m"
    assert shown_name("x" * 50) == "x" * 27 + "\u2026"


def test_columns_of_nothing() -> None:
    assert columns([image(0)]).box.shape == (0, 4)
    assert columns([None]).measured.tolist() == []
