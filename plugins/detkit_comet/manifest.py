"""What exactly a dataset consists of: its images with the digests of their files, made once an experiment."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from detkit import ExperimentRecord, RecordedImage, RecordError, write_atomically

#: In the experiment's folder of the record.
MANIFEST_FILE = "comet/manifest.json"
DIGESTS_FILE = "comet/file_digests.json"
FORMAT_VERSION = 1

#: So many digits of a digest name it: 48 bits.
SHORT = 12
#: How long one run may read files for their digests, seconds: 50 GB of a disk that gives 500 MB/s. Meanwhile the
#: run's other values wait, and the engine drops a logger that stalls a replay for 120 s.
READING_S = 100.0

NOT_A_FILE = "the image is not a file"
NOT_KNOWN = "the record does not say where its file is"
GONE = "its file is gone"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of a manifest.

    Attributes:
        image: as the record has it.
        name: of the file, relative to the folder that all files have in common; the image's label without a file.
        path: absolute; None without a file.
        size: bytes; None without a file, or where it was gone before a digest was made.
        sha256: of the file's bytes, 64 hexadecimal digits; None for the same reasons.
        reason: why there is no digest, or that the file is gone since; empty where all is well.
    """

    image: RecordedImage
    name: str
    path: Path | None
    size: int | None
    sha256: str | None
    reason: str = ""

    @property
    def is_there(self) -> bool:
        return self.path is not None and not self.reason


@dataclass(frozen=True, slots=True)
class Manifest:
    """A version of a dataset.

    Attributes:
        dataset: its name in the spec. fingerprint: of the record, see docs/reference/record.md.
        files: all images of the experiment, by name. pending: how many of their digests are still to be made.
    """

    dataset: str
    fingerprint: Mapping[str, Any]
    files: tuple[ImageFile, ...]
    pending: int = 0

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's bytes: equal for equal data, wherever it lies."""
        return hashlib.sha256(self.content()).hexdigest()

    @property
    def missing(self) -> list[ImageFile]:
        return [file for file in self.files if file.path is not None and file.reason]

    def content(self) -> bytes:
        """JSON without anything of the machine: no absolute path, no time."""
        about = {
            "format_version": FORMAT_VERSION,
            "dataset": self.dataset,
            "fingerprint": self.fingerprint["sha256"],
            "class_names": self.fingerprint["class_names"],
            "splits": self.fingerprint["split_sizes"],
            "images": [_row(file) for file in self.files],
        }
        return json.dumps(about, ensure_ascii=False, indent=1).encode() + b"\n"


def _row(file: ImageFile) -> dict[str, Any]:
    row = {
        "name": file.name,
        "image_id": file.image.truth.image_id,
        "split": file.image.split,
        "bytes": file.size,
        "sha256": file.sha256,
    }
    return row if file.sha256 else row | {"reason": file.reason}


def make_manifest(record: ExperimentRecord, dataset: str, *, reading_s: float = READING_S) -> Manifest:
    """The manifest of an experiment's data, with the record's own digests of the files.

    A file that was changed since, or that the record has no digest of, is read, and its digest kept in the record.

    Args:
        reading_s: after so many seconds no further file is read; the next call goes on where this one stopped.

    Raises:
        RecordError: a file of the record is missing or damaged.
    """
    images = record.images()
    paths = {id(image): image.truth.path.absolute() for image in images if image.truth.path is not None}
    names = _names(list(paths.values()))
    without_path = NOT_A_FILE if record.files.images.exists() else NOT_KNOWN
    digests, recorded = Digests(record.folder / DIGESTS_FILE), _Recorded.of(record)
    until = time.monotonic() + reading_s
    files, pending = [], 0
    for image in images:
        path = paths.get(id(image))
        if path is None:
            files.append(ImageFile(image, image.truth.label, None, None, None, without_path))
            continue
        found = recorded.known(image, path) or digests.known(path)
        if found is None and time.monotonic() > until:
            pending += 1
            continue
        size, sha256, reason = found or digests.make(path)
        files.append(ImageFile(image, names[path], path, size, sha256, reason))
    digests.save()
    files.sort(key=lambda file: (file.name, file.image.truth.image_id))
    return Manifest(dataset, record.fingerprint, tuple(files), pending)


def write_manifest(record: ExperimentRecord, manifest: Manifest) -> Path | None:
    """The manifest as a file of the record; None where the record cannot be written."""
    file = record.folder / MANIFEST_FILE
    return file if _write(file, manifest.content()) else None


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """Relative to their common folder, with "/"; whole paths without the drive where there is none."""
    try:
        common = os.path.commonpath([path.parent for path in paths]) if paths else ""
    except ValueError:  # several drives
        return {path: PurePath(*path.parts[1:]).as_posix() for path in paths}
    return {path: path.relative_to(common).as_posix() for path in paths}


Found = tuple[int | None, str | None, str]


@dataclass(frozen=True, slots=True)
class _Recorded:
    """The digests that the experiment made when its data was prepared.

    Attributes:
        files: by image id, size and SHA-256. made: when, nanoseconds; a file that was changed later is another one.
    """

    files: Mapping[int, tuple[int, str]]
    made: int

    @classmethod
    def of(cls, record: ExperimentRecord) -> _Recorded:
        """None at all of a record of an older detkit."""
        found = record.digests().items()
        files = {key: (one.size, one.sha256) for key, one in found if one.kind == "file" and one.size is not None}
        return cls(files, record.files.digests.stat().st_mtime_ns if files else 0)

    def known(self, image: RecordedImage, path: Path) -> Found | None:
        """None where the file has to be read."""
        before = self.files.get(image.truth.image_id)
        if before is None:
            return None
        try:
            now = path.stat()
        except OSError as error:
            reason = GONE if isinstance(error, FileNotFoundError) else f"it cannot be read: {error.strerror}"
            return (*before, reason)
        return (*before, "") if now.st_size == before[0] and now.st_mtime_ns <= self.made else None


@dataclass
class Digests:
    """Digests of files, kept with the size and the time of change by which a later change shows.

    Attributes:
        file: where they are kept; what cannot be read there is made again.
    """

    file: Path
    _known: dict[str, tuple[int, int, str]] = field(init=False)
    _changed: bool = field(default=False, init=False)

    #: The file is written so often while digests are made: a process that is ended loses no more than that.
    SAVE_EVERY_S = 15.0

    def __post_init__(self) -> None:
        self._known = dict(_read(self.file))
        self._saved = time.monotonic()

    def known(self, path: Path) -> Found | None:
        """What needs no reading: an unchanged file's digest, a lost file's last one, or that it was never seen."""
        before = self._known.get(str(path))
        try:
            now = path.stat()
        except OSError as error:
            reason = GONE if isinstance(error, FileNotFoundError) else f"it cannot be read: {error.strerror}"
            return (before[0], before[2], reason) if before else (None, None, reason)
        if before is not None and before[:2] == (now.st_size, now.st_mtime_ns):
            return before[0], before[2], ""
        return None

    def make(self, path: Path) -> Found:
        """Read a file."""
        try:
            with path.open("rb") as stream:
                now = os.fstat(stream.fileno())
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            return None, None, f"it cannot be read: {error.strerror}"
        self._known[str(path)] = (now.st_size, now.st_mtime_ns, sha256)
        self._changed = True
        if time.monotonic() - self._saved > self.SAVE_EVERY_S:
            self.save()
        return now.st_size, sha256, ""

    def save(self) -> None:
        """Keep them; a record that cannot be written costs the next run the reading, nothing else."""
        if self._changed:
            content = {"format_version": FORMAT_VERSION, "files": self._known}
            _write(self.file, json.dumps(content, ensure_ascii=False).encode())
        self._changed, self._saved = False, time.monotonic()


def _read(file: Path) -> Iterator[tuple[str, tuple[int, int, str]]]:
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        content = json.loads(file.read_bytes())
        if content["format_version"] == FORMAT_VERSION:
            for path, (size, changed, sha256) in content["files"].items():
                yield path, (int(size), int(changed), str(sha256))


def _write(file: Path, content: bytes) -> bool:
    try:
        write_atomically(file, lambda stream: stream.write(content), durable=False)
    except RecordError:
        return False
    return True
