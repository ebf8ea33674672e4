"""What a rule of the contract is, and how it says that something breaks it."""

from __future__ import annotations

import inspect
import sysconfig
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from detkit.plugins import Kind

if TYPE_CHECKING:
    from detkit.testing.subject import Subject

#: Where every rule is documented, under its id.
CONTRACT_PAGE = "docs/reference/plugin-contract.md"
#: Of the text of an error so much is told, characters.
LONGEST = 300
#: In paths of code that is not the plugin's: libraries, Python's own modules, what has no file.
FOREIGN = ("site-packages", sysconfig.get_path("stdlib"), "<")
KINDS: tuple[Kind, ...] = get_args(Kind)

Check = Callable[["Subject"], None]
State = Literal["kept", "broken", "noted", "skipped"]


class Broken(Exception):
    """A rule is broken: what was found, and what is expected instead (empty: what the rule says)."""

    def __init__(self, found: str, expected: str = "") -> None:
        self.found = found
        self.expected = expected
        super().__init__(found)


class NotApplicable(Exception):
    """A rule has nothing to look at here; says why, and what to give where something is missing."""


class CannotBuild(NotApplicable):
    """The component cannot be built with these options: only the rule `component-builds` says so in full."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the contract.

    Attributes:
        id: as in messages, and as the heading on the contract's page.
        kinds: of components that it is about.
        statement: what holds, in one line.
        check: looks whether it does; raises `Broken` or `NotApplicable`.
        advice: whether a break is only a note: nothing fails by it.
    """

    id: str
    kinds: tuple[Kind, ...]
    statement: str
    check: Check
    advice: bool = False

    @property
    def explanation(self) -> str:
        """The paragraph of the contract's page: the docstring of the check."""
        return inspect.cleandoc(self.check.__doc__ or "")

    @property
    def place(self) -> str:
        """Where it is documented."""
        return f"{CONTRACT_PAGE}#{self.id}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one rule.

    Attributes:
        state: kept; broken; noted (advice that is not followed); skipped.
        found, expected: where it is broken or noted. reason: why it was skipped.
    """

    rule: Rule
    state: State
    found: str = ""
    expected: str = ""
    reason: str = ""

    @property
    def message(self) -> str:
        """What a person reads of a broken rule: its id and text, what was found, what is expected, and where it is."""
        return (
            f"rule {self.rule.id}: {self.rule.statement}\n"
            f"  found:    {self.found}\n"
            f"  expected: {self.expected}\n"
            f"  see:      {self.rule.place}"
        )


#: Rules that have been added so far; `all_rules` gives all of them.
RULES: dict[str, Rule] = {}


def rule(kinds: Kind | Sequence[Kind], id: str, statement: str, *, advice: bool = False) -> Callable[[Check], Check]:
    """Make a function a rule; its docstring is the paragraph of the contract's page.

    Raises:
        ValueError: there is a rule of that id, or the function has no docstring.
    """

    def added(check: Check) -> Check:
        if id in RULES:
            raise ValueError(f"there are two rules named {id}")
        if not check.__doc__:
            raise ValueError(f"rule {id} has no docstring")
        own: tuple[Kind, ...] = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        RULES[id] = Rule(id, own, statement, check, advice)
        return check

    return added


def all_rules() -> Mapping[str, Rule]:
    """Every rule by its id, in the order of the page: those of all kinds first, then kind by kind."""
    from detkit.testing import rules

    del rules  # imported for the rules that its modules add
    order = sorted(RULES.values(), key=lambda each: (-len(each.kinds), KINDS.index(each.kinds[0])))
    return {each.id: each for each in order}


def rules_of(kind: Kind) -> list[Rule]:
    """The rules for components of a kind, in the order of the page: those of all kinds first."""
    return [each for each in all_rules().values() if kind in each.kinds]


def told(error: BaseException) -> str:
    """An error in one line, with the line of the plugin's code that it came from, as far as that can be known."""
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/detkit/testing/" not in frame.filename]
    own = [frame for frame in frames if not any(part in frame.filename for part in FOREIGN)]
    if not own:
        return f"{type(error).__name__}: {text}"
    return f"{type(error).__name__}: {text} ({own[-1].filename}:{own[-1].lineno})"
