"""What a dataset's reader says while it opens the dataset, and what keeps it from being opened, as findings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from detkit.checks.finding import Check, Finding
from detkit.components import Dataset, Messages, Progress
from detkit.data.faults import DataFaults
from detkit.data.file_dataset import FileDataset
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
    "what the dataset's reader warns of, as labels without images",
    "see the text",
)
TOLD = Check(
    "reader-note",
    "note",
    "what the dataset's reader has to say, as category ids that are not 1 to K, or images without label files",
    "nothing needs to be done if it is what you expect",
)
UNREAD = Check(
    "fields-unread",
    "note",
    "what the files state and nothing of it is used, as `truncated` of VOC's objects",
    "nothing needs to be done if you do not need it",
)
CHECKS = (UNREADABLE, WARNED, TOLD, UNREAD)


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
    for check, texts in ((WARNED, heard.warnings), (TOLD, heard.infos)):
        for text in dict.fromkeys(texts):  # a component's check may say the same as its build
            yield Finding(check, check.severity, text)
    if isinstance(dataset, FileDataset):
        for what, count in sorted(dataset.unread.items()):
            yield Finding(UNREAD, UNREAD.severity, f"{what}: {count}")
