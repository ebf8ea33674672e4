"""Every text that docs/reference/errors.md quotes is one that the source can print."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/errors.md"
#: How many letters a text of the source must have to count, and which share of a quoted one it must explain.
FEWEST, SHARE = 6, 0.65
#: What is not of the message itself: its place in a spec, names and values of the example, the name that is suggested.
EXAMPLE = re.compile(
    "|".join(
        (
            r"^(\S+\.toml(:\d+)?|command line): (\[[\w.]+\] ?\w*: )?",
            r"^warning: |of plugin",
            r"[;:] did you mean '.*",
            r"""'[^']*'|"[^"]*"|\S*[/.]\S+""",
            r"\(\w+[ .][^)]*\)|\([A-Z]\w+Error[^)]*\)|: [A-Z]\w+Error\b.*",
            r"Expect\w+ (?:'.' after .* pair|value.*)",
            r"(?<=default: ).*|(?<=: no )\w+(?= named)|(?<=while ).*(?=: [A-Z])",
        )
    )
)
#: Stands for a value in a text of the source.
VALUE = "\0"


def quoted() -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return [found.strip() for found in re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def template(node: ast.AST) -> str:
    """The text of a string in the source, with a mark where a value stands; empty for other expressions."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) or VALUE for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = template(node.left), template(node.right)
        return f"{left or VALUE}{right or VALUE}" if left or right else ""
    return ""


def in_one_line(text: str) -> str:
    return " ".join(text.split())


@cache
def templates() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The texts of the source that are long enough to count: the longest piece of each, and its pattern."""
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    texts = {
        in_one_line(template(node)) for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    }
    return tuple(
        (max(text.split(VALUE), key=len), re.compile(".*?".join(f"({re.escape(own)})" for own in text.split(VALUE))))
        for text in texts
        if letters(text) >= FEWEST
    )


def letters(text: str) -> int:
    return sum(character.isalpha() for character in text)


def explained(message: str) -> float:
    """The share of a message's letters that texts of the source have; what the example brings is not counted."""
    example = {place for found in EXAMPLE.finditer(message) for place in range(*found.span())}
    counted = {place for place, character in enumerate(message) if character.isalpha()} - example
    own: set[int] = set()
    for longest, pattern in templates():
        if longest in message and (found := pattern.search(message)):
            own.update(place for group in range(1, pattern.groups + 1) for place in range(*found.span(group)))
    return len(own & counted) / len(counted)


@pytest.mark.parametrize("message", quoted(), ids=lambda message: message[:60])
def test_a_quoted_error_is_in_the_source(message: str) -> None:
    share = explained(in_one_line(message))
    assert share >= SHARE, f"no text of the source prints this (at most {share:.0%} of it): {message}"


def test_there_are_errors_of_every_cause() -> None:
    page = PAGE.read_text(encoding="utf-8")
    sections = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    assert [section.splitlines()[0].partition(",")[0] for section in sections] == [
        "The spec",
        "The data",
        "Weights and checkpoints",
        "Memory",
        "The loss and what was trained",
        "The record",
        "Plugins",
        "Comet",
    ]
    assert [section.splitlines()[0] for section in sections if section.count("```text") < 3] == []


@pytest.mark.parametrize(
    "message",
    [
        "the process was eaten by the operating system (SIGKILL), most often because memory ran out",
        "there is no dataset of the name 'x'",
        "runs/street contains unfinished runs: fcos-seed1; go on with --resume",
    ],
)
def test_a_text_that_nobody_prints_is_found(message: str) -> None:
    assert explained(message) < SHARE
