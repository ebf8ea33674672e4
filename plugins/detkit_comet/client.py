"""Comet's client: imported quietly, its key found but never shown, its errors kept instead of printed."""

from __future__ import annotations

import logging
import os
import queue
import re
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future as ConcurrentFuture
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from detkit import LoggerRefused

if TYPE_CHECKING:
    from detkit_comet import CometOptions

#: How to do without the server, and without this logger: the ends of refusals.
WITHOUT = "; or leave the logger out: `enabled = false` in its table, or `--disable-logger comet` (the table's name)"
OTHERWISE = '; or set `mode = "offline"`' + WITHOUT

#: Set before the client is imported, unless the user has set them. Automatic logging would patch torch (120 µs a
#: backward pass); error tracking would send the client's own log, in which a refused key stands, to a third party.
QUIET = {
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "COMET_ERROR_TRACKING_ENABLE": "false",
    "COMET_LOGGING_CONSOLE": "CRITICAL",
}


#: How often a connection to the server is tried before the handshake, and the time between.
PINGS = 2
PING_PAUSE_S = 1.0


def load_client() -> ModuleType:
    """`comet_ml`, imported without noise and without automatic logging.

    Raises:
        LoggerRefused: it is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import comet_ml
    except ImportError as error:
        raise LoggerRefused(
            f'comet: the client cannot be imported ({error}); install it with `pip install "detkit[comet]"`' + WITHOUT
        ) from error
    _keep_quiet()
    _let_the_process_end()
    return comet_ml


def _keep_quiet() -> None:
    logger = logging.getLogger("comet_ml")
    # At its own level the client's logger would drop even errors before `ErrorLog` sees them.
    logger.setLevel(min(logger.level, logging.ERROR))
    for handler in logger.handlers:
        # An `ErrorLog` needs the exception, and hides the key itself.
        if not isinstance(handler, ErrorLog) and not any(isinstance(item, _Redaction) for item in handler.filters):
            handler.addFilter(_Redaction())


def _let_the_process_end() -> None:
    """Uploads that hang must not keep the process alive: the interpreter waits for the client's pools of threads."""
    from comet_ml import thread_pool

    names = vars(thread_pool)
    if "ConcurrentThreadPoolExecutor" in names:
        names["ConcurrentThreadPoolExecutor"] = DaemonPool


class DaemonPool:
    """The client's thread pool, of threads for which the interpreter does not wait.

    Its uploads are waited for all the same, by `end`: as long as it was told to.
    """

    def __init__(self, max_workers: int) -> None:
        self._calls: queue.SimpleQueue[tuple[ConcurrentFuture[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(max_workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        from comet_ml.thread_pool import Future

        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: ConcurrentFuture[Any] = ConcurrentFuture()
        self._calls.put((future, partial(function, *args, **kwargs)))
        return Future(future=future)

    def close(self) -> None:
        """What was submitted is still done."""
        if not self._closed:
            self._closed = True
            for _ in self._threads:
                self._calls.put(None)

    def join(self) -> None:
        self.close()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except Exception as error:  # noqa: BLE001 - told to whoever asks the future, as in any pool
                future.set_exception(error)
            else:
                future.set_result(result)


class _Redaction(logging.Filter):
    """The client unmasks a key that the server refused; here it stays masked, on whatever handler there is."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if redact(text) != text:
            record.msg, record.args = redact(text), ()
        if record.exc_info:
            trace = "".join(traceback.format_exception(*record.exc_info))
            if redact(trace) != trace:
                record.exc_info = record.exc_text = None
        return True


# --- the key ---------------------------------------------------------------------------------------------------------

#: Every form of a key that was seen: what `redact` hides.
_SECRETS: set[str] = set()

#: Anything shorter would hide innocent text; Comet's keys have 25 characters.
_SHORTEST_SECRET = 8


def api_key() -> str | None:
    """The key from `COMET_API_KEY` or the client's own configuration; None where there is none.

    Raises:
        LoggerRefused: what is configured cannot be a key.
    """
    config = load_client().config
    written = config.get_config("comet.api_key")
    if not written:
        return None
    _remember(str(written))
    try:
        key = config.get_api_key(None, config.get_config())
    except ValueError:
        key = None
    if not key:
        # "from None" and no text of the client's: it would quote the key.
        raise LoggerRefused(
            "comet: the configured API key is not one (cut, or copied with something else); set the environment"
            " variable COMET_API_KEY, or run `comet login`, again" + WITHOUT
        ) from None
    _remember(str(key))
    return str(key)


def _remember(key: str) -> None:
    # Behind an asterisk a key may carry the server's address; what stands before it is the secret.
    _SECRETS.update(form for form in (key, key.split("*")[0]) if len(form) >= _SHORTEST_SECRET)


def require_key() -> None:
    """Look for a key.

    Raises:
        LoggerRefused: there is none.
    """
    if api_key() is None:
        raise LoggerRefused(
            'comet: mode is "online", but there is no API key; set the environment variable COMET_API_KEY,'
            " or run `comet login` once" + OTHERWISE
        )


def redact(text: str) -> str:
    """The text without any API key that was seen."""
    for secret in sorted(_SECRETS, key=len, reverse=True):
        text = text.replace(secret, "***")
    return LOGIN.sub("//", text)


# --- settings --------------------------------------------------------------------------------------------------------


#: A user and a password in an address.
LOGIN = re.compile(r"//[^/@\s]*@")


def configured(setting: str) -> str | None:
    """A value of Comet's own configuration (environment, `.comet.config`), as `comet.project_name`."""
    value = load_client().config.get_config(setting)
    return str(value) if value else None


def server() -> str:
    """The address of the Comet server in use, for people: without a password that stands in it."""
    return LOGIN.sub("//", root_url())


def root_url() -> str:
    """The address of the Comet server in use, for requests."""
    return str(load_client().config.get_comet_root_url())


def unreachable(timeout_s: int) -> str:
    """What keeps a connection to the server from being made; empty where it answers, with whatever status.

    Asked before the handshake, because the client itself retries for 12 s and more before it gives up.
    """
    import requests

    failure = ""
    for attempt in range(PINGS):
        if attempt:
            time.sleep(PING_PAUSE_S)
        try:
            requests.get(f"{root_url().rstrip('/')}/clientlib/isAlive/ver", timeout=timeout_s)
        except requests.exceptions.SSLError:
            # The client may know certificates that this request does not.
            return ""
        except requests.Timeout:
            # Not again: it has been given `timeout_s`, and the beginning of a run waits for this.
            return f"no answer within {timeout_s} s"
        except requests.ConnectionError as error:
            failure = type(error).__name__
        else:
            return ""
    return failure


def knows(key: str, timeout_s: int) -> bool:
    """Whether the server has an experiment of that key.

    Raises:
        LoggerRefused: it cannot be asked.
    """
    import requests
    from comet_ml import API
    from comet_ml.exceptions import CometException

    failure = unreachable(timeout_s)
    if failure:  # asked first, because the client would try for half a minute
        raise LoggerRefused(f"comet: {server()} cannot be reached ({failure}); nothing was sent")
    untyped: Any = API
    try:
        return untyped(api_key=api_key()).get_experiment_by_key(key) is not None
    except (requests.RequestException, CometException, OSError) as error:
        raise LoggerRefused(
            f"comet: {server()} does not say what it has ({redact(str(error)) or type(error).__name__});"
            " nothing was sent"
        ) from error


#: How long a patient client waits; `Delivery` looks whether it gets on.
HOURS_S = 24 * 3600
#: A `close_timeout_s` within which the client can retry as often as it would by itself.
AMPLE_S = 40.0
#: The backend's version from which on the client shadows what it sends with a copy of everything in the temporary
#: folder, for an archive of its own: never. The record holds it all.
NEVER = "9999.0.0"


#: The variables that `set_limits` has set, and to what.
_OURS: dict[str, str] = {}


def set_limits(options: CometOptions, *, patient: bool = False) -> None:
    """Bound the client's waits, which are hours by default, so that `end` returns before the engine gives it up.

    A `COMET_` variable that the user has set stays as it is.

    Args:
        patient: for an upload, which somebody waits for: everything is tried again as often as the client wants to.
    """
    # `end` waits for messages, then for uploads; `Delivery` bounds the whole.
    wait_s = HOURS_S if patient else max(1, int(options.close_timeout_s))
    limits: dict[str, int | str] = {
        "COMET_TIMEOUT_HTTP": options.timeout_s,
        # Of the requests that wait for their answer: Artifacts, models.
        "COMET_TIMEOUT_API": options.timeout_s,
        # The handshake falls back to an archive, so it need not insist: ten retries took 33 s.
        "COMET_GET_OR_ADD_EXPERIMENT_RETRY_TOTAL": 3 if patient else 1,
        "COMET_TIMEOUT_CLEANING": wait_s,
        "COMET_TIMEOUT_UPLOAD": wait_s,
        "COMET_FALLBACK_STREAMER_FALLBACK_TO_OFFLINE_MIN_BACKEND_VERSION": NEVER,
    }
    if not patient:
        # Retries of a lost request wait 0, 4 and 8 s. With three of them `end` took 25 s after the server's death.
        limits["COMET_HTTP_SESSION_RETRY_TOTAL"] = 3 if options.close_timeout_s >= AMPLE_S else 1
        limits["COMET_TIMEOUT_FILE_UPLOAD"] = max(1, int(options.close_timeout_s / 2))
    for name, value in limits.items():
        # What an earlier logger of this process set is not the user's.
        if name not in os.environ or _OURS.get(name) == os.environ[name]:
            os.environ[name] = _OURS[name] = str(value)
    for name in [name for name in _OURS if name not in limits]:
        if os.environ.get(name) == _OURS.pop(name):
            del os.environ[name]


# --- errors ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientError:
    """An error that the client logged: its text without the key, and the exception behind it where there is one."""

    text: str
    cause: BaseException | None


class ErrorLog(logging.Handler):
    """Collects what the client logs as errors, each text once: it reports failures in its log, it does not raise.

    The client's threads append, the logger's own takes: both are single operations on a list.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._errors: list[ClientError] = []
        self._seen: set[str] = set()

    def attach(self) -> None:
        # First, because the console's formatter takes the traceback off the record.
        logging.getLogger("comet_ml").handlers.insert(0, self)

    def detach(self) -> None:
        logging.getLogger("comet_ml").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(redact(record.getMessage()).split())
        if text not in self._seen:
            self._seen.add(text)
            self._errors.append(ClientError(text, record.exc_info[1] if record.exc_info else None))

    def take(self) -> list[ClientError]:
        """What came since the last call."""
        taken, self._errors = self._errors, []
        return taken
