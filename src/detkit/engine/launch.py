"""A run's process, seen from its parent: started, watched, stopped, and its end understood."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from detkit.engine.display import Display
from detkit.environment import set_defaults
from detkit.errors import Interrupted, RecordError
from detkit.record.files import cannot_write, write_json
from detkit.record.reader import RunRecord
from detkit.record.streams import read_stream

POLL_S = 0.2
#: So much of what a crashed process printed is repeated in its failure.
TAIL_LINES = 15


def run_in_child(run: RunRecord, display: Display) -> None:
    """Run it to its end, showing what it says; afterwards its record tells how it ended.

    Raises:
        Interrupted: Ctrl-C or SIGTERM, here or there. The run has saved a checkpoint, unless asked twice.
    """
    set_defaults()
    files = run.files
    try:
        files.failure.unlink(missing_ok=True)
        console = files.console.open("ab")
    except OSError as error:
        raise cannot_write(files.console, error) from error
    with console:
        process = subprocess.Popen(
            [sys.executable, "-m", "detkit.engine", str(files.folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=console,
            # A session of its own: the terminal's Ctrl-C reaches this process alone, which passes it on once.
            start_new_session=True,
            # The working directory is not on the import path: a user's queue.py there would stand for Python's.
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
        try:
            interrupted = _watch(process, run, display, console)
        finally:
            _end_group(process)
    code = process.wait()
    if interrupted or code == Interrupted.exit_code:
        raise Interrupted(f"{run.run_id} was stopped")
    if code and not files.failure.exists():
        write_json(files.failure, {"kind": "Crash", "message": _crash(code, files.console), "exit_code": 1})


def _watch(process: subprocess.Popen[bytes], run: RunRecord, display: Display, console: IO[bytes]) -> bool:
    """Relay until the process ends; returns whether it was asked to stop."""
    lines = _lines_of(process)
    shown = _Shown(run, display)
    requests = 0
    while True:
        try:
            ended = process.poll() is not None
            for line in _drain(lines, POLL_S, ended):
                with suppress(OSError):  # a full disk: what is shown need not be kept too
                    console.write(line)
                    console.flush()
                display.run_line(run, line.decode(errors="replace").rstrip("\n"))
            shown.refresh()
            if ended:
                return requests > 0
        except KeyboardInterrupt:
            requests += 1
            if requests == 1:
                display.warning("stopping after this step; Ctrl-C again stops at once and loses what is not saved")
                process.terminate()
            else:
                process.kill()


class _Shown:
    """What of a run's files has been shown already."""

    def __init__(self, run: RunRecord, display: Display) -> None:
        self._run = run
        self._display = display
        self._messages = len(list(read_stream(run.files.messages)))
        self._progress = b""
        with suppress(OSError):  # where it was when it was stopped: not shown as where it is
            self._progress = run.files.progress.read_bytes()
        self._epochs: tuple[int, int] | None = None

    def refresh(self) -> None:
        for number, message in enumerate(read_stream(self._run.files.messages)):
            if number >= self._messages:
                self._messages = number + 1
                self._show(message)
        self._refresh_epochs()
        with suppress(OSError, ValueError):  # not there yet
            content = self._run.files.progress.read_bytes()
            if content != self._progress:
                self._progress = content
                self._display.run_progress(self._run, json.loads(content))

    def _refresh_epochs(self) -> None:
        """All of them when there is a new one: the stream may have been cut back too, and a row comes once an epoch."""
        with suppress(OSError, RecordError):  # not there yet; or damaged, which the run itself will tell
            found = self._run.files.metrics.stat()
            if (found.st_mtime_ns, found.st_size) != self._epochs:
                self._epochs = (found.st_mtime_ns, found.st_size)
                self._display.run_epochs(self._run, list(read_stream(self._run.files.metrics)))

    def _show(self, message: Mapping[str, Any]) -> None:
        match message["level"]:
            case "table":
                content = {key: message[key] for key in ("columns", "rows", "title", "right")}
                self._display.table(**content)
            case "warning":
                self._display.warning(f"{self._run.run_id}: {message['text']}")
            case _:
                self._display.info(f"{self._run.run_id}: {message['text']}")


def _lines_of(process: subprocess.Popen[bytes]) -> queue.Queue[bytes]:
    lines: queue.Queue[bytes] = queue.Queue()
    stream = process.stdout
    assert stream is not None

    def read() -> None:
        for line in stream:
            lines.put(line)

    threading.Thread(target=read, name="child-output", daemon=True).start()
    return lines


def _drain(lines: queue.Queue[bytes], wait_s: float, ended: bool) -> Iterator[bytes]:
    """The lines that are there; waits for the first one, so that an idle loop does not spin."""
    with suppress(queue.Empty):
        yield lines.get(timeout=POLL_S / 4 if ended else wait_s)
        while True:
            yield lines.get_nowait() if not ended else lines.get(timeout=POLL_S / 4)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End what the process left behind: other ranks, loader workers."""
    if process.poll() is None:
        process.kill()
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _crash(code: int, console: Path) -> str:
    """What to tell of a process that ended without saying why."""
    if code == -9:  # SIGKILL, by its number: Windows has no such name
        return (
            "the process was killed by the operating system (SIGKILL), most often because memory ran out;"
            " lower [train] batch_size, [input] min_size and max_size, or [compute] workers"
        )
    cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    tail = _tail(console)
    return f"the process ended with {cause}" + (f"; the last it printed:\n{tail}" if tail else "")


def _tail(file: Path) -> str:
    try:
        return "\n".join(file.read_text(errors="replace").splitlines()[-TAIL_LINES:])
    except OSError:
        return ""


def failure_of(run: RunRecord) -> dict[str, Any]:
    """failure.json, or what stands for it where even that could not be written."""
    try:
        return run.failure or {"kind": "Unknown", "message": "no reason was recorded", "exit_code": 1}
    except RecordError as error:
        return {"kind": "Unknown", "message": str(error), "exit_code": 1}
