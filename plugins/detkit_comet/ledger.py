"""What of a run has reached Comet: every process that logged it, every later upload, and what follows from them.

`comet/ledger.json` in the run's folder. Comet does not tell what it has of an experiment, so the states say what is
known here, and `plan` sends nothing twice into one experiment unless that is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from detkit import RecordError, write_atomically

LEDGER = Path("comet") / "ledger.json"
FORMAT = 1

#: open: it goes on, or its process was killed. delivered: the client got rid of everything. archived: in a file, to be
#: sent later. lost: some of it did not arrive, or may not have. unsent: an upload that did not get as far as sending.
State = Literal["open", "delivered", "archived", "lost", "unsent"]


@dataclass
class Entry:
    """A process that logged the run, or an upload.

    Attributes:
        key: of the experiment in Comet.
        mode: where it went.
        state: see `State`.
        first_step: the optimizer step at which it began; 0 is the beginning.
        last_step: of the record when it ended; None while it is open.
        outcome: of the run when it ended: "finished", "failed", "interrupted".
        instead: archived because the server could not be reached, or refused.
        unanswered: it was asked for the experiment before that, and may have made it.
        archives: files that `comet upload` takes.
        errors: what the client reported.
        url: of the experiment, once known.
        began, ended: in UTC.
    """

    key: str
    mode: Literal["online", "offline"]
    state: State = "open"
    first_step: int = 0
    last_step: int | None = None
    outcome: str = ""
    instead: bool = False
    unanswered: bool = False
    archives: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    url: str = ""
    began: str = field(default_factory=lambda: _now())
    ended: str = ""

    def close(self, state: State, outcome: str, last_step: int, errors: Sequence[str]) -> None:
        self.state, self.outcome, self.last_step = state, outcome, last_step
        self.errors, self.ended = list(errors), _now()

    def covers(self, outcome: str, last_step: int) -> bool:
        """Whether nothing was added to the record since."""
        return (self.outcome, self.last_step) == (outcome, last_step)


@dataclass
class Ledger:
    """Attributes: file: where it stands. sessions: processes of the run. uploads: after it."""

    file: Path
    sessions: list[Entry] = field(default_factory=list)
    uploads: list[Entry] = field(default_factory=list)

    @classmethod
    def read(cls, run_folder: Path) -> Ledger:
        """An empty one where there is no file.

        Raises:
            RecordError: the file is damaged or of another format.
        """
        file = run_folder / LEDGER
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            if found["format_version"] != FORMAT:
                raise RecordError(f"{file} has format {found['format_version']!r}; this detkit reads {FORMAT}")
            return cls(file, [Entry(**row) for row in found["sessions"]], [Entry(**row) for row in found["uploads"]])
        except FileNotFoundError:
            return cls(file)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordError(
                f"{file} is damaged ({type(error).__name__}: {error}): it no longer says what of the run reached Comet;"
                " move it away to begin a new one, after which the run is sent as a new experiment"
            ) from error

    @classmethod
    def put_aside(cls, run_folder: Path) -> Ledger:
        """A new one, where the one there cannot be read."""
        file = run_folder / LEDGER
        file.replace(file.with_suffix(".json.damaged"))
        return cls(file)

    def write(self) -> None:
        """Atomically: after a crash there is the old file or the new one."""
        content: dict[str, Any] = {
            "format_version": FORMAT,
            "sessions": [asdict(entry) for entry in self.sessions],
            "uploads": [asdict(entry) for entry in self.uploads],
        }
        write_atomically(self.file, lambda stream: stream.write(json.dumps(content, indent=1).encode() + b"\n"))

    @property
    def last_key(self) -> str | None:
        """Of the experiment in which a resumed run goes on."""
        return self.sessions[-1].key if self.sessions else None

    @property
    def is_owing(self) -> bool:
        """Whether the last process of the run wanted to deliver it, and did not."""
        last = self.sessions[-1] if self.sessions else None
        return last is not None and (last.state in ("open", "lost") or last.instead)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


# --- what an upload does ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What an upload of the run does.

    Attributes:
        send: whether there is anything to send.
        key: of the experiment that gets it; None makes a new one.
        why: for a person, without the run's name.
        unknown: some of it may be in Comet already, in the experiment `old_key`.
        url: of the experiment that holds everything.
        by_hand: its archive was sent with Comet's own command: the entry that says so.
    """

    send: bool
    key: str | None
    why: str
    unknown: bool = False
    old_key: str | None = None
    url: str = ""
    by_hand: Entry | None = None


def plan(ledger: Ledger, outcome: str, last_step: int, is_known: Callable[[str], bool]) -> Plan:
    """What an upload has to do.

    Args:
        outcome: of the run: "finished", "failed", "interrupted".
        last_step: the last optimizer step of its record.
        is_known: whether the server has an experiment of that key; asked only where it matters.
    """
    for upload in reversed(ledger.uploads):
        if upload.state == "delivered" and upload.covers(outcome, last_step):
            return Plan(False, upload.key, "was uploaded completely", url=upload.url)
    chain = _latest_attempt(ledger.sessions)
    whole = _is_whole(chain, outcome, last_step)
    if whole and all(entry.state == "delivered" for entry in chain):
        return Plan(False, chain[-1].key, "was logged completely while it ran", url=chain[-1].url)
    entries = [entry for entry in (*chain, *ledger.uploads) if entry.state != "unsent"]
    if not entries:
        return Plan(True, None, "was never logged to Comet")
    if any(entry.mode == "online" for entry in entries):
        return _unknown(entries, outcome, last_step)
    key = (chain or entries)[-1].key  # without a session there are archives of uploads alone
    if not is_known(key):
        return Plan(True, key, "is archived, and Comet does not have it")
    if whole and len(chain) == 1 and not chain[0].unanswered and chain[0].state == "archived":
        return Plan(False, key, "is in Comet already: its archive was uploaded", by_hand=chain[0])
    return Plan(True, None, "is archived, and Comet has an experiment of its key already", True, key)


def _unknown(entries: Sequence[Entry], outcome: str, last_step: int) -> Plan:
    last = [entry for entry in entries if entry.mode == "online"][-1]
    if last.state == "open":
        why = "was logged to Comet until its process was killed: what arrived is unknown"
    elif last.state == "lost":
        why = "did not reach Comet completely: what arrived is unknown"
    elif last.covers(outcome, last_step):
        why = "was logged to Comet only in part"
    else:
        why = "went on after it was last sent to Comet"
    return Plan(True, None, why, True, last.key)


def _latest_attempt(sessions: Sequence[Entry]) -> list[Entry]:
    """The sessions since the run last began at its first step."""
    starts = [index for index, entry in enumerate(sessions) if entry.first_step == 0]
    return list(sessions[starts[-1] :] if starts else sessions)


def _is_whole(chain: Sequence[Entry], outcome: str, last_step: int) -> bool:
    """Whether the sessions join without a gap, in one experiment, from the beginning to the record's end."""
    if not chain or chain[0].first_step != 0 or not chain[-1].covers(outcome, last_step):
        return False
    joined = all(
        before.last_step is not None and after.first_step <= before.last_step for before, after in pairwise(chain)
    )
    return joined and len({entry.key for entry in chain}) == 1
