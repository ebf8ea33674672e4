"""Loggers are told of the experiment as a whole, after its last run; none of them can hold it up, or make it fail."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from detkit import RunFailed
from detkit.engine.publish import publish
from detkit.record.reader import ExperimentRecord
from detkit.spec.loader import load_spec
from integration.experiments import EVERY_HOOK, RecordingDisplay, squares_spec, write_spec

PLUGIN = Path(__file__).with_name("announcing.py")


def spec_file(folder: Path, loggers: dict[str, Any], **changes: Any) -> Path:
    changes = {"plugins": [str(EVERY_HOOK), str(PLUGIN)], "loggers": loggers, **changes}
    return write_spec(folder / "spec.toml", squares_spec(folder / "runs", **changes))


def announced(folder: Path) -> list[dict[str, Any]]:
    file = folder / "announced.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def detkit_run(file: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], float]:
    began = time.monotonic()
    command = [sys.executable, "-m", "detkit", "run", str(file), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done, time.monotonic() - began


def copy_of(record: ExperimentRecord, folder: Path) -> Path:
    """A folder of that experiment, without its runs, to write into."""
    copy = folder / "copy"
    copy.mkdir()
    for file in (record.files.experiment, record.files.spec):
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def test_the_command_ends_well_and_in_time_whatever_a_logger_does(tmp_path: Path) -> None:
    loggers = {
        "first": {"use": "announcer"},
        "hangs": {"use": "announcer", "way": "hangs", "timeout_s": 0.2},
        "raises": {"use": "announcer", "way": "raises"},
        "off": {"use": "announcer", "enabled": False},
        "journal": {},
    }
    file = spec_file(tmp_path, loggers, train={"epochs": 1})
    done, _ = detkit_run(file)

    folder = tmp_path / "runs" / "small"
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "as a whole" in line]
    assert [line.partition(" was not sent: ")[2] for line in warnings] == [
        "did not finish within 0.2 s",
        "raised ValueError: the server said no",
    ]
    assert warnings[0].startswith("warning: logger 'hangs'")
    assert "plugin 'announcing'" in warnings[0]
    # After the leaderboard, which is what they would send; once, by the enabled one.
    told = {"runs": ["finished"], "leaderboard": True, "offline": False, "thread": "publish-first"}
    assert announced(folder) == [told]

    again, seconds = detkit_run(file)  # nothing is left to run
    assert again.returncode == 0, again.stderr
    assert announced(folder) == [told, told]
    assert "copying images" not in again.stderr
    print(f"{seconds:.1f} s, a hanging logger among it")
    assert seconds < 30


def test_a_failed_run_is_part_of_the_whole(tmp_path: Path) -> None:
    failing = Path(__file__).with_name("failing.py")
    file = spec_file(
        tmp_path,
        {"announcer": {}},
        models={"centre_point": {"enabled": False}, "broken": {"way": "raises_at_once"}},
        plugins=[str(EVERY_HOOK), str(PLUGIN), str(failing)],
    )
    done, _ = detkit_run(file)

    assert done.returncode == RunFailed.exit_code, done.stderr
    assert [told["runs"] for told in announced(tmp_path / "runs" / "small")] == [["failed"]]


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("raises", "raised ValueError: the server said no"),
        ("refuses", "no key for the service"),
        ("times_out", "raised TimeoutError: the server was slow"),
        ("exits", "raised RuntimeError: it tried to end the process"),
        ("hangs", "did not finish within 0.1 s"),
        ("fails_to_say_how_long", "raised ArithmeticError: who knows"),
    ],
)
def test_each_trouble_is_one_warning_and_the_next_logger_is_told(
    way: str, says: str, small: ExperimentRecord, tmp_path: Path
) -> None:
    folder = copy_of(small, tmp_path)
    loggers = {
        "bad": {"use": "announcer", "way": way, **({"timeout_s": 0.1} if way == "hangs" else {})},
        "good": {"use": "announcer"},
        "silent": {"use": "journal"},
    }
    display = RecordingDisplay()
    publish(load_spec(spec_file(tmp_path, loggers)), folder, display)

    (warning,) = display.warnings
    assert warning.startswith("logger 'bad' (")
    assert warning.endswith(f"): the experiment as a whole was not sent: {says}")
    assert [told["thread"] for told in announced(folder)] == ["publish-good"]


def test_without_a_limit_it_waits_until_the_logger_is_done(small: ExperimentRecord, tmp_path: Path) -> None:
    spec = load_spec(spec_file(tmp_path, {"announcer": {}}), set={"loggers.announcer.timeout_s": None})
    folder = copy_of(small, tmp_path)
    publish(spec, folder, RecordingDisplay())
    assert len(announced(folder)) == 1
