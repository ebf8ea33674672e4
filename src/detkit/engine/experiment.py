"""An experiment: prepare, then every run in a process of its own, in order. The parent's side."""

from __future__ import annotations

import shlex
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from types import FrameType
from typing import Any

import tomli_w

from detkit.checks.duplicates import same_contents
from detkit.data.differences import DataState, ImageState, compare
from detkit.data.digests import ImageDigest
from detkit.data.fingerprint import FORM, fingerprint, first_form_sha256, split_labels
from detkit.data.names import image_names
from detkit.engine.compute import resolve_compute
from detkit.engine.copies import write_copies
from detkit.engine.display import Display, shown
from detkit.engine.facts import versions
from detkit.engine.launch import failure_of, run_in_child
from detkit.engine.limits import Limits
from detkit.engine.prepare import (
    PreparedData,
    check_component,
    check_compute,
    checked_uses,
    digest_data,
    prepare_data,
    refuse_leaks,
    write_prepared,
)
from detkit.engine.replay import replay_missing
from detkit.engine.rerun import PlannedRun, merged_runs, plan_runs, run_spec
from detkit.engine.search import TrialRun, refuse_search, search_model
from detkit.engine.search_book import book_of
from detkit.engine.search_objectives import find_objectives
from detkit.errors import Interrupted, LoggerRefused, RecordError
from detkit.record.data_state import read_data_state
from detkit.record.files import read_json, write_atomically, write_json
from detkit.record.layout import ExperimentLayout
from detkit.record.lock import exclusive
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.spec.model import ExperimentSpec
from detkit.spec.trials import recorded_values


def run_experiment(
    spec: ExperimentSpec, display: Display, *, resume: bool = False, extend: bool = False, limits: Limits | None = None
) -> ExperimentRecord:
    """Run everything that the spec asks for and the record does not have yet.

    A run that fails leaves its cause in its record, and the next one begins.

    Raises:
        UserError: what was asked cannot be done; no run was begun.
        Interrupted: stopped; says how to go on.
    """
    layout = ExperimentLayout(spec.record_folder)
    try:
        with _sigterm_as_interrupt(), exclusive(layout.lock, f"the experiment {layout.folder}"):
            planned = plan_runs(spec, resume=resume, extend=extend, folds=limits.folds if limits else None)
            pending = [plan for plan in planned if plan.action != "keep"]
            book = book_of(spec)
            if book is not None:
                refuse_search(spec, book, resume=resume, extend=extend)
            searched = [model for model in spec.search.models if not book.over(model)] if spec.search and book else []
            if pending or searched:
                going_on = [plan for plan in pending if plan.action in ("resume", "extend")]
                _refuse_changed_hardware(spec, [plan.record for plan in going_on] + (book.begun() if book else []))
                data = prepare(spec, layout, display, limits)
                if book is not None:
                    book.begin(book.objectives or find_objectives(spec, data, display))
            wanted = [plan.record for plan in planned] + (book.runs() if book else [])
            record = write_experiment(spec, layout, wanted)
            kept = [plan.record for plan in planned if plan.action == "keep"] + (book.ended() if book else [])
            replay_missing(spec, kept, display)

            begun: list[PlannedRun] = []

            def to_come() -> int:
                return sum(book.runs_to_come(model) for model in searched) if book is not None else 0

            def run_trial(trial: TrialRun) -> None:
                assert book is not None
                write_experiment(spec, layout, [*wanted, *book.runs(), trial.plan.record])
                write_run(trial.spec, trial.plan, limits, trial.facts)
                begun.append(trial.plan)
                run_one(trial.plan, display, len(begun), len(begun) - 1 + to_come())

            with shown(display, record, wanted):
                for plan in pending:
                    write_run(spec, plan, limits)
                    begun.append(plan)
                    run_one(plan, display, len(begun), len(pending) + to_come())
                for model in searched:
                    assert book is not None
                    search_model(spec, book, model, display, run_trial)
            return ExperimentRecord(layout.folder)
    except (Interrupted, KeyboardInterrupt) as error:
        if limits is not None:
            raise Interrupted("the rehearsal was stopped; it leaves nothing") from error
        if not layout.spec.exists():
            raise Interrupted("stopped before the first run was begun; start again as you did") from error
        # The record's own copy of the spec: it has what --set, --name and --fresh changed.
        raise Interrupted(f"stopped; go on with: detkit run {shlex.quote(str(layout.spec))} --resume") from error
    finally:
        _remove_if_nothing_began(layout)


def run_one(plan: PlannedRun, display: Display, number: int, total: int) -> None:
    """Run it in a process of its own; its record says how it ended.

    Raises:
        Interrupted: stopped. LoggerRefused: a logger refused it, and would refuse all others.
    """
    display.run_started(plan.record, number, total, resumed=plan.action in ("resume", "extend"))
    try:
        run_in_child(plan.record, display)
    finally:
        display.run_ended(plan.record)
    _refuse_logger(plan)


def _remove_if_nothing_began(layout: ExperimentLayout) -> None:
    """A spec that was refused leaves no folder that looks like an experiment: only the lock was made so far."""
    with suppress(OSError):
        if [entry.name for entry in layout.folder.iterdir()] == [layout.lock.name]:
            layout.lock.unlink()
            layout.folder.rmdir()


def prepare(spec: ExperimentSpec, layout: ExperimentLayout, display: Display, limits: Limits | None) -> PreparedData:
    """Look at everything that could stop a run before it is begun, and write what the runs share."""
    check_compute(spec)
    data = prepare_data(spec, display)
    for use in checked_uses(spec):
        check_component(spec, use, data.dataset.class_names, display)
    digests = digest_data(data, display)
    _refuse_changed_data(layout, data, digests)
    refuse_leaks(spec, data, same_contents(digests), display)
    write_prepared(layout, data, digests)
    write_copies(
        layout,
        data,
        keep=spec.experiment.keep_images,
        size=spec.experiment.image_size,
        messages=display,
        evaluated=limits.evaluation_images if limits is not None else None,
    )
    return data


def _refuse_changed_data(layout: ExperimentLayout, data: PreparedData, digests: Sequence[ImageDigest]) -> None:
    """Runs of one experiment see the same images: the record's fingerprint is that of all its runs."""
    if not layout.experiment.exists() or not layout.fingerprint.exists():
        return
    before = read_json(layout.fingerprint)
    class_names = data.dataset.class_names
    now = fingerprint(data.infos, class_names, data.division, digests)
    if before.get("form") == FORM:
        same = all(before[key] == now[key] for key in ("sha256", "splits_sha256"))
    else:
        same = before["sha256"] == first_form_sha256(data.infos, class_names, data.division.of(None))
    if not same:
        differ = compare(read_data_state(layout, "before"), data_state("now", data, digests)).summary()
        raise RecordError(
            f"the data has changed since {layout.folder} was begun: {before['images']} images and {before['objects']}"
            f" objects then, {now['images']} and {now['objects']} now{f' ({differ})' if differ else ''}; its runs would"
            " not be comparable: start afresh with --name NEW or --fresh"
        )


def data_state(title: str, data: PreparedData, digests: Sequence[ImageDigest]) -> DataState:
    """Of data that is prepared, to be compared with another state of it."""
    names, splits = image_names(data.infos), split_labels(len(data.infos), data.division)
    rows = zip(names, digests, splits, data.infos, strict=True)
    images = [ImageState(name, digest.content, split, info) for name, digest, split, info in rows if split != "none"]
    return DataState(title, tuple(data.dataset.class_names), images, data.division.folded)


def write_experiment(spec: ExperimentSpec, layout: ExperimentLayout, wanted: Sequence[RunRecord]) -> ExperimentRecord:
    """experiment.json and the resolved spec; runs that the record has already stay in it."""
    existing = ExperimentRecord(layout.folder) if layout.experiment.exists() else None
    runs = merged_runs(wanted, existing)
    write_atomically(layout.spec, lambda stream: tomli_w.dump(recorded_values(spec), stream))
    write_json(
        layout.experiment,
        {
            "name": spec.experiment.name,
            "created": existing.facts["created"] if existing else time.time(),
            "spec_file": str(spec.path),
            "versions": versions(),
            "blocked": list(spec.blocked),
            "runs": [{**named(run), **({} if run.trial is None else {"trial": run.trial})} for run in runs],
        },
    )
    return ExperimentRecord(layout.folder)


def named(run: RunRecord) -> dict[str, Any]:
    """Which run it is, as experiment.json and run.json say it."""
    return {
        "run_id": run.run_id,
        "model": run.model,
        "seed": run.seed,
        **({} if run.fold is None else {"fold": run.fold}),
    }


def write_run(
    spec: ExperimentSpec, plan: PlannedRun, limits: Limits | None, facts: Mapping[str, Any] | None = None
) -> None:
    """run.json as far as the parent knows it; the child adds what it finds.

    Args:
        spec: of the run. facts: of a trial; its run gets the spec as a file of its own, too.
    """
    run, files = plan.record, plan.record.files
    given: dict[str, Any] = {
        **named(run),
        "experiment": spec.experiment.name,
        "spec": run_spec(spec, run.model),
        **(facts or {}),
    }
    if plan.action == "restart":
        _put_aside(run)
    elif files.run.exists():
        given = read_json(files.run) | given
    if plan.action == "extend":
        epochs = read_json(files.summary)["epochs"]  # fewer than were asked for, where it was stopped early
        given |= {"extended": [*given.get("extended", []), epochs], "schedule_from_epoch": epochs + 1}
        files.summary.replace(files.folder / f"summary-{epochs}-epochs.json")
    if limits is not None:
        given["limits"] = asdict(limits)
    if facts is not None:
        write_atomically(files.spec, lambda stream: tomli_w.dump(spec.resolved, stream))
    write_json(files.run, given)


def _put_aside(run: RunRecord) -> None:
    """Keep a failed run's folder under another name, so that the run can start over under a changed spec."""
    number = 1
    while (aside := run.files.folder.with_name(f"{run.run_id}.failed-{number}")).exists():
        number += 1
    run.files.folder.rename(aside)


def _refuse_changed_hardware(spec: ExperimentSpec, runs: Sequence[RunRecord]) -> None:
    """A run goes on in the precision in which it began: "auto" may mean another one on this machine."""
    compute = resolve_compute(spec.compute)
    for run in runs:
        before = run.facts.get("compute")  # absent where the run did not come so far
        now = {"accelerator": compute.accelerator, "precision": compute.precision}
        changed = [f"{key} {before[key]} before, {now[key]} now" for key in now if before and before[key] != now[key]]
        if changed:
            raise RecordError(
                f"{run.run_id} cannot go on here: {', '.join(changed)}; set [compute] device and precision to"
                " what they were, or start afresh with --name NEW or --fresh"
            )


def _refuse_logger(plan: PlannedRun) -> None:
    """A logger that refused its configuration would refuse every run: stop here, before hours are spent."""
    if plan.record.state == "failed":
        failure = failure_of(plan.record)
        if failure["kind"] == LoggerRefused.__name__:
            raise LoggerRefused(failure["message"])


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM stops an experiment as Ctrl-C does. Only the main thread may set handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # SIGINT too: a shell's background job inherits it ignored, and Python then leaves it so.
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
