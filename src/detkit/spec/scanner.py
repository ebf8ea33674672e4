"""Where each key of a TOML text stands: its parser gives values but no positions, so this walks the text once more.

It expects text that the parser has accepted, and therefore checks nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_right

import tomli

#: The way to a value: names of tables and keys, and indices into arrays.
KeyPath = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[^\s.=\]\[{}\"'#,]+")
_BLANK = re.compile(r"[ \t]*")
_FILLER = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}#\r\n]*")
_BASIC = re.compile(r'"(?:[^"\\]|\\.)*"')
_LITERAL = re.compile(r"'[^']*'")
# Up to two quotes may stand right before the closing three: they belong to the string.
_LONG_BASIC = re.compile(r'"""(?:[^\\]|\\.)*?"""(?:""|")?', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''.*?'''(?:''|')?", re.DOTALL)


def scan(text: str) -> dict[KeyPath, int]:
    """The line, from 1, of every table, key and array element of a valid TOML text.

    A table has the line of its header; one without a header, that of the first key or header that implies it.
    An element of an array of tables has the line of its own header.
    """
    return _Scanner(text).lines


def format_key(path: KeyPath) -> str:
    """A path as TOML writes it: dotted, names quoted where they must be, indices in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else '"' + part.replace('"', '\\"') + '"'
            text += f".{name}" if text else name
    return text


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._headed: set[KeyPath] = set()
        self._table_arrays: dict[KeyPath, int] = {}
        self._document()

    def _line(self) -> int:
        return bisect_right(self._newlines, self.at - 1) + 1

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:  # the text was accepted by the parser, which knows no other form here
            raise AssertionError(f"no {pattern.pattern} at offset {self.at}")
        self.at = match.end()
        return match.group()

    def _next_is(self, mark: str) -> bool:
        return self.text.startswith(mark, self.at)

    def _document(self) -> None:
        table: KeyPath = ()
        while True:
            self._skip(_FILLER)
            if self.at >= len(self.text):
                return
            if self._next_is("["):
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> KeyPath:
        line = self._line()
        is_array = self._next_is("[[")
        self.at += 2 if is_array else 1
        parts = self._key()
        self.at += 2 if is_array else 1
        path: KeyPath = ()
        for part in parts[:-1]:
            path = self._last_element((*path, part))
            self.lines.setdefault(path, line)
        path = (*path, parts[-1])
        if is_array:
            index = self._table_arrays.get(path, 0)
            self._table_arrays[path] = index + 1
            self.lines.setdefault(path, line)
            path = (*path, index)
        if path not in self._headed:
            self._headed.add(path)
            self.lines[path] = line
        return path

    def _last_element(self, path: KeyPath) -> KeyPath:
        """A header that goes through an array of tables means its last element."""
        if path not in self._table_arrays:
            return path
        self.lines.setdefault(path, self._line())
        return (*path, self._table_arrays[path] - 1)

    def _pair(self, table: KeyPath) -> None:
        line = self._line()
        path = table
        for part in self._key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self.at += 1  # the equals sign
        self._value(path)

    def _key(self) -> list[str]:
        """The parts of a key, and past the blanks behind it."""
        parts = []
        while True:
            self._skip(_BLANK)
            parts.append(self._key_part())
            self._skip(_BLANK)
            if not self._next_is("."):
                return parts
            self.at += 1

    def _key_part(self) -> str:
        if self._next_is("'"):
            return self._skip(_LITERAL)[1:-1]
        if self._next_is('"'):
            quoted = self._skip(_BASIC)
            # The parser knows all escapes; a name without any needs no second parse.
            return str(tomli.loads(f"k = {quoted}")["k"]) if "\\" in quoted else quoted[1:-1]
        return self._skip(_BARE_KEY)

    def _value(self, path: KeyPath) -> None:
        self._skip(_BLANK)
        if self._next_is("["):
            self._array(path)
        elif self._next_is("{"):
            self._inline_table(path)
        else:
            self._skip(self._scalar_pattern())

    def _scalar_pattern(self) -> re.Pattern[str]:
        for mark, pattern in (('"""', _LONG_BASIC), ("'''", _LONG_LITERAL), ('"', _BASIC), ("'", _LITERAL)):
            if self._next_is(mark):
                return pattern
        return _SCALAR

    def _array(self, path: KeyPath) -> None:
        self.at += 1
        index = 0
        while True:
            self._skip(_FILLER)
            if self._next_is("]"):
                break
            if self._next_is(","):
                self.at += 1
                continue
            self.lines[(*path, index)] = self._line()
            self._value((*path, index))
            index += 1
        self.at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.at += 1
        while True:
            self._skip(_FILLER)
            if self._next_is("}"):
                break
            if self._next_is(","):
                self.at += 1
                continue
            self._pair(path)
        self.at += 1
