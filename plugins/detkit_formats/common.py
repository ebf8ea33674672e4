"""What the formats share: a dataset whose objects are known when it is opened, and the list of classes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from detkit import Capabilities, DataError, Messages
from detkit.data.faults import Fault
from detkit.data.file_dataset import FileDataset, ImageFile, Reading, image_files_in
from detkit.data.remarks import Remark
from detkit.data.types import Annotation
from detkit_formats import FilesOptions

T = TypeVar("T")
#: `BuildContext.leave_out`.
LeaveOut = Callable[[Fault], None] | None

#: So many files take a second or two.
MANY = 3000
#: No coordinate is further away, pixels: beyond, the 32 bits of training targets lose whole pixels.
FARTHEST_PX = 10_000_000
#: An image's side, pixels; more is a mistake.
LONGEST_SIDE = 1_000_000


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


def plain_number(text: str) -> float | None:
    """A finite number as files have it; None where it is none. Python's own reading also takes 1_0 for 10."""
    if not text.isascii() or "_" in text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def stated_size(width: str, height: str) -> tuple[int, int] | str | None:
    """The size of an image as a file states it, pixels; None where it says nothing or 0; or what is wrong with it."""
    sides = []
    for name, text in (("width", width.strip()), ("height", height.strip())):
        value = plain_number(text) if text else 0.0
        if value is None or value != int(value) or not 0 <= value <= LONGEST_SIDE:
            return f'its {name} is {text[:40]!r}, no number of pixels; mend it, or set stated_size = "ignore"'
        sides.append(int(value))
    return (sides[0], sides[1]) if all(sides) else None


def refuse_not_text(file: Path, error: Exception) -> DataError:
    """What to raise of a file that should be text."""
    if isinstance(error, UnicodeDecodeError):
        return DataError(f"{file} is no UTF-8 text (byte {error.start}); save it in UTF-8")
    return DataError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}")


def repeated_files(files: Sequence[ImageFile]) -> list[Fault]:
    """A fault of each image file that is in the list under two names, as a.jpg and ./a.jpg."""
    faults, first = [], dict[str, ImageFile]()
    for file in files:
        before = first.setdefault(os.path.normpath(file.path), file)
        if before is not file:
            told = f"{before.name} and {file.name} are both the file {file.path}; an image must be in the list once"
            faults.append(Fault(file.source or file.path, "", told))
    return faults


def tell_unnamed(files: Sequence[ImageFile], messages: Messages, advice: str) -> None:
    """Say how many images lie beside those of the dataset and are not in it.

    Args:
        advice: what takes such an image in.
    """
    known = {file.path for file in files}
    folders = sorted({file.path.parent for file in files})
    left = [path for folder in folders for path in image_files_in(folder, recursive=False) if path not in known]
    if left:
        number = f"{len(left)} images are" if len(left) > 1 else "an image is"
        text = f"{number} beside those of the dataset and not in it ({left[0]}{' is one' * (len(left) > 1)}); {advice}"
        messages.info(Remark("image-without-label-file", text))


def tell_left_out(messages: Messages, count: int, total: int) -> None:
    """Say how many objects are left out for their class."""
    if count:
        messages.info(f'{count} of {total} objects are left out: their class is not in classes (unlisted = "drop")')
