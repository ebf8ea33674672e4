"""The CSV logger: one wide table of epochs and one of steps, valid after every row, also after a kill and a resume."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from detkit import Logger, LoggerRefused, Outcome, RunInfo
from detkit_basics.console import STEP_LOSS

KEYS = ("epoch", "step")


class CsvLogger(Logger):
    """Writes `metrics.csv` and `steps.csv`.

    Args:
        folder: what holds one folder a run; None for `csv` in the run's own folder.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._tables: tuple[CsvTable, CsvTable] | None = None

    def start(self, run: RunInfo) -> None:
        folder = run.folder / "csv" if self._folder is None else self._folder / run.run_id
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._tables = (
                CsvTable(folder / "metrics.csv", keep_to_step=run.start_step),
                CsvTable(folder / "steps.csv", keep_to_step=run.start_step),
            )
        except OSError as error:
            raise LoggerRefused(
                f"cannot write tables into {folder}: {error.strerror}; choose another folder"
            ) from error

    def log_metrics(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        if self._tables is not None:
            metrics, steps = self._tables
            (steps if STEP_LOSS in values else metrics).append(epoch, step, values)

    def close(self, outcome: Outcome) -> None:
        for table in self._tables or ():
            table.close()


class CsvTable:
    """A CSV file that grows by rows and, rarely, by columns. A second row for one step joins the first.

    Args:
        file: continued where it exists.
        keep_to_step: rows of later steps are dropped: a resumed run makes them again.

    Raises:
        LoggerRefused: the file is something else.
    """

    def __init__(self, file: Path, *, keep_to_step: int) -> None:
        self._file = file
        self._columns = list(KEYS)
        self._stream: BinaryIO | None = None
        #: The last row and where in the file it begins.
        self._last: tuple[int, dict[str, str]] | None = None
        rows = [row for row in self._read() if int(row["step"]) <= keep_to_step] if file.exists() else []
        if not rows:
            self._columns = list(KEYS)
        self._rewrite(rows)

    def append(self, epoch: int, step: int, values: Mapping[str, float]) -> None:
        row = {"epoch": str(epoch), "step": str(step)} | {name: repr(value) for name, value in values.items()}
        if self._last is not None and step < int(self._last[1]["step"]):  # the run went back to a checkpoint
            self._rewrite([row for row in self._read() if int(row["step"]) < step])
        if self._last is not None and all(self._last[1][key] == row[key] for key in KEYS):
            begin, last = self._last
            row = last | row
            self._open().truncate(begin)
        added = [name for name in row if name not in self._columns]
        if added:
            rows = self._read()
            self._columns += added
            self._rewrite(rows)
        self._write(row)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _open(self) -> BinaryIO:
        if self._stream is None:
            self._stream = self._file.open("r+b")
        return self._stream

    def _write(self, row: dict[str, str]) -> None:
        stream = self._open()
        self._last = (stream.seek(0, os.SEEK_END), row)
        stream.write(_line(row.get(name, "") for name in self._columns))
        stream.flush()

    def _read(self) -> list[dict[str, str]]:
        """All whole rows; what a kill cut off in the last line is left out."""
        text = self._file.read_bytes().decode("utf-8", errors="replace")
        whole = text[: text.rfind("\n") + 1]
        header, *rows = list(csv.reader(io.StringIO(whole, newline=""))) or [list(KEYS)]
        if tuple(header[: len(KEYS)]) != KEYS:
            raise LoggerRefused(f"{self._file} is no table of this logger; move it away")
        self._columns = header
        return [dict(zip(header, row, strict=True)) for row in rows if len(row) == len(header)]

    def _rewrite(self, rows: Iterable[Mapping[str, str]]) -> None:
        self.close()
        temporary = self._file.with_name(f"{self._file.name}.tmp")
        lines = [_line(self._columns), *(_line(row.get(name, "") for name in self._columns) for row in rows)]
        temporary.write_bytes(b"".join(lines))
        temporary.replace(self._file)
        self._last = None


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
