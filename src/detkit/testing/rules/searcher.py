"""What searchers promise."""

from __future__ import annotations

from detkit.testing.rule import Broken, rule
from detkit.testing.subject import Subject


@rule("searcher", "searcher-methods", "a searcher has `begin`, `propose`, `tell` and `close`")
def has_methods(subject: Subject) -> None:
    """The built object has the four methods of `detkit.Searcher`."""
    built = subject.build()
    missing = [name for name in ("begin", "propose", "tell", "close") if not callable(getattr(built, name, None))]
    if missing:
        raise Broken(f"a {type(built).__name__} without {', '.join(missing)}", "the methods of detkit.Searcher")
