"""Every hook, every option and every key of the spec is used by some test, with an effect that a default has not."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from detkit import Options, Outcome, RunInfo, hookimpl
from detkit.engine.events import EVENTS, Events
from detkit.hookspecs import OfferHooks, RunEvents
from detkit.plugins import COMMANDS_HOOK, OFFERS, collect
from detkit.spec.loader import TABLES, TOP_KEYS
from detkit.spec.model import ComputeTable, ExperimentTable, InputTable, SplitTable, TrainTable
from detkit.spec.search_table import RangeTable, SearchTable
from unit.option_uses import Owner, Source, read_sources, sources, unused

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
#: They name every option themselves, and use none.
NOT_USES = ("test_everything_is_used.py", "option_uses.py")
TEST_FILES = [file for file in sorted(TESTS.rglob("*.py")) if file.name not in NOT_USES]


# --- options and keys ------------------------------------------------------------------------------------------------


class SharedKeys(Options):
    """The host's keys that stand in other tables than those below."""

    use: str = Field("", description="of every component")
    enabled: bool = Field(True, description="of models, metrics, loggers, callbacks, transforms and the search")
    plugins: tuple[str, ...] = Field((), description="files")
    extends: str | None = Field(None, description="another spec")
    degenerate: str = Field("error", description="of [dataset]")
    skip_checks: tuple[str, ...] = Field((), description="of [dataset]")
    preset: str | None = Field(None, description="of [augment]")


HOST = [
    Owner("the keys of all tables", SharedKeys, frozenset({"models"})),
    Owner("[experiment]", ExperimentTable, frozenset({"experiment"})),
    Owner("[dataset.split]", SplitTable, frozenset({"split"})),
    Owner("[input]", InputTable, frozenset({"input"})),
    Owner("[compute]", ComputeTable, frozenset({"compute"})),
    Owner("[train]", TrainTable, frozenset({"train"})),
    Owner("[search]", SearchTable, frozenset({"search"})),
    Owner("[search.space]", RangeTable, frozenset({"space"})),
]


def owners() -> list[Owner]:
    """The host's tables, and the components of the bundled plugins."""
    found = list(HOST)
    for kind, offers in collect().components.items():
        for name, offered in offers.items():
            options = offered.component.options
            # `COCO` and the like: tests have the component's constant, too.
            names = frozenset({name, name.upper(), options.__name__})
            found.append(Owner(f"{kind} {name}", options, names))
    return found


@cache
def sources_of_tests() -> tuple[Source, ...]:
    return tuple(read_sources(TEST_FILES))


@pytest.mark.parametrize("owner", owners(), ids=lambda owner: owner.title)
def test_every_option_has_another_value_than_its_default_in_some_test(owner: Owner) -> None:
    missing = unused(owner, sources_of_tests())
    assert missing == [], f"no test sets these options of {owner.title}: write one that asserts what they change"


def test_every_table_of_a_spec_is_used() -> None:
    texts = "\n".join(file.read_text(encoding="utf-8") for file in TEST_FILES)
    assert [name for name in TABLES if not re.search(rf"\[{name}[\].]|[\"']{name}[\"']:|\b{name}=\{{", texts)] == []
    assert set(TOP_KEYS) <= set(SharedKeys.model_fields)


class Inner(Options):
    deep: int = Field(1, description="of the inner table")


class Made(Options):
    rate: float = Field(0.5, description="a number")
    name: str | None = Field(None, description="a text")
    sizes: tuple[int, ...] = Field((1, 2), description="numbers")
    inner: Inner = Field(Inner(), description="a table")


MADE = Owner("made", Made, frozenset({"made"}))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("", ["inner.deep", "name", "rate", "sizes"]),
        ('x = {"made": {"rate": 0.25, "name": "a"}}', ["inner.deep", "sizes"]),
        ('x = {"other": {"rate": 0.25, "name": "a"}}', ["inner.deep", "name", "rate", "sizes"]),
        ('x = {"made": {"rate": 0.5, "sizes": [1, 2]}}', ["inner.deep", "name", "rate", "sizes"]),
        ('x = {"callbacks.made.sizes": [3]}', ["inner.deep", "name", "rate"]),
        ("made = Made(rate=0.25)", ["inner.deep", "name", "sizes"]),
        ("made = other(rate=0.25)", ["inner.deep", "name", "rate", "sizes"]),
        ("def f(**given): pass\nmade = f(rate=0.25)", ["inner.deep", "name", "sizes"]),
        ("made = Made(rate=rate)", ["inner.deep", "name", "sizes"]),
        ('x = "[callbacks.made]\\nrate = 0.25\\nsizes = [3, 4]\\n"', ["inner.deep", "name"]),
        ('x = "[callbacks.made]\\nrate = 0.5\\n"', ["inner.deep", "name", "rate", "sizes"]),
        ('x = "made = { rate = 0.25, inner = { deep = 2 } }"', ["name", "sizes"]),
        ('x = f"[callbacks.made]\\nrate = {rate}\\n"', ["inner.deep", "name", "sizes"]),
        ('x = ["--set", "callbacks.made.name=abc"]', ["inner.deep", "rate", "sizes"]),
        ('x = "made: the rate == 0.25"', ["inner.deep", "name", "rate", "sizes"]),
    ],
)
def test_uses_are_found_where_they_are_and_nowhere_else(text: str, left: list[str]) -> None:
    assert unused(MADE, sources({"a.py": text})) == left


# --- hooks -----------------------------------------------------------------------------------------------------------

HOOKS = sorted(name for spec in (OfferHooks, RunEvents) for name in vars(spec) if not name.startswith("_"))


@cache
def implementations() -> dict[str, set[str]]:
    """Hook to the files of tests and examples that implement it and that a test runs."""
    examples = sorted((ROOT / "examples").rglob("*.py"))
    texts = {file: file.read_text(encoding="utf-8") for file in (*TEST_FILES, *examples)}
    found: dict[str, set[str]] = {hook: set() for hook in HOOKS}
    for file, text in texts.items():
        if "@hookimpl" not in text:
            continue
        named = re.compile(rf"\b{re.escape(file.stem)}\b")
        run = file.name.startswith("test_") or any(
            named.search(other) for path, other in texts.items() if path != file and TESTS in path.parents
        )
        for node in ast.walk(ast.parse(text)):
            if run and isinstance(node, ast.FunctionDef) and node.name in found and _is_marked(node):
                found[node.name].add(file.name)
    return found


def _is_marked(node: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator).split("(")[0] == "hookimpl" for decorator in node.decorator_list)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_implemented_by_a_plugin_that_a_test_runs(hook: str) -> None:
    assert implementations()[hook]


def test_every_hook_that_offers_is_asked() -> None:
    asked = {hook for hook, _ in OFFERS.values()} | {COMMANDS_HOOK}
    assert asked == {name for name in vars(OfferHooks) if not name.startswith("_")}
    registry = collect([ROOT / "examples" / "plugin_in_one_file" / "every_hook.py"])
    (plugin,) = [plugin for plugin in registry.plugins if plugin.name == "every_hook"]
    assert set(plugin.offers) == {*OFFERS, "command"}


class Callback:
    """Keeps what it is told, by every event that there is."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    @hookimpl
    def run_started(self, run: RunInfo) -> None:
        self.told.append(("run_started", {"run": run}))

    @hookimpl
    def step_ended(self, run: RunInfo, step: int, losses: Mapping[str, float]) -> None:
        self.told.append(("step_ended", {"run": run, "step": step, "losses": losses}))

    @hookimpl
    def epoch_ended(self, run: RunInfo, epoch: int, metrics: Mapping[str, float | None]) -> None:
        self.told.append(("epoch_ended", {"run": run, "epoch": epoch, "metrics": metrics}))

    @hookimpl
    def should_stop(self, run: RunInfo, epoch: int, metrics: Mapping[str, float | None]) -> str | None:
        self.told.append(("should_stop", {"run": run, "epoch": epoch, "metrics": metrics}))
        return "enough"

    @hookimpl
    def run_ended(self, run: RunInfo, outcome: Outcome) -> None:
        self.told.append(("run_ended", {"run": run, "outcome": outcome}))


def test_every_event_reaches_a_callback_with_all_that_it_is_given() -> None:
    run: Any = "run"
    callback = Callback()
    use: Any = type("Use", (), {"key": "x", "title": "callback x"})()
    events = Events([(use, callback)])
    events.run_started(run)
    events.step_ended(run, 3, {"loss": 1.0})
    events.epoch_ended(run, 2, {"coco/ap": 0.5})
    assert events.should_stop(run, 2, {"coco/ap": 0.5}) == "enough"
    events.run_ended(run, Outcome("finished"))
    assert callback.told == [
        ("run_started", {"run": run}),
        ("step_ended", {"run": run, "step": 3, "losses": {"loss": 1.0}}),
        ("epoch_ended", {"run": run, "epoch": 2, "metrics": {"coco/ap": 0.5}}),
        ("should_stop", {"run": run, "epoch": 2, "metrics": {"coco/ap": 0.5}}),
        ("run_ended", {"run": run, "outcome": Outcome("finished")}),
    ]
    assert {event for event, _ in callback.told} == EVENTS == {n for n in vars(RunEvents) if not n.startswith("_")}
