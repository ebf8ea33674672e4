"""What metrics promise."""

from __future__ import annotations

from detkit.testing.rule import Broken, rule
from detkit.testing.subject import Subject


@rule("metric", "metric-methods", "a metric has `reset`, `update` and `compute`")
def has_methods(subject: Subject) -> None:
    """The built object has the three methods of `detkit.Metric`."""
    built = subject.build()
    missing = [name for name in ("reset", "update", "compute") if not callable(getattr(built, name, None))]
    if missing:
        raise Broken(f"a {type(built).__name__} without {', '.join(missing)}", "the methods of detkit.Metric")
