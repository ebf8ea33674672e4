"""The documentation site: it builds strictly, holds every page, asks nobody for anything, and reads as its pages do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from filelock import FileLock
from site_markdown import for_site
from site_sources import links_rewritten

import detkit
from detkit.cli.main import COMMANDS
from detkit.plugins import collect
from detkit.spec.describe import describe
from unit.test_floors import PUBLIC_MODULES

pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install '.[docs]'")
pytest.importorskip("material", reason="mkdocs-material is not installed: pip install '.[docs]'")

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
#: What stands in a page whose form a reader of the repository and one of the site must see alike.
TAGS = frozenset({"h1", "h2", "h3", "h4", "li", "ol", "ul", "table", "tr", "th", "td", "pre", "img", "em", "strong"})


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "NO_MKDOCS_2_WARNING": "1",  # the theme's notice about a later mkdocs
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT / "plugins"))),
    }
    # Not --quiet: warnings that are not shown are not counted either.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config)]
    return subprocess.run(
        [*command, "--site-dir", str(site)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site, one for all workers; that nothing was said meanwhile is a part of every test here."""
    base = tmp_path_factory.getbasetemp()
    place = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, said = place / "documentation", place / "documentation.log"
    with FileLock(place / "documentation.lock"):
        if not said.exists():
            built = build(ROOT / "mkdocs.yml", folder)
            said.write_text(f"{built.returncode}\n{built.stdout}{built.stderr}", encoding="utf-8")
    code, *lines = said.read_text(encoding="utf-8").splitlines()
    assert code == "0", "\n".join(lines)
    assert [line for line in lines if line and not line.startswith("INFO ")] == []
    return folder


class Page(HTMLParser):
    """What tests ask of a page: its ids, links, what it fetches, and how often each tag stands in its text."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values: dict[str, str] = {name: value or "" for name, value in attributes}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in ("script", "img", "iframe", "source") and "src" in values:
            self.fetched.append(values["src"])
        if tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload", "preconnect", "prefetch"):
            self.fetched.append(values["href"])


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.count[tag] += tag in TAGS


def test_every_page_is_in_the_navigation_once() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"- (?:[^:\n]+: )?([\w/-]+\.md)$", config.partition("\nnav:")[2], re.MULTILINE)
    assert sorted(listed) == PAGES


def test_nothing_is_fetched_from_another_place(site: Path) -> None:
    fetched = {address for file in site.rglob("*.html") for address in Page(file).fetched}
    assert fetched
    assert [address for address in fetched if re.match(r"(https?:)?//", address)] == []
    styles = "".join(file.read_text(encoding="utf-8") for file in site.rglob("*.css"))
    assert re.findall(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", styles) == []


def test_links_and_anchors_of_the_site_lead_somewhere(site: Path) -> None:
    pages = {file: Page(file) for file in site.rglob("*.html")}
    broken = []
    for file, page in pages.items():
        if file.name == "404.html":
            continue  # it stands at any address, so its own are those of the root
        for link in [*page.links, *page.fetched]:
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = unquote(link).partition("#")
            reached = (file.parent / path).resolve() if path else file
            if not reached.exists() or (anchor and reached.suffix == ".html" and anchor not in pages[reached].ids):
                broken.append(f"{file.relative_to(site)}: {link}")
    assert broken == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_reads_as_in_the_repository(site: Path, name: str) -> None:
    """As many headings, items, rows and cells as a CommonMark reader sees; what is generated apart."""
    markdown_it = pytest.importorskip("markdown_it", reason="rich brings markdown-it-py")
    text = (DOCS / name).read_text(encoding="utf-8")
    if "<!-- generated:" in text or "\n::: " in text:
        pytest.skip("a part of it is generated")
    html = (site / name).with_suffix(".html").read_text(encoding="utf-8")
    (article,) = re.findall(r'<article class="md-content__inner md-typeset">(.*?)</article>', html, re.DOTALL)
    assert Tags(article).count == Tags(markdown_it.MarkdownIt("commonmark").enable("table").render(text)).count


def test_every_option_of_every_component_is_there(site: Path) -> None:
    html = (site / "reference/options.html").read_text(encoding="utf-8")
    missing = []
    for kind, components in collect().components.items():
        for name, offered in components.items():
            found = re.search(rf'<h3 id="{kind.replace("_", "-")}-{name}">.*?(?=<h[23]|</article)', html, re.DOTALL)
            section = found.group() if found else ""
            options = [option.name for option in describe(offered.component.options)]
            missing += [f"{kind} {name}"] * (not section)
            missing += [f"{kind} {name}: {option}" for option in options if f"<code>{option}</code>" not in section]
    assert missing == []


def test_the_help_of_every_command_is_there(site: Path) -> None:
    html = (site / "reference/help.html").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f'id="detkit-{name}"' not in html] == []
    assert 'id="detkit-data-check"' in html
    assert "--resume" in html


def test_every_public_name_and_module_has_a_place(site: Path) -> None:
    anchors = Page(site / "reference/api.html").ids | Page(site / "reference/api-plugins.html").ids
    names = {name for name in detkit.__all__ if not name.startswith("__")} - {"compare"}
    assert [name for name in sorted(names) if f"detkit.{name}" not in anchors] == []
    assert "detkit.compare.compare" in anchors
    assert [module for module in PUBLIC_MODULES if module not in anchors] == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("[nowhere](nowhere.md)", "nowhere.md"),
        ("[nowhere](reference/spec.md#no-such-heading)", "no-such-heading"),
        ("![no picture](pictures/none.png)", "none.png"),
        ("::: detkit.no_such_name", "no_such_name"),
        ("<!-- generated: nothing known -->", "nothing known"),
    ],
)
@pytest.mark.slow
def test_a_page_that_is_wrong_ends_the_build(tmp_path: Path, change: str, complaint: str) -> None:
    for name in ("docs", "src", "examples", "tests", "CHANGELOG.md", "README.md", "mkdocs.yml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs").unlink()
    copy = subprocess.run(["cp", "-r", str(DOCS), str(tmp_path / "docs")], check=True)
    assert copy.returncode == 0
    index = tmp_path / "docs/index.md"
    index.write_text(f"{index.read_text(encoding='utf-8')}\n{change}\n", encoding="utf-8")
    built = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert built.returncode != 0
    assert complaint in built.stdout + built.stderr


# --- pages as the site takes them ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a\n- b\n- c", "a\n\n- b\n- c"),
        ("- a\n  more\n- b", "- a\n    more\n- b"),
        ("- a\n  - b\n    - c\n- d", "- a\n    - b\n        - c\n- d"),
        ("1. a\n   - b\n2. c", "1. a\n    - b\n2. c"),
        ("- a\n\n  b\n- c", "- a\n\n    b\n\n- c"),
        ("- a\n\nb", "- a\n\nb"),
        ("x\n| a |\n|---|\n| b |", "x\n\n| a |\n|---|\n| b |"),
        ("- a\n  ```\n  - b\n\n  | c |\n  ```", "- a\n    ```\n    - b\n\n    | c |\n    ```"),
        ("```\na\n- b\n  - c\n```", "```\na\n- b\n  - c\n```"),
    ],
)
def test_markdown_is_as_the_site_takes_it(text: str, wanted: str) -> None:
    assert for_site(text) == wanted


def test_links_out_of_the_docs_lead_to_pages_of_sources(tmp_path: Path) -> None:
    for name in ("docs/a/page.md", "docs/b.md", "examples/x.py", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found: list[str] = []
    text = "[b](../b.md#c) [x](../../examples/x.py) [r](../../README.md) <https://x.org> [y](https://y.org)\n```\n[z](z)\n```\n"
    assert links_rewritten(text, "docs/a/page.md", tmp_path, found.append) == (
        "[b](../b.md#c) [x](../source/examples/x.py.md) [r](../source/README.md) <https://x.org> [y](https://y.org)\n"
        "```\n[z](z)\n```\n"
    )
    assert found == ["examples/x.py", "README.md"]
    with pytest.raises(FileNotFoundError, match=r"none\.md leads to nothing"):
        links_rewritten("[n](none.md)", "docs/a/page.md", tmp_path, found.append)
