"""What an upload does, decided from the ledger alone: no client, no server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detkit import RecordError
from detkit_comet.ledger import Entry, Ledger, Plan, plan


def entry(
    state: str, *, mode: str = "online", key: str = "k1", first: int = 0, last: int | None = 12, **more: Any
) -> Entry:
    outcome = more.pop("outcome", "finished" if last is not None else "")
    return Entry(key, mode, state, first, last, outcome, **more)  # type: ignore[arg-type] # literals


def decide(*sessions: Entry, uploads: tuple[Entry, ...] = (), known: tuple[str, ...] = ()) -> Plan:
    """Of a run that finished after 12 steps."""
    return plan(Ledger(Path(), list(sessions), list(uploads)), "finished", 12, lambda key: key in known)


def never(key: str) -> bool:
    raise AssertionError("the server need not be asked")


@pytest.mark.parametrize(
    "sessions",
    [
        [entry("delivered")],
        [entry("delivered", last=7, outcome="interrupted"), entry("delivered", first=6)],
        # It began again: what was before is not of this run.
        [entry("lost", key="k0", last=3, outcome="failed"), entry("delivered")],
    ],
)
def test_what_was_logged_completely_is_not_sent(sessions: list[Entry]) -> None:
    decided = plan(Ledger(Path(), sessions), "finished", 12, never)
    assert (decided.send, decided.key, decided.unknown) == (False, "k1", False)
    assert decided.why == "was logged completely while it ran"


@pytest.mark.parametrize(
    ("sessions", "why"),
    [
        ([entry("open", last=None)], "until its process was killed"),
        ([entry("lost")], "did not reach Comet completely"),
        ([entry("open", last=None), entry("delivered", first=6)], "only in part"),
        # Between 7 and 9 the logger was off.
        ([entry("delivered", last=7, outcome="interrupted"), entry("delivered", first=9)], "only in part"),
        ([entry("delivered", first=6)], "only in part"),
        ([entry("delivered", last=7, outcome="interrupted"), entry("delivered", first=6, key="k2")], "only in part"),
        ([entry("delivered", last=7, outcome="interrupted")], "went on after"),
        (
            [entry("delivered", last=7, outcome="interrupted"), entry("archived", mode="offline", first=6)],
            "went on after",
        ),
    ],
)
def test_where_arrival_is_unknown_a_new_experiment_gets_it(sessions: list[Entry], why: str) -> None:
    decided = decide(*sessions)
    assert (decided.send, decided.key, decided.unknown) == (True, None, True)
    assert why in decided.why
    assert decided.old_key == [session for session in sessions if session.mode == "online"][-1].key


def test_a_run_that_was_never_logged_is_sent() -> None:
    decided = plan(Ledger(Path()), "finished", 12, never)
    assert (decided.send, decided.key, decided.unknown) == (True, None, False)


def archived(**more: Any) -> Entry:
    return entry("archived", mode="offline", archives=["a.zip"], **more)


def test_an_archive_that_nobody_uploaded_is_sent_under_its_key() -> None:
    for sessions in (
        [archived()],
        [archived(last=7, outcome="interrupted"), archived(first=6)],
        [archived(instead=True)],
    ):
        decided = decide(*sessions, known=("other",))
        assert (decided.send, decided.key, decided.unknown) == (True, "k1", False)


def test_an_archive_that_somebody_uploaded_is_not_sent() -> None:
    session = archived()
    decided = decide(session, known=("k1",))
    assert (decided.send, decided.key) == (False, "k1")
    assert decided.by_hand is session


@pytest.mark.parametrize(
    "sessions",
    [
        # One of two archives may have been uploaded.
        [archived(last=7, outcome="interrupted"), archived(first=6)],
        # The server may have the experiment from the handshake that failed.
        [archived(instead=True, unanswered=True)],
        [archived(last=7, outcome="interrupted")],
        [entry("open", mode="offline", last=None)],
    ],
)
def test_an_archive_that_the_server_may_have_is_sent_as_a_new_experiment(sessions: list[Entry]) -> None:
    decided = decide(*sessions, known=("k1",))
    assert (decided.send, decided.key, decided.unknown, decided.old_key) == (True, None, True, "k1")


def test_a_finished_upload_is_not_sent_again_until_the_run_goes_on() -> None:
    uploads = (entry("lost", key="u1"), entry("delivered", key="u2"))
    assert decide(entry("lost"), uploads=uploads).send is False
    assert decide(entry("lost"), uploads=uploads).key == "u2"
    later = plan(Ledger(Path(), [entry("lost")], list(uploads)), "finished", 24, never)
    assert (later.send, later.unknown, later.old_key) == (True, True, "u2")


def test_an_upload_that_was_cut_off_is_unknown_and_one_that_sent_nothing_is_not() -> None:
    cut = decide(uploads=(entry("open", key="u1", last=None),))
    assert (cut.send, cut.key, cut.unknown, cut.old_key) == (True, None, True, "u1")
    unsent = decide(uploads=(entry("unsent", key="u1", last=None),))
    assert (unsent.send, unsent.unknown, unsent.why) == (True, False, "was never logged to Comet")


def test_a_ledger_comes_back_as_it_was_written(tmp_path: Path) -> None:
    ledger = Ledger.read(tmp_path)
    assert (ledger.sessions, ledger.uploads, ledger.last_key, ledger.is_owing) == ([], [], None, False)
    ledger.sessions.append(entry("open", last=None))
    ledger.uploads.append(entry("delivered", key="u1", errors=["x"], url="https://x"))
    ledger.write()
    again = Ledger.read(tmp_path)
    assert (again.sessions, again.uploads) == (ledger.sessions, ledger.uploads)
    assert (again.last_key, again.is_owing) == ("k1", True)
    assert [file.name for file in (tmp_path / "comet").iterdir()] == ["ledger.json"], "a temporary file was left"


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda text: text[:40], "is damaged"),
        (lambda text: text.replace('"format_version": 1', '"format_version": 2'), "this detkit reads 1"),
        (lambda text: text.replace('"mode"', '"node"'), "is damaged"),
        (lambda text: json.dumps({"format_version": 1}), "is damaged"),
    ],
)
def test_a_damaged_ledger_is_named(damage: Callable[[str], str], text: str, tmp_path: Path) -> None:
    ledger = Ledger.read(tmp_path)
    ledger.sessions.append(entry("delivered"))
    ledger.write()
    ledger.file.write_text(damage(ledger.file.read_text()))
    with pytest.raises(RecordError, match=text) as raised:
        Ledger.read(tmp_path)
    assert str(ledger.file) in str(raised.value)
    Ledger.put_aside(tmp_path).write()
    assert Ledger.read(tmp_path).sessions == []
    assert (tmp_path / "comet" / "ledger.json.damaged").exists()


def test_a_run_of_which_there_are_archives_of_uploads_alone_can_be_sent() -> None:
    archived = entry("archived", mode="offline", key="k7")
    unknown = decide(uploads=(archived,))
    assert (unknown.send, unknown.key) == (True, "k7")
    known = decide(uploads=(archived,), known=("k7",))
    assert (known.send, known.unknown, known.old_key) == (True, True, "k7")
