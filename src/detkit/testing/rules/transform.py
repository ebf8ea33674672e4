"""What transforms promise."""

from __future__ import annotations

from detkit.testing.rule import Broken, rule
from detkit.testing.subject import Subject


@rule("transform", "transform-callable", "what is built can be called")
def is_callable(subject: Subject) -> None:
    """The built object is called as `transform(image, target, draw)`."""
    built = subject.build()
    if not callable(built):
        raise Broken(f"it built a {type(built).__name__}, which cannot be called", "transform(image, target, draw)")
