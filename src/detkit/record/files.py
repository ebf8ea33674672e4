"""Files that are either the old or the new one, never half of one."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from detkit.errors import CannotWrite, RecordError
from detkit.record.layout import FORMAT_VERSION


def write_atomically(file: Path, write: Callable[[IO[bytes]], object], *, durable: bool = True) -> None:
    """Write through a temporary file beside it, flushed to the disk, then renamed.

    Args:
        write: gets the open binary file.
        durable: wait until the disk has it; off for files that only tell how far a run is.

    Raises:
        RecordError: the disk is full, or the folder cannot be written. The old file, if any, is as it was.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            write(stream)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        temporary.replace(file)
        if durable:
            _sync_folder(file.parent)
    except OSError as error:
        with suppress(OSError):  # where the folder is a file, even looking for the temporary one fails
            temporary.unlink()
        raise cannot_write(file, error) from error


def duplicate(file: Path, to: Path) -> None:
    """Give a file a second name, which keeps its content when the first is written again.

    Raises:
        RecordError: the folder cannot be written.
    """
    temporary = to.with_name(f".{to.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        try:
            os.link(file, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(file, temporary)
        temporary.replace(to)
    except OSError as error:
        raise cannot_write(to, error) from error
    finally:
        temporary.unlink(missing_ok=True)  # still there, too, where both are names of one file already


def cannot_write(file: Path, error: OSError) -> CannotWrite:
    """What to tell a person whose disk or folder refused a write."""
    return CannotWrite(
        f"cannot write {file}: {error.strerror or error}; what was recorded before is whole: free space or mend the"
        " permissions, then go on (a run: with --resume)"
    )


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # Windows has no handle of a folder to sync; its rename is journalled
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(file: Path, content: Mapping[str, Any], *, durable: bool = True) -> None:
    """Write an object with the record's format version; NaN is refused, since it is no JSON."""
    text = json.dumps({"format_version": FORMAT_VERSION, **content}, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(file, lambda stream: stream.write(text.encode() + b"\n"), durable=durable)


def read_json(file: Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises:
        RecordError: the file is missing, cut, or of a newer format.
    """
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise RecordError(f"{file} is missing; {file.parent} is not a complete record") from None
    except OSError as error:
        raise RecordError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise RecordError(f"{file} is damaged: {error}") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if version is None:
        raise RecordError(f"{file} is damaged: it has no format version, as all files of a record have")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise RecordError(
            f"{file} has format version {version}; this detkit reads up to {FORMAT_VERSION}; update detkit"
        )
    return dict(content)


def write_json_gz(file: Path, content: Any) -> None:
    """Write gzipped JSON whose bytes depend on the content alone (no time, no name in the header)."""
    data = json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
    write_atomically(file, lambda stream: stream.write(gzip.compress(data, compresslevel=6, mtime=0)))


def read_json_gz(file: Path) -> Any:
    """Read what `write_json_gz` wrote.

    Raises:
        RecordError: the file is missing or damaged.
    """
    try:
        return json.loads(gzip.decompress(file.read_bytes()))
    except FileNotFoundError:
        raise RecordError(f"{file} is missing") from None
    except (OSError, EOFError, ValueError) as error:
        raise RecordError(f"{file} is damaged: {error}") from error
