"""Files of the repository that pages link to and that lie outside docs/: each becomes a page of the site."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Callable
from pathlib import Path

LANGUAGES = {".py": "python", ".toml": "toml", ".json": "json", ".sh": "bash"}
#: Where they are in the site.
FOLDER = "source"
_FENCED = re.compile(r"^( *)(`{3,})[^\n]*\n.*?^\1\2\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")


def source_page(path: str) -> str:
    """The page of a file: `examples/search.toml` is at `source/examples/search.toml.md`."""
    return f"{FOLDER}/{path}" if path.endswith(".md") else f"{FOLDER}/{path}.md"


def links_rewritten(text: str, path: str, root: Path, found: Callable[[str], None]) -> str:
    """Links between files of the repository as links between pages of the site.

    Args:
        text: of a page in Markdown. path: of that file in the repository, with slashes.
        root: of the repository. found: is told the path of each file outside docs/ that the page links to.

    Raises:
        FileNotFoundError: a link leads to nothing.
    """
    own = _page_of(path)

    def rewritten(link: re.Match[str]) -> str:
        target, anchor = link.group(1), link.group(2) or ""
        if re.match(r"[a-z]+:", target):
            return link.group(0)
        reached = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if not (root / reached).is_file():
            raise FileNotFoundError(f"{path}: the link {target} leads to nothing")
        if not reached.startswith("docs/"):
            found(reached)
        return posixpath.relpath(_page_of(reached), posixpath.dirname(own) or ".") + anchor

    pieces, place = [], 0
    for code in _FENCED.finditer(text):
        pieces += [_LINK.sub(rewritten, text[place : code.start()]), code.group(0)]
        place = code.end()
    return "".join([*pieces, _LINK.sub(rewritten, text[place:])])


def _page_of(path: str) -> str:
    return path.removeprefix("docs/") if path.startswith("docs/") else source_page(path)


def linked_sources(root: Path) -> dict[str, str]:
    """Path to the page's text, of every file outside docs/ that a page links to, or such a file's page does."""
    pages = sorted((root / "docs").rglob("*.md"))
    waiting: list[str] = []
    for page in pages:
        path = page.relative_to(root).as_posix()
        links_rewritten(page.read_text(encoding="utf-8"), path, root, waiting.append)
    texts: dict[str, str] = {}
    while waiting:
        path = waiting.pop()
        if path not in texts:
            texts[path] = _text_of(root / path, path, root, waiting.append)
    return texts


def _cells(notebook: str) -> str:
    """The cells of a notebook below each other, without outputs."""
    texts = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        texts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    return "\n\n".join(texts) + "\n"


def _text_of(file: Path, path: str, root: Path, found: Callable[[str], None]) -> str:
    text = file.read_text(encoding="utf-8")
    if path.endswith(".md"):
        return links_rewritten(text, path, root, found)
    if path.endswith(".ipynb"):
        return links_rewritten(_cells(text), path, root, found)
    language = LANGUAGES.get(os.path.splitext(path)[1], "text")
    return f"# {path}\n\n````{language}\n{text.rstrip()}\n````\n"
