"""How deliberately wrong plugins are written down: one fault each, the rule that must catch it, what that says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from detkit import BuildContext, Options


class NoOptions(Options):
    """It has no options."""


@dataclass(frozen=True)
class Wrong:
    """One fault.

    Attributes:
        rule: that must be broken. fault: in words. says: what the message must hold of what was found.
        component: with the fault. given: its options. more: of the kit's subject, as the module that offers it.
    """

    rule: str
    fault: str
    says: str
    component: Any
    given: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For pytest."""
        return f"{self.rule}: {self.fault}"


def builds(make: Callable[[], Any]) -> Callable[[Any, BuildContext], Any]:
    """A builder that needs neither options nor context."""
    return lambda _options, _context: make()
