"""All that is recorded of one run, as sections of names and values; what cannot be read is left out, or it is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detkit.cli.closing import shown_path
from detkit.cli.main import COMMANDS
from detkit.cli.runs.list import best_words, when
from detkit.cli.words import duration, figure, millions, size, three_digits
from detkit.errors import RecordError
from detkit.record.inventory import BROKEN, SHAPES, RunEntry, run_entry, tree_bytes
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.record.recipes import differences
from detkit.record.summary import scored_intervals
from detkit.spec.explain import value_words

#: So many figures, and so many differing keys, are printed; JSON has all.
MOST_FIGURES = 24
MOST_DIFFERENCES = 24


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Attributes:
    entry: what the list says of it. run_json, summary: the files; empty where they are not there.
    failure: failure.json without the traceback. differs: dotted key of the recipe to this run's value and the others'.
    files: name to bytes, of what is right in the run's folder. next: commands that go on from here.
    """

    entry: RunEntry
    run_json: Mapping[str, Any]
    summary: Mapping[str, Any]
    failure: Mapping[str, Any]
    differs: Mapping[str, tuple[Any, Mapping[str, Any]]]
    files: Mapping[str, int]
    next: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        return {
            "format_version": 1,
            **self.entry.to_dict(),
            "run": dict(self.run_json),
            "summary": dict(self.summary) or None,
            "failure": dict(self.failure) or None,
            "differs": {key: {"here": here, "others": dict(others)} for key, (here, others) in self.differs.items()},
            "files": dict(self.files),
            "next": dict(self.next),
        }


def facts_of(run: RunRecord, *, aside: bool) -> RunFacts:
    """Everything that can be read of it; nothing raises."""
    entry = run_entry(run, tree_bytes(run.files.folder), aside=aside)
    return RunFacts(
        entry,
        run_json=_read(lambda: run.facts if run.files.run.exists() else {}),
        summary=_read(lambda: run.summary or {}),
        failure={key: value for key, value in _read(lambda: run.failure or {}).items() if key != "traceback"},
        differs=_differs(run),
        files=_files(run.files.folder),
        next=next_commands(entry, run),
    )


def _read(read: Any) -> Mapping[str, Any]:
    with suppress(RecordError, OSError, *SHAPES):
        found: Mapping[str, Any] = read()
        return found
    return {}


def _differs(run: RunRecord) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    """Against the other runs of the experiment that can be read; seeds and folds are no part of a recipe."""
    recipes: dict[str, Mapping[str, Any]] = {}
    with suppress(RecordError, *SHAPES):
        for other in [run, *(o for o in ExperimentRecord(run.experiment).runs if o.run_id != run.run_id)]:
            spec = _read(lambda other=other: other.facts["spec"] if other.files.run.exists() else {})
            if spec:
                recipes[other.run_id] = spec
    if run.run_id not in recipes:
        return {}
    names = list(recipes)
    rows = differences([recipes[name] for name in names])
    return {
        key: (values[0], {name: value for name, value in zip(names[1:], values[1:], strict=True) if value != values[0]})
        for key, values in rows.items()
    }


def _files(folder: Path) -> dict[str, int]:
    try:
        return {child.name: tree_bytes(child) for child in sorted(folder.iterdir())}
    except OSError:
        return {}


def next_commands(entry: RunEntry, run: RunRecord) -> dict[str, str]:
    """What can be done with the run now, and the command for it."""
    folder, experiment = shown_path(entry.folder), shown_path(entry.experiment)
    resume = f"detkit run {shown_path(ExperimentRecord(entry.experiment).files.spec)} --resume"
    remove = f"detkit runs rm {folder}"
    if entry.aside or entry.state == BROKEN:
        return {"remove": remove}
    if entry.state == "running":
        return {"watch": f"detkit runs show {folder}"}
    if entry.state == "finished":
        predict = {"predict": f"detkit predict {folder} IMAGE"} if run.files.best.exists() else {}
        report = {"report": f"detkit report {experiment}"} if "report" in COMMANDS else {}
        return {**predict, "evaluate": f"detkit eval {folder}", "table": f"detkit show {experiment}", **report}
    if entry.state == "pruned":
        return {"table": f"detkit show {experiment}", "remove": remove}
    if entry.state == "failed" and run.trial is not None:
        # The search has been told and goes on without it; what is removed it tries once more.
        return {"table": f"detkit show {experiment}", "try again": f"{remove} --yes && {resume}"}
    begin = {"begin" if entry.state == "pending" else "resume": resume}
    replay = {"replay": f"detkit replay {folder}"} if run.files.incidents.is_dir() else {}
    return {**begin, **replay, **({} if entry.state == "pending" else {"remove": remove})}


# --- as text ---------------------------------------------------------------------------------------------------------


def sections(facts: RunFacts) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Titles with their lines; empty sections are left out."""
    for title, lines in (
        ("", list(_head(facts))),
        ("figures", list(_figures(facts.summary))),
        ("costs", list(_costs(facts.summary))),
        ("made with", list(_made_with(facts.run_json))),
        ("differs from the other runs of the experiment", list(_difference_lines(facts))),
        ("files", [(name, size(count)) for name, count in facts.files.items()]),
        ("next", [(what, command) for what, command in facts.next.items()]),
    ):
        if lines:
            yield title, lines


def _head(facts: RunFacts) -> Iterator[tuple[str, str]]:
    entry, summary = facts.entry, facts.summary
    yield "run", entry.name
    yield "folder", str(entry.folder)
    yield "state", entry.state + (", put aside when it was started over" if entry.aside else "")
    if entry.cause:
        yield ("broken" if entry.state == BROKEN else "cause"), entry.cause
    yield "model", f"{entry.model or '-'}, seed {entry.seed}" + (f", fold {entry.fold}" if entry.fold else "")
    if entry.trial is not None:
        yield "trial", f"{entry.trial}{_values(facts.run_json.get('trial'))}"
    ended = f": {summary['ended']}" if summary.get("ended") else ""
    yield "epochs", (f"{entry.epochs_done} of {entry.epochs}" if entry.epochs else str(entry.epochs_done)) + ended
    if entry.best is not None:
        yield "best", f"{best_words(entry)} of {entry.epochs_done}, on the validation images"
    if entry.started is not None:
        took = "" if entry.took_s is None else f"; {duration(entry.took_s)} of training and evaluation"
        yield "started", when(entry.started) + took
    yield "size", size(entry.size)


def _values(trial: Any) -> str:
    """What the trial has tried, as run.json says it."""
    with suppress(*SHAPES):
        return ": " + ", ".join(f"{key} = {value_words(value)}" for key, value in trial["values"].items())
    return ""


def _figures(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The final ones, the primary first, with their intervals."""
    with suppress(*SHAPES):
        scored, primary = summary["scored"], summary["primary"]
        intervals = scored_intervals(summary)
        yield (
            "measured on",
            f"{scored['images']} {scored['split']} images"
            + (", on which the epoch was selected too" if scored["same_images"] else ""),
        )
        names = sorted(scored["values"], key=lambda name: name != primary)
        for name in names[:MOST_FIGURES]:
            value = scored["values"][name]
            words = "-" if value is None else figure(value)
            yield name, f"{words} {intervals[name]}" if name in intervals else words
        if len(names) > MOST_FIGURES:
            yield "more", f"{len(names) - MOST_FIGURES} figures: --json has all"


def _costs(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    costs = summary.get("costs") or {}
    measured = {**(costs.get("measured") or {}), **(summary.get("measured") or {})}
    shown = (
        ("parameters", costs.get("parameters"), millions),
        ("weights", costs.get("weights_bytes"), size),
        ("GFLOPs", costs.get("flops"), lambda flops: three_digits(flops / 1e9)),
        ("latency", measured.get("latency_ms_median"), lambda ms: f"{three_digits(ms)} ms an image (median)"),
        ("training", measured.get("train_s"), duration),
        ("images per second", measured.get("images_per_s"), lambda rate: f"{rate:.1f} in training"),
        ("peak memory", measured.get("peak_memory_bytes"), size),
    )
    for name, value, words in shown:
        if value is not None:
            with suppress(*SHAPES):
                yield name, words(value)


def _made_with(run_json: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    with suppress(*SHAPES):
        yield from _weights(run_json.get("weights_origin") or {})
    with suppress(*SHAPES):
        compute, hardware = run_json["compute"], run_json["hardware"]
        gpus = ", ".join(str(gpu.get("name", gpu)) if isinstance(gpu, dict) else str(gpu) for gpu in hardware["gpus"])
        where = f"{compute['accelerator']}, {compute['processes']} process(es), {compute['precision']}"
        yield "device", where
        memory = size(hardware["memory_bytes"])
        yield "hardware", f"{gpus or hardware['processor']}, {hardware['cores']} cores, {memory}"
        yield "system", str(hardware["system"])
    with suppress(*SHAPES):
        yield "versions", ", ".join(f"{name} {version}" for name, version in run_json["versions"].items())
    with suppress(*SHAPES):
        yield "classes", ", ".join(map(str, run_json["class_names"]))


def _weights(origin: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    plain = {key: value for key, value in origin.items() if isinstance(value, str | int | float)}
    if plain:
        yield "weights from", ", ".join(f"{key} {value}" for key, value in plain.items())


def _difference_lines(facts: RunFacts) -> Iterator[tuple[str, str]]:
    for key, (here, others) in list(facts.differs.items())[:MOST_DIFFERENCES]:
        by_value: dict[str, list[str]] = {}
        for name, value in others.items():
            by_value.setdefault(str(value), []).append(name)
        told = "; ".join(f"{value} in {_few(names)}" for value, names in by_value.items())
        yield key, f"{here} here; {told}"
    if len(facts.differs) > MOST_DIFFERENCES:
        yield "more", f"{len(facts.differs) - MOST_DIFFERENCES} keys: --json has all"


def _few(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} more"
