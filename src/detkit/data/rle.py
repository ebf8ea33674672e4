"""Whether run-length masks that somebody else wrote are whole: pycocotools takes cut ones for other masks.

COCO's compressed form writes each run as digits of 5 bits, the lowest first, a character a digit: bit 5 says that
another digit follows, bit 4 of the last digit is the sign. From the fourth run on it is the difference to the run
before the last. Source: rleToString and rleFrString in pycocotools' maskApi.c.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

#: So many masks are decoded together: memory stays small beside what their JSON takes.
CHUNK = 20_000
#: A run has no more digits than an image of 2^32 pixels needs, with its sign.
MOST_DIGITS = 7


def whole(counts: Sequence[str], pixels: Sequence[int]) -> Flags:
    """Which masks are well formed and cover their image exactly.

    Args:
        counts: N masks in COCO's compressed form. pixels: of the image of each.

    Returns:
        bool [N].
    """
    parts = [slice(start, start + CHUNK) for start in range(0, len(counts), CHUNK)]
    sizes = np.array(pixels, dtype=np.int64)
    return np.concatenate([np.zeros(0, np.bool_), *(_whole(counts[part], sizes[part]) for part in parts)])


def _whole(counts: Sequence[str], pixels: Integers) -> Flags:
    fine = np.array([text.isascii() and bool(text) for text in counts], dtype=np.bool_)
    texts = [text if ok else "0" for text, ok in zip(counts, fine.tolist(), strict=True)]
    digits = np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint8).astype(np.int64) - ord("0")
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    owner = np.repeat(np.arange(len(texts)), lengths)
    more = (digits & 0x20) != 0
    fine &= ~_any((digits < 0) | (digits > 0x3F), owner, len(texts))
    fine &= ~more[np.cumsum(lengths) - 1]
    # From here on every mask ends with a run, the refused ones too: none reaches into its neighbour.
    more[np.cumsum(lengths) - 1] = False
    ends = np.flatnonzero(~more)
    starts = np.concatenate([[0], ends[:-1] + 1])
    fine &= ~_any(ends - starts >= MOST_DIGITS, owner[ends], len(texts))
    runs = _runs(_values(digits, starts, ends), owner[ends])
    fine &= ~_any(runs < 0, owner[ends], len(texts))
    covered: Integers = np.add.reduceat(runs, np.searchsorted(owner[ends], np.arange(len(texts))))
    fine &= covered == pixels
    return fine


def _values(digits: Integers, starts: Integers, ends: Integers) -> Integers:
    """The number that each group of digits stands for."""
    places = np.minimum(np.arange(len(digits)) - np.repeat(starts, ends - starts + 1), MOST_DIGITS)
    values: Integers = np.add.reduceat((digits & 0x1F) << (5 * places), starts)
    negative = (digits[ends] & 0x10) != 0
    values -= negative.astype(np.int64) << (5 * (places[ends] + 1))
    return values


def _runs(values: Integers, owner: Integers) -> Integers:
    """Undo the differences: every second value of a mask is summed up, from the second and the third one on."""
    first = np.searchsorted(owner, owner)
    place = np.arange(len(values)) - first
    runs = values.copy()
    for parity in (1, 0):
        chosen = np.flatnonzero((place > 0) & (place % 2 == parity))
        summed = np.cumsum(values[chosen])
        before = np.searchsorted(chosen, first[chosen])
        runs[chosen] = summed - np.concatenate([[0], summed])[before]
    return runs


def _any(flags: Flags, owner: Integers, count: int) -> Flags:
    """Which owners have a flag."""
    found: Flags = np.bincount(owner[flags], minlength=count) > 0
    return found
