"""What the panels use of Streamlit, without Streamlit: it keeps what a panel shows, and writes it as one HTML page.

A widget answers with the value chosen for its label beforehand, else with its first value, as in a browser before
anybody has touched it.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType, SimpleNamespace, TracebackType
from typing import Any, NoReturn

from plotly.offline import get_plotlyjs

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1200px; padding: 16px; color: #222; }
h1 { font-size: 1.3em; }
.columns { display: flex; flex-wrap: wrap; gap: 0 24px; }
.columns > div { flex: 1 1 220px; min-width: 0; }
.columns.wide > div { flex-basis: 320px; }
.widget { margin: 0 0 10px; font-size: 0.9em; overflow-wrap: anywhere; }
.widget b { display: block; font-weight: 600; }
.widget small { color: #666; }
.info, .warning { padding: 8px 12px; border-radius: 6px; margin: 0 0 12px; }
.info { background: #e8f1fb; }
.warning { background: #fff4d6; }
.caption { color: #555; font-size: 0.88em; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.88em; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap; }
"""
SCRIPT = """
for (const data of document.querySelectorAll("script.figure")) {
  const place = document.createElement("div");
  data.after(place);
  const figure = JSON.parse(data.textContent);
  Plotly.newPlot(place, figure.data, figure.layout, {responsive: true, displaylogo: false});
}
"""


class ChoiceError(Exception):
    """A choice that does not fit what the panel offers."""


class LocalStreamlit(ModuleType):
    """Stands in for the module `streamlit`.

    Attributes:
        elements: what was shown, in order: dicts with `kind` and, by kind, `text`, `figure` (plotly's JSON), `rows`,
            `label`, `value`, `options`, or `columns` (lists of elements).
        session_state: read by comet_ml's client, which finds the panel's settings there.
        runtime: `exists()` tells comet_ml that it runs in a panel.
    """

    def __init__(self, choices: Mapping[str, Sequence[str]]) -> None:
        """`choices`: label of a widget to the value or values chosen."""
        super().__init__("streamlit")
        self.elements: list[dict[str, Any]] = []
        self.labels: list[str] = []
        self.session_state: dict[str, Any] = {}
        self.runtime = SimpleNamespace(exists=lambda: True)
        self._choices = choices
        self._open = [self.elements]

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"st.{name} is not among what local_page.py stands in for")

    # --- layout and text ---------------------------------------------------------------------------------------------

    def set_page_config(self, **settings: Any) -> None:
        """Nothing to set: the page has one form."""

    def cache_data(self, **settings: Any) -> Callable[[Any], Any]:
        """The function as it is: a panel runs once here."""
        return lambda function: function

    cache_resource = cache_data

    def columns(self, count: int) -> list[Column]:
        columns = [Column(self, []) for _ in range(count)]
        self._show("columns", columns=[column.elements for column in columns])
        return columns

    def markdown(self, text: str) -> None:
        self._show("markdown", text=text)

    def caption(self, text: str) -> None:
        self._show("caption", text=text)

    def info(self, text: str) -> None:
        self._show("info", text=text)

    def warning(self, text: str) -> None:
        self._show("warning", text=text)

    def plotly_chart(self, figure: Any, key: str | None = None) -> None:
        self._show("figure", figure=json.loads(figure.to_json()))

    def dataframe(self, rows: Iterable[Mapping[str, Any]], hide_index: bool = False) -> None:
        self._show("table", rows=[dict(row) for row in rows])

    # --- widgets -----------------------------------------------------------------------------------------------------

    def selectbox(
        self, label: str, options: Sequence[Any], index: int = 0, format_func: Callable[[Any], str] = str
    ) -> Any:
        value = self._pick(label, options, format_func, [options[index]])[0]
        self._widget(label, format_func(value), [format_func(option) for option in options])
        return value

    def select_slider(self, label: str, options: Sequence[Any], value: Any) -> Any:
        return self.selectbox(label, options, list(options).index(value))

    def multiselect(
        self, label: str, options: Sequence[Any], default: Sequence[Any], format_func: Callable[[Any], str] = str
    ) -> list[Any]:
        values = self._pick(label, options, format_func, default)
        shown = ", ".join(map(format_func, values)) or "none"
        self._widget(label, shown, [format_func(option) for option in options])
        return values

    def slider(self, label: str, low: float, high: float, value: Any) -> Any:
        """One number, or a pair of them written as LOW,HIGH."""
        text = self._chosen(label)
        if text:
            kind = type(low)
            try:
                numbers = tuple(kind(part) for part in text[0].split(","))
            except ValueError:
                raise ChoiceError(f"{label}: {text[0]!r} is not a number") from None
            if len(numbers) != (len(value) if isinstance(value, tuple) else 1):
                raise ChoiceError(
                    f"{label}: give {'two numbers, LOW,HIGH' if isinstance(value, tuple) else 'one number'}"
                )
            if not all(low <= number <= high for number in numbers):
                raise ChoiceError(f"{label}: {text[0]} is not within {low} and {high}")
            value = numbers if isinstance(value, tuple) else numbers[0]
        self._widget(
            label, " to ".join(map(str, value)) if isinstance(value, tuple) else str(value), [f"{low} to {high}"]
        )
        return value

    def checkbox(self, label: str, value: bool) -> bool:
        text = self._chosen(label)
        if text:
            if text[0] not in ("yes", "no"):
                raise ChoiceError(f"{label}: {text[0]!r} is neither yes nor no")
            value = text[0] == "yes"
        self._widget(label, "yes" if value else "no", ["yes", "no"])
        return value

    def text_input(self, label: str, value: str) -> str:
        text = self._chosen(label)
        value = text[0] if text else value
        self._widget(label, value, [])
        return value

    def _pick(
        self, label: str, options: Sequence[Any], format_func: Callable[[Any], str], default: Sequence[Any]
    ) -> list[Any]:
        """The options chosen, by what the screen calls them or by what the panel does."""
        by_name = {str(option): option for option in options} | {format_func(option): option for option in options}
        unknown = [text for text in self._chosen(label) if text not in by_name]
        if unknown:
            names = ", ".join(format_func(option) for option in options)
            raise ChoiceError(f"{label}: there is no {unknown[0]!r}; there are: {names}")
        return [by_name[text] for text in self._chosen(label)] or list(default)

    def _chosen(self, label: str) -> Sequence[str]:
        return self._choices.get(label, ())

    def _widget(self, label: str, value: str, options: list[str]) -> None:
        self.labels.append(label)
        self._show("widget", label=label, value=value, options=options)

    def _show(self, kind: str, **values: Any) -> None:
        self._open[-1].append({"kind": kind, **values})


class Column:
    """What `st.columns` gives: in its `with` block all that is shown goes into it."""

    def __init__(self, page: LocalStreamlit, elements: list[dict[str, Any]]) -> None:
        self._page = page
        self.elements = elements

    def __enter__(self) -> None:
        self._page._open.append(self.elements)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._page._open.pop()


# --- the page --------------------------------------------------------------------------------------------------------


def page(title: str, elements: list[dict[str, Any]]) -> str:
    """One HTML page that needs no network: plotly's script is in it, where there is a figure."""
    body = "\n".join(map(element, elements))
    plotly = f"<script>{get_plotlyjs()}</script>" if 'class="figure"' in body else ""
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n{plotly}\n"
        f"<h1>{html.escape(title)}</h1>\n{body}\n<script>{SCRIPT if plotly else ''}</script>\n</html>\n"
    )


def element(shown: dict[str, Any]) -> str:
    kind = shown["kind"]
    if kind == "columns":
        wide = " wide" if any(inner["kind"] == "figure" for column in shown["columns"] for inner in column) else ""
        columns = "".join(f"<div>{''.join(map(element, column))}</div>" for column in shown["columns"])
        return f'<div class="columns{wide}">{columns}</div>'
    if kind == "figure":
        data = json.dumps(shown["figure"]).replace("</", "<\\/")
        return f'<script type="application/json" class="figure">{data}</script>'
    if kind == "table":
        return table(shown["rows"])
    if kind == "widget":
        options = " · ".join(shown["options"][:12]) + (" · …" if len(shown["options"]) > 12 else "")
        return (
            f'<div class="widget"><b>{html.escape(shown["label"])}: {html.escape(shown["value"])}</b>'
            f"<small>{html.escape(options)}</small></div>"
        )
    return f'<p class="{kind}">{inline(shown["text"])}</p>'


def table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "<p>No rows.</p>"
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in rows[0])
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(str(value))}</td>' for value in row.values())}</tr>\n" for row in rows
    )
    return f'<div class="table"><table><tr>{head}</tr>\n{body}</table></div>'


def inline(text: str) -> str:
    """Markdown's **bold** and `code`, which is all that the panels use."""
    safe = html.escape(text)
    safe = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", safe)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", safe)
