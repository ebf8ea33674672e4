"""From Markdown as repositories show it (CommonMark with tables) to that of Python-Markdown, which builds the site.

The pages are read in both places. Python-Markdown asks for more: a blank line before a list or a table, and four
spaces for what belongs to an item of a list, where CommonMark counts from the item's first letter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})")
ITEM = re.compile(r"^(\s*)([-*+]|\d{1,3}[.)])( +)(?=\S)")
DELIMITERS = re.compile(r"^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$")
STEP = 4


@dataclass(frozen=True)
class _Level:
    """One open list: the column of its markers, and of what belongs to its latest item."""

    marker: int
    content: int


def for_site(text: str) -> str:
    """The same page for Python-Markdown. Code in fences keeps every character."""
    return "\n".join(_Page(text.split("\n")).converted())


class _Page:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._written: list[str] = []
        self._levels: list[_Level] = []
        #: Whether the innermost item has had a blank line: the next item then needs one.
        self._paragraphs = False

    def converted(self) -> list[str]:
        fence = ""
        for number, line in enumerate(self._lines):
            found = FENCE.match(line)
            if fence:
                self._written.append(self._moved(line))
                if found and found.group(2).startswith(fence) and line.strip() == found.group(2):
                    fence = ""
            elif not line.strip():
                self._written.append("")
                self._paragraphs = True
            else:
                self._place(line)
                if found:
                    self._written.append(self._moved(line))
                    fence = found.group(2)
                elif item := ITEM.match(line):
                    self._open(item, line)
                else:
                    if self._begins_table(number):
                        self._blank()
                    self._written.append(self._moved(line))
        return self._written

    def _place(self, line: str) -> None:
        """Close the lists that this line is not part of; a line that goes on a paragraph closes none."""
        indent = len(line) - len(line.lstrip())
        item = ITEM.match(line)
        if not item and self._previous() and not line.lstrip().startswith("#") and not FENCE.match(line):
            return
        while self._levels:
            level = self._levels[-1]
            if indent >= level.content or (item and indent >= level.marker):
                return
            self._levels.pop()

    def _open(self, item: re.Match[str], line: str) -> None:
        marker = len(item.group(1))
        if not self._levels or self._paragraphs:
            self._blank()
        if self._levels and marker < self._levels[-1].content:
            self._levels.pop()
        self._paragraphs = False
        content = item.end()
        self._written.append(" " * (STEP * len(self._levels)) + line[marker:])
        self._levels.append(_Level(marker, content))

    def _moved(self, line: str) -> str:
        """The line where Python-Markdown looks for the content of the innermost list."""
        if not self._levels or not line.strip():
            return line
        indent = len(line) - len(line.lstrip())
        beyond = max(0, indent - self._levels[-1].content)
        return " " * (STEP * len(self._levels) + beyond) + line.lstrip()

    def _begins_table(self, number: int) -> bool:
        following = self._lines[number + 1] if number + 1 < len(self._lines) else ""
        return "|" in self._lines[number] and "|" in following and bool(DELIMITERS.match(following))

    def _previous(self) -> str:
        return self._written[-1].strip() if self._written else ""

    def _blank(self) -> None:
        if self._previous():
            self._written.append("")
