"""A comparison as text for people, Markdown, comma-separated values, or JSON."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from detkit.cli.compare_table import (
    all_columns,
    cells,
    class_cells,
    fitting_columns,
    numbers,
    one_line,
    terminal_width,
    title,
)
from detkit.cli.console import console, plain_table
from detkit.compare.comparison import Comparison
from detkit.compare.quantities import TEXTS
from detkit.report.text import code, escape, table

#: More pairs than these are counted, and those with the winner are told.
MOST_PAIRS = 15

#: Given a comparison, the columns that were asked for (None: the usual ones), and whether classes are wanted.
Writer = Callable[[Comparison, "Sequence[str] | None", bool], str]


def as_text(found: Comparison, columns: Sequence[str] | None, per_class: bool) -> str:
    """For a terminal: a table that fits it, and plain sentences; the last one says who won."""
    # A table that is drawn has a blank on each side.
    fitting = fitting_columns(found, terminal_width() - 2 * sys.stdout.isatty())
    shown, left_out = (list(columns), list[str]()) if columns else fitting
    lines = [heading(found), *_table(*cells(found, shown), numbers(found, shown))]
    if left_out:
        titles = ", ".join(title(found, name) for name in left_out)
        lines.append(f"left out for want of room: {titles}; --columns all shows every column, --csv and --json too")
    if per_class and found.by:
        classes, of_classes = class_cells(found)
        lines += ["", f"{found.primary.label} by class", *_table(classes, of_classes, classes[1:])]
    lines += _after(found)
    return "\n".join(lines) + "\n"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> list[str]:
    """As the terminal shows tables; plain text elsewhere."""
    if not sys.stdout.isatty():
        return plain_table(titles, rows, right=right)
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for name in titles:
        made.add_column(Text(name), justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    on = console(stderr=False)
    with on.capture() as captured:
        on.print(made)
    return captured.get().rstrip("\n").split("\n")


def heading(found: Comparison) -> str:
    """As "runs/quickstart: scored on 40 validation images"; folders below the working directory by short names."""
    here = Path.cwd()
    folders = [Path(name) for name in found.experiments]
    short = [path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path for path in folders]
    names = ", ".join(map(str, short))
    return one_line(f"{names}: scored on {found.scored_on}" if found.scored_on else names)


def _after(found: Comparison) -> list[str]:
    """What is said below the table: notes, pairs, places, the winner."""
    lines = [f"note: {one_line(note)}" for note in found.notes]
    lines += [one_line(line) for line in (*brackets(found), *front_lines(found))]
    if found.pairs:
        lines += ["", pairs_heading(found), *(f"  {one_line(text)}" for text in pair_lines(found))]
    elif found.pairs_note:
        lines += ["", f"no pairs: {one_line(found.pairs_note)}"]
    places = [f"  {one_line(line)}" for line in found.choice.lines()] if found.choice else []
    return [*lines, "", *places, one_line(str(found))]


def brackets(found: Comparison) -> list[str]:
    """What the intervals of the rows are, where there are some."""
    if not any(value.interval for row in found.rows if (value := row.values.get(found.by))):
        return []
    several = ", and other seeds where a model has several" if any(len(row.seeds) > 1 for row in found.rows) else ""
    return [f"in brackets: 95 % intervals over other images{several}"]


def front_lines(found: Comparison) -> list[str]:
    """What Pareto means, and who is missing there."""
    if len(found.rows) < 2 or not any(front.members for front in found.fronts):
        return []
    unknown = [
        f"{name} is on no {front.name} front: {front.x} or {front.y} is not known"
        for front in found.fronts
        for name in front.unknown
    ]
    return [
        "Pareto: no other model is better both in "
        + "; ".join(
            f"{found.names.quantity(front.y).label} and {found.names.quantity(front.x).label} ({front.name})"
            for front in found.fronts
        ),
        *unknown,
    ]


def pairs_heading(found: Comparison) -> str:
    """What the intervals of the pairs are, once for all; and of which quantity, where it is not that of the rows."""
    count = found.pairs[0].pairs
    over = "images and seeds" if any(pair.seeds_a > 1 or pair.seeds_b > 1 for pair in found.pairs) else "images"
    all_of = f"; together they hold with 95 %, corrected for {count} pairs" if count > 1 else ""
    of = f" {found.pairs_note}" if found.pairs_note else ""
    return f"pairs{of}, by paired bootstrap over {over}{all_of}:"


def pair_lines(found: Comparison) -> list[str]:
    """A sentence a pair; of very many, those with the winner."""
    if len(found.pairs) <= MOST_PAIRS:
        return [str(pair) for pair in found.pairs]
    winner = found.choice.winner if found.choice else None
    told = [pair for pair in found.pairs if winner in (pair.a, pair.b)]
    rest = len(found.pairs) - len(told)
    return [*map(str, told), f"and {rest} pairs without {winner}: --json has them"]


def as_markdown(found: Comparison, columns: Sequence[str] | None, per_class: bool) -> str:
    """A table and lists, fit for a page; no path of the machine is in it."""
    shown = list(columns) if columns else fitting_columns(found, 10_000)[0]
    _, rows = cells(found, shown)
    parts = [f"**{escape(one_line(str(found)))}**"]
    if found.scored_on:
        parts.append(f"Scored on {escape(found.scored_on)}.")
    ordered, right = _numbers_last(found, shown)
    parts.append(
        table(
            ["model", *(escape(title(found, name)) for name in ordered)],
            [[code(row[0]), *(escape(row[1 + shown.index(name)]) for name in ordered)] for row in rows],
            right=right,
        )
    )
    if per_class and found.by:
        class_titles, class_rows = class_cells(found)
        parts.append(f"{escape(found.primary.label)} by class:")
        parts.append(
            table(
                ["class", *map(code, class_titles[1:])],
                [[escape(row[0]), *row[1:]] for row in class_rows],
                right=len(class_titles) - 1,
            )
        )
    notes = [*found.notes, *brackets(found), *front_lines(found)]
    if not found.pairs and found.pairs_note:
        notes.append(f"no pairs: {found.pairs_note}")
    parts.append(_listed(notes))
    if found.pairs:
        heading_of_pairs = pairs_heading(found)
        parts += [escape(heading_of_pairs[:1].upper() + heading_of_pairs[1:]), _listed(pair_lines(found))]
    if found.choice and found.choice.lines():
        parts.append(_listed(found.choice.lines()))
    return "\n\n".join(filter(None, parts)) + "\n"


def _listed(lines: Sequence[str]) -> str:
    """A list of plain text; a number at its beginning is no number of a list within it."""
    plain = (escape(one_line(line)) for line in lines)
    return "\n".join("- " + re.sub(r"^(\d+)[.]", r"\1\\.", line) for line in plain)


def _numbers_last(found: Comparison, shown: Sequence[str]) -> tuple[list[str], int]:
    """Markdown's tables here have words first and numbers last; how many are numbers."""
    right = set(numbers(found, shown))
    of_words = [name for name in shown if title(found, name) not in right]
    of_numbers = [name for name in shown if title(found, name) in right]
    return [*of_words, *of_numbers], len(of_numbers)


def as_csv(found: Comparison, columns: Sequence[str] | None, per_class: bool) -> str:
    """A line a model, every quantity under its full name; its spread and interval where it has them."""
    wanted = [name for name in (columns or all_columns(found)) if name in found.quantities]
    rows = []
    for row in found.rows:
        values: dict[str, object] = {
            "name": _not_computed(row.name),
            "runs": len(row.states),
            "finished": len(row.finished),
            **{name: _not_computed(row.texts.get(name)) for name in TEXTS if name != "name"},
        }
        for name in wanted:
            measured = row.values.get(name)
            values[name] = None if measured is None else measured.value
            if measured is not None and measured.deviation is not None:
                values[f"{name}_deviation"] = measured.deviation
            if measured is not None and measured.interval is not None:
                values |= {f"{name}_lower": measured.interval.lower, f"{name}_upper": measured.interval.upper}
        if per_class:
            values |= {f"{found.by}[{name}]": one.value for name, one in row.per_class(found.by).items()}
        rows.append({**values, "pareto": " ".join(found.fronts_of(row.name))})
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _not_computed(text: str | None) -> str | None:
    """Words that a spreadsheet would take for a formula, behind the sign that makes them words there."""
    return f"'{text}" if text and text[0] in "=+-@\t\r" else text


def as_json(found: Comparison, columns: Sequence[str] | None, per_class: bool) -> str:
    """Everything, whatever columns were asked for."""
    del columns, per_class
    return json.dumps({"format_version": 1, **found.to_dict()}, indent=2, allow_nan=False) + "\n"


FORM_WRITERS: Mapping[str, Writer] = {"text": as_text, "markdown": as_markdown, "csv": as_csv, "json": as_json}
