"""The report while runs go on: brought up to date after each epoch, beside the run, never in its way."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from detkit.components import Messages
from detkit.engine.display import Display
from detkit.record.reader import ExperimentRecord, RunRecord, open_record
from detkit.report.folder import Written, write_report

#: So long the end of an experiment waits for a refresh that is under way, seconds.
PATIENCE_S = 60.0


@contextmanager
def refreshed(display: Display) -> Iterator[Display]:
    """A display that passes everything on, and has the report written when a run begins, ends an epoch, and ends.

    A thread of this process writes it, so that nobody waits; the run itself is another process. What goes wrong is one
    warning. At the end of the `with` block the report is written once more, so that it tells how an experiment that was
    stopped, or failed, has ended.
    """
    watch = _Watch(display)
    try:
        yield cast(Display, watch)
    finally:
        watch.close()


def final_report(record: ExperimentRecord, messages: Messages) -> Written | None:
    """The report after the last run, models compared in pairs; None where it cannot be written, which is said."""
    try:
        return write_report(record, messages=messages)
    except Exception as error:  # noqa: BLE001 - the runs have ended well; a report never turns that into a failure
        messages.warning(trouble(record.folder, error))
        return None


def trouble(folder: Path, error: Exception) -> str:
    """What to tell of a report that was not written."""
    kind = "" if str(error) else type(error).__name__
    return f"the report could not be written: {kind}{error}; once that is mended: detkit report {folder}"


class _Watch:
    """In place of a display, whatever methods that has."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._folder: Path | None = None
        self._wanted, self._closed = threading.Event(), False
        self._thread: threading.Thread | None = None
        self._trouble = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._display, name)

    def run_started(self, run: RunRecord, number: int, total: int, resumed: bool) -> None:
        self._display.run_started(run, number, total, resumed=resumed)
        self._folder = run.experiment
        self._refresh()

    def run_progress(self, run: RunRecord, progress: Mapping[str, Any]) -> None:
        self._display.run_progress(run, progress)
        self._tell()

    def run_epochs(self, run: RunRecord, epochs: Sequence[Mapping[str, Any]]) -> None:
        self._display.run_epochs(run, epochs)
        self._refresh()

    def run_ended(self, run: RunRecord) -> None:
        self._display.run_ended(run)
        self._refresh()
        self._tell()

    def close(self) -> None:
        self._closed = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(PATIENCE_S)
        self._tell()

    def _refresh(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="report", daemon=True)
            self._thread.start()
        self._wanted.set()

    def _work(self) -> None:
        """What is asked for while a report is written is one more, however often it was asked; the end asks for one."""
        ended = False
        while not ended:
            self._wanted.wait()
            ended = self._closed
            self._wanted.clear()
            try:
                if self._folder is not None:
                    write_report(open_record(self._folder), ended=False)
            except Exception as error:  # noqa: BLE001 - whatever it is, the runs go on
                self._trouble = self._trouble or trouble(self._folder or Path(), error)

    def _tell(self) -> None:
        """In the caller's thread: displays are not made for several. Once: an epoch later it will be the same."""
        if self._trouble and self._trouble != "told":
            self._display.warning(self._trouble)
            self._trouble = "told"
