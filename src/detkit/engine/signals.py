"""Ctrl-C, SIGTERM and the death of the parent: requests to stop at the next good place."""

from __future__ import annotations

import os
import signal
from types import FrameType


class StopRequest:
    """Becomes true, and stays so, when somebody wants the run to stop.

    A run belongs to the process that started it: where that one is gone, nobody would read what the run does, and a
    resume would find the folder in use; so its death is a request to stop too.
    """

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._requested = False

    def install(self) -> None:
        """Take over SIGINT and SIGTERM of this process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._request)

    def __bool__(self) -> bool:
        return self._requested or os.getppid() != self._parent

    def _request(self, _number: int, _frame: FrameType | None) -> None:
        self._requested = True
