"""Every image of a dataset, from headers alone, and the split that a run would put it in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from detkit.components import BuildContext, Dataset, Messages
from detkit.data.degenerate import CleanDataset
from detkit.data.faults import DataFaults
from detkit.data.file_dataset import FileDataset, printable
from detkit.data.images import UnreadableImage
from detkit.data.splits import Division, Splits, divide
from detkit.data.types import ImageInfo
from detkit.engine.converting import built
from detkit.errors import DataError, DetkitError
from detkit.survey.source import Source

PartName = Literal["train", "validation", "test", "unused"]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An image that could not be read.

    Attributes:
        image: what it is called. file: None where it is none. cause: why.
    """

    image: str
    file: Path | None
    cause: str


@dataclass(frozen=True, slots=True)
class Collected:
    """A dataset that was gone through.

    Attributes:
        dataset: with boxes without area treated as the spec says. infos: by index; None of those that are unreadable.
        left_out: objects of `degenerate` that no run trains on.
        division: None where the images cannot be divided; `undivided` says why.
    """

    dataset: Dataset
    infos: tuple[ImageInfo | None, ...]
    unreadable: dict[int, Unreadable]
    left_out: int
    division: Division | None
    undivided: str = ""

    def parts(self) -> Iterator[tuple[PartName, int | None, tuple[int, ...]]]:
        """Name, fold (None where there are no folds, or it is the same in all) and indices of each part with images."""
        if self.division is None:
            return
        for number, splits in enumerate(self.division.folds, 1):
            fold = number if self.division.folded else None
            yield "train", fold, splits.train
            yield "validation", fold, splits.validation
        if self.division.test:
            yield "test", None, self.division.test
        if unused := self._unused(self.division.folds[0]):
            yield "unused", None, unused

    def _unused(self, splits: Splits) -> tuple[int, ...]:
        used = {*splits.train, *splits.validation, *splits.test}
        return tuple(index for index in range(len(self.infos)) if index not in used)

    def part_of(self, fold: int | None) -> dict[int, PartName]:
        """The split of each image in a fold; empty where there is no division."""
        return {index: name for name, own, indices in self.parts() if own in (None, fold) for index in indices}


def collect_data(source: Source, messages: Messages) -> Collected:
    """Open the dataset, and read each image's header and objects.

    Raises:
        DataError: the dataset cannot be opened, or has no images. PluginError, ComponentError: as for building it.
    """
    raw = _opened(source, messages)
    if not len(raw):
        raise DataError("the dataset has no images")
    dataset = raw if source.degenerate == "error" else CleanDataset(raw, source.degenerate)
    infos: list[ImageInfo | None] = []
    unreadable: dict[int, Unreadable] = {}
    left_out = 0
    with messages.progress("reading headers", len(dataset), "images") as bar:
        for index in range(len(dataset)):
            info = None
            try:
                info = dataset.info(index)
                left_out += len(raw.info(index).annotations) - len(info.annotations) if dataset is not raw else 0
            except Exception as error:  # noqa: BLE001 - datasets of others; the other images are looked at all the same
                unreadable[index] = _unreadable(raw, index, error)
            infos.append(info)
            bar.advance()
    division, undivided = _divided(raw, infos, unreadable, source)
    return Collected(dataset, tuple(infos), unreadable, left_out, division, undivided)


def _opened(source: Source, messages: Messages) -> Dataset:
    context = BuildContext(spec_folder=source.folder, offline=source.offline, messages=messages)
    try:
        return built(source.use, context)
    except DataFaults as error:
        raise DataError(f"{error}\n{source.checked} says what to do") from error


def _unreadable(dataset: Dataset, index: int, error: Exception) -> Unreadable:
    name, file = f"image {index}", None
    if isinstance(dataset, FileDataset):
        name, file = printable(dataset.files[index].name), dataset.files[index].path
    if isinstance(error, UnreadableImage) and error.file == file:
        return Unreadable(name, file, error.cause or str(error))
    return Unreadable(name, file, str(error) if isinstance(error, DetkitError) else f"{type(error).__name__}: {error}")


def _divided(
    dataset: Dataset, infos: Sequence[ImageInfo | None], unreadable: dict[int, Unreadable], source: Source
) -> tuple[Division | None, str]:
    """Of all images, also of those that cannot be read, so that each is where a run would have it."""
    stand_ins = [info or _stand_in(dataset, index, unreadable[index]) for index, info in enumerate(infos)]
    try:
        return divide(stand_ins, source.split, dataset.splits), ""
    except DataError as error:
        return None, str(error)


def _stand_in(dataset: Dataset, index: int, what: Unreadable) -> ImageInfo:
    image_id = dataset.files[index].image_id if isinstance(dataset, FileDataset) else -1 - index
    return ImageInfo(image_id, what.file, 0, 0, name=what.image)
