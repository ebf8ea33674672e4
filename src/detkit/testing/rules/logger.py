"""What loggers promise: to take a whole run, to survive whatever ends it, and to stay out of the way."""

from __future__ import annotations

import copy
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from detkit.components import Logger, LoggerComponent, Outcome, RunInfo
from detkit.errors import NotDelivered
from detkit.record.reader import RunRecord
from detkit.testing.made_run import FINISHED, STEPS_PER_EPOCH, Call, logger_calls, make_run
from detkit.testing.rule import Broken, NotApplicable, rule, told
from detkit.testing.subject import Subject
from detkit.testing.surroundings import left_alone

#: No single call may take longer, seconds: ten thousand may wait for a logger, and then it is dropped.
SLOWEST_CALL_S = 2.0
#: Whether something waits at the end of the process is looked at after so long, seconds.
GRACE_S = 0.5


def recorded(subject: Subject, name: str = "record", run_id: str = "conformance-seed1") -> tuple[RunRecord, list[Call]]:
    """A fresh record, and the calls that it makes."""

    def made() -> RunRecord:
        return make_run(subject.fresh(f"made {run_id}") / "experiment", run_id=run_id, class_names=subject.class_names)

    pattern = subject.once(f"record of {run_id}", made)
    folder = subject.fresh(name) / "experiment"
    shutil.copytree(pattern.experiment, folder)
    run = replace(pattern, experiment=folder)
    return run, logger_calls(run)


def logger_of(subject: Subject, run: RunRecord) -> Logger:
    """A fresh one for a run.

    Raises:
        NotApplicable: it is no logger; `logger-type` says so.
    """
    built = subject.build(run_id=run.run_id, run_folder=run.files.folder)
    if not isinstance(built, Logger):
        raise NotApplicable("it is no logger: see the rule logger-type")
    return built


def play(subject: Subject, logger: Logger, calls: Iterable[Call], what: str) -> None:
    """Make the calls, one after another.

    Raises:
        Broken: one raises. NotApplicable: `start` refuses.
    """
    for call in calls:
        with subject.doing(f"{call.method} ({what})", may_refuse=call.method == "start"):
            call.make(logger)


def close(subject: Subject, logger: Logger, outcome: Outcome, what: str) -> None:
    """Close it as the engine does.

    Raises:
        Broken: it raises something else than `NotDelivered`.
    """
    component = subject.component
    assert isinstance(component, LoggerComponent)
    deadline = time.monotonic() + component.close_timeout_s(subject.options)
    with subject.doing(f"close ({what})"):
        try:
            logger.close(replace(outcome, deadline=deadline))
        except NotDelivered:
            return  # an honest answer, with the record to send the rest from


def restarted(calls: list[Call], **changes: object) -> list[Call]:
    """The calls with another `RunInfo` at the start."""
    info = calls[0].arguments[0]
    assert isinstance(info, RunInfo)
    return [Call("start", (replace(info, **changes),)), *calls[1:]]  # type: ignore[arg-type]  # fields of RunInfo


@rule("logger", "logger-type", "what is built is a `detkit.Logger`")
def is_logger(subject: Subject) -> None:
    """The built object is an instance of `detkit.Logger`, whose methods do nothing: a logger overrides what it wants,
    and goes on to work where detkit learns to tell more."""
    built = subject.build()
    if not isinstance(built, Logger):
        raise Broken(f"it built a {type(built).__name__}", "a subclass of detkit.Logger")


@rule("logger", "logger-whole-run", "it takes every call of a whole run")
def whole_run(subject: Subject) -> None:
    """From `start` to `close` no call of an ordinary run raises: parameters (nested, with None and lists), values of
    steps and epochs under names that it has not met before, predictions, tables with empty cells and names in any
    script, curves, confusion matrices, files. `start` may raise `LoggerRefused`, `close` `NotDelivered`."""
    run, calls = recorded(subject)
    logger = logger_of(subject, run)
    play(subject, logger, calls, "a whole run")
    close(subject, logger, FINISHED, "a whole run")


@rule("logger", "logger-ends", "it closes whatever ended the run, and wherever it was")
def ends(subject: Subject) -> None:
    """`close` works with every outcome ("finished", "failed", "interrupted", "pruned", with a reason or without), right
    after `start`, in the middle of an epoch, and after the last. A run that failed gives no summary."""
    outcomes = (Outcome("failed", "RuntimeError: out of luck"), Outcome("interrupted"), Outcome("pruned", "others"))
    for outcome in outcomes:
        run, calls = recorded(subject)
        for count in (1, 2 + STEPS_PER_EPOCH + 2):
            logger = logger_of(subject, run)
            what = f"{outcome.state} after {count} calls"
            play(subject, logger, calls[:count], what)
            close(subject, logger, outcome, what)


@rule("logger", "logger-close-twice", "closing twice does no harm")
def close_twice(subject: Subject) -> None:
    """detkit closes a logger once. Whoever tells a record to one by hand, with `detkit.replay` in a `try`, may close it
    again: the second time does nothing. Nor does it harm to close one that was never started."""
    run, calls = recorded(subject)
    logger = logger_of(subject, run)
    play(subject, logger, calls, "a whole run")
    close(subject, logger, FINISHED, "a whole run")
    close(subject, logger, FINISHED, "a second time")
    close(subject, logger_of(subject, run), Outcome("interrupted"), "never started")


@rule("logger", "logger-resume", "it goes on with a run that was resumed, and keeps what there was")
def resume(subject: Subject) -> None:
    """A resumed run calls `start` of a new logger with `run.start_step` above 0, in the same folder, perhaps without
    the first one having been closed. What the first one wrote stays: where the resumed run is stopped at once, no file
    has vanished or become shorter."""
    run, calls = recorded(subject)
    cut = next(place for place, call in enumerate(calls) if call.step > STEPS_PER_EPOCH)
    first = logger_of(subject, run)
    play(subject, first, calls[:cut], "the first epoch")
    close(subject, first, Outcome("interrupted"), "after the first epoch")
    before = _sizes(run.experiment)
    again = restarted(calls, start_step=STEPS_PER_EPOCH)
    second = logger_of(subject, run)
    play(subject, second, again[:2], "a resumed run")
    close(subject, second, Outcome("interrupted"), "a resumed run that is stopped at once")
    after = _sizes(run.experiment)
    for file, size in before.items():
        if file not in after:
            raise Broken(f"when the run is resumed, {file} is gone", "files of the first sitting stay")
        if after[file] < size:
            raise Broken(f"when the run is resumed, {file} has {after[file]} bytes of {size}", "it goes on")
    third = logger_of(subject, run)
    play(subject, third, again[:2] + again[cut:], "a resumed run")
    close(subject, third, FINISHED, "a resumed run")


@rule("logger", "logger-goes-back", "steps and epochs may be given again")
def goes_back(subject: Subject) -> None:
    """A run that goes back to a checkpoint (`[train] on_nonfinite = "rollback"`) gives some steps and epochs a second
    time, with other values. Not to raise is enough; what counts is the last value."""
    run, calls = recorded(subject)
    back = next(place for place, call in enumerate(calls) if call.step > STEPS_PER_EPOCH)
    logger = logger_of(subject, run)
    steps = [call for call in calls[back:] if call.step > STEPS_PER_EPOCH]
    play(subject, logger, calls[:back] + steps[: STEPS_PER_EPOCH + 2] + calls[back:], "a run that goes back")
    close(subject, logger, FINISHED, "a run that goes back")


@rule("logger", "logger-replays", "a recorded run can be sent to it, also a second time")
def replays(subject: Subject) -> None:
    """`detkit upload` and `detkit.replay` make the same calls from the record, long after the run: a fresh logger takes
    them from a record where the first one has left its files. So it reads nothing but what it is told, and the
    record."""
    run, calls = recorded(subject)
    for what in ("the run itself", "a replay"):
        logger = logger_of(subject, run)
        play(subject, logger, calls, what)
        close(subject, logger, FINISHED, what)


@rule("logger", "logger-rehearsal", "it takes a rehearsal")
def rehearsal(subject: Subject) -> None:
    """`detkit run --smoke` calls it with `run.rehearsal`: a few steps that leave nothing. It takes the calls, and sends
    nothing that would be taken for a result."""
    run, calls = recorded(subject)
    logger = logger_of(subject, run)
    play(subject, logger, restarted(calls, rehearsal=True), "a rehearsal")
    close(subject, logger, FINISHED, "a rehearsal")


@rule("logger", "logger-runs-apart", "two runs in one process do not mix")
def runs_apart(subject: Subject) -> None:
    """Several runs are sent one after another by one process, each to a logger of its own: the second changes nothing
    that the first has written."""
    first, first_calls = recorded(subject)
    logger = logger_of(subject, first)
    play(subject, logger, first_calls, "the first run")
    close(subject, logger, FINISHED, "the first run")
    before = _content(first.experiment)
    second, calls = recorded(subject, "record2", "conformance-seed2")
    other = logger_of(subject, second)
    play(subject, other, calls, "the second run")
    close(subject, other, FINISHED, "the second run")
    after = _content(first.experiment)
    changed = sorted(name for name, content in before.items() if after.get(name) != content)
    if changed:
        raise Broken(f"the second run changes {changed[0]} of the first", "files of its own")


@rule("logger", "logger-record-untouched", "the record, and the values it is given, stay as they are")
def record_untouched(subject: Subject) -> None:
    """The files whose paths it gets are the record itself: it reads them, and neither writes to them nor moves them.
    Mappings that it is given are given to other loggers too. In the run's folder it writes files of its own names
    only."""
    run, calls = recorded(subject)
    before, given = _content(run.experiment), copy.deepcopy([call for call in calls if call.method != "start"])
    logger = logger_of(subject, run)
    play(subject, logger, calls, "a whole run")
    close(subject, logger, FINISHED, "a whole run")
    after = _content(run.experiment)
    changed = sorted(name for name, content in before.items() if after.get(name) != content)
    if changed:
        raise Broken(f"it changes {changed[0]} of the record", "the record as it was")
    for call, old in zip((call for call in calls if call.method != "start"), given, strict=True):
        if (call.arguments, dict(call.keywords)) != (old.arguments, dict(old.keywords)):
            raise Broken(f"it changes what it was given in {call.method}", "a copy is changed instead")


@rule("logger", "logger-quick", "no call takes long, and closing keeps its time")
def quick(subject: Subject) -> None:
    """Calls wait in a queue on the logger's own thread, and one that does not keep up is dropped: no call takes longer
    than two seconds on its own, and `close` returns within the component's `close_timeout_s`. What is slow (a server)
    is done by a thread of the logger's, and waited for in `close`, until `outcome.deadline`."""
    component = subject.component
    assert isinstance(component, LoggerComponent)
    run, calls = recorded(subject)
    logger = logger_of(subject, run)
    for call in calls:
        began = time.monotonic()
        play(subject, logger, [call], "a whole run")
        if call.method != "start" and (took := time.monotonic() - began) > SLOWEST_CALL_S:
            raise Broken(f"{call.method} takes {took:.1f} s", f"less than {SLOWEST_CALL_S:g} s")
    began = time.monotonic()
    close(subject, logger, FINISHED, "a whole run")
    if (took := time.monotonic() - began) > component.close_timeout_s(subject.options):
        raise Broken(
            f"close takes {took:.1f} s", f"its own close_timeout_s, {component.close_timeout_s(subject.options)}"
        )


@rule("logger", "logger-no-threads-left", "nothing of it keeps the process alive after `close`")
def no_threads_left(subject: Subject) -> None:
    """After `close`, no thread that it started is left but daemons: the process ends when the run does."""
    before = set(threading.enumerate())
    run, calls = recorded(subject)
    logger = logger_of(subject, run)
    play(subject, logger, calls, "a whole run")
    close(subject, logger, FINISHED, "a whole run")
    until = time.monotonic() + GRACE_S
    while (left := [t for t in threading.enumerate() if t not in before and not t.daemon]) and time.monotonic() < until:
        time.sleep(0.01)
    if left:
        raise Broken(f"after close the thread {left[0].name!r} goes on", "it is ended, or a daemon")


@rule("logger", "logger-leaves-settings", "logging changes nothing that belongs to the process")
def leaves_settings(subject: Subject) -> None:
    """It leaves the global generators of torch and numpy, torch's threads, default dtype and gradient mode, the working
    directory and the environment as they were: it shares the process with the training. (The generator of `random` is
    left out: clients of servers draw their pauses from it.)"""
    run, calls = recorded(subject)
    logger = logger_of(subject, run)
    with left_alone("logging a run", with_generators=True, but="random's global generator"):
        play(subject, logger, calls, "a whole run")
        close(subject, logger, FINISHED, "a whole run")


@rule("logger", "logger-component", "the component's times and commands are what they should be")
def component_says(subject: Subject) -> None:
    """`close_timeout_s` gives seconds above 0, `publish_timeout_s` seconds above 0 or None; `upload_command` gives the
    text of a command that names the run's folder; `publish`, told the experiment's folder after the last run, works on
    the record, or raises what the user is to read."""
    component = subject.component
    assert isinstance(component, LoggerComponent)
    with subject.doing("the component's functions"):
        seconds = component.close_timeout_s(subject.options)
        publish = component.publish_timeout_s(subject.options)
    if not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise Broken(f"close_timeout_s gives {seconds!r}", "seconds above 0")
    if publish is not None and not (isinstance(publish, int | float) and publish > 0):
        raise Broken(f"publish_timeout_s gives {publish!r}", "seconds above 0, or None")
    if component.upload_command is None:
        return
    folder = Path("/runs/my experiment/fcos-seed1")
    try:
        command = component.upload_command(folder)
    except Exception as error:
        raise Broken(f"upload_command raises {told(error)}", "the text of a command") from error
    if not isinstance(command, str) or folder.name not in command:
        raise Broken(f"upload_command gives {command!r}", "a command that names the run's folder")


def _sizes(folder: Path) -> dict[str, int]:
    return {name: len(content) for name, content in _content(folder).items()}


def _content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
