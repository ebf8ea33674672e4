"""What a dataset's reader says while it opens the dataset, and what keeps it from being opened, as findings."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from detkit.checks.finding import Check, Finding
from detkit.components import Dataset, Messages, Progress
from detkit.data.faults import DataFaults
from detkit.data.file_dataset import FileDataset
from detkit.data.remarks import Remark
from detkit.errors import DetkitError

UNREADABLE = Check(
    "dataset-unreadable",
    "error",
    "something that keeps the dataset from being opened, as a file that is none of its format, or an image that is not"
    " there; told whatever --only and --skip say, since no other check can be made",
    "mend it where the finding says; then check again",
    vital=True,
)
WARNED = Check(
    "reader-warning",
    "warning",
    "what the dataset's reader warns of, as objects without a mask among such with one",
    "see the text",
)
TOLD = Check(
    "reader-note",
    "note",
    "what the dataset's reader has to say, as objects that are left out for their class",
    "nothing needs to be done if it is what you expect",
)
UNREAD = Check(
    "fields-unread",
    "note",
    "what the files state and nothing of it is used, as `truncated` of VOC's objects",
    "nothing needs to be done if you do not need it",
)
STRAY_LABELS = Check(
    "label-file-without-image",
    "warning",
    "files of labels or masks of which there is no image: their objects are not used",
    "bring the images, or take the files out; are names or endings spelled alike?",
)
WITHOUT_LABELS = Check(
    "image-without-label-file",
    "note",
    "images in the folders that no file of labels, and no row of a table, is of",
    "label them; nothing needs to be done if nothing is to be found in them, or they are not meant",
)
HOLES = Check(
    "class-ids-with-holes",
    "note",
    "category ids that are not 1 to K: with gaps, from 0, or out of order; labels are numbered anew",
    "nothing needs to be done; other programs that read the file may number classes otherwise",
)
#: What readers tell by the id of a check; see `detkit.data.remarks`.
REMARKED = (STRAY_LABELS, WITHOUT_LABELS, HOLES)
CHECKS = (UNREADABLE, WARNED, TOLD, *REMARKED, UNREAD)


@dataclass
class Heard:
    """Messages of a dataset, kept; its bars are shown."""

    shown: Messages
    infos: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def info(self, text: str) -> None:
        self.infos.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def progress(self, description: str, total: int | None, unit: str = "") -> AbstractContextManager[Progress]:
        return self.shown.progress(description, total, unit)


@dataclass(frozen=True)
class Unskipped:
    """Messages of a dataset, without those that belong to checks which are skipped."""

    shown: Messages
    skipped: Collection[str]

    def info(self, text: str) -> None:
        if _check_of(text, TOLD).id not in self.skipped:
            self.shown.info(text)

    def warning(self, text: str) -> None:
        if _check_of(text, WARNED).id not in self.skipped:
            self.shown.warning(text)

    def progress(self, description: str, total: int | None, unit: str = "") -> AbstractContextManager[Progress]:
        return self.shown.progress(description, total, unit)


def _check_of(text: str, other: Check) -> Check:
    """The check that a reader's text names; `other` where it names none of those that are readers'."""
    named = text.check if isinstance(text, Remark) else ""
    return next((check for check in REMARKED if check.id == named), other)


def unreadable(error: DetkitError) -> list[Finding]:
    """Of a dataset that could not be opened: one for each of its faults."""
    if isinstance(error, DataFaults):
        return [
            Finding(UNREADABLE, UNREADABLE.severity, fault.text, fault.file, place=fault.place)
            for fault in error.faults
        ]
    return [Finding(UNREADABLE, UNREADABLE.severity, str(error))]


def said(heard: Heard, dataset: Dataset | None) -> Iterator[Finding]:
    """What the reader told, and what of the files it did not use."""
    for other, texts in ((WARNED, heard.warnings), (TOLD, heard.infos)):
        for text in dict.fromkeys(texts):  # a component's check may say the same as its build
            yield Finding(_check_of(text, other), other.severity, str(text))
    if isinstance(dataset, FileDataset):
        for what, count in sorted(dataset.unread.items()):
            yield Finding(UNREAD, UNREAD.severity, f"{what}: {count}")
