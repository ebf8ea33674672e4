"""The names that expressions may use, what they mean, and what a model has under them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from detkit.compare.contenders import Contender
from detkit.compare.expression import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Name,
    Rule,
    Side,
    class_of,
    comparisons,
    read_condition,
    read_name,
    read_rule,
)
from detkit.compare.quantities import COSTS, OTHER_UNITS, TEXTS, Quantity, full_name, significant
from detkit.errors import UserError, did_you_mean


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a model meets a condition.

    Attributes:
        met: None where that is not known. why: of one that is not met, each comparison that was missed and by how much;
            of an unknown one, what is not known.
    """

    met: bool | None
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Names:
    """Attributes:
    quantities: of all rows, by full name. primary: the metric number whose metric short names mean.
    rows: whose classes may be named; none: any may.
    """

    quantities: Mapping[str, Quantity]
    primary: str
    rows: Sequence[Contender] = ()

    def quantity(self, full: str) -> Quantity:
        """By its full name; of a cost also where no model has it."""
        return self.quantities[full] if full in self.quantities else COSTS[full][0]

    def rule(self, text: str) -> Rule:
        """Raises:
        ExpressionError: see `read_rule`; or neither high nor low is good.
        """
        rule = read_rule(text, self.look_up)
        if rule.highest is None and self.quantity(rule.name.full).higher_is_better is None:
            name = rule.name.written
            raise UserError(
                f"neither a high nor a low {name} is better by itself: write 'highest {name}' or 'lowest {name}'"
            )
        return rule

    def plain_rule(self, quantity: str) -> Rule:
        """The best of a quantity, by its full name; the highest, where neither high nor low is better."""
        unsaid = self.quantity(quantity).higher_is_better is None
        return Rule(Name(quantity, quantity), True if unsaid else None, None, quantity)

    def condition(self, text: str) -> Condition:
        return read_condition(text, self.look_up)

    def name(self, text: str) -> Name:
        """Raises:
        ExpressionError: there is no such name.
        """
        return read_name(text, self.look_up)

    def number(self, text: str) -> str:
        """The full name of a quantity.

        Raises:
            ExpressionError: there is none of that name, or it is words.
        """
        name = self.name(text)
        if name.is_text or name.of_class is not None:
            raise UserError(f"{text} is no quantity of a table{' but words' if name.is_text else ''}")
        return name.full

    def look_up(self, written: str) -> Name:
        """Raises:
        KeyError: there is no such name; says the nearest, and all.
        """
        if written in TEXTS:
            return Name(written, written, is_text=True)
        if written in COSTS:
            return Name(written, written)
        if written in OTHER_UNITS:
            full, factor = OTHER_UNITS[written]
            return Name(written, full, factor=factor)
        metrics = [name for name in self.quantities if "/" in name]
        full_or_none = full_name(written, metrics, self.primary)
        if full_or_none is None:
            raise KeyError(f"there is no quantity {written!r}{self._hint(written)}")
        full, bracket, inside = full_or_none.partition("[")
        if not bracket:
            return Name(written, full)
        of_class = class_of(inside.removesuffix("]"))
        self._verify_class(full, of_class)
        return Name(written, full, of_class=of_class)

    def _verify_class(self, full: str, of_class: str) -> None:
        known = dict.fromkeys(name for row in self.rows for name in row.per_class(full))
        if self.rows and not known:
            raise KeyError(f"there are no numbers of classes of {full}")
        if known and of_class not in known:
            there_are = f"; there are: {', '.join(known)}"
            raise KeyError(f"there is no class {of_class!r}{did_you_mean(of_class, known) or there_are}")

    def all(self) -> list[str]:
        """As one would write them: numbers of the primary metric by their short names."""
        prefix = f"{self.primary.partition('/')[0]}/"
        metrics = [name.removeprefix(prefix) for name in self.quantities if "/" in name]
        return [*metrics, *COSTS, *OTHER_UNITS, *TEXTS]

    def _hint(self, written: str) -> str:
        if not any("/" in name for name in self.quantities):
            return ": no run has finished yet, so there are no numbers of metrics"
        near = did_you_mean(written.partition("[")[0], self.all())
        listed = ", ".join(self.all())
        return f"{near} There are: {listed}" if near.endswith("?") else f"; there are: {listed}"

    # --- what a model has --------------------------------------------------------------------------------------------

    def kept(self, text: str | None, rows: Sequence[Contender]) -> tuple[list[Contender], list[str]]:
        """The models that meet a condition, and what must be said of the others.

        Raises:
            ExpressionError: it cannot be read.
        """
        if not text:
            return list(rows), []
        condition = self.condition(text)
        verdicts = {row.name: self.verdict(condition, row) for row in rows}
        missed = [name for name, verdict in verdicts.items() if verdict.met is False]
        unknown = [f"{name} ({'; '.join(v.why)})" for name, v in verdicts.items() if v.met is None]
        unsure = {row.name: "; ".join(self.unsure(condition, row)) for row in rows}
        said = [
            *([f"left out by {text}: {', '.join(missed)}"] if missed else []),
            *([f"left out, for it is not known whether they meet {text}: {', '.join(unknown)}"] if unknown else []),
            *(
                f"{name} {'meets' if verdicts[name].met else 'misses'} {text} by no more than chance: {why}"
                for name, why in unsure.items()
                if why
            ),
        ]
        return [row for row in rows if verdicts[row.name].met], said

    def verdict(self, condition: Condition, row: Contender) -> Verdict:
        """By Kleene's logic: what is not known makes a whole unknown only where it could decide it."""
        if isinstance(condition, Compare):
            return self._compared(condition, row)
        parts = [self.verdict(part, row) for part in condition.parts]
        deciding, otherwise = (False, True) if isinstance(condition, AllOf) else (True, False)
        met = deciding if any(part.met is deciding for part in parts) else None
        if met is None and all(part.met is otherwise for part in parts):
            met = otherwise
        return Verdict(met, tuple(dict.fromkeys(why for part in parts if part.met is met for why in part.why)))

    def unsure(self, condition: Condition, row: Contender) -> tuple[str, ...]:
        """What makes a verdict hang on these images: limits that lie within the interval of a model's number.

        Empty where other images of the same kind would hardly turn it, and where there are no intervals.
        """
        if self.verdict(condition, row).met is None:
            return ()
        doubts = {one: doubt for one in comparisons(condition) if (doubt := self._doubt(one, row))}
        return tuple(dict.fromkeys(doubts.values())) if self._turns(condition, row, doubts) is None else ()

    def _turns(self, condition: Condition, row: Contender, doubts: Collection[Compare]) -> bool | None:
        """The verdict if doubtful comparisons are unknown."""
        if isinstance(condition, Compare):
            return None if condition in doubts else self._compared(condition, row).met
        found = [self._turns(part, row, doubts) for part in condition.parts]
        deciding = isinstance(condition, AnyOf)
        return deciding if deciding in found else None if None in found else not deciding

    def _doubt(self, one: Compare, row: Contender) -> str:
        """Why a comparison may come out otherwise on other images; empty where it will not, or that is not known."""
        name, limit = (one.left, one.right) if isinstance(one.left, Name) else (one.right, one.left)
        if not isinstance(name, Name) or not isinstance(limit, float) or one.sign in ("==", "!="):
            return ""
        measured = None if name.is_text or name.of_class is not None else row.values.get(name.full)
        if measured is None or measured.interval is None:
            return ""
        ends = measured.interval
        if not ends.lower < limit < ends.upper:
            return ""
        return f"{one} lies within its interval, {_exact(measured.value)} {ends}"

    def _compared(self, one: Compare, row: Contender) -> Verdict:
        left, right = self.of(one.left, row), self.of(one.right, row)
        lacking = [side for side, value in ((one.left, left), (one.right, right)) if value is None]
        if lacking:
            names = [side.written for side in lacking if isinstance(side, Name)]
            return Verdict(None, tuple(f"{name} is not known" for name in names))
        assert left is not None
        assert right is not None
        if _holds(left, one.sign, right):
            return Verdict(True)
        return Verdict(False, (self._missed(one, left, right),))

    def of(self, side: Side, row: Contender) -> float | str | None:
        """What a model has; None where it is not known."""
        if not isinstance(side, Name):
            return side
        if side.is_text:
            return row.texts.get(side.full)
        if side.of_class is not None:
            measured = row.per_class(side.full).get(side.of_class)
            return None if measured is None else measured.value
        value = row.value(side.full)
        if value is None:
            return None
        # 700 MB are 0.7 GB, and 700 * 0.001 is a little more.
        return value * side.factor if side.factor >= 1 else value / round(1 / side.factor)

    def _missed(self, one: Compare, left: float | str, right: float | str) -> str:
        name = one.left if isinstance(one.left, Name) else one.right
        value = left if isinstance(one.left, Name) else right
        assert isinstance(name, Name)
        if isinstance(left, str) or isinstance(right, str):
            return f"misses {one}: it is {value}"
        by = abs(left - right)
        unit = self._unit(name)
        if not by:
            return f"misses {one}: it has just that"
        limit = right if isinstance(one.left, Name) else left
        shown = _exact(float(value))
        if shown == _exact(float(limit)):  # rounded, it would seem to meet it
            shown = f"{value:.6g}"
        return f"misses {one} by {_exact(by) if float(_exact(by)) else f'{by:.1g}'}{unit}: it has {shown}{unit}"

    def _unit(self, name: Name) -> str:
        """As " ms": the last part of the name as written, where it is that of a cost."""
        if name.full not in COSTS or not COSTS[name.full][0].unit:
            return ""
        unit = name.written.rsplit("_", 1)[-1] if name.written in OTHER_UNITS else COSTS[name.full][0].unit
        return "" if unit == "parameters" else f" {unit.upper() if unit in ('gb', 'kb') else unit}"


def _exact(value: float) -> str:
    """Three significant digits, and for shares three behind the point."""
    return f"{value:.3f}" if abs(value) < 1 else significant(value)


def _holds(left: float | str, sign: str, right: float | str) -> bool:
    if sign in ("==", "!="):
        return (left == right) is (sign == "==")
    assert isinstance(left, float | int)
    assert isinstance(right, float | int)
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign]
