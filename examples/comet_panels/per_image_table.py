# The images one by one: on which does a model fail?
#
# Shows: the table of the numbers of each image alone, of one evaluation of one or more runs, the worst images first.
# Sort it by any number, filter it by name, by value, by run. n/a stands where a number does not apply to an image:
# COCO's own tables have -1 there, which would sort as the worst of all.
#
# Needs, from runs that the Comet logger of detkit reported with its tables:
#   assets   coco/per_image.csv, of all epochs, when a run has ended; until then coco/per_image-step-000120.csv, one an
#            epoch (any key of the metric, and mask_per_image too)
#
# To add it: in a project, Add > New Panel > Create New, choose Python, paste this file, Run, Save. The panel's Options
# may hold other first choices, by the names on the screen: {"Sort by": "ap75"}.

import csv
import io
import re
from typing import Any, Optional, Union

import streamlit as st
from comet_ml import API

Value = Union[float, int, str, None]
Row = dict[str, Value]

TABLE_NAME = re.compile(r"(?P<table>.*per_image)(?:-step-(?P<step>\d+))?\.csv")
LEADING = ("epoch", "step", "image", "image_id")
COUNTS = ("objects", "tp", "fp", "fn")
MORE_IS_WORSE = ("fp", "fn")
LAST = "last of each run"
NOT_APPLICABLE = "n/a"


# The evaluations of a run: step to epoch, None where only the table's name tells of it.
Evaluations = dict[int, Optional[int]]


# --- what the panel computes: no call to Comet or to the screen -------------------------------------------------------


def tables_of(assets: list[dict[str, Any]]) -> dict[str, dict[Optional[int], str]]:
    """The per-image tables among a run's assets: table to step to asset; the step of a table of all epochs is None."""
    tables: dict[str, dict[Optional[int], str]] = {}
    for asset in assets:
        found = TABLE_NAME.fullmatch(asset["fileName"])
        if found:
            step = None if found["step"] is None else int(found["step"])
            tables.setdefault(found["table"], {})[step] = asset["assetId"]
    return tables


def parse(text: str) -> list[Row]:
    """The rows of a CSV file: whole numbers, numbers, text; None where a number does not apply."""
    return [{name: value_of(name, cell) for name, cell in row.items()} for row in csv.DictReader(io.StringIO(text))]


def value_of(name: str, cell: Optional[str]) -> Value:
    if name == "image":
        return cell
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        return cell
    if name in (*LEADING, *COUNTS):
        return int(value)
    return None if value < 0 else value


def numbers_of(rows: list[Row]) -> list[str]:
    """The columns to sort by: the numbers that may not apply first, then the counts."""
    columns = list(rows[0]) if rows else []
    others = [name for name in columns if name not in (*LEADING, *COUNTS)]
    return others + [name for name in COUNTS if name in columns]


def evaluations_of(rows: list[Row]) -> Evaluations:
    """Those of a table of all epochs."""
    return {int(row["step"] or 0): None if row["epoch"] is None else int(row["epoch"]) for row in rows}


def titles_of(runs: list[Evaluations]) -> dict[int, str]:
    """Step to what the screen calls it, the first step first; with the epoch where the runs agree on it."""
    epochs: dict[int, set[int]] = {}
    for evaluations in runs:
        for step, epoch in evaluations.items():
            epochs.setdefault(step, set()).update(() if epoch is None else (epoch,))
    return {
        step: f"epoch {min(known)} (step {step})" if len(known) == 1 else f"step {step}"
        for step, known in sorted(epochs.items())
    }


def amount(row: Row, column: str) -> Optional[float]:
    """The number; None where it does not apply."""
    value = row[column]
    return None if value is None else float(value)


def filtered(rows: list[Row], column: str, part: str, low: float, high: float, applicable: bool) -> list[Row]:
    """The rows whose image's name has the part, in any case of its letters, and whose number is within the limits.

    Rows to which the number does not apply are within, unless only applicable ones are wanted.
    """
    kept = []
    for row in rows:
        value = amount(row, column)
        within = (not applicable) if value is None else low <= value <= high
        if within and part.lower() in str(row["image"]).lower():
            kept.append(row)
    return kept


def ordered(rows: list[Row], column: str, worst_first: bool) -> list[Row]:
    """By the number, then by the image's name; rows to which it does not apply come last either way."""
    descending = worst_first == (column in MORE_IS_WORSE)

    def place(row: Row) -> tuple[bool, float, str]:
        value = amount(row, column)
        return value is None, (value or 0.0) * (-1 if descending else 1), str(row["image"])

    return sorted(rows, key=place)


def as_text(rows: list[Row], column: str) -> list[dict[str, str]]:
    """For the screen: run and image first, then the number that sorts, then the others."""
    if not rows:
        return []
    leading = [name for name in ("run", "image", column) if name in rows[0]]
    names = leading + [name for name in rows[0] if name not in (*leading, *LEADING)]
    return [{name: shown(row[name]) for name in names} for row in rows]


def shown(value: Value) -> str:
    if value is None:
        return NOT_APPLICABLE
    return f"{value:.3f}" if isinstance(value, float) else str(value)


# --- what it reads from Comet -----------------------------------------------------------------------------------------


@st.cache_data(ttl=60, show_spinner="Reading the list of tables ...")
def read_tables(_experiment: Any, key: str) -> dict[str, dict[Optional[int], str]]:
    return tables_of(_experiment.get_asset_list())


@st.cache_data(max_entries=200, show_spinner="Reading a table ...")
def read_table(_experiment: Any, key: str, asset: str) -> list[Row]:
    return parse(_experiment.get_asset(asset, return_type="text"))


def read_evaluations(experiment: Any, assets: dict[Optional[int], str]) -> Evaluations:
    """From the table of all epochs, else from the names of the tables of single epochs."""
    if None in assets:
        return evaluations_of(read_table(experiment, experiment.id, assets[None]))
    return {step: None for step in assets if step is not None}


def read_rows(experiment: Any, assets: dict[Optional[int], str], step: int) -> list[Row]:
    if None in assets:
        return [row for row in read_table(experiment, experiment.id, assets[None]) if row["step"] == step]
    return read_table(experiment, experiment.id, assets[step])


# --- the screen -------------------------------------------------------------------------------------------------------


def choose(label: str, choices: list[str], options: dict[str, Any]) -> str:
    """A drop-down list that begins with what the panel's options hold for its label."""
    first = choices.index(options[label]) if options.get(label) in choices else 0
    chosen: str = st.selectbox(label, choices, index=first)
    return chosen


def main() -> None:
    st.set_page_config(layout="wide")
    api = API()
    options = api.get_panel_options()
    experiments = api.get_panel_experiments()
    found = {experiment.id: read_tables(experiment, experiment.id) for experiment in experiments}
    names = sorted({name for tables in found.values() for name in tables})
    if not names:
        st.info(f"None of the {len(experiments)} experiments here has a table .../per_image.csv.")
        return

    left, middle, right, last = st.columns(4)
    with left:
        table = choose("Table", names, options)
    holders = [experiment for experiment in experiments if table in found[experiment.id]]
    titles = {experiment.id: experiment.name or experiment.id for experiment in holders}
    runs = st.multiselect("Runs", list(titles), default=list(titles), format_func=lambda key: titles[key])
    chosen = [experiment for experiment in holders if experiment.id in runs]
    there = {one.id: read_evaluations(one, found[one.id][table]) for one in chosen}
    steps = titles_of(list(there.values()))
    with middle:
        when = choose("Evaluation", [LAST, *steps.values()], options)

    rows: list[Row] = []
    for one in chosen:
        wanted = [max(there[one.id])] if when == LAST else [step for step in there[one.id] if steps[step] == when]
        for step in wanted:
            read = read_rows(one, found[one.id][table], step)
            rows += [{"run": titles[one.id], **row} for row in read]
    if not rows:
        st.info("None of the chosen runs has an evaluation there.")
        return
    show(rows, right, last, options)


def show(rows: list[Row], right: Any, last: Any, options: dict[str, Any]) -> None:
    """The table of these rows under the filters; the two columns are where the first two widgets go."""
    numbers = [name for name in numbers_of(rows) if name != "run"]
    if len({row["run"] for row in rows}) == 1:
        rows = [{name: value for name, value in row.items() if name != "run"} for row in rows]
    with right:
        column = choose(
            "Sort by", ["ap", *(name for name in numbers if name != "ap")] if "ap" in numbers else numbers, options
        )
    with last:
        worst_first = choose("Order", ["worst first", "best first"], options) == "worst first"
    name, value, rest = st.columns(3)
    with name:
        part = st.text_input("Image name contains", value="")
    highest = max(1.0, *(amount(row, column) or 0.0 for row in rows))
    with value:
        low, high = st.slider(f"Limits of {column}", 0.0, highest, (0.0, highest))
    with rest:
        applicable = st.checkbox("Only images to which it applies", value=False)
    kept = ordered(filtered(rows, column, part, low, high, applicable), column, worst_first)
    without = sum(amount(row, column) is None for row in kept)
    st.caption(
        f"{len(kept)} of {len(rows)} rows, the {'worst' if worst_first else 'best'} {column} first. {NOT_APPLICABLE}: "
        "the number does not apply to the image" + (f", as {column} to {without} of them." if without else ".")
    )
    st.dataframe(as_text(kept, column), hide_index=True)


main()
