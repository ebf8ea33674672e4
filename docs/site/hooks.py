"""What mkdocs calls while it builds the site; see `hooks` in mkdocs.yml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel
from site_generated import expanded
from site_markdown import for_site
from site_sources import linked_sources, links_rewritten, source_page

#: The page whose blocks are messages, long lines that are to be wrapped.
MESSAGES = "reference/errors.md"
ROOT = Path(__file__).resolve().parents[2]


def on_files(files: Files, config: Any) -> Files:
    """Pages of the examples and other files that pages link to."""
    for path, text in sorted(linked_sources(ROOT).items()):
        page = File.generated(config, source_page(path), content=text, inclusion=InclusionLevel.NOT_IN_NAV)
        files.append(page)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """A page of docs/ as Python-Markdown takes it; generated ones need no more than their form."""
    if page.file.generated_by is None:
        if page.file.src_uri == MESSAGES:
            markdown = markdown.replace("```text\n", "```{ .text .wrapped }\n")
        markdown = links_rewritten(markdown, f"docs/{page.file.src_uri}", ROOT, lambda _path: None)
    return for_site(expanded(markdown))
