"""The page itself: its parts and their order. All that is shown comes from data; the scripts draw it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from detkit.page.document import Part, asset, document, text

#: Characters that reorder the text around them, as store.js replaces them in the data.
REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")
#: The page's own scripts, in the order in which they need each other.
ASSETS = (
    "dom.js",
    "store.js",
    "state.js",
    "controls.js",
    "plots.js",
    "sorting.js",
    "overview.js",
    "runs.js",
    "metrics.js",
    "matching.js",
    "masks.js",
    "evaluations.js",
    "order.js",
    "drawing.js",
    "panel.js",
    "images.js",
    "rows.js",
    "debugging.js",
    "confusion.js",
    "errors.js",
    "tradeoff.js",
    "search.js",
    "main.js",
)
#: Of the folder's page. Plotly and DataTables are loaded when a view first needs them.
SCRIPTS = (Part(source="lib/report.js"), Part(source="data/experiment.js"), Part(source="data/images.js"))
STYLES = (Part(source="lib/tables.css"), Part(source="lib/report.css"))

BODY = """<a class="skip" id="skip" href="#content">Skip to the content</a>
<header class="page"><div class="top"><div><h1 id="title">{title}</h1><p id="subtitle" class="faint"></p></div>
<button type="button" id="help" aria-haspopup="dialog" title="Keys and help (?)">?</button></div>
<p id="status" role="status"></p><nav id="tabs" role="tablist" aria-label="Views"></nav></header>
<main id="content"><p>This page draws what lies in the folders <code>lib</code>, <code>data</code> and
<code>images</code> beside it. If you read this, they are not there: copy or send the whole folder of the report, or
make a page that holds everything with <code>detkit report EXPERIMENT --single-file FILE</code>.</p></main>
<footer class="page faint"><p id="footer"></p></footer>
<dialog id="keys"></dialog>
<noscript><main><p>This page draws everything with its own scripts, from files beside it; they are switched off.</p>
</main></noscript>"""


def page_html(
    title: str, *, styles: Sequence[Part], scripts: Sequence[Part], data: dict[str, Any] | None = None
) -> str:
    """The document."""
    title = REORDERING.sub("\ufffd", title)
    return document(
        title=f"{title} · detkit",
        body=BODY.format(title=text(title)),
        styles=styles,
        scripts=scripts,
        data=data,
        plots=True,
    )


def own_script() -> str:
    """All of the page's own scripts in one."""
    folder = files("detkit.report").joinpath("assets")
    own = [folder.joinpath(name).read_text(encoding="utf-8") for name in ASSETS]
    return "\n".join([asset("objects.js"), *own])


def own_style() -> str:
    """The page's own style, over the one that all pages share."""
    own = files("detkit.report").joinpath("assets", "report.css").read_text(encoding="utf-8")
    return f"{asset('base.css')}\n{own}"
