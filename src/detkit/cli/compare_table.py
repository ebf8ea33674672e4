"""The table of `detkit compare`: as many columns as there is room for, the most wanted first."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from detkit.cli.console import plain_table
from detkit.compare.comparison import Comparison
from detkit.compare.contenders import Contender
from detkit.compare.quantities import COSTS, TEXTS

#: Where nobody says how wide the terminal is.
WIDTH = 120
#: The table is made for this width at least.
NARROWEST = 80

#: Columns that are no quantity.
WORDS = {"runs": "runs", "pareto": "Pareto", **{name: name for name in TEXTS if name not in ("name", "model")}}

#: By the last part of a name, what is shown by default beside the number that orders the rows, in this order.
USUAL_METRICS = ("ap", "map", "ap50", "map_50", "f1", "ar100", "mar_100", "mask_ap", "mask_map")
USUAL_COSTS = ("latency_ms", "images_per_s", "memory_mb", "parameters_m", "file_mb", "train_min")
#: What is left out first where there is no room. The number that orders the rows never is.
LEAST_WANTED = (
    "experiment",
    "precision",
    "device",
    "mask_map",
    "mar_100",
    "images_per_s",
    "weights",
    "ar100",
    "runs",
    "train_min",
    "file_mb",
    "parameters_m",
    "mask_ap",
    "f1",
    "map_50",
    "ap50",
    "memory_mb",
    "pareto",
    "latency_ms",
)


def usual_columns(found: Comparison) -> list[str]:
    """What is shown where nobody asks for columns, as far as some model has it."""
    there = {name for row in found.rows for name in row.values}
    metrics = [
        name
        for name in found.quantities
        if name in there and name != found.by and "/" in name and _last(name) in USUAL_METRICS
    ]
    metrics.sort(key=lambda name: USUAL_METRICS.index(_last(name)))
    own = found.by.partition("/")[0]
    metrics = [name for name in metrics if name.partition("/")[0] == own]
    costs = [name for name in USUAL_COSTS if name in there]
    several = ["runs"] if any(len(row.states) > 1 or row.finished == [] for row in found.rows) else []
    weights = ["weights"] if any("weights" in row.texts for row in found.rows) else []
    fronts = ["pareto"] if len(found.rows) > 1 and any(front.members for front in found.fronts) else []
    return [*([found.by] if found.by else []), *several, *metrics, *costs, *weights, *fronts]


def all_columns(found: Comparison) -> list[str]:
    there = {name for row in found.rows for name in row.values}
    texts = [name for name in WORDS if name in TEXTS]
    return ["runs", *(name for name in found.quantities if name in there), *texts, "pareto"]


def fitting_columns(found: Comparison, width: int) -> tuple[list[str], list[str]]:
    """The usual columns for which there is room, and those for which there is none."""
    shown, left_out = usual_columns(found), []
    wanted_least = sorted(shown, key=_unwanted)
    while wanted_least and _width(found, shown) > width:
        name = wanted_least.pop(0)
        if name != found.by:
            shown.remove(name)
            left_out.append(name)
    return shown, [name for name in usual_columns(found) if name in left_out]


def _unwanted(name: str) -> int:
    last = _last(name)
    return LEAST_WANTED.index(last) if last in LEAST_WANTED else -1


def terminal_width() -> int:
    """Characters, at least `NARROWEST`; where there is no terminal, what COLUMNS says, or `WIDTH`."""
    return max(NARROWEST, shutil.get_terminal_size((WIDTH, 24)).columns)


def _width(found: Comparison, columns: Sequence[str]) -> int:
    titles, rows = cells(found, columns)
    return max(map(len, plain_table(titles, rows)))


def cells(found: Comparison, columns: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows, the name of the model first."""
    return ["model", *(title(found, name) for name in columns)], [
        [one_line(row.name), *(one_line(cell(found, row, name)) for name in columns)] for row in found.rows
    ]


def one_line(text: str) -> str:
    """Whatever people have named, or an error says, on one line, without what would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in " ".join(text.split()))


def title(found: Comparison, name: str) -> str:
    """As "AP", "latency ms"; a metric other than the primary one's says which."""
    if name in WORDS:
        return WORDS[name]
    quantity = found.quantities[name]
    if name in COSTS:
        unit = "" if quantity.title.casefold() == quantity.unit.casefold() or "/s" in quantity.title else quantity.unit
        return f"{quantity.title} {unit}".strip()
    same = name.partition("/")[0] == found.by.partition("/")[0]
    return quantity.title if same else f"{name.partition('/')[0]} {quantity.title}"


def cell(found: Comparison, row: Contender, name: str) -> str:
    if name == "runs":
        finished = sum(state == "finished" for state in row.states.values())
        return f"{finished}/{len(row.states)}"
    if name == "pareto":
        return " ".join(found.fronts_of(row.name))
    if name in WORDS:
        return row.texts.get(name, "-")
    return found.cell(row, name)


def numbers(found: Comparison, columns: Sequence[str]) -> list[str]:
    """Titles of the columns that are aligned to the right."""
    return [title(found, name) for name in columns if name not in TEXTS and name != "pareto"]


def class_cells(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """A row a class, a column a model: the number that the models are compared by."""
    by_model = {row.name: row.per_class(found.by) for row in found.rows}
    names = dict.fromkeys(name for own in by_model.values() for name in own)
    shown = found.primary.shown
    return ["class", *map(one_line, by_model)], [
        [one_line(name), *("-" if name not in own else shown(own[name].value) for own in by_model.values())]
        for name in names
    ]


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]
