"""docs/reference/hooks.md states the hooks, the events and the methods of contracts with their exact signatures."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/hooks.md"
#: Class to the file that states it.
STATED = {
    "OfferHooks": "hookspecs.py",
    "RunEvents": "hookspecs.py",
    "Dataset": "components.py",
    "TrainingStep": "components.py",
    "Transform": "components.py",
    "Metric": "components.py",
    "Logger": "components.py",
    "Searcher": "components.py",
    "ParetoSearcher": "components.py",
}


def signature(function: ast.FunctionDef) -> str:
    returned = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"def {function.name}({ast.unparse(function.args)}){returned}"


def of_source(name: str) -> list[str]:
    """The signatures of a class's methods, in their order."""
    tree = ast.parse((ROOT / "src/detkit" / STATED[name]).read_text(encoding="utf-8"))
    (stated,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    return [signature(node) for node in stated.body if isinstance(node, ast.FunctionDef)]


def of_page(text: str) -> Iterator[str]:
    """The signatures in the page's blocks that state some; not in the example of a plugin."""
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for node in ast.parse(block).body:
            if isinstance(node, ast.FunctionDef) and not node.decorator_list:
                yield signature(node)


def section(text: str, heading: str) -> str:
    found = re.search(rf"^#+ {heading}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"hooks.md has no section {heading}"
    return found.group(1)


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("What a plugin offers", ["OfferHooks"]),
        ("Events of a run", ["RunEvents"]),
        ("Dataset", ["Dataset"]),
        ("Training step", ["TrainingStep"]),
        ("Metric", ["Metric"]),
        ("Logger", ["Logger"]),
        ("Transform", ["Transform"]),
        ("Searcher", ["Searcher", "ParetoSearcher"]),
    ],
)
def test_the_page_has_the_exact_signatures_in_their_order(heading: str, names: list[str]) -> None:
    stated = list(of_page(section(PAGE.read_text(encoding="utf-8"), heading)))
    assert stated == [one for name in names for one in of_source(name)]


def test_a_signature_that_is_another_is_seen() -> None:
    text = "```python\ndef info(self, index: int, /) -> ImageInfo: ...\n```\n"
    assert next(of_page(text)) not in of_source("Dataset")
    assert next(of_page(text.replace(", /", ""))) in of_source("Dataset")
