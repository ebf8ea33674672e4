"""A dataset as it is after its repair: some of its images, with other objects and ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from detkit.components import Dataset
from detkit.data.types import ImageInfo, Target

if TYPE_CHECKING:
    from torchvision.tv_tensors import Image


class RepairedDataset(Dataset):
    """Images of another dataset; their pixels are that one's, their objects are given.

    Args:
        dataset: the original.
        infos: by the index in the original, what each image that stays is from now on. Without a path it is to be drawn
            from its pixels.
        splits: name to indices in the original, all of images that stay; None where the data brings none.
    """

    def __init__(
        self, dataset: Dataset, infos: Mapping[int, ImageInfo], splits: Mapping[str, Sequence[int]] | None
    ) -> None:
        self._dataset = dataset
        self._infos = tuple(infos.values())
        self._originals = tuple(infos)
        places = {index: place for place, index in enumerate(infos)}
        self.class_names = dataset.class_names
        self.provides = dataset.provides
        self.splits = (
            None if splits is None else {name: [places[index] for index in indices] for name, indices in splits.items()}
        )
        #: What the files state beside, as of a `FileDataset`: whoever writes a dataset tells that it is not kept.
        self.unread: Mapping[str, int] = getattr(dataset, "unread", {})

    def __len__(self) -> int:
        return len(self._infos)

    def info(self, index: int) -> ImageInfo:
        return self._infos[index]

    def __getitem__(self, index: int, /) -> tuple[Image, Target]:
        from detkit.data.targets import target_of

        image, _ = self._dataset[self._originals[index]]
        return image, target_of(self._infos[index], masks="masks" in self.provides)
