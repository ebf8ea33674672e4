"""Deprecations warn once and say what to do; none outlives the version that it names."""

from __future__ import annotations

import ast
import json
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field

import detkit
from detkit import (
    BuildContext,
    ComputeError,
    Deprecation,
    DetkitDeprecationWarning,
    MetricComponent,
    Options,
)
from detkit.api import run as run_experiment
from detkit.cli.main import run
from detkit.deprecation import numbers
from detkit.hookspecs import OfferHooks, hookspec
from detkit.plugins import collect
from detkit.spec.deprecated import deprecated_options
from detkit.spec.describe import describe
from detkit.spec.loader import load_spec
from detkit.spec.model import TrainTable

ROOT = Path(__file__).parents[2]
WriteFile = Callable[[str, str], Path]
Capture = pytest.CaptureFixture[str]

OLD = Deprecation("the old way", instead="use the new one", since="0.1", removal="0.3")
TOLD = "the old way is deprecated since detkit 0.1 and will be removed in 0.3: use the new one"


@pytest.fixture(autouse=True)
def _nothing_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detkit.deprecation._told", set())


# --- the mechanism ---------------------------------------------------------------------------------------------------


def test_it_says_what_to_do_and_when_it_is_too_late() -> None:
    assert OLD.text == TOLD
    assert str(OLD.warning()) == TOLD
    theirs = Deprecation("x", instead="use y", since="3", removal="4", package="detkit-mine")
    assert theirs.text == "x is deprecated since detkit-mine 3 and will be removed in 4: use y"


def test_it_is_told_once_and_at_the_line_of_the_one_who_is_told() -> None:
    def old_way() -> int:
        OLD.tell(stacklevel=2)
        return 1

    with pytest.warns(DetkitDeprecationWarning) as caught:
        assert [old_way() for _ in range(2)] == [1, 1]
    assert [str(warning.message) for warning in caught] == [TOLD]
    assert caught[0].filename == __file__


def test_python_shows_it_without_being_asked() -> None:
    assert issubclass(DetkitDeprecationWarning, FutureWarning)  # a DeprecationWarning of a plugin would be hidden


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"what": " "}, "says what is deprecated"),
        ({"instead": ""}, "what to use instead"),
        ({"since": "soon"}, "'soon' is no version"),
        ({"removal": "0.3rc1"}, "'0.3rc1' is no version"),
        ({"removal": "0.1.0"}, "removed in 0.1.0, which is not after 0.1"),
        ({"since": "0.10", "removal": "0.9"}, "removed in 0.9, which is not after 0.10"),
    ],
)
def test_one_that_says_too_little_is_refused(given: Mapping[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Deprecation(**{"what": "x", "instead": "use y", "since": "0.1", "removal": "0.3", **given})


# --- what can be deprecated ------------------------------------------------------------------------------------------


class _Hooks(OfferHooks):
    @hookspec(warn_on_impl=Deprecation("the hook detkit_metrics", "use z", "0.1", "0.3").warning())
    def detkit_metrics(self) -> Sequence[MetricComponent[Any]]:
        return []

    @hookspec(warn_on_impl_args={"old": Deprecation("old of detkit_models", "leave it out", "0.1", "0.3").warning()})
    def detkit_models(self, old: int) -> Sequence[Any]:  # type: ignore[override]  # the argument is what is tested
        return [old]


@pytest.mark.usefixtures("alone")
def test_a_hook(write: WriteFile, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("detkit.plugins.OfferHooks", _Hooks)
    file = write("mine.py", "from detkit import hookimpl\n\n@hookimpl\ndef detkit_metrics():\n    return []\n")
    said = "the hook detkit_metrics is deprecated since detkit 0.1 and will be removed in 0.3: use z"
    with pytest.warns(DetkitDeprecationWarning) as caught:
        registries = collect([file]), collect([file])
    assert [str(warning.message) for warning in caught] == [f"plugin 'mine' ({file}): {said}"]
    assert (caught[0].filename, caught[0].lineno) == (str(file), 3)
    for registry in registries:  # both know, one was told
        (plugin,) = registry.plugins
        assert (plugin.state, plugin.deprecations) == ("loaded", (said,))

    spec = write("a.toml", 'plugins = ["mine.py"]\n')
    assert run(["plugins", "--spec", str(spec), "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["deprecations"] == [said]


@pytest.mark.usefixtures("alone")
def test_an_argument_of_a_hook(write: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detkit.plugins.OfferHooks", _Hooks)
    without = write("without.py", "from detkit import hookimpl\n\n@hookimpl\ndef detkit_models():\n    return []\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert collect([without]).plugins[0].deprecations == ()
    file = write("mine.py", "from detkit import hookimpl\n\n@hookimpl\ndef detkit_models(old):\n    return []\n")
    with pytest.warns(DetkitDeprecationWarning, match="old of detkit_models is deprecated"):
        collect([file])


class NoOptions(Options):
    pass


def build(options: NoOptions, context: BuildContext) -> Any:
    raise AssertionError("nothing is built here")


@dataclass(frozen=True)
class _Component(MetricComponent[Any]):
    deprecated: ClassVar[Mapping[str, Deprecation]] = {"old": OLD}

    old: str = ""


def test_a_field_of_a_component() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _Component("mine", NoOptions, build)
    with pytest.warns(DetkitDeprecationWarning) as caught:
        [_Component("mine", NoOptions, build, old="x") for _ in range(2)]
    assert [(str(warning.message), warning.filename) for warning in caught] == [(TOLD, __file__)]


def test_a_public_name(monkeypatch: pytest.MonkeyPatch) -> None:
    home = types.ModuleType("detkit_home_of_a_test")
    vars(home)["Forerunner"] = 3
    monkeypatch.setitem(sys.modules, home.__name__, home)
    monkeypatch.setitem(detkit.DEPRECATED, "Forerunner", (OLD, home.__name__))
    with pytest.warns(DetkitDeprecationWarning) as caught:
        assert [detkit.Forerunner for _ in range(2)] == [3, 3]
    assert [(str(warning.message), warning.filename) for warning in caught] == [(TOLD, __file__)]
    with pytest.raises(AttributeError, match="module 'detkit' has no attribute 'Nobody'"):
        _ = detkit.Nobody


OLD_OPTION = """
    from pydantic import Field

    from detkit import CallbackComponent, Deprecation, Options, hookimpl

    LAST = Deprecation("last of keep", instead="set first", since="0.1", removal="0.3")
    INNER = Deprecation("deep of keep", instead="leave it out", since="0.1", removal="0.3")

    class Inner(Options):
        deep: int = Field(0, description="how deep", deprecated=INNER.text)

    class KeepOptions(Options):
        first: int = Field(1, description="from where")
        last: int = Field(9, description="up to where", deprecated=LAST.text)
        inner: Inner = Field(Inner(), description="more of it")

    @hookimpl
    def detkit_callbacks():
        return [CallbackComponent("keep", KeepOptions, lambda options, context: None)]
"""
SPEC = """\
plugins = ["toys.py", "keep.py"]
[experiment]
name = "a"
[dataset]
use = "penn_fudan"
[models.fcos]
[models.retinanet]
[metrics.coco]
[callbacks.keep]
"""
LAST = "last of keep is deprecated since detkit 0.1 and will be removed in 0.3: set first"


@pytest.mark.usefixtures("alone", "toys")
def test_an_option_that_a_spec_sets(write: WriteFile, capsys: Capture) -> None:
    write("keep.py", OLD_OPTION)
    write("a.toml", f"{SPEC}first = 2\n")
    assert run(["check", "a.toml"]) == 0
    assert capsys.readouterr().err == ""

    write("a.toml", f"{SPEC}last = 9\ninner = {{ deep = 3 }}\n")  # the default, but stated
    assert run(["check", "a.toml"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"warning: a.toml:10: last: {LAST}",
        "warning: a.toml:11: deep: deep of keep is deprecated since detkit 0.1 and will be removed in 0.3:"
        " leave it out",
    ]
    write("a.toml", SPEC)
    assert run(["check", "a.toml", "--set", "callbacks.keep.last=4"]) == 0
    assert capsys.readouterr().err == f"warning: --set callbacks.keep.last=4: last: {LAST}\n"
    assert run(["plugins", "--spec", "a.toml", "show", "keep"]) == 0
    assert "deprecated; up to where" in capsys.readouterr().out


@pytest.mark.usefixtures("alone", "toys")
def test_an_option_warns_those_who_call_run(write: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_run(*_: Any, **__: Any) -> None:
        raise ComputeError("not run")

    monkeypatch.setattr("detkit.api.run_spec", not_run)
    write("keep.py", OLD_OPTION)
    spec = write("a.toml", f"{SPEC}last = 4\n")
    with pytest.warns(DetkitDeprecationWarning) as caught, pytest.raises(ComputeError):
        run_experiment(spec)
    (warning,) = [warning for warning in caught if warning.category is DetkitDeprecationWarning]
    assert str(warning.message) == f"{spec}:10: last: {LAST}"
    assert (warning.filename, warning.lineno) == (str(spec), 10)


@pytest.mark.usefixtures("alone", "toys")
def test_a_key_of_all_models_is_told_once(write: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old(TrainTable):
        lr: float = Field(0.005, gt=0, description="the rate", deprecated=OLD.text)

    monkeypatch.setattr("detkit.spec.loader.TrainTable", Old)
    write("keep.py", OLD_OPTION)
    spec = write("a.toml", f"{SPEC}[train]\nlr = 0.1\n")
    (problem,) = deprecated_options(load_spec(spec))
    assert str(problem) == f"{spec}:11: lr: {TOLD}"
    # The recipe of fcos has a rate: nobody wrote it.
    assert deprecated_options(load_spec(write("a.toml", SPEC))) == []


def test_options_in_words_say_so() -> None:
    class Mine(Options):
        old: int = Field(0, description="how many", deprecated=OLD.text)
        bare: int = Field(0, deprecated=OLD.text)

    assert [option.description for option in describe(Mine)] == ["deprecated; how many", "deprecated"]


# --- none outlives its version ---------------------------------------------------------------------------------------


def declared(source: str, name: str) -> Iterator[str]:
    """What is wrong with the deprecations that a file declares, now."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func).rsplit(".", 1)[-1]
        place = f"{name}:{node.lineno}"
        if called == "Deprecation":
            given = dict(zip(("what", "instead", "since", "removal", "package"), node.args, strict=False))
            given |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
            removal, what = given.get("removal"), given.get("what")
            if not isinstance(removal, ast.Constant):
                yield f"{place}: state the version of removal as a text, so that this test can read it"
            elif "package" in given:
                continue
            elif isinstance(since := given.get("since"), ast.Constant) and not long_enough(
                str(since.value), str(removal.value)
            ):
                yield f"{place}: {since.value!r} to {removal.value!r} is too short by docs/reference/stability.md"
            elif numbers(detkit.__version__) >= numbers(f"{removal.value!s}"):
                yield f"{place}: {ast.unparse(what) if what else ''} was to be removed in {removal.value!r}: remove it"
        for keyword in node.keywords:
            if keyword.arg == "deprecated" and called == "Field":
                if not (isinstance(keyword.value, ast.Attribute) and keyword.value.attr == "text"):
                    yield f"{place}: write deprecated=Deprecation(...).text, which names the version of removal"
            elif keyword.arg == "warn_on_impl" and not ast.unparse(keyword.value).endswith(".warning()"):
                yield f"{place}: write warn_on_impl=Deprecation(...).warning(), which names the version of removal"


def long_enough(since: str, removal: str) -> bool:
    """Whether people have the time that docs/reference/stability.md promises."""
    first, last = ((*numbers(version), 0, 0)[:2] for version in (since, removal))
    return last[0] > first[0] > 0 or (first[0] == 0 and (last[0] > 0 or last[1] - first[1] >= 2))


FILES = [
    file for folder in ("src", "plugins") for file in sorted((ROOT / folder).rglob("*.py")) if "/." not in str(file)
]


def test_no_deprecation_outlives_the_version_that_it_names() -> None:
    assert len(FILES) > 100
    found = [line for file in FILES for line in declared(file.read_text(encoding="utf-8"), str(file.relative_to(ROOT)))]
    assert found == []


@pytest.mark.parametrize(
    ("source", "version", "complaints"),
    [
        ('Deprecation("x", instead="y", since="0.1", removal="0.3")', "0.2.9", 0),
        ('Deprecation("x", instead="y", since="0.1", removal="0.3")', "0.3.0.dev1", 1),
        ('Deprecation("x", instead="y", since="0.1", removal="0.3")', "0.3.0", 1),
        ('Deprecation("x", "y", "0.1", "0.3")', "1.0", 1),
        ('d.Deprecation("x", "y", "0.1", removal="0.10")', "0.9", 0),
        ('Deprecation("x", "y", "0.1", "0.3", package="theirs")', "1.0", 0),
        ('Deprecation("x", "y", "0.1", LATER)', "0.1", 1),
        ('Deprecation("x", "y", "0.1", "0.2")', "0.1", 1),
        ('Deprecation("x", "y", "0.1.5", "0.3.0")', "0.1", 0),
        ('Deprecation("x", "y", "1.1", "1.4")', "1.1", 1),
        ('Deprecation("x", "y", "1.1", "2.0")', "1.1", 0),
        ('Field(1, deprecated="do not")', "0.1", 1),
        ("Field(1, deprecated=True)", "0.1", 1),
        ('Field(1, deprecated=Deprecation("x", "y", "0.1", "0.3").text)', "0.2", 0),
        ('hookspec(warn_on_impl=DeprecationWarning("x"))', "0.1", 1),
        ('hookspec(warn_on_impl=Deprecation("x", "y", "0.1", "0.3").warning())', "0.1", 0),
    ],
)
def test_one_that_does_is_found(source: str, version: str, complaints: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detkit, "__version__", version)
    assert len(list(declared(source, "a.py"))) == complaints


@pytest.mark.parametrize(
    ("version", "expected"), [("0.2", (0, 2)), ("0.2.0", (0, 2)), ("0.2.0.dev1", (0, 2)), ("1.10.3", (1, 10, 3))]
)
def test_numbers_of_a_version(version: str, expected: tuple[int, ...]) -> None:
    assert numbers(version) == expected
    with pytest.raises(ValueError, match="no version"):
        numbers("next")
