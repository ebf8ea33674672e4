"""What the formats share: a dataset whose objects are known when it is opened, and the list of classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from detkit import Capabilities, Messages
from detkit.data.faults import Fault
from detkit.data.file_dataset import FileDataset, ImageFile, Reading
from detkit.data.types import Annotation
from detkit_formats import FilesOptions

T = TypeVar("T")
#: `BuildContext.leave_out`.
LeaveOut = Callable[[Fault], None] | None

#: So many files take a second or two.
MANY = 3000


class ReadDataset(FileDataset):
    """A dataset whose objects do not depend on the image's size, and are read already.

    Args:
        objects: of each file, in the order of `files`.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        files: Sequence[ImageFile],
        objects: Sequence[tuple[Annotation, ...]],
        *,
        reading: Reading,
        provides: Capabilities,
        splits: Mapping[str, Sequence[int]] | None,
        unread: Mapping[str, int],
    ) -> None:
        super().__init__(class_names, files, reading=reading, provides=provides, splits=splits, unread=unread)
        self._objects = tuple(objects)

    def annotations(self, index: int, width: int, height: int) -> tuple[Annotation, ...]:
        return self._objects[index]


def with_bar(messages: Messages, doing: str, items: Sequence[T]) -> Iterator[T]:
    """The items, one after the other, with a bar where there are so many that somebody would wait."""
    if len(items) < MANY:
        yield from items
        return
    with messages.progress(doing, len(items)) as bar:
        for item in items:
            yield item
            bar.advance()


def reading_of(options: FilesOptions) -> Reading:
    """How the options want images read."""
    return Reading(exif=options.exif, cut=options.cut, max_pixels=options.max_pixels)


def tell_left_out(messages: Messages, count: int, total: int) -> None:
    """Say how many objects are left out for their class."""
    if count:
        messages.info(f'{count} of {total} objects are left out: their class is not in classes (unlisted = "drop")')
