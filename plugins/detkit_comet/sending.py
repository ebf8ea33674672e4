"""Later uploads: what has to be sent of a run, and sending it from its record."""

from __future__ import annotations

import json
import threading
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from detkit import (
    BuildContext,
    DetkitError,
    ExperimentRecord,
    LoggerRefused,
    Messages,
    NotDelivered,
    RecordError,
    RunRecord,
    UserError,
    open_record,
    replay,
)
from detkit_comet import CometOptions, upload_command
from detkit_comet.client import knows, load_client, require_key, set_limits
from detkit_comet.delivery import Delivery, Upload, last_step_of
from detkit_comet.leaderboard import publish_leaderboard
from detkit_comet.ledger import Ledger, Plan, plan
from detkit_comet.logger import CometLogger

#: Keys of a logger's table that are the host's.
HOST_KEYS = ("use", "enabled")

#: auto: as the ledger has it; new: a new experiment, whatever is in Comet; again: into the old one where what arrived
#: there is unknown.
Into = Literal["auto", "new", "again"]


@dataclass(frozen=True)
class Sent:
    """What became of a run.

    Attributes:
        action: "sent", "nothing" (there was nothing to send), "failed", "left out" (it has not ended), or, where it was
            only asked what would be done, "would send".
        key, url: of the experiment in Comet, where known. why: for a person.
    """

    run: RunRecord
    action: Literal["sent", "nothing", "failed", "left out", "would send"]
    why: str
    key: str | None = None
    url: str = ""


def options_of(record: ExperimentRecord, logger: str | None, changes: Mapping[str, Any]) -> CometOptions:
    """The options of the experiment's Comet logger, or the defaults where its spec has none.

    Args:
        logger: which one, where the spec has several.
        changes: other values for some.

    Raises:
        UserError: there is no such logger, there are several, or an option is wrong.
    """
    with record.files.spec.open("rb") as stream:
        tables = tomllib.load(stream).get("loggers", {})
    ours = {key: table for key, table in tables.items() if table.get("use", key) == "comet"}
    if logger is not None and logger not in ours:
        there = f"there are: {', '.join(ours)}" if ours else "there is none"
        raise UserError(f"[loggers] of {record.files.spec} has no Comet logger {logger!r}; {there}")
    if logger is None and len(ours) > 1:
        raise UserError(f"{record.files.spec} has several Comet loggers: {', '.join(ours)}; name one with --logger")
    table = ours[logger] if logger is not None else next(iter(ours.values()), {})
    values = {key: value for key, value in table.items() if key not in HOST_KEYS} | dict(changes)
    try:
        # As JSON, because the options are strict: TOML's lists are no tuples.
        return CometOptions.model_validate_json(json.dumps(values | {"mode": "online"}))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise UserError(f"the options of Comet are wrong: {wrong}") from error


def prepare(options: CometOptions) -> None:
    """Load the client for an upload, and look for the key.

    Raises:
        LoggerRefused: one of them is missing.
    """
    load_client()
    require_key()
    set_limits(options, patient=True)


def plan_of(run: RunRecord, options: CometOptions, into: Into = "auto", *, dry_run: bool = False) -> Plan:
    """What an upload of an ended run does; the ledger learns of an archive that somebody has uploaded.

    Raises:
        LoggerRefused: the server has to be asked, and cannot be. RecordError: the ledger is damaged.
    """
    ledger = Ledger.read(run.files.folder)
    decided = plan(ledger, run.state, last_step_of(run), lambda key: knows(key, options.timeout_s))
    if decided.by_hand is not None and not dry_run:
        decided.by_hand.state = "delivered"
        ledger.write()
    if into == "new":
        return replace(decided, send=True, key=None)
    if into == "again" and decided.unknown:
        return replace(decided, key=decided.old_key)
    return decided


def send(run: RunRecord, options: CometOptions, key: str | None, messages: Messages) -> None:
    """Send a run's record; the ledger has what became of it, whatever happens.

    On a thread of its own, for which nobody waits after Ctrl-C: neither does the client's exit handler.

    Raises:
        NotDelivered, LoggerRefused: it did not arrive. RecordError: the record is damaged.
    """
    context = BuildContext(messages=messages, run_id=run.run_id, run_folder=run.files.folder)
    logger = CometLogger(options, context, Delivery(options, messages, upload=Upload(key)))
    raised: list[Exception] = []

    def work() -> None:
        try:
            replay(run, logger)
        except Exception as error:  # noqa: BLE001 - raised again by whoever waits
            raised.append(error)

    thread = threading.Thread(target=work, name="comet-upload", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)  # short, so that Ctrl-C is noticed everywhere
    if raised:
        raise raised[0]


def upload_runs(
    runs: Sequence[RunRecord], options: CometOptions, messages: Messages, *, into: Into = "auto", dry_run: bool = False
) -> list[Sent]:
    """Send what has to be sent of these runs of one experiment.

    One that fails does not keep the others from being sent, unless the server is away.
    """
    done: list[Sent] = []
    refused = ""
    for run in runs:
        if run.state in ("pending", "running"):
            done.append(Sent(run, "left out", f"is {run.state}; only a run that has ended can be sent"))
        elif run.state != "finished" and not last_step_of(run):
            done.append(Sent(run, "left out", f"{run.state} before its first step: it holds nothing"))
        elif refused:
            done.append(Sent(run, "failed", refused))
        else:
            try:
                done.append(_upload(run, options, messages, into, dry_run))
            except LoggerRefused as error:
                refused = str(error)
                done.append(Sent(run, "failed", refused))
            except DetkitError as error:
                done.append(Sent(run, "failed", str(error), *_last(run)))
    return done


def _upload(run: RunRecord, options: CometOptions, messages: Messages, into: Into, dry_run: bool) -> Sent:
    decided = plan_of(run, options, into, dry_run=dry_run)
    why = decided.why + _advice(decided, into)
    if not decided.send:
        return Sent(run, "nothing", why, decided.key, decided.url)
    if dry_run:
        return Sent(run, "would send", why, decided.key)
    messages.info(f"{run.run_id}: {why}")
    send(run, options, decided.key, messages)
    return Sent(run, "sent", why, *_last(run))


def _advice(decided: Plan, into: Into) -> str:
    if not decided.send:
        return "; --new sends it as another experiment"
    if decided.unknown and decided.key is None:
        return f"; it is sent as a new experiment, beside {decided.old_key}" + (
            " (--again sends it into that one, under the same steps and names)" if into == "auto" else ""
        )
    if decided.unknown:
        return f"; it is sent again into {decided.key}, under the same steps and names"
    return ""


def _last(run: RunRecord) -> tuple[str | None, str]:
    try:
        uploads = Ledger.read(run.files.folder).uploads
    except RecordError:
        return None, ""
    return (uploads[-1].key, uploads[-1].url) if uploads else (None, "")


def upload_leaderboard(options: CometOptions, record: ExperimentRecord, messages: Messages) -> bool:
    """Send the experiment's leaderboard where it was not sent as it is; returns whether it was.

    Raises:
        LoggerRefused, NotDelivered: it did not arrive.
    """
    return publish_leaderboard(options, BuildContext(messages=messages), record.folder, uploading=True)


def upload_at_end(options: CometOptions, context: BuildContext, folder: Path) -> None:
    """After the last run: what `detkit comet upload` does with the experiment.

    Raises:
        NotDelivered: not everything was sent; says how to send the rest. LoggerRefused: there is no key.
    """
    record = open_record(folder)
    if context.offline:
        context.messages.info(f"comet: an offline experiment is not sent; later: {upload_command(folder)}")
        return
    own = options.model_copy(update={"mode": "online"})
    try:
        prepare(own)
        with record.exclusive():
            done = upload_runs(record.runs, own, context.messages)
            failed = [sent for sent in done if sent.action == "failed"]
            if not failed:
                upload_leaderboard(own, record, context.messages)
    except DetkitError as error:
        raise NotDelivered(f"{error}; send it with: {upload_command(folder)}") from error
    if failed:
        words = "; ".join(f"{sent.run.run_id}: {sent.why}" for sent in failed[:1])
        raise NotDelivered(f"{len(failed)} of {len(done)} runs: {words}; send them with: {upload_command(folder)}")
