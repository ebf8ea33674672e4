"""Draws street scenes with pedestrians, in integers only: the same bytes on every machine and with every library.

Everything is drawn at twice the size and averaged down, which smooths the edges. A figure is a *stencil*: an array of
part numbers (0 is see-through), coloured by a palette when it is pasted. Lengths of figures are given in thousandths
of their height.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Point = tuple[int, int]
Bytes = NDArray[np.uint8]

#: Drawn pixels along one side of a pixel of the image.
OVERSAMPLING = 2
#: A pedestrian of whom less than this remains visible, percent, would be no fair object: nobody may hide more.
VISIBLE_PERCENT = 45
#: How often a pedestrian looks for a place where it hides nobody.
PLACES_TRIED = 8

SKIN: Sequence[Colour] = ((245, 214, 186), (228, 184, 148), (198, 148, 108), (141, 98, 66), (94, 62, 44))
HAIR: Sequence[Colour] = ((36, 28, 24), (78, 52, 34), (132, 92, 52), (196, 160, 92), (150, 148, 146), (120, 50, 30))
CLOTHES: Sequence[Colour] = (
    (196, 44, 48), (228, 120, 40), (236, 196, 72), (52, 128, 76), (40, 92, 168), (96, 60, 140),
    (220, 220, 216), (40, 40, 46), (120, 124, 130), (204, 96, 140), (64, 164, 176), (120, 76, 48),
)  # fmt: skip
TROUSERS: Sequence[Colour] = ((44, 58, 92), (36, 36, 42), (92, 92, 98), (120, 100, 76), (72, 84, 60), (150, 146, 138))
WALLS: Sequence[Colour] = ((176, 150, 130), (160, 120, 100), (188, 184, 172), (140, 146, 152), (200, 176, 140))


class Dice:
    """Random integers from Philox's raw words, whose sequence NumPy guarantees, unlike its distributions'."""

    def __init__(self, seed: int, index: int) -> None:
        self._source = np.random.Philox(key=np.array([seed, index], dtype=np.uint64))
        self._words: list[int] = []

    def below(self, end: int) -> int:
        """In 0..end-1."""
        if not self._words:
            self._words = self._source.random_raw(256).tolist()
        return (self._words.pop() >> 32) * end >> 32

    def between(self, low: int, high: int) -> int:
        """In low..high, both included."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        return self.below(100) < percent

    def pick(self, choices: Sequence[Colour]) -> Colour:
        """One of the colours, a little varied."""
        shift = self.between(-14, 14)
        red, green, blue = choices[self.below(len(choices))]
        return _shifted((red, green, blue), shift)

    def noise(self, count: int) -> Bytes:
        """uint8 [count], uniform; little-endian on every machine."""
        words: NDArray[np.uint64] = self._source.random_raw(-(-count // 8))
        return words.astype("<u8").view(np.uint8)[:count]


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawn image.

    Attributes:
        pixels: uint8 [H, W, 3].
        owners: uint8 [H, W]: the number of the pedestrian seen there, 1..pedestrians, or 0.
        pedestrians: how many; each is seen somewhere.
    """

    pixels: Bytes
    owners: Bytes
    pedestrians: int


def draw_scene(seed: int, index: int, width: int, height: int, *, objects: tuple[int, int], distractors: int) -> Scene:
    """The scene number `index` of a seed.

    Args:
        width, height: pixels.
        objects: fewest and most pedestrians; fewer where they would hide each other.
        distractors: most other things.
    """
    dice = Dice(seed, index)
    street = Street.empty(dice, width * OVERSAMPLING, height * OVERSAMPLING)
    wanted = dice.between(*objects)
    others = dice.between(0, distractors)
    things = [(street.some_foot(dice), True) for _ in range(wanted)]
    things += [(street.some_foot(dice), False) for _ in range(others)]
    # What stands lower in the image is nearer, and hides what is behind it.
    for foot, is_pedestrian in sorted(things):
        if is_pedestrian:
            _place_pedestrian(street, dice, foot)
        else:
            _place_distractor(street, dice, foot)
    return _scale_down(street, dice)


# --- the street ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Street:
    """What is being drawn, at the drawing's size.

    Attributes:
        canvas: uint8 [H, W, 4]; the fourth byte is padding. owners: uint8 [H, W], as in `Scene`.
        horizon: the row where the ground begins.
        whole: how many pixels each pedestrian covers inside the canvas; its number is the index + 1.
    """

    canvas: Bytes
    owners: Bytes
    horizon: int
    whole: list[int] = field(default_factory=list)

    @classmethod
    def empty(cls, dice: Dice, width: int, height: int) -> Street:
        horizon = height * dice.between(36, 52) // 100
        canvas = np.zeros((height, width, 4), dtype=np.uint8)
        light = dice.between(-30, 20)
        sky = _shifted((150, 190, 228), light), _shifted((222, 228, 230), light)
        grey = dice.between(96, 140)
        ground = _shifted((grey, grey, grey - 6), light // 2), _shifted((grey + 40, grey + 38, grey + 30), light // 2)
        colours = canvas[:, :, :3]
        colours[:horizon] = _gradient(*sky, horizon)[:, None]
        colours[horizon:] = _gradient(*ground, height - horizon)[:, None]
        _draw_houses(colours, dice, horizon)
        _draw_paving(colours, dice, horizon)
        return cls(canvas, np.zeros((height, width), dtype=np.uint8), horizon)

    def some_foot(self, dice: Dice) -> int:
        """A row to stand on."""
        height = len(self.canvas)
        return dice.between(self.horizon + (height - self.horizon) // 8, height - height // 40)

    def size_at(self, foot: int) -> int:
        """How high a person is who stands on that row: from a fourth to three fourths of the image."""
        height = len(self.canvas)
        depth = 1000 * (foot - self.horizon) // (height - self.horizon)
        return height * (200 + 520 * depth // 1000) // 1000

    def paste(self, stencil: Bytes, palette: Bytes, left: int, top: int, *, is_pedestrian: bool) -> bool:
        """Draw a stencil; False, and nothing drawn, where it would hide too much of somebody."""
        height, width = self.owners.shape
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + stencil.shape[1], width), min(top + stencil.shape[0], height)
        if x0 >= x1 or y0 >= y1:
            return False
        part = stencil[y0 - top : y1 - top, x0 - left : x1 - left]
        inside = part > 0
        owners = self.owners[y0:y1, x0:x1]
        if self.whole and self._hides(owners[inside]):
            return False
        # A pixel's four bytes at once: several times as fast as colour by colour.
        whole_pixels = self.canvas.view(np.uint32)[y0:y1, x0:x1, 0]
        np.copyto(whole_pixels, palette.view(np.uint32)[part, 0], where=inside)
        if is_pedestrian:
            self.whole.append(int(np.count_nonzero(inside)))
        owners[inside] = len(self.whole) if is_pedestrian else 0
        return True

    def _hides(self, covered: Bytes) -> bool:
        hidden = np.bincount(covered, minlength=len(self.whole) + 1)
        for number in np.flatnonzero(hidden[1:]) + 1:
            visible = np.count_nonzero(self.owners == number) - hidden[number]
            if 100 * visible < VISIBLE_PERCENT * self.whole[number - 1]:
                return True
        return False


def _draw_houses(canvas: Bytes, dice: Dice, horizon: int) -> None:
    height, width = canvas.shape[:2]
    left = -dice.below(width // 6)
    while left < width:
        right = left + dice.between(width // 6, width // 3)
        top = dice.between(0, horizon * 3 // 5)
        wall = dice.pick(WALLS)
        if dice.chance(75):
            canvas[top:horizon, max(left, 0) : max(right, 0)] = wall
            _draw_windows(canvas, dice, (max(left, 0), top, max(min(right, width), 0), horizon), wall)
        left = right + (dice.below(width // 12) if dice.chance(40) else 0)
    canvas[horizon - height // 90 : horizon + height // 120 + 1] = 110


def _draw_windows(canvas: Bytes, dice: Dice, house: tuple[int, int, int, int], wall: Colour) -> None:
    x0, y0, x1, y1 = house
    step = max(8, (y1 - y0) // dice.between(3, 5))
    size = step // 2
    glass = _shifted(wall, -dice.between(40, 70))
    for y in range(y0 + step // 3, y1 - size, step):
        for x in range(x0 + step // 3, x1 - size, step):
            canvas[y : y + size, x : x + size * 3 // 4] = glass


def _draw_paving(canvas: Bytes, dice: Dice, horizon: int) -> None:
    """Joints between the slabs, closer towards the horizon."""
    height = len(canvas)
    joints = dice.between(3, 6)
    for number in range(1, joints):
        row = horizon + (height - horizon) * number * number // (joints * joints)
        canvas[row : row + 1 + number // 3] = canvas[row] - 14


def _scale_down(street: Street, dice: Dice) -> Scene:
    """Average blocks of pixels, add the grain of a camera, and decide whose each pixel is."""
    k = OVERSAMPLING
    height, width = (side // k for side in street.owners.shape)
    summed = _block_sums(street.canvas[:, :, :3], np.uint16).astype(np.int16)
    grain = (dice.noise(height * width) & 15).astype(np.int16).reshape(height, width, 1) - 8
    pixels = np.clip((summed + k * k // 2) // (k * k) + grain, 0, 255).astype(np.uint8)

    owners = np.zeros((height, width), dtype=np.uint8)
    for number in range(1, len(street.whole) + 1):
        covered = _block_sums((street.owners == number).view(np.uint8), np.uint8)
        # At least half of the pixel; the nearer one, which comes later, takes what two share equally.
        owners[covered * 2 >= k * k] = number
    # Numbered anew without those of whom no pixel is left.
    seen = np.bincount(owners.ravel(), minlength=len(street.whole) + 1) > 0
    seen[0] = False
    numbers = np.where(seen, np.cumsum(seen), 0).astype(np.uint8)
    return Scene(pixels, numbers[owners], int(seen.sum()))


def _block_sums(drawn: Bytes, dtype: type[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """Sums over the drawn pixels of each pixel of the image."""
    corners = [(a, b) for a in range(OVERSAMPLING) for b in range(OVERSAMPLING)]
    total = np.zeros((len(drawn) // OVERSAMPLING, drawn.shape[1] // OVERSAMPLING, *drawn.shape[2:]), dtype=dtype)
    for a, b in corners:
        total += drawn[a::OVERSAMPLING, b::OVERSAMPLING]
    return total


# --- pedestrians -----------------------------------------------------------------------------------------------------

_SKIN, _HAIR, _SHIRT, _TROUSERS, _SHOES, _BAG, _STRIPE = range(1, 8)


def _place_pedestrian(street: Street, dice: Dice, foot: int) -> None:
    size = street.size_at(foot) * dice.between(88, 112) // 100
    stencil, palette = _pedestrian(dice, size)
    width = street.owners.shape[1]
    for _ in range(PLACES_TRIED):
        centre = dice.between(width // 20, width - width // 20)
        left = centre - stencil.shape[1] // 2
        if street.paste(stencil, palette, left, foot - size, is_pedestrian=True):
            return


def _pedestrian(dice: Dice, size: int) -> tuple[Bytes, Bytes]:
    """A figure of that height with its palette: head, torso, arms and legs in some pose, in some clothes."""
    pen = Pen(np.zeros((size, size * 9 // 10), dtype=np.uint8), size)
    ahead = 1 if dice.chance(50) else -1
    frontal = dice.chance(40)
    stride = dice.between(15, 55) if frontal else dice.between(30, 190)
    swing = dice.between(0, 40) if frontal else stride * dice.between(60, 110) // 100
    shoulder = dice.between(88, 104) if frontal else dice.between(52, 70)
    girth = dice.between(84, 110)

    def leg(side: int) -> None:
        hip, ankle = side * (30 if frontal else 14), side * stride
        bend = 0 if frontal else ahead * dice.between(10, 45)
        knee = (hip + ankle) // 2 + bend
        pen.line(_TROUSERS, [(hip, 500), (knee, 720), (ankle, 930)], 44)
        pen.line(_SHOES, [(ankle, 955), (ankle + ahead * 46, 965)], 26)

    def arm(side: int) -> None:
        start = side * shoulder
        elbow = start + side * (18 if frontal else 0) - side * swing // 2
        hand = elbow + side * (4 if frontal else 0) - side * swing // 2 + (0 if frontal else ahead * 30)
        pen.line(_SHIRT, [(start, 225), (elbow, 375)], 30)
        pen.line(_SHIRT if sleeves else _SKIN, [(elbow, 375), (hand, 500)], 26)
        pen.oval(_SKIN, (hand, 515), (28, 30))

    sleeves, coat = dice.chance(60), dice.chance(30)
    far = -1 if dice.chance(50) else 1
    arm(far)
    leg(far)
    leg(-far)
    if not frontal and dice.chance(45):
        pen.oval(_BAG, (-ahead * (girth + 25), 310), (70, 120))
    pen.line(_SHIRT, [(-shoulder * 2 // 3, 215), (shoulder * 2 // 3, 215)], 50)
    pen.line(_SHIRT, [(0, 250), (0, 560 if coat else 430)], girth)
    if not coat:
        pen.line(_TROUSERS, [(-30, 500), (30, 500)], 64)
    pen.line(_SKIN, [(0, 130), (0, 165)], 30)
    pen.oval(_HAIR, (-ahead * (0 if frontal else 8), 76), (66, 74))
    pen.oval(_SKIN, (0 if frontal else ahead * 18, 92), (50, 60))
    if dice.chance(35):
        pen.oval(_HAIR, (-ahead * 34, 110), (30, 70))
    arm(-far)

    stencil = pen.stencil
    if dice.chance(30):
        rows = np.arange(size) // max(2, size // 28) % 2 == 0
        stencil[(stencil == _SHIRT) & rows[:, None]] = _STRIPE
    colours = [SKIN, HAIR, CLOTHES, TROUSERS, ((40, 34, 30), (90, 60, 40), (200, 200, 196)), CLOTHES, CLOTHES]
    return _shaded(stencil, [dice.pick(choices) for choices in colours], size // 50 + 1)


# --- other things ----------------------------------------------------------------------------------------------------


def _place_distractor(street: Street, dice: Dice, foot: int) -> None:
    person = street.size_at(foot)
    draw, share = DISTRACTORS[dice.below(len(DISTRACTORS))]
    size = max(8, person * share // 100 * dice.between(85, 115) // 100)
    stencil, palette = draw(dice, size)
    left = dice.below(street.owners.shape[1]) - stencil.shape[1] // 2
    street.paste(stencil, palette, left, foot - size, is_pedestrian=False)


def _tree(dice: Dice, size: int) -> tuple[Bytes, Bytes]:
    pen = Pen(np.zeros((size, size * 8 // 10), dtype=np.uint8), size)
    pen.line(1, [(0, 500), (0, 1000)], 36)
    for _ in range(6):
        pen.oval(2, (dice.between(-160, 160), dice.between(180, 420)), (dice.between(120, 200), dice.between(110, 170)))
    green = dice.pick(((64, 120, 56), (92, 136, 60), (52, 96, 64), (150, 130, 60)))
    return _shaded(pen.stencil, [(96, 74, 54), green], size // 16 + 1)


def _bush(dice: Dice, size: int) -> tuple[Bytes, Bytes]:
    pen = Pen(np.zeros((size, size * 3), dtype=np.uint8), size)
    for _ in range(5):
        pen.oval(1, (dice.between(-800, 800), dice.between(560, 700)), (dice.between(350, 560), dice.between(300, 420)))
    return _shaded(pen.stencil, [dice.pick(((70, 124, 62), (98, 132, 66)))], size // 8 + 1)


def _lamp(dice: Dice, size: int) -> tuple[Bytes, Bytes]:
    pen = Pen(np.zeros((size, size * 4 // 10), dtype=np.uint8), size)
    pen.line(1, [(0, 60), (0, 1000)], 13)
    pen.line(1, [(0, 60), (110, 40)], 12)
    pen.oval(2, (125, 52), (44, 24))
    return _shaded(pen.stencil, [dice.pick(((70, 74, 78), (110, 112, 110))), (236, 232, 200)], size // 80 + 1)


def _sign(dice: Dice, size: int) -> tuple[Bytes, Bytes]:
    pen = Pen(np.zeros((size, size * 4 // 10), dtype=np.uint8), size)
    pen.line(1, [(0, 150), (0, 1000)], 16)
    if dice.chance(50):
        pen.oval(2, (0, 140), (125, 125))
        pen.oval(3, (0, 140), (88, 88))
    else:
        pen.block(2, (-150, 30), (150, 260))
        pen.block(3, (-115, 60), (115, 230))
    return _shaded(pen.stencil, [(120, 122, 124), dice.pick(CLOTHES), dice.pick(((236, 236, 232),))], size // 60 + 1)


def _bin(dice: Dice, size: int) -> tuple[Bytes, Bytes]:
    pen = Pen(np.zeros((size, size), dtype=np.uint8), size)
    pen.block(1, (-300, 120), (300, 1000))
    pen.block(2, (-360, 30), (360, 170))
    return _shaded(pen.stencil, [dice.pick(CLOTHES), dice.pick(((70, 72, 76), (40, 60, 50)))], size // 6 + 1)


def _car(dice: Dice, size: int) -> tuple[Bytes, Bytes]:
    pen = Pen(np.zeros((size, size * 3), dtype=np.uint8), size)
    pen.line(1, [(-520, 300), (420, 300)], 260)
    pen.line(2, [(-480, 330), (380, 330)], 170)
    pen.line(1, [(-1060, 660), (1060, 660)], 220)
    for x in (-720, 720):
        pen.oval(3, (x, 820), (180, 180))
    return _shaded(pen.stencil, [dice.pick(CLOTHES), (150, 176, 190), (36, 36, 38)], size // 10 + 1)


#: How to draw each, and its height in percent of a person's on the same row.
DISTRACTORS: Sequence[tuple[Callable[[Dice, int], tuple[Bytes, Bytes]], int]] = (
    (_tree, 210), (_lamp, 230), (_sign, 140), (_bin, 55), (_bush, 40), (_car, 75),
)  # fmt: skip


# --- drawing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pen:
    """Draws on a stencil: x from its middle, y from its top, both and all lengths in thousandths of `size`."""

    stencil: Bytes
    size: int

    def oval(self, part: int, centre: Point, radii: Point) -> None:
        """A filled ellipse."""
        x, y = self._at(centre)
        rx, ry = self._length(radii[0]), self._length(radii[1])
        window, xs, ys = self._window(x - rx, y - ry, x + rx, y + ry)
        window[(xs - x) ** 2 * (ry * ry) + (ys - y) ** 2 * (rx * rx) <= rx * rx * ry * ry] = part

    def block(self, part: int, first: Point, last: Point) -> None:
        """A filled rectangle."""
        window, _, _ = self._window(*self._at(first), *self._at(last))
        window[:] = part

    def line(self, part: int, points: Sequence[Point], radius: int) -> None:
        """A thick line through the points, with round ends."""
        r = self._length(radius)
        at = [self._at(point) for point in points]
        for (ax, ay), (bx, by) in pairwise(at):
            window, xs, ys = self._window(min(ax, bx) - r, min(ay, by) - r, max(ax, bx) + r, max(ay, by) + r)
            dx, dy = bx - ax, by - ay
            px, py = xs - ax, ys - ay
            along, across, length2 = px * dx + py * dy, px * dy - py * dx, dx * dx + dy * dy
            from_a = px * px + py * py
            inside = (along >= 0) & (along <= length2) & (across * across <= r * r * length2)
            inside |= (from_a <= r * r) | (from_a - 2 * along + length2 <= r * r)
            window[inside] = part

    def _at(self, point: Point) -> Point:
        return self.stencil.shape[1] // 2 + point[0] * self.size // 1000, point[1] * self.size // 1000

    def _length(self, length: int) -> int:
        return max(1, length * self.size // 1000)

    def _window(self, x0: int, y0: int, x1: int, y1: int) -> tuple[Bytes, NDArray[np.int64], NDArray[np.int64]]:
        """The stencil's part from (x0, y0) to (x1, y1), both included, with its columns [1, w] and rows [h, 1]."""
        height, width = self.stencil.shape
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1 + 1, width), min(y1 + 1, height)
        xs = np.arange(x0, max(x0, x1), dtype=np.int64)[None]
        ys = np.arange(y0, max(y0, y1), dtype=np.int64)[:, None]
        return self.stencil[y0 : max(y0, y1), x0 : max(x0, x1)], xs, ys


def _shaded(stencil: Bytes, colours: Sequence[Colour], rim: int) -> tuple[Bytes, Bytes]:
    """Darken the right rim of every part: part p becomes p + P there. Returns the stencil and uint8 [2 P + 1, 4]."""
    edge = (stencil[:, :-rim] != stencil[:, rim:]) & (stencil[:, :-rim] > 0)
    stencil[:, :-rim][edge] += len(colours)
    dark = [_scaled(colour, 74) for colour in colours]
    return stencil, np.array([(*colour, 0) for colour in ((0, 0, 0), *colours, *dark)], dtype=np.uint8)


def _gradient(first: Colour, last: Colour, rows: int) -> Bytes:
    """uint8 [rows, 3], from one colour to the other."""
    step = np.arange(rows, dtype=np.int64)[:, None]
    start, end = np.array(first, dtype=np.int64), np.array(last, dtype=np.int64)
    return (start + (end - start) * step // max(1, rows - 1)).astype(np.uint8)


def _shifted(colour: Colour, by: int) -> Colour:
    red, green, blue = (min(255, max(0, value + by)) for value in colour)
    return red, green, blue


def _scaled(colour: Colour, percent: int) -> Colour:
    red, green, blue = (value * percent // 100 for value in colour)
    return red, green, blue
