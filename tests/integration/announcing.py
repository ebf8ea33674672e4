"""A plugin for tests: a logger that is told of the experiment as a whole, and does with that as it is told to."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from detkit import BuildContext, Logger, LoggerComponent, LoggerRefused, Options, hookimpl, open_record

Way = Literal["writes", "raises", "refuses", "times_out", "exits", "hangs", "fails_to_say_how_long"]


class AnnouncerOptions(Options):
    way: Way = Field("writes", description="what `publish` does")
    timeout_s: float | None = Field(10.0, description="how long it may take, seconds")


def publish(options: AnnouncerOptions, context: BuildContext, folder: Path) -> None:
    if options.way == "raises":
        raise ValueError("the server\nsaid no")
    if options.way == "refuses":
        raise LoggerRefused("no key for the service")
    if options.way == "times_out":
        raise TimeoutError("the server was slow")
    if options.way == "exits":
        sys.exit("good bye")
    if options.way == "hangs":
        threading.Event().wait()
    record = open_record(folder)
    told = {
        "runs": [run.state for run in record.runs],
        "leaderboard": record.leaderboard is not None,
        "offline": context.offline,
        "thread": threading.current_thread().name,
    }
    with (folder / "announced.jsonl").open("a") as stream:
        stream.write(json.dumps(told) + "\n")


def publish_timeout_s(options: AnnouncerOptions) -> float | None:
    if options.way == "fails_to_say_how_long":
        raise ArithmeticError("who knows")
    return options.timeout_s


@hookimpl
def detkit_loggers() -> list[LoggerComponent[Any]]:
    return [
        LoggerComponent(
            "announcer",
            AnnouncerOptions,
            lambda options, context: Logger(),
            publish=publish,
            publish_timeout_s=publish_timeout_s,
        )
    ]
