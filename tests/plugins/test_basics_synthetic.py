"""The embedded dataset: the same bytes everywhere, boxes and masks of what is visible."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from detkit import BOXES_AND_MASKS, BuildContext, Dataset
from detkit.data.targets import info_from_target
from detkit_basics import SYNTHETIC, SyntheticOptions
from detkit_basics.scenes import Dice, Street, draw_scene


def dataset(**options: Any) -> Dataset:
    return SYNTHETIC.build(SyntheticOptions(**options), BuildContext())


@pytest.mark.parametrize(
    ("arguments", "objects", "distractors", "digest"),
    [
        ((0, 0, 160, 128), (0, 4), 5, "bfecceb924a7fce98cba934ce2cd6576004717ae25e677be8a53c8e81bd04995"),
        ((7, 3, 97, 65), (1, 6), 8, "e1cbdb5ca2f48943e62c0fccf8b6942de860957283ca0583ef4d0b3367fdf7f7"),
    ],
)
def test_the_same_bytes_on_every_machine(
    arguments: tuple[int, int, int, int], objects: tuple[int, int], distractors: int, digest: str
) -> None:
    """These digests hold for ever: who changes the drawing changes everybody's numbers, and says so in CHANGELOG."""
    scene = draw_scene(*arguments, objects=objects, distractors=distractors)
    assert hashlib.sha256(scene.pixels.tobytes() + scene.owners.tobytes()).hexdigest() == digest


def test_an_image_depends_on_its_index_and_not_on_the_others() -> None:
    few, many = dataset(images=3), dataset(images=50)
    many[49], many[0]
    assert torch.equal(few[2][0], many[2][0])
    assert not torch.equal(few[2][0], few[1][0])
    assert not torch.equal(few[2][0], dataset(images=3, seed=1)[2][0])


def test_targets_have_the_contracts_form() -> None:
    data = dataset(images=20)
    assert len(data) == 20
    assert data.class_names == ("pedestrian",)
    assert data.provides == BOXES_AND_MASKS
    for index in range(20):
        image, target = data[index]
        count = len(target["labels"])
        assert image.dtype == torch.uint8
        assert image.shape == (3, 128, 160)
        assert image.is_contiguous()
        assert target["image_id"] == index
        assert target["boxes"].shape == (count, 4)
        assert target["boxes"].dtype == target["area"].dtype == torch.float32
        assert target["masks"].shape == (count, 128, 160)
        assert target["masks"].dtype == torch.uint8
        assert target["labels"].tolist() == [1] * count
        assert target["labels"].dtype == torch.int64
        assert target["iscrowd"].tolist() == [False] * count


def test_info_agrees_with_the_target() -> None:
    data = dataset(images=20)
    for index in range(20):
        info, derived = data.info(index), info_from_target(*data[index])
        assert (info.image_id, info.width, info.height, info.path) == (index, 160, 128, None)
        assert info.label == f"scene {index}"
        assert [(a.label, a.box, a.area, a.mask) for a in info.annotations] == [
            (a.label, a.box, a.area, a.mask) for a in derived.annotations
        ]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    index=st.integers(0, 10**6),
    width=st.integers(64, 200),
    height=st.integers(64, 200),
    most=st.integers(0, 12),
    distractors=st.integers(0, 12),
)
def test_any_scene_is_sound(seed: int, index: int, width: int, height: int, most: int, distractors: int) -> None:
    options = SyntheticOptions(
        seed=seed, images=index + 1, width=width, height=height, objects=(0, most), distractors=distractors
    )
    data = SYNTHETIC.build(options, BuildContext())
    image, target = data[index]
    assert image.shape == (3, height, width)
    assert len(target["labels"]) <= most
    masks = target["masks"].numpy()
    assert masks.sum(axis=0).max(initial=0) <= 1, "a pixel shows one pedestrian"
    for box, mask, area in zip(target["boxes"].tolist(), masks, target["area"].tolist(), strict=True):
        rows, columns = np.nonzero(mask)
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert area == mask.sum() > 0


def test_the_number_of_pedestrians() -> None:
    data = dataset(images=120)
    counts = [len(data.info(index).annotations) for index in range(120)]
    assert set(counts) == {0, 1, 2, 3, 4}
    assert all(len(dataset(objects=(2, 2)).info(index).annotations) == 2 for index in range(20))
    assert all(not dataset(objects=(0, 0)).info(index).annotations for index in range(5))


@pytest.mark.parametrize(("width", "drawn"), [(5, True), (6, False)])
@pytest.mark.parametrize("is_pedestrian", [True, False])
def test_nobody_hides_too_much_of_another(width: int, drawn: bool, is_pedestrian: bool) -> None:
    """Of the first one's ten columns, 45 % must stay visible: five may be covered, six not."""
    street = Street.empty(Dice(0, 0), 200, 200)
    palette = np.array([[0, 0, 0, 0], [1, 2, 3, 0], [4, 5, 6, 0]], dtype=np.uint8)
    assert street.paste(np.full((20, 10), 1, np.uint8), palette, 50, 100, is_pedestrian=True)
    before = street.canvas.copy(), street.owners.copy()
    second = street.paste(np.full((20, width), 2, np.uint8), palette, 50, 100, is_pedestrian=is_pedestrian)
    assert second is drawn
    if drawn:
        assert street.canvas[110, 50].tolist() == [4, 5, 6, 0]
        assert street.owners[110, 50] == (2 if is_pedestrian else 0)
        assert street.owners[110, 55] == 1
    else:
        assert np.array_equal(street.canvas, before[0])
        assert np.array_equal(street.owners, before[1])


def test_what_is_outside_the_image_is_cut_off() -> None:
    street = Street.empty(Dice(0, 0), 200, 200)
    palette = np.array([[0, 0, 0, 0], [1, 2, 3, 0]], dtype=np.uint8)
    assert street.paste(np.full((20, 10), 1, np.uint8), palette, -4, 190, is_pedestrian=True)
    assert street.whole == [60]
    assert street.owners.sum() == street.owners[190:, :6].sum() == 60
    assert not street.paste(np.full((20, 10), 1, np.uint8), palette, 200, 0, is_pedestrian=True)


def test_sizes_differ_as_in_a_street() -> None:
    data = dataset()
    heights = [a.box[3] - a.box[1] for i in range(120) for a in data.info(i).annotations]
    assert min(heights) < 128 * 0.3
    assert max(heights) > 128 * 0.6


def test_what_a_caller_changes_stays_its_own() -> None:
    data = dataset(images=1, objects=(1, 1))
    image, target = data[0]
    before = image.clone(), target["masks"].clone()
    image.zero_()
    target["masks"].zero_()
    target["boxes"].zero_()
    again, same = data[0]
    assert torch.equal(again, before[0])
    assert torch.equal(same["masks"], before[1])
    assert same["boxes"].any()


def test_scenes_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def counted(seed: int, index: int, *size: int, **more: Any) -> Any:
        drawn.append(index)
        return draw_scene(seed, index, *size, **more)

    monkeypatch.setattr("detkit_basics.synthetic.draw_scene", counted)
    data = dataset(images=4)
    first = data.info(1), data[1], data[1]
    assert drawn == [1]
    assert len(first) == 3
    monkeypatch.setattr("detkit_basics.synthetic.CACHE_LIMIT_BYTES", 1000)
    large = dataset(images=4)
    large[1], large[1]
    assert drawn == [1, 1, 1]


def test_an_index_beyond_the_end_is_an_index_error() -> None:
    data = dataset(images=2)
    assert data[-1][1]["image_id"] == 1
    for act in (data.info, data.__getitem__):
        with pytest.raises(IndexError):
            act(2)


def test_dice_are_fair_and_include_both_ends() -> None:
    dice = Dice(0, 0)
    throws = [dice.between(1, 6) for _ in range(6000)]
    assert set(throws) == {1, 2, 3, 4, 5, 6}
    assert all(850 < throws.count(face) < 1150 for face in range(1, 7))
    assert len(dice.noise(13)) == 13


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"objects": (3, 2)}, "the fewest (3) are more than the most (2)"),
        ({"objects": (0, 51)}, "objects"),
        ({"images": 0}, "images"),
        ({"width": 63}, "width"),
        ({"height": 4096}, "height"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_that_make_no_sense(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SyntheticOptions(**wrong)
    assert message in str(caught.value)


def test_options_are_read_as_a_spec_states_them() -> None:
    options = SyntheticOptions.model_validate_json('{"objects": [1, 2], "width": 64}', strict=True)
    assert options.objects == (1, 2)
