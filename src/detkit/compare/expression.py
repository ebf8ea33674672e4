"""Conditions that people write, as "latency_ms < 50 and (ap > 0.3 or f1 >= 0.5)": read, never evaluated as code.

    rule       = [ "highest" | "lowest" ] name [ "where" condition ]
    condition  = both { "or" both }
    both       = single { "and" single }
    single     = "not" single | "(" condition ")" | side compare side
    compare    = "<" | "<=" | ">" | ">=" | "==" | "!="
    side       = name | number | "text"
    name       = letters, digits, "_", ".", "/", and a class in brackets: ap, coco/ap50, ap[person]; in quotes where
                 its name has brackets: ap["a [b]"], with a backslash before quotes and backslashes

Names are looked up while reading, so that a wrong one is told with its place. `not` is moved inwards while reading, so
that what is left are comparisons under `and` and `or`, each of which can be said to be met, missed, or unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from detkit.errors import UserError

QUOTED = r""" "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' """
TOKEN = re.compile(
    rf"""\s*(?:
        (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w\[]))
      | (?P<name>[A-Za-z_][\w./-]*(?:\[(?:{QUOTED}|[^\]]*)\])?)
      | (?P<text>"[^"]*"|'[^']*')
      | (?P<sign><=|>=|==|!=|<|>|=|\(|\))
    )""",
    re.VERBOSE,
)
NEGATED = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "=="}
WORDS = ("and", "or", "not", "where")
#: Deeper nesting is no condition that somebody wrote.
DEEPEST = 50

Kind = Literal["number", "name", "text", "sign", "end"]


class ExpressionError(UserError):
    """An expression that cannot be read; its message shows the place."""


@dataclass(frozen=True, slots=True)
class Token:
    """Attributes: place: where it begins, counted from 0."""

    kind: Kind
    text: str
    place: int


@dataclass(frozen=True, slots=True)
class Name:
    """A quantity or a text of a model.

    Attributes:
        written: as in the expression. full: of the quantity, as `coco/ap`, or of the text. of_class: a class name.
        factor: what its value is multiplied by for the unit in `written`. is_text: whether it is words.
    """

    written: str
    full: str
    of_class: str | None = None
    factor: float = 1.0
    is_text: bool = False


Side = Name | float | str


@dataclass(frozen=True, slots=True)
class Compare:
    """One comparison; `str` gives it as one would write it."""

    left: Side
    sign: str
    right: Side

    def __str__(self) -> str:
        return f"{_written(self.left)} {self.sign} {_written(self.right)}"


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Condition, ...]


Condition = Compare | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class Rule:
    """What names a winner.

    Attributes:
        name: the quantity that is to be best. highest: what is best; None: as the quantity itself says.
        where: which models qualify; None: all. text: as written. condition: what of it stands behind `where`.
    """

    name: Name
    highest: bool | None
    where: Condition | None
    text: str
    condition: str = ""


#: Looks a name up; raises KeyError with what to say of one that is not there.
LookUp = Callable[[str], Name]


def read_rule(text: str, look_up: LookUp) -> Rule:
    """Raises:
    ExpressionError: it cannot be read; shows the place.
    """
    reader = _Reader(text, look_up)
    rule = reader.rule()
    reader.end()
    return rule


def read_condition(text: str, look_up: LookUp) -> Condition:
    """Raises:
    ExpressionError: it cannot be read; shows the place.
    """
    reader = _Reader(text, look_up)
    condition = reader.condition(negated=False, depth=0)
    reader.end()
    return condition


def read_name(text: str, look_up: LookUp) -> Name:
    """Raises:
    ExpressionError: there is no such name.
    """
    reader = _Reader(text, look_up)
    name = reader.name("the name of a quantity")
    reader.end()
    return name


def comparisons(condition: Condition) -> Iterator[Compare]:
    """All of a condition, from left to right."""
    if isinstance(condition, Compare):
        yield condition
    else:
        for part in condition.parts:
            yield from comparisons(part)


def names_in(condition: Condition | None) -> list[Name]:
    """Each name of a condition, in the order of its sides."""
    found = comparisons(condition) if condition is not None else ()
    return [side for one in found for side in (one.left, one.right) if isinstance(side, Name)]


def class_of(bracket: str) -> str:
    """The name of a class from what stands in brackets."""
    if re.fullmatch(QUOTED, bracket, re.VERBOSE):
        return re.sub(r"\\(.)", r"\1", bracket[1:-1])
    return bracket


def _written(side: Side) -> str:
    if isinstance(side, Name):
        return side.written
    return f'"{side}"' if isinstance(side, str) else f"{side:g}"


class _Reader:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str, look_up: LookUp) -> None:
        self._text, self._look_up = text, look_up
        self._tokens = self._split(text)
        self._next = 0

    def rule(self) -> Rule:
        highest = None
        if self._peek().text in ("highest", "lowest") and self._tokens[self._next + 1].kind == "name":
            highest = self._take().text == "highest"
        place = self._peek()
        name = self.name("what is to be best, as in: ap where latency_ms < 50")
        if name.is_text:
            raise self._wrong(place, f"{name.written} is words, and has no best")
        if not self._taken("where"):
            token = self._peek()
            if token.kind in ("name", "number", "text") or token.text in NEGATED:
                raise self._wrong(token, f"did not expect {token.text!r} here; a condition begins with 'where'")
            return Rule(name, highest, None, self._text)
        begin = self._peek().place
        return Rule(name, highest, self.condition(negated=False, depth=0), self._text, self._text[begin:].strip())

    def condition(self, *, negated: bool, depth: int) -> Condition:
        parts = [self._both(negated=negated, depth=depth)]
        while self._taken("or"):
            parts.append(self._both(negated=negated, depth=depth))
        if len(parts) == 1:
            return parts[0]
        return AllOf(tuple(parts)) if negated else AnyOf(tuple(parts))

    def name(self, wanted: str) -> Name:
        token = self._take()
        if token.kind != "name" or token.text in WORDS:
            raise self._wrong(token, f"expected {wanted}")
        return self._named(token)

    def end(self) -> None:
        token = self._peek()
        if token.kind != "end":
            hint = "; combine conditions with 'and' or 'or'" if token.kind in ("name", "number", "text") else ""
            raise self._wrong(token, f"did not expect {token.text!r} here{hint}")

    def _both(self, *, negated: bool, depth: int) -> Condition:
        parts = [self._single(negated=negated, depth=depth)]
        while self._taken("and"):
            parts.append(self._single(negated=negated, depth=depth))
        if len(parts) == 1:
            return parts[0]
        return AnyOf(tuple(parts)) if negated else AllOf(tuple(parts))

    def _single(self, *, negated: bool, depth: int) -> Condition:
        if depth > DEEPEST:
            raise self._wrong(self._peek(), f"conditions are nested more than {DEEPEST} deep")
        if self._taken("not"):
            return self._single(negated=not negated, depth=depth + 1)
        if self._taken("("):
            inner = self.condition(negated=negated, depth=depth + 1)
            if not self._taken(")"):
                raise self._wrong(self._peek(), "expected ')'")
            return inner
        return self._compare(negated=negated)

    def _compare(self, *, negated: bool) -> Compare:
        first = self._peek()
        left = self._side()
        sign = self._take()
        if sign.text not in (*NEGATED, "="):
            raise self._wrong(sign, f"expected one of {', '.join(NEGATED)} after {first.text}")
        right = self._side()
        written = "==" if sign.text == "=" else sign.text
        self._refuse_words(left, written, right, sign)
        return Compare(left, NEGATED[written] if negated else written, right)

    def _refuse_words(self, left: Side, sign: str, right: Side, token: Token) -> None:
        if not isinstance(left, Name) and not isinstance(right, Name):
            raise self._wrong(token, "neither side is the name of a quantity")
        words = [isinstance(side, str) or (isinstance(side, Name) and side.is_text) for side in (left, right)]
        if all(words) and sign not in ("==", "!="):
            raise self._wrong(token, "words are compared with == and != alone")
        if any(words) and not all(words):
            raise self._wrong(token, "one side is a number, the other is words (words stand in quotes)")

    def _side(self) -> Side:
        token = self._take()
        if token.kind == "number":
            return float(token.text)
        if token.kind == "text":
            return token.text[1:-1]
        if token.kind == "name" and token.text not in WORDS:
            return self._named(token)
        raise self._wrong(token, "expected the name of a quantity, a number, or words in quotes")

    def _named(self, token: Token) -> Name:
        try:
            return self._look_up(token.text)
        except KeyError as error:
            raise self._wrong(token, str(error.args[0])) from None

    # --- tokens ------------------------------------------------------------------------------------------------------

    def _split(self, text: str) -> list[Token]:
        tokens, place = [], 0
        while text[place:].strip():
            found = TOKEN.match(text, place)
            if found is None or found.lastgroup is None:
                begin = place + len(text[place:]) - len(text[place:].lstrip())
                wrong = Token("sign", text[begin], begin)
                raise self._wrong(wrong, f"did not expect {text[begin]!r} here{_unit_hint(text, begin)}")
            kind: Kind = found.lastgroup  # type: ignore[assignment]  # the groups have the names of the kinds
            tokens.append(Token(kind, found.group(kind), found.start(kind)))
            place = found.end()
        return [*tokens, Token("end", "the end", len(text))]

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._peek()
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _taken(self, text: str) -> bool:
        token = self._peek()
        if token.kind in ("text", "end") or token.text != text:
            return False
        self._take()
        return True

    def _wrong(self, token: Token, what: str) -> ExpressionError:
        pointer = " " * token.place + "^"
        return ExpressionError(f"{what}\n  {self._text}\n  {pointer}")


def _unit_hint(text: str, place: int) -> str:
    """Where somebody wrote a unit behind a number."""
    return "; units are part of names, as in latency_ms < 50" if re.match(r"\d[\d.]*[A-Za-z]", text[place:]) else ""
