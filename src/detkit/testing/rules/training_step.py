"""What training steps promise."""

from __future__ import annotations

from detkit.testing.rule import Broken, rule
from detkit.testing.subject import Subject


@rule("training_step", "step-callable", "what is built can be called")
def is_callable(subject: Subject) -> None:
    """The built object is called as `step(model, batch)`."""
    built = subject.build()
    if not callable(built):
        raise Broken(f"it built a {type(built).__name__}, which cannot be called", "step(model, batch)")
