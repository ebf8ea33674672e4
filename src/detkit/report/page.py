"""A Markdown page of an experiment: from its record alone, the same for the same record."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import tomli_w

from detkit.errors import RecordError
from detkit.record.reader import ExperimentRecord
from detkit.report.accuracy import accuracy, by_epoch, final_figures, means
from detkit.report.cost_table import costs
from detkit.report.portable import portable_spec
from detkit.report.runs import ShownRun, ShownRuns, read_runs
from detkit.report.say import told
from detkit.report.search_section import search_section
from detkit.report.setting import setting
from detkit.report.text import code, escape, fenced
from detkit.report.training import guards, recipes


def markdown_page(record: ExperimentRecord) -> str:
    """The page: what was compared, on what, how well each model did, what it costs, how it was trained.

    It holds no path of the machine, no host name and no account, so that it can be published.

    Raises:
        RecordError: a file of the record is damaged.
    """
    runs = read_runs(record)
    spec = _read_spec(record)
    sections = [
        f"# {escape(record.name)}",
        setting(record, runs, spec),
        *accuracy(runs),
        *final_figures(runs),
        *means(record, runs),
        *costs(record, runs),
        *search_section(record),
        *by_epoch(runs),
        *recipes(runs),
        *guards(runs),
        *_unfinished(record, runs),
        *_reproduce(record, spec),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _read_spec(record: ExperimentRecord) -> dict[str, Any]:
    try:
        return tomllib.loads(record.files.spec.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{record.files.spec} cannot be read: {error}") from error


def _unfinished(record: ExperimentRecord, runs: ShownRuns) -> list[str]:
    lines = [
        f"- {code(runs.label(run))} {_state(run)}" + (f": {told(record, run.cause)}" if run.cause else "")
        for run in runs.runs
        if not run.summary
    ]
    return ["## Runs that have not finished", "\n".join(lines)] if lines else []


def _state(run: ShownRun) -> str:
    epoch = f" after epoch {run.epochs[-1]['epoch']} of {run.train.get('epochs', '?')}" if run.epochs else ""
    words = {"running": "is running", "interrupted": "was interrupted", "pending": "has not begun"}
    return words.get(run.state, run.state) + epoch


def _reproduce(record: ExperimentRecord, spec: Mapping[str, Any]) -> list[str]:
    name = PurePath(str(record.facts["spec_file"]).replace("\\", "/")).name
    return [
        "## Again",
        fenced(f"detkit run {name}", "sh"),
        f"with this spec as {code(name)}: every default filled in, paths reduced to their last part, loggers left out.",
        fenced(tomli_w.dumps(portable_spec(spec)), "toml"),
        f"This page was written by `detkit show --markdown` from the record of detkit"
        f" {escape(str(record.facts['versions'].get('detkit', '')))}.",
    ]
