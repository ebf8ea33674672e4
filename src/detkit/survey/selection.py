"""Which images are shown: spread over splits and classes, the rare ones first, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from detkit.data.seeds import derive_seed
from detkit.data.types import ImageInfo

#: Stands for the images without objects.
NOTHING = 0


def in_turn(infos: Sequence[ImageInfo | None], part_of: Mapping[int, str], seed: int) -> Iterator[int]:
    """Every readable image once, in the order in which they are worth a place.

    Classes take turns, the rarest first, and within a class the splits; a class whose turn it is passes where images
    that others chose have given it its share already. Within a class and a split the order is a hash of image id and
    seed: it does not depend on how the data is listed.

    Args:
        infos: by index; None: not readable. part_of: the split of each; images without one are a split of their own.
    """
    labels = {index: _labels(info) for index, info in enumerate(infos) if info is not None}
    order = sorted(labels, key=lambda index: (derive_seed(seed, "shown", _id(infos, index)), index))
    queues: dict[tuple[int, str], list[int]] = {}
    for index in reversed(order):  # the next one is at the end
        for label in labels[index]:
            queues.setdefault((label, part_of.get(index, "")), []).append(index)
    sizes = Counter(label for found in labels.values() for label in found)
    classes = sorted(sizes, key=lambda label: (sizes[label], label))
    parts = sorted({part for _, part in queues}, key=_rank)
    taken: set[int] = set()
    given: Counter[int] = Counter()
    for turn in range(1, 1 + max(sizes.values(), default=0)):
        for place, label in enumerate(classes):
            if given[label] >= turn:
                continue
            start = (place + turn - 1) % len(parts)
            queue = _next_queue(queues, label, [*parts[start:], *parts[:start]], taken)
            if queue is not None:
                index = queue.pop()
                taken.add(index)
                given.update(labels[index])
                yield index


def _id(infos: Sequence[ImageInfo | None], index: int) -> int:
    info = infos[index]
    return index if info is None else info.image_id


def _labels(info: ImageInfo) -> tuple[int, ...]:
    return tuple(sorted({item.label for item in info.annotations})) or (NOTHING,)


def _rank(part: str) -> tuple[int, str]:
    known = ("train", "validation", "test")
    return (known.index(part) if part in known else len(known)), part


def _next_queue(
    queues: Mapping[tuple[int, str], list[int]], label: int, parts: Sequence[str], taken: set[int]
) -> list[int] | None:
    """The first of these splits that still has an image of the class."""
    for part in parts:
        queue = queues.get((label, part), [])
        while queue and queue[-1] in taken:
            queue.pop()
        if queue:
            return queue
    return None
