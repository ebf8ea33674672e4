"""A digest of the content of every image: of its file's bytes, or of its pixels where there is no file.

Reading every file is the price of noticing any change: 118,000 files of 160 kB are 19 GB, about 40 s of a disk that
gives 500 MB/s. Digests are therefore kept in the cache folder, with the size and the times by which a later
change of a file shows; the second run reads nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from detkit.components import Dataset, Messages, Silent
from detkit.data.names import common_folder
from detkit.data.seeds import derive_seed, seeded
from detkit.data.types import ImageInfo
from detkit.errors import DataError, DetkitError

FORMAT_VERSION = 2
#: Reading less than this takes no time worth a bar: bytes of files, images that are no files.
UNNOTICED_BYTES = 200_000_000
UNNOTICED_IMAGES = 500
#: A file that was changed so shortly before it was read may be changed again within the same tick of its clock,
#: nanoseconds: such a digest is not kept. Some file systems count whole two seconds.
RACY_NS = 2_500_000_000
#: More do not make one disk faster.
MOST_THREADS = 8


class State(NamedTuple):
    """By which a change of a file shows.

    Attributes:
        size: bytes. modified, changed: nanoseconds. Programs may set the former back, as `cp -p` and `exiftool -P` do;
            only the system sets the latter (on Windows it is the time of creation).
    """

    size: int
    modified: int
    changed: int


def state_of(stat: os.stat_result) -> State:
    """Of a file as the system describes it."""
    return State(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class ImageDigest:
    """What an image's content is known by.

    Attributes:
        kind: "file": of the file's bytes, as `sha256sum` gives it. "pixels": of an image that is no file: its size and
            its decoded pixels. "none": of such an image that cannot be read, or is another one each time.
        sha256: 64 hexadecimal digits; empty for "none".
        size: of the file, bytes; None for the others.
    """

    kind: Literal["file", "pixels", "none"]
    sha256: str = ""
    size: int | None = None

    @property
    def content(self) -> str:
        """The kind with the digest: a file and the pixels in it are never taken for each other. Empty for "none"."""
        return f"{self.kind}:{self.sha256}" if self.sha256 else ""


def digest_images(
    dataset: Dataset,
    infos: Sequence[ImageInfo],
    *,
    cache_folder: Path,
    messages: Messages,
    only: Sequence[int] | None = None,
) -> dict[int, ImageDigest]:
    """The digest of each image, by index, rising.

    Args:
        infos: of every image of the dataset.
        cache_folder: where the digests of files are kept; one that cannot be written costs the next run the reading,
            nothing else.
        only: the indices wanted; None: all.

    Raises:
        DataError: a file cannot be read.
    """
    wanted = range(len(infos)) if only is None else sorted(only)
    paths = {index: Path(os.path.abspath(path)) for index in wanted if (path := infos[index].path) is not None}
    of_files = digest_files(list(paths.values()), cache_folder=cache_folder, messages=messages)
    of_pixels = _digest_pixels(dataset, [index for index in wanted if index not in paths], messages)
    return {index: of_files[paths[index]] if index in paths else of_pixels[index] for index in wanted}


# --- files -----------------------------------------------------------------------------------------------------------


def digest_files(paths: Sequence[Path], *, cache_folder: Path, messages: Messages) -> dict[Path, ImageDigest]:
    """Of absolute paths. Digests of files that did not change since they were read are taken from the cache.

    Raises:
        DataError: a file cannot be read.
    """
    common = common_folder(paths)
    cache = _Cache(cache_folder, common)
    found: dict[Path, ImageDigest] = {}
    missing: list[Path] = []
    total = 0
    for path in dict.fromkeys(paths):
        known, size = cache.known(path)
        if known is not None:
            found[path] = known
        else:
            missing.append(path)
            total += size
    shown = messages if total >= UNNOTICED_BYTES else Silent()
    with shown.progress("reading the images for the fingerprint of the data", total, "B") as bar:
        try:
            for path, digest in _read_all(missing, cache):
                found[path] = digest
                bar.advance(digest.size or 0)
        finally:  # what was read before Ctrl-C need not be read again
            cache.save()
    return found


def _read_all(paths: Sequence[Path], cache: _Cache) -> Iterator[tuple[Path, ImageDigest]]:
    """In the order given. hashlib lets other threads go on while it works."""
    if not paths:
        return
    pool = ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1), thread_name_prefix="digest")
    try:
        yield from zip(paths, pool.map(cache.read, paths), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass
class _Cache:
    """Digests of the files below one folder, with their sizes and times of change.

    Attributes:
        folder: of all caches. below: the files' common folder; None keeps nothing.
    """

    folder: Path
    below: Path | None
    _known: dict[str, tuple[State, str]] = field(default_factory=dict, init=False)
    _changed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        # What cannot be read there is made again.
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            content = json.loads(self._file.read_bytes())
            if content["format_version"] == FORMAT_VERSION and content["folder"] == str(self.below):
                for name, (*numbers, sha256) in content["files"].items():
                    size, modified, changed = map(int, numbers)
                    self._known[name] = (State(size, modified, changed), str(sha256))

    @property
    def _file(self) -> Path:
        name = hashlib.sha256(str(self.below).encode()).hexdigest()[:16]
        return self.folder / "digests" / f"{name}.json"

    def _name(self, path: Path) -> str:
        return path.relative_to(self.below).as_posix() if self.below else path.as_posix()

    def known(self, path: Path) -> tuple[ImageDigest | None, int]:
        """The digest of a file that is as it was, and its size in bytes."""
        try:
            now = path.stat()
        except OSError as error:
            raise _unreadable(path, error) from error
        before = self._known.get(self._name(path))
        same = before is not None and before[0] == state_of(now)
        return (ImageDigest("file", before[1], now.st_size) if before and same else None), now.st_size

    def read(self, path: Path) -> ImageDigest:
        try:
            with path.open("rb") as stream:
                now = os.fstat(stream.fileno())
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise _unreadable(path, error) from error
        if time.time_ns() - now.st_mtime_ns > RACY_NS:
            self._known[self._name(path)] = (state_of(now), sha256)
            self._changed = True
        return ImageDigest("file", sha256, now.st_size)

    def save(self) -> None:
        if not self._changed or self.below is None:
            return
        files = {name: [*state, sha256] for name, (state, sha256) in self._known.items()}
        content = {"format_version": FORMAT_VERSION, "folder": str(self.below), "files": files}
        temporary = self._file.with_name(f".{self._file.name}.{os.getpid()}.tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(content), encoding="utf-8")
            temporary.replace(self._file)
        except OSError:
            with suppress(OSError):
                temporary.unlink()


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"the image {path} cannot be read: {error.strerror or error}")


# --- images that are no files ----------------------------------------------------------------------------------------


def _digest_pixels(dataset: Dataset, indices: Sequence[int], messages: Messages) -> dict[int, ImageDigest]:
    """Of images without files. Where the first one is not the same twice, none can be known by its pixels."""
    if not indices:
        return {}
    first = indices[0]
    if _digest_of_pixels(dataset, first) != _digest_of_pixels(dataset, first):
        return dict.fromkeys(indices, ImageDigest("none"))
    shown = messages if len(indices) >= UNNOTICED_IMAGES else Silent()
    with shown.progress("looking at the images for the fingerprint of the data", len(indices), "images") as bar:
        found = {}
        for index in indices:
            found[index] = _digest_of_pixels(dataset, index)
            bar.advance()
        return found


def _digest_of_pixels(dataset: Dataset, index: int) -> ImageDigest:
    try:
        return ImageDigest("pixels", _pixels(dataset, index))
    except DetkitError:
        return ImageDigest("none")  # the run that needs this image stops with the cause, and names the dataset


def _pixels(dataset: Dataset, index: int) -> str:
    """SHA-256 over the shape and the bytes; a dataset that draws its images finds the generators seeded alike."""
    from detkit.data.loading import fetch  # with torch, which data of files can do without

    with seeded(derive_seed(0, "digested image", index)):
        image, _ = fetch(dataset, index)
    digest = hashlib.sha256(json.dumps(list(image.shape)).encode())
    digest.update(image.contiguous().numpy().tobytes())
    return digest.hexdigest()
