"""Masks as polygons: exact outlines of the pixels, holes joined to what is around them, simplified within a tolerance.

Pixel (row i, column j) covers [j, j + 1] x [i, i + 1]. Outlines are read from the run lengths, for all masks of an
image at once, without decoding a pixel: the masks are laid side by side, the places where columns of pixels change give
the corners, and corners on one line belong together in pairs. So the work grows with the outlines' lengths, not with
the image, and a mask of one pixel is a square, of which contours through the pixels' centres would make a rhombus of
half its area.

Pixels that touch at a corner belong together, as in OpenCV's contours; holes that touch at a corner do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detkit.data.types import RLE

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
#: Points as x + iy.
Plane = NDArray[np.complex128]

#: How often a ring that its tolerance would spoil is tried again with half of it, before all its corners are kept.
RETRIES = 3
#: The share of a ring's area that simplification may add or take.
AREA_CHANGE = 0.25


def polygons(rle: RLE, tolerance: float) -> list[list[float]]:
    """The outlines of one mask: see `outlines`."""
    return outlines([rle], tolerance)[0]


def outlines(
    rles: Sequence[RLE], tolerance: float, scale: tuple[float, float] = (1.0, 1.0), digits: int | None = None
) -> list[list[list[float]]]:
    """The outlines of masks of one image, one list a mask, empty where the mask is.

    Each outline is [x1, y1, x2, y2, ...], closed, of one component of the mask. A hole is joined to the outline around
    it by a line there and back, and runs the other way round: it stays open under the even-odd and under the non-zero
    rule. With a tolerance of 0 outlines cover exactly the mask's pixels. Else, within the tolerance:

    - corners are left out as Douglas and Peucker do, but a ring keeps three points and three quarters of its area:
      where it would not, its own tolerance is halved, and at last it keeps all its corners;
    - holes, and components other than a mask's largest, that are not longer than the tolerance in either direction are
      left out.

    Args:
        rles: compressed, of the same size.
        tolerance: pixels of the masks, 0 or more.
        scale: what x and y are multiplied with at the end.
        digits: what they are rounded to; None: not at all.

    Raises:
        ValueError: masks of several sizes, or runs that do not fill the mask.
    """
    if not rles:
        return []
    height, width = rles[0]["size"]
    if any(tuple(rle["size"]) != (height, width) for rle in rles):
        raise ValueError("the masks have different sizes: they must be of one image")
    begins, ends = _runs(rles, height * width)
    rings = _rings(_corners(begins, ends, height, width))
    if not len(rings.sizes):
        return [[] for _ in rles]
    owners = rings.points[rings.starts, 0] // (width + 1)
    rings.points[:, 0] %= width + 1
    kept = _without_specks(rings, owners, tolerance)
    found: list[list[list[float]]] = [[] for _ in rles]
    for ring, points in _joined(rings, _simplified(rings, kept, tolerance), kept).items():
        found[int(owners[ring])].append(_flat(points, scale, digits))
    return found


# --- the masks' runs -------------------------------------------------------------------------------------------------


def _runs(rles: Sequence[RLE], size: int) -> tuple[Integers, Integers]:
    """Where foreground begins and ends, counted down the columns of all masks, one mask behind the other."""
    texts = [rle["counts"].encode() for rle in rles]
    codes = np.frombuffer(b"".join(texts), dtype=np.uint8).astype(np.int64) - 48
    # Five bits a character, the lowest first; the sixth says that more follow, the fifth of the last is the sign.
    stops = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate([[0], stops[:-1] + 1])
    lengths = stops - starts + 1
    if lengths.sum() != len(codes) or not all(texts):
        raise ValueError("a mask's run lengths end within a number")
    values = np.add.reduceat((codes & 31) << (5 * _positions(lengths)), starts)
    values -= np.where(codes[stops] & 16, np.int64(1) << (5 * lengths), 0)
    owners = np.repeat(np.arange(len(rles)), [len(text) for text in texts])[stops]
    places = _positions(np.bincount(owners, minlength=len(rles)))
    counts = _undone_differences(values, owners, places)
    ends = np.cumsum(counts)
    if (counts < 0).any() or (ends[np.flatnonzero(np.diff(owners, append=-1))] != _multiples(size, len(rles))).any():
        raise ValueError("a mask's run lengths do not add up to its size")
    foreground = (places % 2 == 1) & (counts > 0)
    return (ends - counts)[foreground], ends[foreground]


def _multiples(size: int, count: int) -> Integers:
    return size * np.arange(1, count + 1)


def _undone_differences(values: Integers, owners: Integers, places: Integers) -> Integers:
    """COCO stores the fourth run and those behind it as differences to the last run but one."""
    counts = values.copy()
    for parity in (0, 1):
        chosen = np.flatnonzero((places % 2 == parity) & (places > 0))
        if len(chosen):
            sums = np.cumsum(values[chosen])
            firsts = np.flatnonzero(np.diff(owners[chosen], prepend=-1))
            before = sums[firsts] - values[chosen[firsts]]
            counts[chosen] = sums - np.repeat(before, np.diff(firsts, append=len(chosen)))
    return counts


def _positions(lengths: Integers) -> Integers:
    """0, 1, ... of each group, one group behind the other."""
    ends = np.cumsum(lengths)
    positions: Integers = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    return positions


# --- from runs to corners, and from corners to rings -----------------------------------------------------------------


@dataclass(frozen=True)
class _Corners:
    """Corners by x, then y: number 2m and the one behind it are the ends of a vertical edge.

    Attributes:
        x, y: int64 [C].
        signs: +1 where the pixels right of the edge that begins here are the mask's, else -1; of even corners.
        across: the other end of each corner's horizontal edge.
    """

    x: Integers
    y: Integers
    signs: Integers
    across: Integers


def _corners(begins: Integers, ends: Integers, height: int, width: int) -> _Corners:
    # The runs, cut where a column ends.
    first, spans = begins // height, (ends - 1) // height - begins // height + 1
    within = _positions(spans)
    columns = np.repeat(first, spans) + within
    tops = np.where(within == 0, np.repeat(begins % height, spans), 0)
    bottoms = np.where(within == np.repeat(spans - 1, spans), np.repeat((ends - 1) % height + 1, spans), height)
    # A line between masks keeps them apart. What changes right of a grid line counts +, what changes left of it -.
    lines = (columns + columns // width) * (height + 1)
    keys = np.concatenate([lines + tops, lines + bottoms, lines + height + 1 + tops, lines + height + 1 + bottoms])
    changes = np.repeat([1, -1, -1, 1], len(lines))
    order = np.argsort(keys, kind="stable")
    firsts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    sums = np.add.reduceat(changes[order], firsts) if len(firsts) else changes
    keys, sums = keys[order][firsts][sums != 0], sums[sums != 0]
    # Where two pixels touch at a corner two corners lie, one of each vertical edge.
    double = np.abs(sums)
    keys, signs, second = np.repeat(keys, double), np.repeat(np.sign(sums), double), _positions(double)
    x, y = keys // (height + 1), keys % (height + 1)
    # Which of the two goes left decides whether the pixels belong together: they do.
    along_rows = (y * (x.max(initial=0) + 1) + x) * 2 + np.where(signs > 0, 1 - second, second)
    order = np.argsort(along_rows, kind="stable")
    across = np.empty_like(order)
    across[order[0::2]], across[order[1::2]] = order[1::2], order[0::2]
    return _Corners(x, y, signs, across)


@dataclass(frozen=True)
class _Rings:
    """Closed rings, each from its leftmost, then topmost edge; the mask lies on one and the same side of all.

    Attributes:
        points: float64 [P, 2], x and y, ring behind ring.
        starts, sizes: int64 [R], where each ring begins and how many points it has.
        parents: int64 [R], the ring around a hole; -1 for outer rings.
    """

    points: Floats
    starts: Integers
    sizes: Integers
    parents: Integers


def _rings(corners: _Corners) -> _Rings:
    # From edge to edge: down where the mask is right of it, up where it is left, then along the horizontal one.
    tails = np.arange(0, len(corners.x), 2) + (corners.signs[0::2] < 0)
    order, starts, ring_of = _cycles((corners.across[tails ^ 1] // 2).tolist())
    path = np.repeat(tails[order], 2) if order else tails
    path[1::2] ^= 1
    begins = 2 * np.array(starts, dtype=np.int64)
    points = np.stack([corners.x[path], corners.y[path]], axis=1).astype(np.float64)
    parents = _parents(corners, [order[start] for start in starts], ring_of)
    return _Rings(points, begins, np.diff(begins, append=len(path)), np.array(parents, dtype=np.int64))


def _cycles(following: list[int]) -> tuple[list[int], list[int], list[int]]:
    """The vertical edges in the order of rings, where in it each ring begins, and the ring of each edge."""
    order: list[int] = []
    starts: list[int] = []
    ring_of = [-1] * len(following)
    for first in range(len(following)):
        if ring_of[first] < 0:
            ring, edge = len(starts), first
            starts.append(len(order))
            while ring_of[edge] < 0:
                ring_of[edge] = ring
                order.append(edge)
                edge = following[edge]
    return order, starts, ring_of


def _parents(corners: _Corners, firsts: Sequence[int], ring_of: Sequence[int]) -> list[int]:
    """The outer ring around each hole: that of the next edge to the left, or of the hole that this edge belongs to.

    Args:
        firsts: the leftmost edge of each ring. ring_of: the ring of each edge.
    """
    tops, bottoms = corners.y[0::2], corners.y[1::2]
    parents: list[int] = []
    for edge in firsts:
        if corners.signs[2 * edge] > 0:
            parents.append(-1)
            continue
        left = np.flatnonzero((tops[:edge] <= tops[edge]) & (bottoms[:edge] > tops[edge]))[-1]
        ring = ring_of[int(left)]
        parents.append(ring if parents[ring] < 0 else parents[ring])
    return parents


# --- simpler ---------------------------------------------------------------------------------------------------------


def _without_specks(rings: _Rings, owners: Integers, tolerance: float) -> Flags:
    """Which rings are drawn."""
    if tolerance <= 0:
        return np.ones(len(rings.sizes), dtype=np.bool_)
    extents = np.maximum.reduceat(rings.points, rings.starts) - np.minimum.reduceat(rings.points, rings.starts)
    kept: Flags = np.asarray((extents > tolerance).any(axis=1))
    areas = np.where(rings.parents < 0, np.abs(_areas(rings.points, rings.starts, rings.sizes)), -1.0)
    largest = np.lexsort((-areas, owners))[np.flatnonzero(np.diff(np.sort(owners), prepend=-1))]
    kept[largest] = True
    inner = rings.parents >= 0
    kept[inner] &= kept[rings.parents[inner]]
    return kept


def _areas(points: Floats, starts: Integers, sizes: Integers) -> Floats:
    """Signed areas of rings, square pixels."""
    following = np.arange(1, len(points) + 1)
    following[starts + sizes - 1] = starts
    x, y = points[:, 0], points[:, 1]
    areas: Floats = np.add.reduceat(x * y[following] - x[following] * y, starts) / 2
    return areas


def _simplified(rings: _Rings, wanted: Flags, tolerance: float) -> list[Floats]:
    """The points of each ring that are drawn, [P, 2]; of rings that are not wanted all."""
    keep = np.ones(len(rings.points), dtype=np.bool_)
    ring_of = np.repeat(np.arange(len(rings.sizes)), rings.sizes)
    # Rings of four corners are rectangles.
    todo = np.flatnonzero(wanted & (rings.sizes > 4)) if tolerance > 0 else np.zeros(0, dtype=np.int64)
    areas = _areas(rings.points, rings.starts, rings.sizes)
    for attempt in range(RETRIES + 1):
        if not len(todo):
            break
        is_todo = np.zeros(len(rings.sizes), dtype=np.bool_)
        is_todo[todo] = True
        chosen = is_todo[ring_of]
        points, sizes = rings.points[chosen], rings.sizes[todo]
        flags = _douglas_peucker(points, sizes, tolerance / 2**attempt)
        starts = np.cumsum(sizes) - sizes
        left = np.add.reduceat(flags, starts, dtype=np.int64)
        new = _areas(points[flags], np.cumsum(left) - left, left)
        # Two points have no area, so that no ring ends with fewer than three.
        spoilt = np.abs(new - areas[todo]) > AREA_CHANGE * np.abs(areas[todo])
        keep[chosen] = flags | np.repeat(spoilt, sizes)
        todo = todo[spoilt]
    return np.split(rings.points[keep], np.cumsum(np.add.reduceat(keep, rings.starts, dtype=np.int64))[:-1])


def _douglas_peucker(points: Floats, sizes: Integers, tolerance: float) -> Flags:
    """Which points of closed rings stay: of all rings at once, a halving of all segments a round."""
    starts = np.cumsum(sizes) - sizes
    plane = points[:, 0] + 1j * points[:, 1]  # one number a point: numpy is slow along axes of two
    distances = np.abs(plane - np.repeat(plane[starts], sizes))
    middles = _first_largest(distances, starts, sizes)
    kept = np.zeros(len(points), dtype=np.bool_)
    kept[starts] = kept[middles] = True
    # A segment is the points behind `begins` and before `ends`; the end of the last one is the ring's first point.
    begins, ends = np.concatenate([starts, middles]), np.concatenate([middles, starts + sizes])
    closing = np.concatenate([middles, starts])
    while True:
        open_ = ends - begins > 1
        begins, ends, closing = begins[open_], ends[open_], closing[open_]
        if not len(begins):
            return kept
        inner = ends - begins - 1
        indices = np.repeat(begins + 1, inner) + _positions(inner)
        distances = _to_segments(plane[indices], plane[begins], plane[closing], inner)
        first = np.cumsum(inner) - inner
        farthest = _first_largest(distances, first, inner)
        split = distances[farthest] > tolerance
        begins, ends, closing, middles = begins[split], ends[split], closing[split], indices[farthest[split]]
        kept[middles] = True
        begins, ends, closing = (
            np.concatenate([begins, middles]),
            np.concatenate([middles, ends]),
            np.concatenate([middles, closing]),
        )


def _to_segments(points: Plane, begins: Plane, ends: Plane, counts: Integers) -> Floats:
    """Distances of points to the segments of their groups."""
    along = ends - begins
    squares = np.maximum(along.real**2 + along.imag**2, 1e-12)
    offset = points - np.repeat(begins, counts)
    share = (offset * np.repeat(along.conj() / squares, counts)).real.clip(0, 1)
    distances: Floats = np.abs(offset - share * np.repeat(along, counts))
    return distances


def _first_largest(values: Floats, starts: Integers, sizes: Integers) -> Integers:
    """The index of the largest value of each group, the first where several are."""
    hits = np.flatnonzero(values == np.repeat(np.maximum.reduceat(values, starts), sizes))
    groups = np.repeat(np.arange(len(sizes)), sizes)[hits]
    firsts: Integers = hits[np.flatnonzero(np.diff(groups, prepend=-1))]
    return firsts


# --- holes -----------------------------------------------------------------------------------------------------------


def _joined(rings: _Rings, shapes: list[Floats], kept: Flags) -> dict[int, Floats]:
    """The drawn outer rings with their holes in them, by ring."""
    joined = {int(ring): shapes[ring] for ring in np.flatnonzero(kept & (rings.parents < 0))}
    for ring in np.flatnonzero(kept & (rings.parents >= 0)):
        parent = int(rings.parents[ring])
        joined[parent] = _bridged(joined[parent], shapes[ring])
    return joined


def _bridged(outer: Floats, hole: Floats) -> Floats:
    """One ring: out to the hole from the point that is nearest to its first, round it, and back."""
    at = int(((outer - hole[0]) ** 2).sum(axis=1).argmin())
    return np.concatenate([outer[: at + 1], hole, hole[:1], outer[at:]])


def _flat(points: Floats, scale: tuple[float, float], digits: int | None) -> list[float]:
    scaled: NDArray[Any] = points * scale
    values: list[float] = (scaled if digits is None else scaled.round(digits)).ravel().tolist()
    return values
