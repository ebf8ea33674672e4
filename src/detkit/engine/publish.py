"""After the last run: loggers are told of the experiment as a whole. None of them can hold it up, or make it fail."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

from detkit.components import LoggerComponent, Messages
from detkit.engine.prepare import build_context
from detkit.errors import DetkitError
from detkit.spec.model import ExperimentSpec, Use


def publish(spec: ExperimentSpec, folder: Path, messages: Messages) -> None:
    """Tell every enabled logger that wants to know, one after another.

    Args:
        folder: of the experiment; its leaderboard is written.
    """
    for use in spec.loggers.values():
        component = use.offered.component
        if use.enabled and isinstance(component, LoggerComponent) and component.publish is not None:
            trouble = _publish(spec, use, component, folder, messages)
            if trouble:
                messages.warning(f"{use.title}: the experiment as a whole was not sent: {trouble}")


def _publish(spec: ExperimentSpec, use: Use, component: LoggerComponent[Any], folder: Path, messages: Messages) -> str:
    """What went wrong; empty where nothing did."""
    ended: Future[None] = Future()

    def work() -> None:
        try:
            assert component.publish is not None
            component.publish(use.options, build_context(spec, use, messages=messages), folder)
        except Exception as error:  # noqa: BLE001 - a logger is foreign code, and the runs have their figures
            ended.set_exception(error)
        except SystemExit:  # a thread would end by it without a word
            ended.set_exception(RuntimeError("it tried to end the process"))
        else:
            ended.set_result(None)

    try:
        timeout_s = component.publish_timeout_s(use.options)
        # A daemon: a logger that hangs must not keep the process alive.
        threading.Thread(target=work, name=f"publish-{use.key}", daemon=True).start()
        ended.result(timeout_s)
    except FutureTimeout:
        if not ended.done():
            return f"did not finish within {timeout_s:g} s"
        raised = ended.exception()  # what `publish` itself raised may be a timeout, too
        return _told(raised) if raised else ""
    except Exception as error:  # noqa: BLE001 - as above
        return _told(error)
    return ""


def _told(error: BaseException) -> str:
    if isinstance(error, DetkitError):
        return str(error)
    return f"raised {type(error).__name__}: {' '.join(str(error).split())}"
