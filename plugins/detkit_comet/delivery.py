"""A run's way to Comet: opens its experiment, watches what the client sends, ends it in time, keeps the ledger."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from detkit import LoggerRefused, NotDelivered, Outcome, RecordError, RunInfo, RunRecord, open_run
from detkit_comet import upload_command
from detkit_comet.client import ErrorLog, load_client, redact, server
from detkit_comet.experiment import Opened, open_experiment, open_for_upload, open_nothing
from detkit_comet.ledger import Entry, Ledger, plan

if TYPE_CHECKING:
    from comet_ml import CometExperiment

    from detkit import Messages
    from detkit_comet import CometOptions

#: The end of a run is told before the engine gives the logger up: of `close_timeout_s` this share is left, but at most
#: so many seconds.
MARGIN = 0.1
MARGIN_S = 3.0
#: An upload that does not get on for so long is given up, seconds.
STALL_S = 120.0
#: The same where it cannot be seen whether it gets on.
NO_BOOK_S = 3600.0
#: The end of a run, for which somebody's next run waits, is given up after the time of so many requests.
STALLED_REQUESTS = 3
POLL_S = 0.1
#: So long the client's book is kept open for acknowledgements, seconds.
ACKNOWLEDGED_S = 2.0
#: Of the client's error texts so many are told; the ledger has more.
ERRORS_TOLD = 2
ERRORS_KEPT = 50
#: In errors about the client's e-mail and its sign of life.
UNIMPORTANT = ("notification", "heartbeat", "status report")


@dataclass(frozen=True)
class Upload:
    """A later upload of the whole run. Attributes: key: of the experiment to send it into; None makes a new one."""

    key: str | None


class Delivery:
    """Between the logger and the client. Used on the logger's thread, like the logger."""

    def __init__(
        self, options: CometOptions, messages: Messages, *, offline: bool = False, upload: Upload | None = None
    ) -> None:
        """Args: offline: the spec wants nothing from a network. upload: where this is a later upload."""
        self._options = options
        self._messages = messages
        self._offline = offline
        self._upload = upload
        self._errors = ErrorLog()
        self._failures: list[str] = []
        self._archives: list[str] = []
        self._opened: Opened | None = None
        self._entry: Entry | None = None
        self._waited_s = 0.0
        self._run: RunInfo
        self._record: RunRecord | None = None
        self._ledger: Ledger
        self._watch: Watch

    def open(self, run: RunInfo) -> CometExperiment:
        """Start the run's experiment, or go on in it.

        Args:
            run: without a model where it is no run: the leaderboard of an experiment, in the experiment's folder.

        Raises:
            LoggerRefused: see `open_experiment` and `open_for_upload`.
        """
        self._run = run
        self._record = open_run(run.folder) if run.model else None
        self._ledger = self._read_ledger()
        self._errors.attach()
        try:
            self._opened = opened = self._open()
        except LoggerRefused as error:
            self._errors.detach()
            if self._upload is not None:
                unsent = Entry(self._upload.key or "", "online", first_step=run.start_step)
                unsent.close("unsent", "", 0, [str(error)])
                self._ledger.uploads.append(unsent)
                self._ledger.write()
            raise
        except Exception:  # whatever it was: the watch on the client's log must not outlive it
            self._errors.detach()
            raise
        experiment = opened.experiment
        self._watch = Watch(experiment)
        if experiment.disabled:
            return experiment
        # Told at the end where an archive was written.
        experiment.set_offline_zip_uploader(self._archives.append)
        self._entry = entry = Entry(
            key=str(experiment.get_key()),
            mode="online" if opened.online else "offline",
            first_step=run.start_step,
            instead=opened.instead,
            unanswered=opened.unanswered,
            url=str(experiment.url or "") if opened.online else "",
        )
        (self._ledger.sessions if self._is_live else self._ledger.uploads).append(entry)
        self._ledger.write()
        if opened.online and experiment.alive:
            what = "logging" if self._record else "the leaderboard goes"
            self._messages.info(f"comet: {what} to {entry.url}")
        return experiment

    @property
    def is_open(self) -> bool:
        """Between its opening and its close."""
        return self._opened is not None

    @property
    def is_online(self) -> bool:
        return self._opened is not None and self._opened.online

    @property
    def delivered(self) -> bool:
        """Once it is closed: whether Comet has everything."""
        return self._entry is not None and self._entry.state == "delivered"

    @contextmanager
    def sending(self) -> Iterator[CometExperiment]:
        """The experiment, for calls of the client.

        Some of them ask the server at once and raise what becomes of it, or read a file that may be gone: then that is
        lost, and the rest goes on.
        """
        from comet_ml.exceptions import CometException

        if self._opened is None:
            raise RuntimeError("the Comet logger was used before its start or after its close")
        try:
            yield self._opened.experiment
        except (CometException, OSError) as error:  # the requests' errors are OSErrors, as those of files are
            self.fail(str(error) or type(error).__name__)

    def fail(self, what: str) -> None:
        """Note that something has not reached Comet."""
        self._failures.append(" ".join(redact(what).split()))

    def close(self, outcome: Outcome) -> None:
        """Send what is left, or write the archive; the ledger has what became of it.

        Raises:
            NotDelivered: not everything arrived, or not in time.
        """
        opened, entry = self._opened, self._entry
        if opened is None:
            return
        ended = self._end(opened.experiment, outcome.deadline)
        self._opened = None
        self._errors.detach()
        errors = list(dict.fromkeys([*self._failures, *(error.text for error in self._errors.take())]))
        if entry is None:  # the client is switched off
            return
        entry.archives = list(self._archives)
        last_step = last_step_of(self._record) if self._record else 0
        if not opened.online:
            entry.close("archived" if entry.archives else "lost", outcome.state, last_step, errors[:ERRORS_KEPT])
            self._ledger.write()
            self._tell_archived(entry, errors)
            return
        lost = self._lost(ended, errors)
        entry.close("lost" if lost else "delivered", outcome.state, last_step, errors[:ERRORS_KEPT])
        self._ledger.write()
        if lost:
            raise NotDelivered(self._words_of(lost, errors))
        if errors:
            self._messages.warning(f"comet: the client reports: {_told(errors)}")

    # --- beginning ---------------------------------------------------------------------------------------------------

    @property
    def _is_live(self) -> bool:
        """Whether this is a process of the run; the record of a finished run is sent by `detkit upload`."""
        return self._upload is None and (self._record is None or self._record.state != "finished")

    def _read_ledger(self) -> Ledger:
        try:
            return Ledger.read(self._run.folder)
        except RecordError as error:
            if self._upload is not None:
                raise
            self._messages.warning(f"comet: {error}")
            return Ledger.put_aside(self._run.folder)

    def _open(self) -> Opened:
        if self._run.rehearsal:
            self._messages.info("comet: a rehearsal sends nothing")
            load_client()
            return open_nothing(self._options, self._run)
        if self._upload is None and self._record is not None and not self._is_live:
            # `detkit upload`, which does not know what Comet has.
            decided = plan(self._ledger, self._record.state, last_step_of(self._record), lambda _key: False)
            if not decided.send:
                self._messages.info(
                    f"comet: {self._run.run_id} {decided.why}, so that nothing is sent;"
                    f" `{upload_command(self._run.folder)} --new` sends it as another experiment"
                )
                load_client()
                return open_nothing(self._options, self._run)
        if self._upload is not None:
            return open_for_upload(self._options, self._run, self._errors, self._messages, key=self._upload.key)
        return open_experiment(
            self._options, self._run, self._errors, self._messages, offline=self._offline, key=self._earlier_key()
        )

    def _earlier_key(self) -> str | None:
        """Of the experiment in which a resumed run goes on."""
        if self._run.start_step == 0:
            return None
        if self._ledger.last_key is None:  # a leaderboard that was sent before has one
            self._messages.info(
                "comet: the run was not logged to Comet before it was resumed: a new experiment holds the rest"
            )
        return self._ledger.last_key

    # --- the end -----------------------------------------------------------------------------------------------------

    def _end(self, experiment: CometExperiment, deadline: float | None) -> bool:
        """Whether the client came to its end in time; what goes on in it after that holds nobody up."""
        ending = threading.Thread(target=self._call_end, args=(experiment,), name="comet-end", daemon=True)
        began = time.monotonic()
        ending.start()
        if self._upload is not None:
            with self._messages.progress(f"sending {self._run.run_id}", self._watch.left_in_all() or None) as bar:
                self._wait(ending, STALL_S if self._watch.sees else NO_BOOK_S, math.inf, bar.advance)
        else:
            # What waited before this has taken a part of the time.
            timeout_s = self._options.close_timeout_s if deadline is None else max(0.0, deadline - began)
            # What becomes of an archive is not seen from here.
            stall_s = STALLED_REQUESTS * self._options.timeout_s if self._watch.sees else math.inf
            self._wait(ending, stall_s, timeout_s - min(MARGIN_S, MARGIN * timeout_s))
        self._waited_s = time.monotonic() - began
        return not ending.is_alive()

    def _call_end(self, experiment: CometExperiment) -> None:
        try:
            experiment.end()
        except Exception as error:  # noqa: BLE001 - the client raises what its transport raised; told with the rest
            self.fail(str(error) or type(error).__name__)

    def _wait(
        self, ending: threading.Thread, stall_s: float, timeout_s: float, sent: Callable[[int], None] | None = None
    ) -> None:
        """Until it has ended, or nothing has gone out for `stall_s`, or `timeout_s` are over.

        Args:
            sent: is told how many messages went out.
        """
        began = moved = time.monotonic()
        seen = self._watch.state()
        while ending.is_alive() and (now := time.monotonic()) - moved < stall_s and now - began < timeout_s:
            ending.join(min(POLL_S, timeout_s))
            state = self._watch.state()
            if state != seen:
                if sent is not None:
                    sent(max(0, seen[0] - state[0]))
                seen, moved = state, now

    def _lost(self, ended: bool, errors: Sequence[str]) -> str:
        """What did not arrive, or may not have; empty where everything did."""
        left = self._watch.left()
        if left is None:  # another client, whose book cannot be read: any error may mean a loss
            left = {}
            if errors:
                return "something"
        counts = ", ".join(f"{count:,} {name}" for name, count in left.items())
        if counts:
            return counts
        return "" if ended and not self._failures else "something"

    def _words_of(self, lost: str, errors: Sequence[str]) -> str:
        reason = _told(errors) if errors else f"the client was still trying after {self._waited_s:.0f} s"
        return (
            f"not everything reached {server()} ({lost} did not: {reason}). The record has everything;"
            f" send it with: {upload_command(self._run.folder)}"
        )

    def _tell_archived(self, entry: Entry, errors: Sequence[str]) -> None:
        if errors or not entry.archives:
            self._messages.warning(f"comet: {_told(errors) if errors else 'no archive was written'}")
        if entry.archives:
            self._messages.info(
                f"comet: the run is archived in {', '.join(entry.archives)};"
                f" `{upload_command(self._run.folder)}` sends it, or Comet's own `comet upload`"
            )


def _told(errors: Sequence[str]) -> str:
    """The errors that are told; those of what nobody would miss come last."""
    errors = sorted(errors, key=lambda error: any(word in error.lower() for word in UNIMPORTANT))
    more = f"; and {len(errors) - ERRORS_TOLD} more" if len(errors) > ERRORS_TOLD else ""
    return "; ".join(error.rstrip(".") for error in errors[:ERRORS_TOLD]) + more


def last_step_of(record: RunRecord) -> int:
    """The last optimizer step in a run's record; 0 before the first."""
    last = 0
    for row in record.steps():
        last = row["step"]
    return last


# --- the client's book -----------------------------------------------------------------------------------------------

#: Kinds of the client's messages, for people.
KINDS: Mapping[str, str] = {
    "metric_msg": "metrics",
    "parameter_msg": "parameters",
    "file_upload": "files",
    "upload_in_memory": "files",
    "remote_file": "files",
}
#: The client keeps a book of its messages, from which it takes those that were delivered. Of a parameter that was given
#: twice only the second is sent, and the first stays in the book as registered (1); failed is 3.
LEFT = "SELECT message_type, COUNT(*) FROM messages WHERE status = 3 OR message_type != 'parameter_msg' GROUP BY 1"


class Watch:
    """What an online experiment has not got rid of, from the client's own book of its messages (its ReplayManager)."""

    def __init__(self, experiment: CometExperiment) -> None:
        self._streamer: Any = getattr(experiment, "streamer", None)
        self._book: Any = getattr(self._streamer, "replay_manager", None)
        self._last: dict[str, int] | None = None
        if self._book is not None:
            self._close, self._book.close = self._book.close, self._read_and_close

    @property
    def sees(self) -> bool:
        """Whether there is a book."""
        return self._book is not None

    def left(self) -> dict[str, int] | None:
        """Kind of message to how many are left, without those of which none is; None where there is no book."""
        if self._book is not None and not self._book.closed:
            self._last = self._read()
        return self._last

    def left_in_all(self) -> int:
        return sum((self.left() or {}).values())

    def state(self) -> tuple[int, int]:
        """Changes as long as something goes out: messages and bytes of files that are left."""
        manager = getattr(getattr(self._streamer, "online_streamer", None), "_file_upload_manager", None)
        return self.left_in_all(), int(manager.remaining_data()[1]) if manager is not None else 0

    def _read_and_close(self) -> None:
        # The acknowledgement of what was sent last may still be on its way from another thread of the client.
        until = time.monotonic() + ACKNOWLEDGED_S
        while self.left_in_all() and time.monotonic() < until:
            time.sleep(POLL_S)
        self._close()

    def _read(self) -> dict[str, int] | None:
        try:
            with self._book.__lock__:
                rows = self._book.conn.execute(LEFT).fetchall()
        except Exception:  # noqa: BLE001 - another version of the client, or a full disk under its book
            return self._last
        left: dict[str, int] = {}
        for kind, count in rows:
            name = KINDS.get(kind, "other values")
            left[name] = left.get(name, 0) + count
        return left
