"""What loggers promise."""

from __future__ import annotations

from detkit.components import Logger
from detkit.testing.rule import Broken, rule
from detkit.testing.subject import Subject


@rule("logger", "logger-type", "what is built is a `detkit.Logger`")
def is_logger(subject: Subject) -> None:
    """The built object is an instance of `detkit.Logger`, whose methods do nothing: a logger overrides what it wants,
    and goes on to work where detkit learns to tell more."""
    built = subject.build()
    if not isinstance(built, Logger):
        raise Broken(f"it built a {type(built).__name__}", "a subclass of detkit.Logger")
