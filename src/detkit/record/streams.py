"""Append-only streams of JSON objects, one a line, that a resume can cut back to an exact length."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from detkit.errors import RecordError
from detkit.record.files import cannot_write

#: So far back the end of the last whole line is looked for, bytes.
LONGEST_LINE = 1 << 20


class StreamWriter:
    """Appends lines; each reaches the operating system at once, and the disk at `sync`."""

    def __init__(self, file: Path) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._stream = file.open("ab", buffering=0)
            self._drop_torn_line(file)
        except OSError as error:
            raise cannot_write(file, error) from error
        self._file = file

    def _drop_torn_line(self, file: Path) -> None:
        """A full disk or a kill may have left a line without its end; what follows must not be glued to it."""
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            start = max(0, size - LONGEST_LINE)
            stream.seek(start)
            tail = stream.read(size - start)
        if tail and not tail.endswith(b"\n"):
            os.ftruncate(self._stream.fileno(), start + tail.rfind(b"\n") + 1)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a line; NaN is refused, since it is no JSON."""
        line = json.dumps(row, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        try:
            while line:  # an unbuffered write may take a part, the last of a full disk for one
                line = line[self._stream.write(line) :]
        except OSError as error:
            raise cannot_write(self._file, error) from error

    def sync(self) -> int:
        """Wait until the disk has everything; returns the length in bytes."""
        os.fsync(self._stream.fileno())
        return os.fstat(self._stream.fileno()).st_size

    def cut(self, length: int) -> None:
        """Drop what was appended after the stream had this length.

        Raises:
            RecordError: the stream is shorter than that: somebody else changed it.
        """
        size = os.fstat(self._stream.fileno()).st_size
        if size < length:
            raise RecordError(f"{self._file} has {size} bytes, but its checkpoint says {length}: it was changed since")
        os.ftruncate(self._stream.fileno(), length)

    def close(self) -> None:
        self._stream.close()


def read_stream(file: Path) -> Iterator[dict[str, Any]]:
    """The lines of a stream that may still be written to: a last line without its end is left out.

    Raises:
        RecordError: a whole line is not JSON.
    """
    if not file.exists():
        return
    with file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except ValueError as error:
                raise RecordError(f"{file}:{number} is damaged: {error}") from error
