"""Tables and messages, on a terminal and off it."""

from __future__ import annotations

import io

import pytest

from detkit.cli.console import RichMessages, plain_table, print_table
from detkit.components import Messages

Capture = pytest.CaptureFixture[str]

COLUMNS = ("model", "AP")
ROWS = [("fcos", "0.5"), ("a long name", "12.25")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """stdout and stderr as one terminal. No fixture: pytest sets its own streams between set-up and test."""
    made = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout", made)
    monkeypatch.setattr("sys.stderr", made)
    return made


def test_a_plain_table() -> None:
    assert plain_table(COLUMNS, ROWS, right=("AP",)) == [
        "model           AP",
        "fcos           0.5",
        "a long name  12.25",
    ]
    assert plain_table(("a", "b"), [("x\ny", "")]) == ["a    b", "x y"]
    assert plain_table(("a", "b"), []) == ["a  b"]


def test_tables_off_a_terminal_are_plain(capsys: Capture) -> None:
    print_table(COLUMNS, ROWS)
    print_table(COLUMNS, [("x" * 300, "1")], stderr=True)
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1] == "fcos         0.5"
    assert len(captured.err.splitlines()) == 2


def test_tables_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    print_table(COLUMNS, [*ROWS, ("[bold]", "1")], right=("AP",))
    text = terminal.getvalue()
    assert "a long name" in text
    assert "[bold]" in text
    assert "─" in text


def test_messages_off_a_terminal(capsys: Capture) -> None:
    messages: Messages = RichMessages()
    messages.info("hello [1/2]")
    messages.warning("careful")
    with messages.progress("download", 100_000_000, "B") as progress:
        for _ in range(10):
            progress.advance(10_000_000)
    with messages.progress("waiting", None) as progress:
        progress.advance()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "hello [1/2]",
        "warning: careful",
        "download (100.0 MB)",
        "download: 25%",
        "download: 50%",
        "download: 75%",
        "waiting",
    ]


def test_messages_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    messages = RichMessages()
    with messages.progress("[outer]", 2, "epochs") as outer:
        outer.advance()
        messages.info("between [x]")
        with messages.progress("inner", 10, "B") as inner:
            inner.advance(10)
    messages.warning("after")
    text = terminal.getvalue()
    for part in ("[outer]", "between [x]", "warning: after", "epochs"):
        assert part in text


def test_bars_end_when_the_block_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal_of(monkeypatch)
    messages = RichMessages()
    with pytest.raises(ZeroDivisionError), messages.progress("x", 1):
        raise ZeroDivisionError
    assert messages._bars is None
