"""`detkit plugins test`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from detkit.cli.main import run

Capture = pytest.CaptureFixture[str]
EVERY_HOOK = str(Path(__file__).parents[2] / "examples/plugin_in_one_file/every_hook.py")

PLUGIN = """
from pydantic import Field
from detkit import CallbackComponent, MetricComponent, MetricResult, Options, Scalar, UserError, hookimpl

class ClockOptions(Options):
    limit: int = Field(2, ge=1, description="epochs")

class Clock:
    def __init__(self, limit):
        print("a line that is none of the report")
        self.limit = limit

    @hookimpl
    def should_stop(self, epoch):
        return epoch >= self.limit and {reason}

class FileOptions(Options):
    file: str = Field(description="a table")

def build_table(options, context):
    raise UserError(f"there is no file {options.file}")

@hookimpl
def detkit_callbacks():
    return [
        CallbackComponent("clock", ClockOptions, lambda options, context: Clock(options.limit), "stops"),
        CallbackComponent("table", FileOptions, build_table, "needs a file"),
    ]
""".replace("{options.file}", "{{options.file}}")


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    file = tmp_path / "clock.py"
    file.write_text(PLUGIN.format(reason="True"))
    return str(file)


def test_a_plugin_that_breaks_a_rule(plugin: str, capsys: Capture) -> None:
    assert run(["plugins", "test", plugin, "--component", "clock"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"callback clock of plugin 'clock' ({plugin})"
    assert "  ok    callback-hooks: a callback implements at least one event, and each that it names is marked" in lines
    begin = lines.index("  FAIL  callback-decisions: `should_stop` gives a reason, or None")
    assert [line.strip() for line in lines[begin + 1 : begin + 4]] == [
        "found:    should_stop gives False",
        "expected: a reason, or None",
        "see:      docs/reference/plugin-contract.md#callback-decisions",
    ]
    assert "  skip  callback-state-round-trip: it has no state" in lines
    assert lines[-1].startswith("  17 rules: 13 kept, 1 broken, 3 skipped (")
    assert not any("none of the report" in line for line in lines)


def test_what_needs_a_file_is_skipped_with_what_to_give(plugin: str, capsys: Capture) -> None:
    assert run(["plugins", "test", plugin, "--component", "table", "--failures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "component-builds" in line]
    assert line.startswith("  skip  component-builds: these options do not fit: file: ")
    assert "give what it needs (--set KEY=VALUE" in line
    assert run(["plugins", "test", plugin, "--component", "table", "--set", "file=a.csv", "--failures"]) == 0
    out = capsys.readouterr().out
    assert "cannot be built with these options: there is no file a.csv; give others (--set KEY=VALUE" in out
    assert "0 broken" in out
    assert "callback-whole-run" not in out  # said once, not by every rule


def test_options_reach_the_components_that_have_them(plugin: str, capsys: Capture) -> None:
    assert run(["plugins", "test", plugin, "--set", "limit=0", "--failures"]) == 0
    out = capsys.readouterr().out
    assert "these options do not fit: limit: " in out
    assert run(["plugins", "test", plugin, "--set", "limt=3"]) == 2
    assert (
        capsys.readouterr().err
        == "error: --set limt: none of these components has such an option; did you mean 'limit'?\n"
    )


def test_json(plugin: str, capsys: Capture) -> None:
    assert run(["plugins", "test", plugin, "--json"]) == 1
    clock, table = json.loads(capsys.readouterr().out)
    assert (clock["component"], clock["kind"], clock["plugin"]) == ("clock", "callback", "clock")
    by_id = {row["id"]: row for row in clock["rules"]}
    assert by_id["callback-decisions"] == {
        "id": "callback-decisions",
        "statement": "`should_stop` gives a reason, or None",
        "state": "broken",
        "found": "should_stop gives False",
        "expected": "a reason, or None",
        "reason": "",
        "see": "docs/reference/plugin-contract.md#callback-decisions",
    }
    assert {row["state"] for row in table["rules"]} == {"kept", "skipped"}


def test_a_component_by_its_name_and_an_installed_plugin(capsys: Capture) -> None:
    assert run(["plugins", "test", "early_stop", "--failures"]) == 0
    assert capsys.readouterr().out.startswith("callback early_stop of plugin 'basics' (")
    assert run(["plugins", "test", "basics", "--component", "grid", "--component", "standard", "--failures"]) == 0
    out = capsys.readouterr().out
    assert "training step standard of plugin 'basics'" in out
    assert "searcher grid of plugin 'basics'" in out


def test_a_format_of_files_reads_what_it_has_written(capsys: Capture) -> None:
    assert run(["plugins", "test", "voc", "--failures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  no files are given: it reads drawn scenes that it has written itself"
    assert not any("dataset-info-agrees" in line for line in lines)
    assert run(["plugins", "test", "voc", "--failures", "--set", "root=nowhere"]) == 0
    assert "skip  component-builds: cannot be built with these options: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["none.py"], "there is no file none.py"),
        (["early_stp"], "no plugin and no component named 'early_stp'; did you mean 'early_stop'?"),
        (["basics", "--component", "gird"], "--component gird: no such component here; did you mean 'grid'?"),
        (["basics", "--no-plugin", "basics"], "plugin 'basics' (detkit"),
        (["basics", "--set", "points"], "command line: --set takes KEY=VALUE"),
    ],
)
def test_mistakes(arguments: list[str], error: str, capsys: Capture) -> None:
    assert run(["plugins", "test", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"error: {error}")


def test_a_file_that_fails_says_why(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    assert run(["plugins", "test", str(tmp_path / "broken.py")]) == 2
    assert capsys.readouterr().err.endswith("failed: ZeroDivisionError: division by zero\n")
    (tmp_path / "empty.py").write_text("")
    assert run(["plugins", "test", str(tmp_path / "empty.py")]) == 2
    assert "offers no component that could be tested" in capsys.readouterr().err


def test_neither_help_nor_the_runner_needs_torch_or_pytest() -> None:
    code = (
        "import sys; from detkit.cli.main import run; run(['plugins', 'test', '--help']); import detkit.testing.runner;"
        " print(sorted({'torch', 'pytest', '_pytest'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
