"""The experiment as the page reads it: its runs with all that is small, in plain values."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detkit.components import Messages
from detkit.errors import RecordError
from detkit.record.lock import is_held
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.record.streams import read_stream
from detkit.report.evaluations import Evaluation
from detkit.report.portable import portable, portable_spec, portable_text
from detkit.report.runs import ShownRun, ShownRuns, read_runs
from detkit.report.standing import standing
from detkit.report.thinning import thinned
from detkit.report.trials import trials_content

#: Of the form of the report's data; a page and its data are written together.
REPORT_FORMAT = 1
#: Warnings of a run that are shown, the latest.
MOST_MESSAGES = 30


def experiment_content(
    record: ExperimentRecord,
    found: Mapping[str, Sequence[Evaluation]],
    *,
    ended: bool,
    troubles: Mapping[str, Sequence[str]] | None = None,
    messages: Messages | None = None,
) -> dict[str, Any]:
    """All but images, detections and figures.

    Args:
        found: the evaluations of each run, by its name. troubles: what of a run is damaged, and so not among them.
        ended: no run goes on, so that there is time to compare the models with each other.
        messages: shows how far that is.

    No path of the machine is in it, so that it can be sent to others.

    Raises:
        RecordError: a file of the record is damaged.
    """
    runs = read_runs(record)
    folders = private_folders(record)
    return {
        "format": REPORT_FORMAT,
        "name": record.name,
        "written": time.time(),
        # While a process holds it there is more to come, and a page that is open looks for it.
        "live": is_held(record.files.lock),
        "created": record.facts["created"],
        "versions": record.facts["versions"],
        "primary": runs.primary,
        "higher_is_better": dict(runs.higher_is_better),
        "data": _data(record),
        "spec": portable(_flat(_resolved(record))),
        "runs": [
            _run(record.run(shown.run_id), shown, runs, found.get(shown.run_id, ()), folders)
            | {"damaged": [portable_text(text, folders) for text in (troubles or {}).get(shown.run_id, ())]}
            for shown in runs.runs
        ],
        "differences": _differences(runs),
        "search": trials_content(record, folders),
        "standing": standing(record, folders, ended=ended, messages=messages),
    }


def _run(
    run: RunRecord, shown: ShownRun, runs: ShownRuns, found: Sequence[Evaluation], folders: Sequence[Path]
) -> dict[str, Any]:
    scored = shown.summary.get("scored", {})
    return {
        "id": run.run_id,
        "label": runs.label(shown),
        "model": run.model,
        "seed": run.seed,
        "fold": run.fold,
        "state": shown.state,
        "cause": portable_text(shown.cause, folders),
        "epochs": [{key: row[key] for key in ("epoch", "step", "values", "measured")} for row in shown.epochs],
        "planned_epochs": shown.train.get("epochs"),
        "selected_epoch": shown.selected_epoch,
        "selected_by": shown.selected_by,
        "ended": shown.summary.get("ended", ""),
        "scored": {key: scored.get(key) for key in ("split", "images", "same_images", "values")} if scored else None,
        "intervals": {name: [interval.lower, interval.upper] for name, interval in sorted(shown.intervals.items())},
        "parameters": shown.summary.get("parameters", shown.facts.get("parameters")),
        "costs": portable({**shown.costs, "protocol": None}),
        "measured": dict(shown.measured),
        "hardware": portable({key: shown.facts.get(key) for key in ("hardware", "compute", "device")}),
        "origin": portable(_short(shown.facts.get("weights_origin"))),
        "spec": portable(_flat(shown.spec)),
        "steps": _steps(run),
        "system": _system(run),
        "messages": [portable_text(text, folders) for text in _warnings(run)],
        "evaluations": [_evaluation(one) for one in found],
        "matching": _matching(shown),
    }


def _evaluation(one: Evaluation) -> dict[str, Any]:
    return {
        "key": one.key,
        "epoch": one.epoch,
        "split": one.split,
        "predictions": one.predictions is not None,
        "figures": bool(one.figures),
    }


def _matching(shown: ShownRun) -> dict[str, Any]:
    """At what a run's own counts were made: of its first metric that says so, else COCO's usual values."""
    for options in shown.spec.get("metrics", {}).values():
        if "match_iou" in options:
            return {
                "iou": options["match_iou"],
                "confidence": options.get("confidence", 0.5),
                "most": max(options.get("max_detections") or [100]),
            }
    return {"iou": 0.5, "confidence": 0.5, "most": 100}


def _steps(run: RunRecord) -> dict[str, Any]:
    """Losses by their terms and the rate, by step."""
    rows = (
        {"step": row["step"], "loss": row.get("loss"), "lr": row.get("lr"), **_terms(row)}
        for row in read_stream(run.files.steps)
    )
    return thinned(rows, "step")


def _terms(row: Mapping[str, Any]) -> dict[str, Any]:
    terms = row.get("losses") or {}
    return {f"loss/{name}": value for name, value in terms.items()}


def _system(run: RunRecord) -> dict[str, Any]:
    """Machine figures by the seconds since the run's first."""
    rows = list(read_stream(run.files.system))
    begin = rows[0]["time"] if rows else 0.0
    return thinned((_machine_row(row, begin) for row in rows), "time")


def _machine_row(row: Mapping[str, Any], begin: float) -> dict[str, Any]:
    flat = _flat({key: value for key, value in row.items() if key != "time"})
    return {"time": row["time"] - begin, **flat}


def _warnings(run: RunRecord) -> list[str]:
    rows = [str(row["text"]) for row in read_stream(run.files.messages) if row.get("level") == "warning"]
    return list(dict.fromkeys(rows))[-MOST_MESSAGES:]


def _short(origin: Any) -> dict[str, Any]:
    """Of the weights' origin what fits a line: not the names of all tensors."""
    return {key: value for key, value in (origin or {}).items() if isinstance(value, str | int | float)}


def _resolved(record: ExperimentRecord) -> dict[str, Any]:
    try:
        return portable_spec(tomllib.loads(record.files.spec.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RecordError(f"{record.files.spec} cannot be read: {error}") from error


def _data(record: ExperimentRecord) -> dict[str, Any]:
    if not record.files.fingerprint.exists():
        return {}
    wanted = ("images", "objects", "class_names", "split_sizes", "sha256")
    return {key: value for key, value in record.fingerprint.items() if key in wanted}


def _differences(runs: ShownRuns) -> list[dict[str, Any]]:
    """The keys of the runs' specs that are not the same in all that have begun, with each run's value."""
    flat = {run.run_id: portable(_flat({**run.spec, "seed": run.seed})) for run in runs.runs if run.spec}
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    rows = [{"key": key, "values": {run: values.get(key) for run, values in flat.items()}} for key in keys]
    return [row for row in rows if len({repr(value) for value in row["values"].values()}) > 1]


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested tables under dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, child in value.items():
        if isinstance(child, Mapping) and child:
            flat |= _flat(child, f"{before}{key}.")
        elif not isinstance(child, Mapping):
            flat[f"{before}{key}"] = child
    return flat


def private_folders(record: ExperimentRecord) -> list[Path]:
    """What no page may name."""
    folders = [record.folder, record.folder.absolute(), Path.home()]
    spec = record.facts.get("spec_file")
    return [*folders, Path(str(spec)).parent] if spec else folders
