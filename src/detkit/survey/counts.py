"""The numbers of a dataset: images and objects by class and split, sizes, shapes. Plain values, from headers alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detkit.data.types import ImageInfo
from detkit.spec.model import InputTable
from detkit.survey.collect import Collected, PartName

if TYPE_CHECKING:
    from detkit.survey.source import Source

#: COCO's small objects have less than the first area, large ones at least the second (square pixels; cocoeval.py).
COCO_AREAS = (32.0**2, 96.0**2)
COCO_NAMES = ("small", "medium", "large")
#: Up to so many objects an image, each number has a bar of its own; beyond, each bar is twice as wide as the last.
PLAIN_NUMBERS = 12
#: Between these widths over heights lie the bars.
ASPECTS = (1 / 4, 1 / 2, 1 / math.sqrt(2), 1.0, math.sqrt(2), 2.0, 4.0)
ASPECT_NAMES = (
    "over 4 high", "2 to 4 high", "1.4 to 2 high", "1 to 1.4 high",
    "1 to 1.4 wide", "1.4 to 2 wide", "2 to 4 wide", "over 4 wide",
)  # fmt: skip
#: So many of the most frequent image sizes are told.
COMMON_SIZES = 5


@dataclass(frozen=True, slots=True)
class ClassCount:
    """A class: images that have it, and its objects."""

    name: str
    images: int
    objects: int


@dataclass(frozen=True, slots=True)
class Part:
    """A split, of a fold where there are folds; or all there is.

    Attributes:
        images: with those that cannot be read. without_objects: readable images that have none.
    """

    name: PartName | str
    fold: int | None
    images: int
    without_objects: int
    unreadable: int
    objects: int
    classes: tuple[ClassCount, ...]

    @property
    def title(self) -> str:
        """As "train", or "fold 2 train"."""
        return self.name if self.fold is None else f"fold {self.fold} {self.name}"


@dataclass(frozen=True, slots=True)
class Range:
    """The least, the middle and the greatest of some values."""

    min: float
    median: float
    mean: float
    max: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a histogram: its name and how many."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class SizeCount:
    """An image size, pixels, and how many images have it."""

    width: int
    height: int
    images: int


@dataclass(frozen=True, slots=True)
class Counts:
    """All of it. Ranges are None where there is nothing to measure.

    Attributes:
        everything: all images. parts: the splits. left_out: objects without area that `degenerate` takes out.
        boxes_without_area: that are still there: training refuses them.
        distinct_sizes: of images, width x height. common_sizes: the most frequent of them first.
        box_width, box_height: in pixels of the files; these, `box_sizes` and `box_aspects` are of boxes with an area,
            without crowds. box_sizes: by area, of the mask where there is one, as COCO's AP has small, medium, large.
        input_box_sizes: the same at `input_size`, (min_size, max_size). box_aspects: by width over height.
    """

    everything: Part
    parts: tuple[Part, ...]
    left_out: int
    boxes_without_area: int
    crowds: int
    masks: int
    image_width: Range | None
    image_height: Range | None
    distinct_sizes: int
    common_sizes: tuple[SizeCount, ...]
    per_image: Range | None
    boxes_per_image: tuple[Bar, ...]
    box_width: Range | None
    box_height: Range | None
    box_sizes: tuple[Bar, ...]
    input_box_sizes: tuple[Bar, ...]
    input_size: tuple[int, int]
    box_aspects: tuple[Bar, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Objects:
    """All objects in columns of equal length N.

    Attributes:
        image, label: int64 [N], the image's index, the class in 1..K. box: float64 [N, 4], (x0, y0, x1, y1) pixels.
        area: float64 [N], square pixels. crowd, mask: bool [N].
    """

    image: NDArray[np.int64]
    label: NDArray[np.int64]
    box: NDArray[np.float64]
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    mask: NDArray[np.bool_]

    @property
    def has_area(self) -> NDArray[np.bool_]:
        """bool [N]; False of boxes with NaN or infinity."""
        return (self.box[:, 2] > self.box[:, 0]) & (self.box[:, 3] > self.box[:, 1]) & np.isfinite(self.box).all(axis=1)

    @property
    def measured(self) -> NDArray[np.bool_]:
        """bool [N]: with an area, and no crowd; what sizes and shapes are told of."""
        return self.has_area & ~self.crowd


def columns(infos: Sequence[ImageInfo | None]) -> Objects:
    """The objects of all readable images."""
    pairs = [(index, item) for index, info in enumerate(infos) if info for item in info.annotations]
    return Objects(
        np.array([index for index, _ in pairs], np.int64),
        np.array([item.label for _, item in pairs], np.int64),
        np.array([item.box for _, item in pairs], np.float64).reshape(-1, 4),
        np.array([item.area for _, item in pairs], np.float64),
        np.array([item.iscrowd for _, item in pairs], bool),
        np.array([item.mask is not None for _, item in pairs], bool),
    )


def count(data: Collected, source: Source) -> Counts:
    """The numbers of a dataset."""
    objects = columns(data.infos)
    readable = [(index, info) for index, info in enumerate(data.infos) if info is not None]
    numbers = np.bincount(objects.image, minlength=len(data.infos))[[index for index, _ in readable]]
    sizes = Counter((info.width, info.height) for _, info in readable)
    boxes = objects.box[objects.measured]
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    areas = objects.area[objects.measured]
    return Counts(
        everything=_part(data, objects, "all", None, range(len(data.infos))),
        parts=tuple(_part(data, objects, name, fold, indices) for name, fold, indices in data.parts()),
        left_out=data.left_out,
        boxes_without_area=int((~objects.has_area).sum()),
        crowds=int(objects.crowd.sum()),
        masks=int(objects.mask.sum()),
        image_width=_range([info.width for _, info in readable]),
        image_height=_range([info.height for _, info in readable]),
        distinct_sizes=len(sizes),
        common_sizes=tuple(SizeCount(*size, many) for size, many in _common(sizes)),
        per_image=_range(numbers),
        boxes_per_image=number_bars(numbers),
        box_width=_range(width),
        box_height=_range(height),
        box_sizes=_size_bars(areas),
        input_box_sizes=_size_bars(
            areas * _scales(data.infos, source.input_size)[objects.image[objects.measured]] ** 2
        ),
        input_size=(source.input_size.min_size, source.input_size.max_size),
        box_aspects=bars(width / height, ASPECTS, ASPECT_NAMES),
    )


def _common(sizes: Counter[tuple[int, int]]) -> list[tuple[tuple[int, int], int]]:
    return sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:COMMON_SIZES]


def _part(data: Collected, objects: Objects, name: str, fold: int | None, indices: Sequence[int]) -> Part:
    inside = np.zeros(len(data.infos), bool)
    inside[list(indices)] = True
    names = data.dataset.class_names
    here = inside[objects.image]
    known = here & (objects.label >= 1) & (objects.label <= len(names))
    of_class = np.bincount(objects.label[known], minlength=len(names) + 1)
    pairs = np.unique(np.stack([objects.image[known], objects.label[known]]), axis=1)
    with_class = np.bincount(pairs[1], minlength=len(names) + 1)
    unreadable = sum(index in data.unreadable for index in indices)
    with_objects = len(np.unique(objects.image[here]))
    return Part(
        name,
        fold,
        len(indices),
        len(indices) - unreadable - with_objects,
        unreadable,
        int(here.sum()),
        tuple(ClassCount(one, int(with_class[number]), int(of_class[number])) for number, one in enumerate(names, 1)),
    )


def _range(values: Sequence[float] | NDArray[Any]) -> Range | None:
    if not len(values):
        return None
    return Range(float(np.min(values)), float(np.median(values)), float(np.mean(values)), float(np.max(values)))


def input_scale(width: int, height: int, size: InputTable) -> float:
    """By how much an image is resized: the shorter side to `min_size`, unless the longer would exceed `max_size`.

    As TorchVision's GeneralizedRCNNTransform does.
    """
    return min(size.min_size / max(1, min(width, height)), size.max_size / max(1, width, height))


def _scales(infos: Sequence[ImageInfo | None], size: InputTable) -> NDArray[np.float64]:
    return np.array([input_scale(info.width, info.height, size) if info else 1.0 for info in infos])


def _size_bars(areas: NDArray[np.float64]) -> tuple[Bar, ...]:
    return bars(areas, COCO_AREAS, COCO_NAMES)


def bars(values: NDArray[np.float64], limits: Sequence[float], names: Sequence[str]) -> tuple[Bar, ...]:
    """A histogram; a value that is a limit belongs above it. There is one more name than limits."""
    counts = np.bincount(np.searchsorted(limits, values, side="right"), minlength=len(names))
    return tuple(Bar(name, int(number)) for name, number in zip(names, counts, strict=True))


def number_bars(numbers: NDArray[np.int64]) -> tuple[Bar, ...]:
    """A histogram of whole numbers from 0 to the greatest."""
    if not len(numbers):
        return ()
    most = int(numbers.max())
    if most <= PLAIN_NUMBERS:
        starts = list(range(most + 2))
    else:
        starts = [0, 1, 2, 3]
        while starts[-1] <= most:
            starts.append(2 * starts[-1] - 1)  # 1, 2, 3-4, 5-8, 9-16, ...
    names = [str(low) if high - low == 1 else f"{low}-{high - 1}" for low, high in pairwise(starts)]
    return bars(numbers.astype(float), starts[1:-1], names)
