"""The program: help, plugin commands, exit codes, and what is imported for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from detkit import __version__
from detkit.cli import main as program
from detkit.cli.main import run
from detkit.components import Command
from detkit.errors import DetkitError, Interrupted, PluginError, Problem, RunFailed, SpecError, UserError
from detkit.plugins import Plugin, Registry

WriteFile = Callable[[str, str], Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make `detkit check` raise."""

    def fail_with(error: BaseException) -> None:
        @click.command()
        def command() -> None:
            raise error

        monkeypatch.setattr("detkit.cli.check.command", command)

    return fail_with


def offer(monkeypatch: pytest.MonkeyPatch, *commands: Command) -> None:
    plugin = Plugin("toy", "toy.py")
    registry = Registry((plugin,), {}, {command.name: (command, plugin) for command in commands})
    monkeypatch.setattr("detkit.plugins.collect", lambda: registry)


def hello() -> click.Command:
    @click.command()
    @click.argument("name")
    def command(name: str) -> None:
        click.echo(f"hello {name}")

    return command


# --- help ------------------------------------------------------------------------------------------------------------


def test_help_lists_the_commands(capsys: Capture, alone: None) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines()] == list(program.COMMANDS)
    assert "run      Train, evaluate and compare every model of a spec" in out


def test_no_command_shows_the_help(capsys: Capture, alone: None) -> None:
    assert run([]) == 0
    assert "Usage: detkit" in capsys.readouterr().out


def test_version(capsys: Capture) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"detkit, version {__version__}\n"


def test_an_unknown_command_names_the_nearest(capsys: Capture, alone: None) -> None:
    assert run(["chekc"]) == 2
    err = capsys.readouterr().err
    assert err == "error: no command 'chekc'; did you mean 'check'?\nhelp: detkit --help\n"


def test_an_unknown_option(capsys: Capture) -> None:
    assert run(["check", "a.toml", "--exlpain"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: No such option")
    assert "--exlpain" in err
    assert err.endswith("\nhelp: detkit check --help\n")


# --- commands of plugins ---------------------------------------------------------------------------------------------


def test_commands_of_plugins_are_listed_and_run(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def never() -> click.Command:
        raise AssertionError("loaded for the help")

    offer(monkeypatch, Command("hello", "Say hello", hello), Command("heavy", "Weighs much", never))
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert "Commands of plugins:\n  heavy  Weighs much\n  hello  Say hello\n" in out
    assert run(["hello", "you"]) == 0
    assert capsys.readouterr().out == "hello you\n"


def test_a_command_that_does_not_load_names_its_plugin(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def broken() -> click.Command:
        raise ImportError("no module named x")

    offer(monkeypatch, Command("hello", "Say hello", broken))
    assert run(["hello"]) == 2
    assert capsys.readouterr().err == (
        "error: command 'hello' of plugin 'toy' (toy.py) failed: ImportError: no module named x\n"
    )


def test_detkit_s_own_commands_come_first(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    offer(monkeypatch, Command("check", "Not this one", hello))
    assert run(["check", "--help"]) == 0
    assert "Check SPEC without training" in capsys.readouterr().out
    assert run(["--help"]) == 0
    assert "Not this one" not in capsys.readouterr().out


def test_plugins_that_clash_do_not_break_the_help(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def clash() -> Registry:
        raise PluginError("two plugins offer the model 'x'")

    monkeypatch.setattr("detkit.plugins.collect", clash)
    assert run(["--help"]) == 0
    captured = capsys.readouterr()
    assert "doctor" in captured.out
    assert captured.err == "warning: the plugins' commands are left out: two plugins offer the model 'x'\n"


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UserError("no such thing"), 2, "error: no such thing\n"),
        (RunFailed("it stopped"), 1, "error: it stopped\n"),
        (DetkitError("other"), 1, "error: other\n"),
        (
            Interrupted("stopped after epoch 3; go on with --resume"),
            130,
            "stopped after epoch 3; go on with --resume\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (click.Abort(), 130, "interrupted\n"),
        (
            SpecError([Problem("a.toml", 1, "t", "k", "is wrong"), Problem("a.toml", None, "", "", "too")]),
            2,
            "error: a.toml:1: [t] k: is wrong\nerror: a.toml: too\n",
        ),
        (
            ValueError("two\nlines"),
            1,
            "error: ValueError: two lines\nThis is a fault in detkit or in a plugin. `detkit --debug ...` shows where;"
            " please report it, with that and with what `detkit doctor` prints.\n",
        ),
    ],
)
def test_errors_have_no_traceback_and_an_exit_code(
    failing: Callable[[BaseException], None], capsys: Capture, error: BaseException, code: int, text: str
) -> None:
    failing(error)
    assert run(["check"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.lstrip("\n") == text


def test_debug_shows_the_traceback(failing: Callable[[BaseException], None], capsys: Capture) -> None:
    failing(UserError("no such thing"))
    assert run(["--debug", "check"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("error: no such thing\n")


# --- the program as it is started ------------------------------------------------------------------------------------


def python(code: str, folder: Path, **environment: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ONEDNN")}
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return found.stdout.splitlines()[-1]


HELP = """
import sys
sys.argv = ["detkit", "--help"]
from detkit.__main__ import main
try:
    main()
except SystemExit as end:
    assert end.code == 0
heavy = {"torch", "torchvision", "numpy", "rich", "tomli", "comet_ml", "lightning_fabric", "psutil"}
print(sorted(heavy & set(sys.modules)))
"""

CHECK = """
import sys
from detkit.cli.main import run
assert run(["check", "a.toml"]) == 0
print(sorted({"torch", "torchvision", "numpy", "comet_ml", "rich"} & set(sys.modules)))
"""

CACHE = """
import os, sys
sys.argv = ["detkit", "--version"]
from detkit.__main__ import main
try:
    main()
except SystemExit:
    print(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"])
"""


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    assert python(HELP, tmp_path) == "[]"


def test_help_of_predict_imports_nothing_heavy(tmp_path: Path) -> None:
    assert python(HELP.replace('"--help"', '"predict", "--help"'), tmp_path) == "[]"


def test_check_never_imports_torch(toys: Path, write: WriteFile, tmp_path: Path) -> None:
    # Names of its own, since the bundled plugins are there too.
    toys.write_text(
        toys.read_text(encoding="utf-8")
        .replace('"penn_fudan"', '"toy_data"')
        .replace('"shapes"', '"toy_shapes"')
        .replace('"fcos"', '"toy_fcos"')
        .replace('"retinanet"', '"toy_retinanet"')
        .replace('"mask_rcnn"', '"toy_mask_rcnn"')
        .replace('"standard"', '"toy_step"')
        .replace('"coco"', '"toy_coco"')
        .replace('"console"', '"toy_console"')
        .replace('"comet"', '"toy_comet"')
        .replace('"early_stop"', '"toy_stop"'),
        encoding="utf-8",
    )
    write(
        "a.toml",
        """
        plugins = ["toys.py"]
        [dataset]
        use = "toy_data"
        [training_step]
        use = "toy_step"
        [models.toy_fcos]
        [metrics.toy_coco]
        """,
    )
    assert python(CHECK, tmp_path) == "[]"


def test_the_cache_of_onednn_is_raised_but_the_user_s_value_stays(tmp_path: Path) -> None:
    assert python(CACHE, tmp_path) == "4096"
    assert python(CACHE, tmp_path, ONEDNN_PRIMITIVE_CACHE_CAPACITY="7") == "7"
