"""A program under a pseudo-terminal, and what would stand on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

#: Control sequences as rich writes them: parameters and a final letter.
SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b[()][A-Z0-9]|\x1b[=>78]")


@dataclass
class Screen:
    """Lines with a cursor, as a terminal of endless height keeps them; knows what rich's live display uses.

    Attributes:
        lines: all of them, those scrolled away too. cursor: whether it is shown.
    """

    lines: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0
    cursor: bool = True

    def feed(self, text: str) -> None:
        position = 0
        while position < len(text):
            found = SEQUENCE.match(text, position)
            if found:
                self._control(found.group(1) or "", found.group(2) or "")
                position = found.end()
                continue
            self._character(text[position])
            position += 1

    def _control(self, parameters: str, letter: str) -> None:
        number = int(parameters) if parameters.isdigit() else 1
        if letter == "A":
            self.row = max(0, self.row - number)
        elif letter == "K":
            self.lines[self.row] = "" if parameters == "2" else self.lines[self.row][: self.column]
        elif letter in "hl" and parameters == "?25":
            self.cursor = letter == "h"
        elif letter != "m":
            raise AssertionError(f"unknown control sequence ESC[{parameters}{letter}")

    def _character(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row += 1
            self.column = 0
            if self.row == len(self.lines):
                self.lines.append("")
        else:
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines)


class Terminal:
    """Starts a program on a pseudo-terminal of its own; `send("\\x03")` is Ctrl-C.

    Args:
        environment: of the program, beside this one's. width, height: in characters.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, width: int, height: int) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        self.output = ""
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=dict(environment), start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip

    def send(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read_until(self, told: Callable[[str], bool], timeout_s: float) -> str:
        """What it has written so far, once `told` says that it is enough.

        Raises:
            AssertionError: it ended, or took too long.
        """
        end = time.monotonic() + timeout_s
        while not told(self.output):
            if time.monotonic() > end or (not self._read(0.2) and self.process.poll() is not None):
                raise AssertionError(f"not seen in time; the terminal has:\n{self.output[-4000:]}")
        return self.output

    def wait(self, timeout_s: float) -> int:
        """Read to its end; returns the exit code."""
        end = time.monotonic() + timeout_s
        while self.process.poll() is None:
            assert time.monotonic() < end, f"still running; the terminal has:\n{self.output[-4000:]}"
            self._read(0.2)
        while self._read(0.2):
            pass
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._slave)
        os.close(self._master)

    @property
    def modes(self) -> list[object]:
        """The terminal's settings now, to compare with `before`."""
        return termios.tcgetattr(self._slave)

    def _read(self, wait_s: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], wait_s)
        if not ready:
            return False
        self.output += os.read(self._master, 65536).decode(errors="replace")
        return True
