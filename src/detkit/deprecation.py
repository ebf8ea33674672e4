"""What is going to be removed: said once, with what takes its place and the version in which it goes.

How each kind of thing is deprecated, so that tests/unit/test_deprecation.py finds it again when its time has come:

    a hook                  @hookspec(warn_on_impl=Deprecation("the hook detkit_x", ...).warning())
    an argument of a hook   @hookspec(warn_on_impl_args={"step": Deprecation("...", ...).warning()})
    a component's field     deprecated = {"field": Deprecation("...", ...)} in the component's class
    an option, a spec's key Field(..., deprecated=Deprecation("...", ...).text)
    a public name           "name": (Deprecation("...", ...), "module") in DEPRECATED of detkit/__init__.py
    anything else           Deprecation("...", ...).tell()
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

_VERSION = re.compile(r"\d+(\.\d+)*")
_told: set[str] = set()


class DetkitDeprecationWarning(FutureWarning):
    """Something of detkit, or of a plugin, is going to be removed.

    Python shows it to everybody, as it does not a DeprecationWarning: those who write plugin files run them, too.
    """


@dataclass(frozen=True, slots=True)
class Deprecation:
    """Something that still works and is going to be removed.

    Attributes:
        what: as people call it, "the hook detkit_x", "pad of [input]".
        instead: what to do, as an order: "use detkit_y".
        since: the version that said so first, as "0.2".
        removal: the version that does without it.
        package: whose versions these are.
    """

    what: str
    instead: str
    since: str
    removal: str
    package: str = "detkit"

    def __post_init__(self) -> None:
        """Refuse what would not tell people enough.

        Raises:
            ValueError: a text is empty, a version is none, or the removal does not come after the deprecation.
        """
        if not (self.what.strip() and self.instead.strip()):
            raise ValueError("a deprecation says what is deprecated and what to use instead")
        for version in (self.since, self.removal):
            if not _VERSION.fullmatch(version):
                raise ValueError(f"{self.what}: {version!r} is no version as 0.2 or 1.0.3")
        if numbers(self.removal) <= numbers(self.since):
            raise ValueError(f"{self.what}: removed in {self.removal}, which is not after {self.since}")

    @property
    def text(self) -> str:
        """The sentence that people read."""
        return (
            f"{self.what} is deprecated since {self.package} {self.since}"
            f" and will be removed in {self.removal}: {self.instead}"
        )

    def warning(self) -> DetkitDeprecationWarning:
        """For pluggy's `warn_on_impl`, which warns when a plugin implements the hook."""
        return DetkitDeprecationWarning(self.text)

    def tell(self, *, stacklevel: int = 1) -> None:
        """Warn, once in a process.

        Args:
            stacklevel: whose line is shown: 1 for that of the function that calls this, 2 for that of its caller.
        """
        if self.text not in _told:
            _told.add(self.text)
            warnings.warn(self.warning(), stacklevel=stacklevel + 1)


def warn_once_at(text: str, file: str, line: int) -> None:
    """Warn of something deprecated that stands in a line of a file, once in a process."""
    key = f"{file}:{line}: {text}"
    if key not in _told:
        _told.add(key)
        warnings.warn_explicit(DetkitDeprecationWarning(text), DetkitDeprecationWarning, file, line)


def numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version without the zeros at its end: 0.2, 0.2.0 and 0.2.0.dev1 are (0, 2).

    A version under way counts as the version: what 0.2 removes is gone from its first development version on.

    Raises:
        ValueError: it does not begin with a number.
    """
    found = _VERSION.match(version)
    if found is None:
        raise ValueError(f"{version!r} is no version")
    parts = [int(part) for part in found.group().split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)
