"""Discovery, isolation, attribution and clashes of plugins, with files made here and entry points made up."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from detkit.errors import PluginError
from detkit.plugins import Plugin, Registry, collect, load_file

WriteFile = Callable[[str, str], Path]

ONE = """
    from detkit import MetricComponent, Options, hookimpl

    class NoOptions(Options):
        pass

    @hookimpl
    def detkit_metrics():
        return [MetricComponent("{name}", NoOptions, print)]
"""

pytestmark = pytest.mark.usefixtures("alone")


def only(registry: Registry) -> Plugin:
    (plugin,) = registry.plugins
    return plugin


def reason(write: WriteFile, text: str) -> str:
    """Why a plugin of this text fails."""
    plugin = only(collect([write("broken.py", text)]))
    assert plugin.state == "failed"
    assert plugin.offers == {}
    return plugin.reason


def test_nothing_is_there() -> None:
    registry = collect()
    assert registry.plugins == ()
    assert registry.names("model") == []
    assert registry.missing("training_step", "x") == "no training step named 'x'"


def test_a_file(toys: Path) -> None:
    registry = collect([toys])
    plugin = only(registry)
    assert (plugin.name, plugin.source, plugin.state) == ("toys", str(toys), "loaded")
    assert plugin.offers["dataset"] == ("penn_fudan", "shapes")
    assert plugin.offers["callback"] == ("early_stop",)
    found = registry.find("model", "fcos")
    assert found.component.name == "fcos"
    assert found.title == f"'fcos' of plugin 'toys' ({toys})"


def test_missing_components_name_the_nearest(toys: Path) -> None:
    with pytest.raises(PluginError, match=r"^no model named 'fcoss'; did you mean 'fcos'\?$"):
        collect([toys]).find("model", "fcoss")


def test_plugins_that_failed_are_named_where_something_is_missing(toys: Path, write: WriteFile) -> None:
    broken = write("broken.py", "raise RuntimeError('no\\n  luck')")
    registry = collect([toys, broken])
    assert registry.missing("model", "fcoss") == (
        f"no model named 'fcoss'; did you mean 'fcos'?; plugin 'broken' ({broken}) failed: RuntimeError: no luck"
    )


def test_one_that_fails_leaves_the_others(toys: Path, write: WriteFile) -> None:
    registry = collect([write("broken.py", "import nothing_of_that_name"), toys])
    assert [plugin.state for plugin in registry.plugins] == ["failed", "loaded"]
    assert registry.plugins[0].reason == "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert registry.names("logger") == ["comet", "console"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def x(:", "SyntaxError: "),
        ("import sys\nsys.path.nothing", "AttributeError: "),
        (
            "from detkit import hookimpl\n@hookimpl\ndef detkit_model():\n    return []\n",
            "there is no hook 'detkit_model'; did you mean 'detkit_models'?",
        ),
        (
            "def detkit_models():\n    return []\n",
            "detkit_models is not marked: write @hookimpl (from detkit import hookimpl) above it",
        ),
        (
            "from detkit import hookimpl\n@hookimpl\ndef detkit_models():\n    return ['fcos']\n",
            "hook detkit_models: returned 'fcos'; it must return a list of ModelComponent",
        ),
        (
            "from detkit import hookimpl\n@hookimpl\ndef detkit_models():\n    return None\n",
            "hook detkit_models: TypeError: 'NoneType' object is not iterable",
        ),
        (
            "from detkit import hookimpl\n@hookimpl\ndef detkit_loggers():\n    raise OSError('full')\n",
            "hook detkit_loggers: OSError: full",
        ),
        (
            "from detkit import MetricComponent, Options, hookimpl\nMetricComponent('a b', Options, print)\n",
            "component name 'a b' must match [A-Za-z0-9][A-Za-z0-9_-]*",
        ),
        (
            "from detkit import MetricComponent\nMetricComponent('a', dict, print)\n",
            "component 'a': options must be a subclass of detkit.Options",
        ),
        (
            "from detkit import MetricComponent, Options\n"
            "class O(Options):\n    use: str = ''\n    train: int = 1\nMetricComponent('a', O, print)\n",
            "component 'a': its options use train, use, which belong to detkit"
            " (reserved: augment, degenerate, enabled, input, skip_checks, split, train, use); rename them",
        ),
        (
            "from detkit import Command\nCommand('a b', '', print)\n",
            "command name 'a b' must match [A-Za-z0-9][A-Za-z0-9_-]*",
        ),
    ],
)
def test_why_a_plugin_fails(write: WriteFile, text: str, message: str) -> None:
    assert reason(write, text).startswith(message)


def test_a_hook_with_an_argument_that_there_is_not(write: WriteFile) -> None:
    text = "from detkit import hookimpl\n@hookimpl\ndef detkit_models(names):\n    return []\n"
    found = reason(write, text)
    assert "detkit_models" in found
    assert "names" in found


def test_a_clash_of_names_names_both(write: WriteFile) -> None:
    first = write("first.py", ONE.format(name="ap"))
    second = write("second.py", ONE.format(name="ap"))
    with pytest.raises(PluginError) as caught:
        collect([first, second])
    assert str(caught.value) == (
        f"two plugins offer the metric 'ap': plugin 'first' ({first}) and plugin 'second' ({second});"
        " rename one, or leave one out with --no-plugin second"
    )
    assert collect([first, second], blocked=["second"]).names("metric") == ["ap"]


def test_a_clash_of_commands(write: WriteFile) -> None:
    text = (
        "from detkit import Command, hookimpl\n@hookimpl\ndef detkit_commands():\n"
        "    return [Command('hello', 'Say it', print)]\n"
    )
    with pytest.raises(PluginError, match=r"two plugins offer the command 'hello': plugin 'a' .* and plugin 'b' "):
        collect([write("a.py", text), write("b.py", text)])


def test_a_blocked_plugin_is_not_imported(write: WriteFile) -> None:
    file = write("bomb.py", "raise SystemExit('imported')")
    plugin = only(collect([file], blocked=["bomb"]))
    assert (plugin.state, plugin.reason) == ("blocked", "by --no-plugin")


def test_a_blocked_plugin_must_exist(toys: Path) -> None:
    with pytest.raises(PluginError, match=r"^--no-plugin toy: there is no such plugin; did you mean 'toys'\?$"):
        collect([toys], blocked=["toy"])


def test_files_of_one_name_do_not_meet(write: WriteFile) -> None:
    first = write("a/same.py", ONE.format(name="one"))
    second = write("b/same.py", ONE.format(name="two"))
    assert collect([first, second]).names("metric") == ["one", "two"]


def test_what_a_file_defines_can_be_pickled(write: WriteFile) -> None:
    module = load_file(write("things.py", "class Thing:\n    pass\n"))
    thing = module.Thing()
    assert type(pickle.loads(pickle.dumps(thing))) is module.Thing


def test_a_file_that_fails_leaves_no_module_and_may_be_mended(write: WriteFile) -> None:
    before = set(sys.modules)
    file = write("mended.py", "1 / 0")
    with pytest.raises(ZeroDivisionError):
        load_file(file)
    assert set(sys.modules) == before
    write("mended.py", "fine = True")
    assert load_file(file).fine


def test_files_that_are_none(tmp_path: Path, write: WriteFile) -> None:
    with pytest.raises(PluginError, match=r"^there is no file .*none\.py$"):
        load_file(tmp_path / "none.py")
    with pytest.raises(PluginError, match=r"a\.txt is not a Python file; a plugin's name ends in \.py$"):
        load_file(write("a.txt", "x = 1"))


def test_an_entry_point(write: WriteFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write("detkit_toy_of_a_test.py", ONE.format(name="toy"))
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [
        EntryPoint("toy", "detkit_toy_of_a_test", "detkit.plugins"),
        EntryPoint("gone", "detkit_gone_of_a_test", "detkit.plugins"),
    ]
    monkeypatch.setattr("detkit.plugins.entry_points", lambda **_: points)
    registry = collect()
    assert [(plugin.name, plugin.state) for plugin in registry.plugins] == [("gone", "failed"), ("toy", "loaded")]
    assert registry.plugins[0].reason == "ModuleNotFoundError: No module named 'detkit_gone_of_a_test'"
    assert registry.names("metric") == ["toy"]


def test_the_title_names_the_distribution() -> None:
    assert Plugin("x", "detkit_x", "detkit-x", "1.2").title == "plugin 'x' (detkit-x 1.2)"
    assert Plugin("x", "x.py").title == "plugin 'x' (x.py)"


def test_two_registries_share_nothing(toys: Path) -> None:
    first, second = collect([toys]), collect([toys])
    assert first is not second
    assert first.components is not second.components
    assert first.components["model"] is not second.components["model"]


def test_a_file_that_ends_the_program_on_import_is_a_failed_plugin(tmp_path: Path) -> None:
    file = tmp_path / "leaves.py"
    file.write_text("import sys\nsys.exit(3)\n")
    (plugin,) = [plugin for plugin in collect([file]).plugins if plugin.name == "leaves"]
    assert plugin.state == "failed"
    assert plugin.reason == "it ends the program when it is imported (sys.exit, code 3)"
