"""The live table on a terminal: redrawn a few times a second by a thread of its own, gone at the end."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from detkit.cli.live.sparkline import glyphs_of
from detkit.cli.live.table import frame

if TYPE_CHECKING:
    from detkit.cli.live.course import ExperimentCourse

REFRESHES_PER_S = 4


class Screen:
    """Draws `course` at the foot of the terminal; what is printed meanwhile scrolls above it.

    Attributes:
        lock: hold it to change the course.
    """

    def __init__(self, console: Console, course: ExperimentCourse) -> None:
        self.lock = threading.RLock()
        self._console = console
        self._course = course
        self._glyphs = glyphs_of(console.encoding)
        self._trouble = ""
        self._live = Live(
            console=console,
            get_renderable=self.render,
            refresh_per_second=REFRESHES_PER_S,
            transient=True,
            # What goes to a file must not come to the terminal instead.
            redirect_stdout=sys.stdout.isatty(),
            vertical_overflow="crop",
        )

    def start(self) -> None:
        self._live.start(refresh=True)

    def stop(self) -> None:
        """Take the table away and show the cursor, also when Ctrl-C comes in the middle of it."""
        try:
            self._live.stop()
        except KeyboardInterrupt:
            self._live.stop()
            raise
        finally:
            self._console.show_cursor(True)

    def render(self) -> Group:
        """The present frame."""
        size = self._console.size
        try:
            with self.lock:
                lines = frame(
                    self._course, width=size.width, height=size.height, now=time.monotonic(), glyphs=self._glyphs
                )
        except Exception as error:  # noqa: BLE001 - a table that cannot be drawn must not end the training
            lines = [Text(f"the table cannot be drawn: {type(error).__name__}: {error}")]
        return Group(*lines)
