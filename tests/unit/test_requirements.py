"""`requires_detkit` and `detkit_api`: what fits is loaded, what does not is refused before it is imported."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from detkit import HOOK_API, __version__
from detkit.cli.main import run
from detkit.errors import PluginError, SpecError
from detkit.plugins import Plugin, collect
from detkit.requirements import Stated, misfit, source_of_module, stated_in
from detkit.spec.loader import load_spec
from unit.test_floors import PUBLIC_MODULES

WriteFile = Callable[[str, str], Path]
Capture = pytest.CaptureFixture[str]

METRIC = """
    from detkit import MetricComponent, Options, hookimpl

    class NoOptions(Options):
        pass

    @hookimpl
    def detkit_metrics():
        return [MetricComponent("mine", NoOptions, print)]
"""
#: What a plugin for a later detkit does first.
NEEDS_MORE = "from detkit import SomethingNew\n"

pytestmark = pytest.mark.usefixtures("alone")


def loaded(file: Path) -> Plugin:
    (plugin,) = collect([file]).plugins
    return plugin


@pytest.mark.parametrize(
    "statement",
    [
        'requires_detkit = ">=0.1,<0.3"',
        'requires_detkit: str = "~=0.1"',
        f'requires_detkit = "=={__version__}"',
        f"detkit_api = {HOOK_API}",
        f'requires_detkit = ">=0.1"; detkit_api = {HOOK_API}',
    ],
)
def test_one_that_fits_is_loaded(write: WriteFile, statement: str) -> None:
    plugin = loaded(write("mine.py", f"    {statement}{METRIC}"))
    assert (plugin.state, plugin.reason) == ("loaded", "")
    assert plugin.offers == {"metric": ("mine",)}


def test_what_it_states_is_known(write: WriteFile) -> None:
    plugin = loaded(write("mine.py", f'    requires_detkit = ">=0.1"\n    detkit_api = 1{METRIC}'))
    assert (plugin.requires_detkit, plugin.detkit_api) == (">=0.1", 1)
    plugin = loaded(write("silent.py", METRIC))
    assert (plugin.requires_detkit, plugin.detkit_api) == ("", None)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (
            'requires_detkit = ">=99"',
            f"requires_detkit = '>=99' (line 2) does not admit detkit {__version__}, which is",
        ),
        ('requires_detkit = "<0.1"', "install detkit<0.1, or try the file with this detkit"),
        ('requires_detkit = "0.1 and up"', "requires_detkit = '0.1 and up' (line 2) is no PEP 440 specifier; write"),
        ('requires_detkit = ""', "requires_detkit = '' (line 2) must be the text of a PEP 440 specifier"),
        ("requires_detkit = 0.1", "requires_detkit = 0.1 (line 2) must be the text of a PEP 440 specifier"),
        ("detkit_api = 99", "detkit_api = 99 (line 2) is newer than the hook API of detkit"),
        ("detkit_api = 0", "detkit_api = 0 (line 2) must be the whole number of a hook API; that of detkit"),
        ("detkit_api = True", "detkit_api = True (line 2) must be the whole number of a hook API"),
        ('detkit_api = "1"', "detkit_api = '1' (line 2) must be the whole number of a hook API"),
    ],
)
def test_one_that_does_not_fit_is_refused(write: WriteFile, statement: str, reason: str) -> None:
    # What it imports is not there: a plugin that was imported first would fail of that, and say nothing of the version.
    plugin = loaded(write("mine.py", f'"""Mine."""\n{statement}\n{NEEDS_MORE}'))
    assert plugin.state == "refused"
    assert reason in plugin.reason
    assert plugin.offers == {}


def test_an_older_api_is_refused_once_it_is_not_loaded_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detkit.requirements.HOOK_API", 5)
    monkeypatch.setattr("detkit.requirements.OLDEST_HOOK_API", 4)

    def of(api: int) -> str:
        return misfit({"detkit_api": Stated(api)}, "2.0", name="x", distribution="detkit-x")

    assert of(5) == of(4) == ""
    assert of(3) == (
        "detkit_api = 3 is older than what detkit 2.0 still loads, which is 4 to 5; install an older detkit,"
        " or a release of detkit-x that fits, or leave the plugin out with --no-plugin x"
    )
    assert of(6).startswith("detkit_api = 6 is newer than the hook API of detkit 2.0, which is 5; install a newer")


@pytest.mark.parametrize(
    ("requires", "version", "fits"),
    [
        (">=0.2", "0.2.0.dev1", False),
        (">=0.1", "0.2.0.dev1", True),
        ("<0.2", "0.2.0.dev1", False),
        (">=0.1,<0.3,!=0.2.1", "0.2.1", False),
        (">=0.1,<0.3,!=0.2.1", "0.2.2", True),
    ],
)
def test_versions_under_way_count_as_pep_440_says(requires: str, version: str, fits: bool) -> None:
    found = misfit({"requires_detkit": Stated(requires)}, version, name="x", distribution="")
    assert (found == "") is fits


def test_what_only_the_import_tells_counts_too(write: WriteFile) -> None:
    plugin = loaded(write("mine.py", f'    requires_detkit = ">=" + "99"{METRIC}'))
    assert plugin.state == "refused"
    assert plugin.requires_detkit == ">=99"
    assert plugin.reason.startswith("requires_detkit = '>=99' does not admit")


def test_a_file_with_a_syntax_error_fails_as_before(write: WriteFile) -> None:
    plugin = loaded(write("mine.py", 'requires_detkit = ">=99"\ndef x(:'))
    assert plugin.state == "failed"
    assert plugin.reason.startswith("SyntaxError")


def test_one_that_is_refused_leaves_the_others(write: WriteFile, toys: Path) -> None:
    registry = collect([write("late.py", 'requires_detkit = ">=99"\n'), toys])
    assert [plugin.state for plugin in registry.plugins] == ["refused", "loaded"]
    assert registry.names("logger") == ["comet", "console"]
    with pytest.raises(PluginError, match=r"no model named 'x'.*plugin 'late' \(.*late\.py\) refused: requires_detkit"):
        registry.find("model", "x")


def test_an_installed_plugin_is_refused_before_it_is_imported(
    write: WriteFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "refused_of_a_test").mkdir()
    write("refused_of_a_test/__init__.py", "raise RuntimeError('imported')\n")
    write("refused_of_a_test/inner.py", 'requires_detkit = ">=99"\nraise RuntimeError("imported")\n')
    write("newer_api_of_a_test.py", "detkit_api = 99\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [
        EntryPoint("deep", "refused_of_a_test.inner:thing", "detkit.plugins"),
        EntryPoint("flat", "newer_api_of_a_test", "detkit.plugins"),
    ]
    monkeypatch.setattr("detkit.plugins.entry_points", lambda **_: points)
    deep, flat = collect().plugins
    assert (deep.state, flat.state) == ("refused", "refused")
    assert "(line 1) does not admit" in deep.reason
    assert not {"refused_of_a_test", "refused_of_a_test.inner", "newer_api_of_a_test"} & set(sys.modules)


def test_the_source_of_a_module_that_has_none() -> None:
    assert source_of_module("nothing_of_that_name") == ""
    assert source_of_module("nothing_of_that_name.inner") == ""
    assert source_of_module("sys") == ""
    assert source_of_module("json.nothing") == ""
    assert "def loads(" in source_of_module("json")
    assert "class JSONDecoder" in source_of_module("json.decoder")


def test_only_the_top_of_a_module_states() -> None:
    assert stated_in('def f():\n    requires_detkit = ">=99"\nclass A:\n    detkit_api = 99\n') == {}


def test_a_spec_that_names_a_refused_file_says_so(write: WriteFile) -> None:
    write("late.py", 'requires_detkit = ">=99"\n')
    spec = write("a.toml", 'plugins = ["late.py"]\n[experiment]\nname = "a"\n')
    with pytest.raises(SpecError, match=r"a\.toml:1: plugins: plugin 'late' \(.*\) refused: requires_detkit = '>=99'"):
        load_spec(spec)


def test_plugins_lists_one_that_is_refused(write: WriteFile, toys: Path, capsys: Capture) -> None:
    late = write("late.py", 'requires_detkit = ">=99"\ndetkit_api = 1\n')
    write("a.toml", 'plugins = ["toys.py", "late.py"]\n')
    assert run(["plugins", "--spec", "a.toml"]) == 0
    captured = capsys.readouterr()
    assert "refused" in captured.out
    assert captured.out.splitlines()[-1] == f"detkit {__version__}, hook API {HOOK_API}"
    assert captured.err.startswith(f"warning: plugin 'late' ({late}) refused: requires_detkit = '>=99' (line 1) does")

    assert run(["plugins", "--spec", "a.toml", "--json"]) == 0
    found = {plugin["name"]: plugin for plugin in json.loads(capsys.readouterr().out)}
    assert (found["late"]["state"], found["toys"]["state"]) == ("refused", "loaded")
    assert (found["late"]["requires_detkit"], found["late"]["detkit_api"]) == (">=99", 1)

    assert run(["schema", "a.toml"]) == 0
    assert "warning: without plugin 'late'" in capsys.readouterr().err
    assert run(["plugins", "--spec", "a.toml", "show", "nothing"]) == 2
    assert "refused: requires_detkit" in capsys.readouterr().err


def test_one_that_is_blocked_is_not_asked(write: WriteFile) -> None:
    (plugin,) = collect([write("late.py", 'requires_detkit = ">=99"\n')], blocked=["late"]).plugins
    assert plugin.state == "blocked"


def test_the_registry_has_the_version_of_the_hooks() -> None:
    assert collect().hook_api == HOOK_API == 1


def test_the_policy_names_what_is_true_now() -> None:
    policy = " ".join((Path(__file__).parents[2] / "docs/reference/stability.md").read_text(encoding="utf-8").split())
    assert f"It is now {HOOK_API}." in policy
    missing = [
        module
        for module in PUBLIC_MODULES
        if f"`{module}`" not in policy and f"`{module.removeprefix('detkit.data.')}`" not in policy
    ]
    assert missing == []
