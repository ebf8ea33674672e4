"""What is looked for, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from detkit.data.file_dataset import printable
from detkit.data.types import Annotation

#: "error": training would stop, or its figures would be wrong. "warning": hardly ever meant. "note": good to know.
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked for.

    Attributes:
        id: its name for --only, --skip and JSON; never changes. severity: of its findings, where they say no other.
        summary: what is looked for. remedy: what to do about it.
        vital: nobody can go on without mending it: it stops evaluation too, and `skip_checks` does not take it.
    """

    id: str
    severity: Severity
    summary: str
    remedy: str
    vital: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        check: that found it. severity: as the check's, or less where the spec has taken care of it.
        text: what is wrong. file: in which it is to be mended. image: what the image is called.
        place: in the file, as "a.xml object 12"; empty where all of it is meant.
        object: the number of the object among its image's, from 0.
    """

    check: Check
    severity: Severity
    text: str
    file: Path | None = None
    image: str = ""
    place: str = ""
    object: int | None = None

    def __str__(self) -> str:
        file = "" if self.file is None else str(self.file)
        # The image of a file of the same name goes without saying.
        named = self.file is not None and Path(self.image).stem == self.file.stem
        image = "" if named else self.image
        where = ", ".join(part for part in (file, image, self.place) if part)
        return printable(f"{where}: {self.text}" if where else self.text)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "check": self.check.id,
            "severity": self.severity,
            "file": None if self.file is None else str(self.file),
            "image": self.image or None,
            "place": self.place or None,
            "object": self.object,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class Where:
    """An image, and the file that states its objects."""

    image: str
    path: Path | None
    source: Path | None

    def found(self, check: Check, text: str, *, severity: Severity | None = None) -> Finding:
        """Of the image itself."""
        return Finding(check, severity or check.severity, text, self.path, self.image)

    def stated(self, check: Check, text: str, *, severity: Severity | None = None) -> Finding:
        """Of what is stated of the image."""
        return Finding(check, severity or check.severity, text, self.source or self.path, self.image)

    def of_object(
        self, number: int, item: Annotation, check: Check, text: str, *, severity: Severity | None = None
    ) -> Finding:
        """Of one of its objects."""
        file, place = self.source or self.path, self.place(number, item)
        return Finding(check, severity or check.severity, text, file, self.image, place, number)

    def place(self, number: int, item: Annotation) -> str:
        """The object in its file, as "object 12"."""
        place = item.source or f"object {number}"
        return place if self.source is None else place.removeprefix(f"{printable(self.source.name)} ")
