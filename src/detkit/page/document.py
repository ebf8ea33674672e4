"""An HTML document with its content security policy. What people named (classes, files) is text in it, never code."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Part:
    """A style or a script.

    Attributes:
        text: what is written into the page; empty where it is linked.
        source: the path of a file beside the page, relative to it; empty where it is written into the page.
        later: of a script in the page that need not run when it opens: the id of an element that holds it as text. The
            page runs it by adding a script with that very text, which the policy allows by its hash.
    """

    text: str = ""
    source: str = ""
    later: str = ""


def asset(name: str) -> str:
    """The text of a file of `detkit.page`'s own, as "base.css"."""
    return files("detkit.page").joinpath("assets", name).read_text(encoding="utf-8")


def document(
    *,
    title: str,
    body: str,
    styles: Sequence[Part] = (),
    scripts: Sequence[Part] = (),
    data: Mapping[str, Any] | None = None,
    plots: bool = False,
) -> str:
    """The whole page.

    Args:
        title: plain text. body: HTML; what it holds of people's own must be escaped already, see `text`.
        styles, scripts: in their order, scripts at the end of the body; a page may hold some and link others.
        data: name to plain value; each becomes `<script type="application/json" id=NAME>`, which no browser executes.
        plots: plotly sets styles on elements, which the policy must allow then.

    Under the policy of the page nothing comes from a network, and no script runs but these: those in the page by their
    hashes, those beside it by their place. `fetch` is blocked on pages that are opened from a disk, so data that is not
    in the page comes with `<script src>`.
    """
    head = "\n".join(
        (
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy(styles, scripts, plots=plots)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{text(title)}</title>",
            *(_style(style) for style in styles),
        )
    )
    values = "\n".join(_data(name, value) for name, value in (data or {}).items())
    code = "\n".join(_script(script) for script in scripts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n'
        f"<body>\n{body}\n{values}\n{code}\n</body>\n</html>\n"
    )


def text(value: object) -> str:
    """As text of HTML, also within attributes' quotes."""
    return html.escape(str(value), quote=True)


def json_text(value: object) -> str:
    """JSON that is safe within a `<script>` element, and as JavaScript.

    Raises:
        ValueError: NaN or infinity in it.
    """
    plain = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # "</script" and "<!--" would end or change the element; the two separators end lines in older JavaScript.
    for letter in "<>&\u2028\u2029":
        plain = plain.replace(letter, f"\\u{ord(letter):04x}")
    # Lone surrogates, as of file names that are no text, cannot be written in UTF-8.
    return plain.encode("utf-8", "backslashreplace").decode("utf-8")


def policy(styles: Sequence[Part], scripts: Sequence[Part], *, plots: bool) -> str:
    """The content security policy of a page with these parts."""
    style_sources = "'self' 'unsafe-inline'" if plots else _sources(styles)
    return (
        f"default-src 'none'; script-src {_sources(scripts)}; style-src {style_sources};"
        " img-src 'self' data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )


def _sources(parts: Sequence[Part]) -> str:
    linked = ["'self'"] if any(part.source for part in parts) else []
    hashes = [f"'sha256-{_digest(part.text)}'" for part in parts if not part.source]
    return " ".join([*linked, *hashes]) or "'none'"


def _digest(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii")


def _style(part: Part) -> str:
    if part.source:
        return f'<link rel="stylesheet" href="{text(part.source)}">'
    return f"<style>{part.text}</style>"


def _script(part: Part) -> str:
    if part.later:
        return f'<script type="text/plain" id="{text(part.later)}">{part.text}</script>'
    return f'<script src="{text(part.source)}"></script>' if part.source else f"<script>{part.text}</script>"


def _data(name: str, value: object) -> str:
    return f'<script type="application/json" id="{text(name)}">{json_text(value)}</script>'
