"""Outlines of masks: drawn again by two independent rules they must be the mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from detkit.data.targets import encode_masks
from detkit.data.types import RLE
from detkit_comet.polygons import AREA_CHANGE, outlines, polygons

Mask = NDArray[np.uint8]


def rle(mask: Any) -> RLE:
    return encode_masks(np.asarray(mask, dtype=np.uint8)[None])[0]


def drawn(outline: list[list[float]], height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Winding numbers at the pixels' centres, int64 [H, W]; and how often a ray crosses an edge, modulo 2."""
    winding = np.zeros((height, width), dtype=np.int64)
    crossings = np.zeros((height, width), dtype=np.int64)
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    for ring in outline:
        points = np.array(ring).reshape(-1, 2)
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            rows = (min(y0, y1) < y) & (y < max(y0, y1))
            if rows.any():
                at = x0 + (y[rows] - y0) / (y1 - y0) * (x1 - x0)
                right = (x[None, :] > at[:, None]).astype(np.int64)
                winding[rows] += right if y1 > y0 else -right
                crossings[rows] += right
    return winding, crossings % 2


def filled(outline: list[list[float]], height: int, width: int) -> Mask:
    """By the non-zero rule."""
    return np.asarray(drawn(outline, height, width)[0] != 0, dtype=np.uint8)


def iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


MASKS = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(
    lambda size: arrays(np.uint8, size, elements=st.integers(0, 1))
)


@settings(max_examples=300, deadline=None)
@given(MASKS)
def test_without_a_tolerance_both_rules_fill_exactly_the_mask(mask: Mask) -> None:
    winding, crossings = drawn(polygons(rle(mask), 0), *mask.shape)
    np.testing.assert_array_equal(winding, mask)  # 1 inside, not only non-zero: rings never lie over each other
    np.testing.assert_array_equal(crossings, mask)


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5)).flatmap(
        lambda size: arrays(np.uint8, (size[2], *size[:2]), elements=st.integers(0, 1))
    ),
    st.sampled_from([0.0, 1.0]),
)
def test_many_masks_at_once_are_each_as_alone(masks: Mask, tolerance: float) -> None:
    alone = [polygons(rle(mask), tolerance) for mask in masks]
    assert outlines([rle(mask) for mask in masks], tolerance) == alone


def blob(generator: np.random.Generator, height: int = 160, width: int = 200) -> Mask:
    """A star with a hole, somewhere; partly outside."""
    y, x = np.mgrid[:height, :width] + 0.5
    cy, cx = generator.uniform(0, height), generator.uniform(0, width)
    angle = np.arctan2(y - cy, x - cx)
    radius = generator.uniform(20, 60) * (1 + 0.3 * np.sin(generator.integers(3, 8) * angle + generator.uniform(0, 6)))
    distance = np.hypot(y - cy, x - cx)
    return np.asarray((distance < radius) & (distance > generator.uniform(0.2, 0.5) * radius), dtype=np.uint8)


def test_simplified_outlines_stay_close_and_are_much_shorter() -> None:
    generator = np.random.default_rng(3)
    masks = [blob(generator) for _ in range(40)]
    exact, simple = (outlines([rle(mask) for mask in masks], tolerance) for tolerance in (0.0, 1.0))
    for mask, outline in zip(masks, simple, strict=True):
        assert iou(mask, filled(outline, *mask.shape)) > 0.93
    numbers = [sum(len(ring) for outline in found for ring in outline) for found in (exact, simple)]
    assert numbers[1] < numbers[0] / 5


@settings(max_examples=200, deadline=None)
@given(MASKS, st.sampled_from([0.5, 1.0, 3.0]))
def test_no_simplified_point_is_new_and_no_ring_loses_its_shape(mask: Mask, tolerance: float) -> None:
    def corners(outline: list[list[float]]) -> set[tuple[float, float]]:
        return {(ring[i], ring[i + 1]) for ring in outline for i in range(0, len(ring), 2)}

    exact, simple = polygons(rle(mask), 0), polygons(rle(mask), tolerance)
    assert corners(simple) <= corners(exact)
    assert bool(simple) == bool(mask.any())
    assert all(len(ring) >= 6 and len(ring) % 2 == 0 for ring in simple)


def area(ring: list[float]) -> float:
    x, y = np.array(ring).reshape(-1, 2).T
    return abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) / 2


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.0, 5.0])
def test_thin_and_small_masks_keep_their_area(tolerance: float) -> None:
    line = np.zeros((40, 40), dtype=np.uint8)
    line[7, 3:30] = 1
    stairs = np.eye(40, dtype=np.uint8)
    point = np.zeros((40, 40), dtype=np.uint8)
    point[0, 39] = 1
    frame = np.ones((40, 40), dtype=np.uint8)
    frame[1:-1, 1:-1] = 0
    for mask in (line, stairs, point, np.ones((40, 40), dtype=np.uint8)):
        (ring,) = polygons(rle(mask), tolerance)
        assert area(ring) == pytest.approx(float(mask.sum()), rel=AREA_CHANGE)
    (ring,) = polygons(rle(frame), tolerance)
    np.testing.assert_array_equal(filled([ring], 40, 40), frame)


def test_known_outlines() -> None:
    assert polygons(rle([[0, 0, 0], [0, 0, 1]]), 0) == [[2.0, 1.0, 2.0, 2.0, 3.0, 2.0, 3.0, 1.0]]
    assert polygons(rle([[1]]), 5) == [[0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]]
    assert polygons(rle([[0, 0]]), 0) == []
    assert len(polygons(rle([[1, 0], [0, 1]]), 0)) == 1, "pixels that touch at a corner belong together"
    assert len(polygons(rle([[1, 0, 1]]), 0)) == 2
    ring = np.ones((3, 3), dtype=np.uint8)
    ring[1, 1] = 0
    (joined,) = polygons(rle(ring), 0)
    assert len(joined) == 2 * (4 + 4 + 2), "four corners, four of the hole, and the bridge's ends twice"


def test_a_part_in_a_hole_and_a_hole_in_that_part() -> None:
    mask = np.zeros((30, 30), dtype=np.uint8)
    mask[2:28, 2:28] = 1
    mask[5:25, 5:25] = 0
    mask[8:22, 8:22] = 1
    mask[11:19, 11:14] = mask[11:19, 16:19] = 0
    outline = polygons(rle(mask), 0.5)
    assert len(outline) == 2
    np.testing.assert_array_equal(drawn(outline, 30, 30)[0], mask)


def test_specks_go_with_a_tolerance_but_never_the_largest_part() -> None:
    mask = np.zeros((20, 20), dtype=np.uint8)
    mask[2:10, 2:10] = 1
    mask[5, 5] = 0
    mask[15, 15] = 1
    assert len(polygons(rle(mask), 0)) == 2
    assert len(polygons(rle(mask), 0.9)) == 2
    (ring,) = polygons(rle(mask), 1.0)
    assert ring == [2.0, 2.0, 2.0, 10.0, 10.0, 10.0, 10.0, 2.0], "without the hole of a pixel"
    specks = np.zeros((20, 20), dtype=np.uint8)
    specks[3, 3] = specks[9, 9] = 1
    assert len(polygons(rle(specks), 2.0)) == 1


def test_scale_and_digits() -> None:
    (masks,) = outlines([rle([[0, 1], [0, 1]])], 0, (1 / 3, 2.0), 2)
    assert masks == [[0.33, 0.0, 0.33, 4.0, 0.67, 4.0, 0.67, 0.0]]


def test_values_are_plain_floats() -> None:
    (ring,) = polygons(rle([[1, 1], [1, 0]]), 1.0)
    assert all(type(value) is float for value in ring)


@pytest.mark.parametrize("counts", ["", "0", "04", "_"])
def test_damaged_runs_are_told(counts: str) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        polygons(RLE(size=[2, 3], counts=counts), 0)


def test_masks_of_two_images_are_refused() -> None:
    with pytest.raises(ValueError, match="different sizes"):
        outlines([rle([[1]]), rle([[1, 1]])], 0)
