"""After the last run: loggers are told of the experiment as a whole. None of them can hold it up, or make it fail."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

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
            _publish(spec, use, component.publish, component.publish_timeout_s(use.options), folder, messages)


def _publish(
    spec: ExperimentSpec,
    use: Use,
    call: Callable[..., None],
    timeout_s: float | None,
    folder: Path,
    messages: Messages,
) -> None:
    trouble: list[str] = []

    def work() -> None:
        try:
            call(use.options, build_context(spec, use, messages=messages), folder)
        except DetkitError as error:
            trouble.append(str(error))
        except Exception as error:  # noqa: BLE001 - a logger is foreign code, and the runs have their figures
            trouble.append(f"raised {type(error).__name__}: {' '.join(str(error).split())}")

    # A daemon: a logger that hangs must not keep the process alive.
    thread = threading.Thread(target=work, name=f"publish-{use.key}", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        trouble.append(f"did not finish within {timeout_s:g} s")
    for text in trouble:
        messages.warning(f"{use.title}: the experiment as a whole was not sent: {text}")
