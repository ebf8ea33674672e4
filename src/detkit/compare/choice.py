"""Who wins by an explicit rule, who comes next, and what each of the others missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detkit.compare.alike import hardware_of
from detkit.compare.contenders import Contender
from detkit.compare.expression import Rule
from detkit.compare.names import Names
from detkit.compare.pairs import Pair
from detkit.compare.quantities import Quantity

#: From this factor on a tied model is said to be faster or smaller: latency is not measured more sharply.
WORTH_SAYING = 1.1


@dataclass(frozen=True, slots=True)
class Place:
    """A model that qualifies.

    Attributes:
        value: of the rule's quantity. behind: the winner, by so much; 0 of the winner itself.
        tied: whether it cannot be told apart from the winner; None where that was not asked or has no answer.
    """

    name: str
    value: float
    behind: float = 0.0
    tied: bool | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Attributes: rule: as written. quantity: full name. highest: whether high is good.

    qualified: the winner first. missed: name to what it misses, and by how much. unknown: name to what is not known
    of it. unsure: name to why it qualifies, or misses, by no more than chance. sentence: the whole in one.
    """

    rule: str
    quantity: Quantity
    highest: bool
    qualified: tuple[Place, ...]
    missed: Mapping[str, tuple[str, ...]]
    unknown: Mapping[str, tuple[str, ...]]
    unsure: Mapping[str, tuple[str, ...]]
    sentence: str

    @property
    def winner(self) -> str | None:
        return self.qualified[0].name if self.qualified else None

    def lines(self) -> list[str]:
        """What stands below the sentence: the runners-up, who missed what, and what is not known."""
        shown = self.quantity.amount
        places = [
            f"{number}. {place.name}: {shown(place.value)}"
            + (f", {self.quantity.bare(place.behind)} behind{_told(place.tied)}" if number > 1 else "")
            for number, place in enumerate(self.qualified, 1)
        ]
        missed = [f"{name} {'; '.join(why)}" for name, why in self.missed.items()]
        unknown = [f"{name} may qualify or not: {'; '.join(why)}" for name, why in self.unknown.items()]
        unsure = [
            f"{name} {'may miss' if name not in self.missed else 'may meet'} the rule on other images: {'; '.join(why)}"
            for name, why in self.unsure.items()
        ]
        return [*(places if len(places) > 1 else []), *missed, *unknown, *unsure]

    def to_dict(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "quantity": self.quantity.name,
            "highest": self.highest,
            "winner": self.winner,
            "qualified": [
                {"name": place.name, "value": place.value, "behind": place.behind, "tied": place.tied}
                for place in self.qualified
            ],
            "missed": {name: list(why) for name, why in self.missed.items()},
            "unknown": {name: list(why) for name, why in self.unknown.items()},
            "unsure": {name: list(why) for name, why in self.unsure.items()},
            "sentence": self.sentence,
            "lines": self.lines(),
        }


def choose(
    rows: Sequence[Contender], names: Names, pairs: Sequence[Pair], rule: Rule, *, comparable: bool = True
) -> Choice:
    """Among the models that have finished a run.

    Args:
        comparable: whether all were scored on the same images; where not, the sentence says so.
        pairs: of the rule's quantity, or of another one, which then says nothing of ties.
    """
    quantity = names.quantity(rule.name.full)
    highest = bool(quantity.higher_is_better) if rule.highest is None else rule.highest
    values: dict[str, float] = {}
    missed: dict[str, tuple[str, ...]] = {}
    unknown: dict[str, tuple[str, ...]] = {}
    for row in rows:
        if not row.finished:
            unknown[row.name] = ("no run of it has finished",)
            continue
        value = names.of(rule.name, row)
        verdict = names.verdict(rule.where, row) if rule.where else None
        if verdict is not None and verdict.met is False:
            missed[row.name] = verdict.why
        elif verdict is not None and verdict.met is None:
            unknown[row.name] = verdict.why
        elif value is None:
            unknown[row.name] = (f"{rule.name.written} is not known",)
        else:
            values[row.name] = float(value)
    ranked = sorted(values, key=lambda name: -values[name] if highest else values[name])
    places = tuple(_place(name, ranked[0], values, pairs, rule) for name in ranked)
    by_name = {row.name: row for row in rows}
    unsure = {row.name: why for row in rows if rule.where and (why := names.unsure(rule.where, row))}
    sentence = _sentence(rule, quantity, highest, places, by_name, pairs, (len(missed), len(unknown)))
    if rule.where:
        rivals = {row.name: names.of(rule.name, row) for row in rows if row.name in missed and row.name in unsure}
        ahead = [name for name, value in rivals.items() if value is not None and _is_ahead(value, places, highest)]
        sentence += _hanging(rule.condition, places[0].name in unsure if places else False, ahead)
    if not comparable and not quantity.is_cost:
        sentence += "; but the models were scored differently, and these numbers are not comparable"
    return Choice(rule.text, quantity, highest, places, missed, unknown, unsure, sentence)


def _is_ahead(value: float | str, places: Sequence[Place], highest: bool) -> bool:
    """Whether a model that misses the condition would have won."""
    if not places:
        return True
    return float(value) > places[0].value if highest else float(value) < places[0].value


def _hanging(condition: str, winner: bool, ahead: Sequence[str]) -> str:
    """What of the choice would come out otherwise with other images, as far as intervals tell."""
    said = [f"that it meets {condition} is no more than chance"] if winner else []
    if ahead:
        said.append(f"that {' and '.join(ahead)} {'misses' if len(ahead) == 1 else 'miss'} it is no more than chance")
    return "".join(f"; {words}" for words in said)


def _place(name: str, winner: str, values: Mapping[str, float], pairs: Sequence[Pair], rule: Rule) -> Place:
    if name == winner:
        return Place(name, values[name])
    pair = _pair_of(name, winner, pairs, rule)
    known = pair is not None and pair.difference.interval is not None
    tied = not pair.told_apart if pair is not None and known else None
    return Place(name, values[name], abs(values[winner] - values[name]), tied)


def _pair_of(name: str, other: str, pairs: Sequence[Pair], rule: Rule) -> Pair | None:
    if rule.name.of_class is not None:
        return None
    wanted = {name, other}
    return next((p for p in pairs if {p.a, p.b} == wanted and p.quantity.name == rule.name.full), None)


def _told(tied: bool | None) -> str:
    return {None: "", True: ", cannot be told apart", False: ", which is more than chance"}[tied]


def _sentence(
    rule: Rule,
    quantity: Quantity,
    highest: bool,
    places: Sequence[Place],
    rows: Mapping[str, Contender],
    pairs: Sequence[Pair],
    others: tuple[int, int],
) -> str:
    """Args: others: how many miss the condition, and of how many something is not known."""
    what = f"{quantity.label}{f' of {rule.name.of_class}' if rule.name.of_class else ''}"
    if len(places) < 2:
        return _of_few(rule, quantity, what, places, len(rows), others)
    winner = places[0]
    amount = quantity.amount(winner.value)
    if len(places) == 2 and len(rows) == 2:
        pair = _pair_of(places[0].name, places[1].name, pairs, rule)
        # Who is asked for the worst is not answered by who beats whom.
        if pair is not None and pair.told_apart and highest is (quantity.higher_is_better is not False):
            return str(pair)
    best = "best" if quantity.higher_is_better and highest else "highest" if highest else "lowest"
    among = f"among the {len(places)} that qualify" if rule.where else f"of {len(places)} models"
    value = quantity.bare(winner.value) if not quantity.is_cost else amount
    return f"{winner.name} has the {best} {what} ({value}) {among}{'' if quantity.is_cost else _ties(places, rows)}"


def _of_few(
    rule: Rule, quantity: Quantity, what: str, places: Sequence[Place], models: int, others: tuple[int, int]
) -> str:
    """Where one model qualifies, or none. Of whom something is not known, nothing is said to be so or not."""
    missed, unknown = others
    if places:
        winner, amount = places[0].name, quantity.amount(places[0].value)
        if not rule.where or not missed + unknown:
            return f"{winner} is the only model with figures: {amount}"
        meets = "is known to meet" if unknown else "meets"
        return f"{winner} is the only one of {models} models that {meets} {rule.condition}, with {amount}"
    meets, has = (f"meet {rule.condition}", "meets") if rule.where else (f"have {what}", "has")
    if models == 1:
        return f"the only model is not known to {meets}" if unknown else f"the only model does not {meets}"
    if unknown:
        return f"none of the {models} models is known to {meets}"
    return f"none of the {models} models {has} {rule.condition if rule.where else what}"


def _ties(places: Sequence[Place], rows: Mapping[str, Contender]) -> str:
    """Who cannot be told apart from the winner, and what of them is better."""
    winner = rows[places[0].name]
    rest = places[1:]
    tied = [place for place in rest if place.tied]
    if tied:
        listed = [f"{place.name} cannot be told apart from it{_better(rows[place.name], winner)}" for place in tied]
        return "; " + "; ".join(listed)
    if all(place.tied is False for place in rest):
        return "; the difference to every other one is more than chance"
    return "; whether that is more than chance is not known"


def _better(row: Contender, winner: Contender) -> str:
    """As " and is 1.4 times as fast"; empty where it is not, or was measured on other hardware or threads."""
    if hardware_of(row) != hardware_of(winner):
        return ""
    said = []
    speed, other_speed = row.value("latency_ms"), winner.value("latency_ms")
    if speed and other_speed and other_speed / speed >= WORTH_SAYING:
        said.append(f"is {other_speed / speed:.1f} times as fast")
    memory, other_memory = row.value("memory_mb"), winner.value("memory_mb")
    if memory and other_memory and other_memory / memory >= WORTH_SAYING:
        said.append(f"takes {100 * memory / other_memory:.0f} % of its memory to predict")
    return "".join(f" and {words}" for words in said)
