"""The page of the contract, and the form of rules."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import detkit.testing
from detkit.testing.contract import page
from detkit.testing.rule import KINDS, RULES, Verdict, all_rules, rule, rules_of
from detkit.testing.subject import Subject
from unit.test_public_docstrings import complaints, things

PAGE = Path(__file__).parents[2] / "docs/reference/plugin-contract.md"


def test_the_page_is_made_from_the_rules() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "python -m detkit.testing.contract > docs/reference/plugin-contract.md"
    )


def test_every_rule_has_a_heading_of_its_id_and_a_paragraph() -> None:
    text = page()
    headings = re.findall(r"^### (\S+)$", text, re.MULTILINE)
    assert headings == list(all_rules())
    for each in all_rules().values():
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)+", each.id)
        assert len(each.explanation) > 40
        assert "\n" not in each.statement
        assert not each.statement.endswith(".")
        assert f"### {each.id}\n" in text


def test_each_kind_has_rules_of_its_own_after_those_of_all() -> None:
    for kind in KINDS:
        own = [len(each.kinds) for each in rules_of(kind)]
        assert own == sorted(own, reverse=True)
        assert own.count(1) >= 8


def test_two_rules_of_one_id_and_one_without_a_text_are_refused() -> None:
    all_rules()

    def nothing(_subject: Subject) -> None:
        """Keeps."""

    with pytest.raises(ValueError, match="two rules named model-losses"):
        rule("model", "model-losses", "again")(nothing)
    with pytest.raises(ValueError, match="has no docstring"):
        rule("model", "model-untold", "nothing")(lambda _subject: None)
    assert "model-untold" not in RULES


def test_a_message_says_rule_found_expected_and_where() -> None:
    verdict = Verdict(all_rules()["model-losses-finite"], "broken", "the loss 'box' is nan", "a finite number")
    assert verdict.message.splitlines() == [
        "rule model-losses-finite: losses are finite numbers",
        "  found:    the loss 'box' is nan",
        "  expected: a finite number",
        "  see:      docs/reference/plugin-contract.md#model-losses-finite",
    ]


def test_the_kit_s_public_names_say_what_they_are() -> None:
    """By the same reading as detkit's own names."""
    homes: dict[str, set[str]] = {}
    for name in detkit.testing.__all__:
        homes.setdefault(f"detkit.testing.{detkit.testing.LATE[name]}", set()).add(name)
    assert len(homes) > 3
    for module, names in homes.items():
        file = Path(str(import_module(module).__file__))
        found = things(file.read_text(encoding="utf-8"), frozenset(names), file.name)
        assert [complaint for thing in found for complaint in complaints(thing)] == []
