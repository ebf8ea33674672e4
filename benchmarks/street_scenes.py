"""A plugin for the benchmarks: drawn scenes of the sizes and numbers of objects that Penn-Fudan's photographs have.

Their sizes differ from image to image, and with them the padded shape of each batch: what a processor's convolutions
compile for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from detkit import BOXES_AND_MASKS, BuildContext, Dataset, DatasetComponent, Options, hookimpl

#: Width and height, pixels.
SIZES = (
    (559, 536),
    (455, 414),
    (360, 280),
    (391, 333),
    (330, 359),
    (476, 396),
    (549, 460),
    (317, 347),
    (410, 290),
    (305, 333),
    (520, 360),
    (364, 415),
)
OBJECTS = (1, 4)


class SceneOptions(Options):
    """`[dataset] use = "street_scenes"`"""

    images: int = 48


class Scenes(Dataset):
    """Image i has the size i modulo the number of sizes."""

    provides = BOXES_AND_MASKS

    def __init__(self, images: int) -> None:
        from detkit_basics import SyntheticOptions
        from detkit_basics.synthetic import Synthetic

        each = -(-images // len(SIZES))
        self._images = images
        self._parts = [
            Synthetic(SyntheticOptions(images=each, width=width, height=height, objects=OBJECTS, seed=number))
            for number, (width, height) in enumerate(SIZES)
        ]
        self.class_names = self._parts[0].class_names

    def __len__(self) -> int:
        return self._images

    def __getitem__(self, index: int, /) -> Any:
        image, target = self._drawn(index)
        return image.clone(), dict(target)

    @cache  # noqa: B019 - one dataset a process; drawing would count as loading
    def _drawn(self, index: int) -> Any:
        image, target = self._parts[index % len(SIZES)][index // len(SIZES)]
        return image, {**target, "image_id": index}


def build(options: SceneOptions, _context: BuildContext) -> Dataset:
    return Scenes(options.images)


@hookimpl
def detkit_datasets() -> Sequence[DatasetComponent[Any]]:
    return [
        DatasetComponent(
            name="street_scenes", options=SceneOptions, build=build, may_provide=lambda _options: BOXES_AND_MASKS
        )
    ]
