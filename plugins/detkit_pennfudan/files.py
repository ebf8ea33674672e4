"""The dataset's folder: find it, fetch it, verify it. What is fetched is never seen half done.

The archive is unpacked by the list of digests, not by its own directory: a file that the list does not name is not
written, whatever its path, and no file may be larger than the list says. So nothing can escape, link or inflate.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout

from detkit import BuildContext, DataError, Messages

if TYPE_CHECKING:
    from detkit_pennfudan import PennFudanOptions

FOLDER = "PennFudanPed"
IMAGES = "PNGImages"
MASKS = "PedMasks"
ARCHIVE = f"{FOLDER}.zip"

#: SHA-256, size and path of every released file.
DIGEST_FILE = Path(__file__).with_name("digests.txt")

#: How long the server may stay silent, seconds.
TIMEOUT_S = 30.0
#: How often a connection that breaks off is taken up again before the user must ask for it.
ATTEMPTS = 3
CHUNK_BYTES = 1 << 18
#: How many files a message names before it only counts.
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Digest:
    """What a released file must be: its SHA-256 in hexadecimal and its size in bytes."""

    sha256: str
    size: int


def prepare(options: PennFudanOptions, context: BuildContext) -> Path:
    """The verified dataset folder, fetched where it is not there.

    Raises:
        DataError: it is not there and cannot be had, or its files are not the released ones.
    """
    folder = find(options.root)
    if folder is None:
        return _obtain(options, context)
    if options.verify == "digests":
        verify(folder, context.cache_folder, context.messages)
    return folder


def check(options: PennFudanOptions, context: BuildContext) -> None:
    """What `prepare` would find, without fetching.

    Raises:
        DataError: as `prepare`; also where the folder to fetch into cannot be written.
    """
    if find(options.root) is not None:
        prepare(options, context)
        return
    if not _archive(options.root).is_file():
        _refuse_without_network(options, context)
    existing = next(path for path in (options.root, *options.root.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise DataError(f"{options.root}: cannot fetch {FOLDER} into it: {existing} is not writable")


def find(root: Path) -> Path | None:
    """`root/PennFudanPed`, or `root` where it is that folder itself; None where there is neither.

    Raises:
        DataError: root is a file, or may not be read.
    """
    if root.exists() and not root.is_dir():
        raise DataError(f"{root} is not a folder; root must be the folder that holds {FOLDER}")
    try:
        # An empty folder is as good as none: it is what a mount point or a failed unpacking leaves.
        if (root / FOLDER).is_dir() and any((root / FOLDER).iterdir()):
            return root / FOLDER
        return root if (root / IMAGES).is_dir() else None
    except OSError as error:
        raise DataError(f"{root} cannot be read: {error.strerror}") from error


def read_digests() -> dict[str, Digest]:
    """Path below the dataset folder to what the file must be."""
    lines = DIGEST_FILE.read_text(encoding="utf-8").splitlines()
    rows = [line.split(maxsplit=2) for line in lines if line and not line.startswith("#")]
    return {path: Digest(sha256, int(size)) for sha256, size, path in rows}


# --- verify ----------------------------------------------------------------------------------------------------------


def verify(folder: Path, cache_folder: Path, messages: Messages) -> None:
    """Compare every file with the released one, unless nothing changed since that was done.

    Raises:
        DataError: files are missing, differ or are too many.
    """
    digests = read_digests()
    state = _state(folder, digests)
    stamp = cache_folder / "pennfudan" / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}.verified"
    if _read_stamp(stamp) == state:
        return
    problems = _differences(folder, digests, messages)
    if problems:
        raise DataError(
            f"{folder} is not the released dataset: {_some(problems)}; move the folder away to have it fetched anew,"
            ' or set verify = "none" to read it as it is'
        )
    _write_stamp(stamp, state)


def _state(folder: Path, digests: Mapping[str, Digest]) -> str:
    """A digest of what changes when somebody touches a file: sizes and times, and which images there are."""
    summary = hashlib.sha256(DIGEST_FILE.read_bytes())
    for path in [*digests, *_surplus(folder, digests)]:
        try:
            stat = (folder / path).stat()
        except OSError:
            summary.update(f"{path} missing\n".encode())
        else:
            summary.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return summary.hexdigest()


def _surplus(folder: Path, digests: Mapping[str, Digest]) -> list[str]:
    found = sorted(f"{IMAGES}/{path.name}" for path in (folder / IMAGES).glob("[!.]*.png"))
    return [path for path in found if path not in digests]


def _differences(folder: Path, digests: Mapping[str, Digest], messages: Messages) -> list[str]:
    problems = [f"{path} does not belong to it" for path in _surplus(folder, digests)]
    total = sum(digest.size for digest in digests.values())
    with messages.progress(f"Verifying {FOLDER}", total, "B") as bar:
        for path, digest in digests.items():
            problem = _difference(folder / path, digest)
            if problem:
                problems.append(f"{path} {problem}")
            bar.advance(digest.size)
    return problems


def _difference(file: Path, digest: Digest) -> str:
    try:
        size = file.stat().st_size
        if size != digest.size:
            return f"has {size} bytes instead of {digest.size}"
        return "" if hashlib.sha256(file.read_bytes()).hexdigest() == digest.sha256 else "has other contents"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _some(problems: list[str]) -> str:
    more = len(problems) - SHOWN
    return "; ".join(problems[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _read_stamp(stamp: Path) -> str:
    try:
        return stamp.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""


def _write_stamp(stamp: Path, state: str) -> None:
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(state, encoding="ascii")
    except OSError:
        # The stamp only saves time; without a writable cache every process verifies for itself.
        return


# --- fetch -----------------------------------------------------------------------------------------------------------


def _archive(root: Path) -> Path:
    return root / ARCHIVE


def _obtain(options: PennFudanOptions, context: BuildContext) -> Path:
    """Unpack the archive that lies in root, or fetch it first; one process at a time."""
    root, messages = options.root, context.messages
    given = _archive(root).is_file()
    if not given:
        _refuse_without_network(options, context)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root, messages):
            found = find(root)
            if found is not None:
                return found
            if given:
                return _unpack(_archive(root), root, messages)
            part = root / f"{ARCHIVE}.part"
            _download(options.url, part, messages)
            try:
                folder = _unpack(part, root, messages)
            except DataError:
                part.unlink()
                raise
            part.unlink()
            return folder
    except OSError as error:
        raise DataError(f"{root}: cannot put {FOLDER} there: {error.strerror or error}; {_by_hand(options)}") from error


def _refuse_without_network(options: PennFudanOptions, context: BuildContext) -> None:
    reason = "detkit is offline" if context.offline else "" if options.download else "download = false"
    if reason:
        raise DataError(f"there is no {FOLDER} in {options.root}, and {reason}; {_by_hand(options)}")


def _by_hand(options: PennFudanOptions) -> str:
    return f"fetch {options.url} yourself and put {ARCHIVE}, or the folder it holds, into {options.root}"


@contextmanager
def _alone(root: Path, messages: Messages) -> Iterator[None]:
    lock = FileLock(root / f".{FOLDER}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        messages.info(f"another process is fetching {FOLDER} into {root}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _download(url: str, part: Path, messages: Messages) -> None:
    """Fetch into `part`, going on where an earlier attempt stopped."""
    for _attempt in range(ATTEMPTS):
        if part.exists() and zipfile.is_zipfile(part):
            return
        if _receive(url, part, messages):
            return
    raise DataError(f"{url}: the connection broke off {ATTEMPTS} times; run again to go on from where it stopped")


def _receive(url: str, part: Path, messages: Messages) -> bool:
    """One connection; True when the server sent all it announced."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "detkit"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT_S)
    except HTTPError as error:
        if error.code == 416 and have:
            part.unlink()
            return False
        raise DataError(f"{url}: the server answers {error.code} {error.reason}; {_elsewhere(part)}") from error
    except (OSError, HTTPException) as error:
        raise DataError(f"{url}: no connection ({getattr(error, 'reason', error)}); {_elsewhere(part)}") from error

    limit = 2 * sum(digest.size for digest in read_digests().values()) + CHUNK_BYTES
    with response:
        if response.status != 206:
            have = 0
        announced = response.headers.get("Content-Length")
        total = have + int(announced) if announced else None
        with messages.progress(f"Fetching {ARCHIVE}", total, "B") as bar, part.open("r+b" if have else "wb") as file:
            file.seek(have)
            bar.advance(have)
            for chunk in _chunks(response):
                file.write(chunk)
                have += len(chunk)
                bar.advance(len(chunk))
                if have > limit:
                    raise DataError(f"{url}: sends more than {limit} bytes: this is not {ARCHIVE}")
    return total is None or have == total


def _elsewhere(part: Path) -> str:
    return f"try again later, or fetch {ARCHIVE} by other means and put it into {part.parent}"


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    """What arrives, until the end or a break: the caller compares the length."""
    while True:
        try:
            chunk = response.read(CHUNK_BYTES)
        except (OSError, HTTPException):
            return
        if not chunk:
            return
        yield chunk


# --- unpack ----------------------------------------------------------------------------------------------------------


def _unpack(archive: Path, root: Path, messages: Messages) -> Path:
    """Write the released files below a temporary folder, then rename it to its place at once."""
    for left in root.glob(f".{FOLDER}-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{FOLDER}-", dir=root) as temporary:
        # The folder inside, not the temporary one, is renamed: the latter can be entered by its owner only.
        folder = Path(temporary) / FOLDER
        _extract(archive, folder, messages)
        return folder.rename(root / FOLDER)


def _extract(archive: Path, folder: Path, messages: Messages) -> None:
    digests = read_digests()
    total = sum(digest.size for digest in digests.values())
    try:
        with zipfile.ZipFile(archive) as source, messages.progress(f"Unpacking {FOLDER}", total, "B") as bar:
            for path, digest in digests.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(_member(source, f"{FOLDER}/{path}", digest))
                bar.advance(digest.size)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, _NotReleased) as error:
        raise DataError(f"{archive} is not the released {ARCHIVE}: {error}; fetch it anew") from error


class _NotReleased(Exception):
    pass


def _member(source: zipfile.ZipFile, name: str, digest: Digest) -> bytes:
    try:
        file = source.open(name)
    except KeyError as error:
        raise _NotReleased(f"it holds no {name}") from error
    with file:
        contents = file.read(digest.size + 1)
    if len(contents) != digest.size or hashlib.sha256(contents).hexdigest() != digest.sha256:
        raise _NotReleased(f"{name} has other contents")
    return contents
