"""The last lines of `detkit run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from detkit.cli.closing import closing_lines, shown_path
from detkit.cli.main import COMMANDS
from detkit.compare.leaderboard import make_leaderboard
from detkit.record.files import write_json
from detkit.record.reader import ExperimentRecord
from unit.written_records import begin, fail, finish, train, write_experiment


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentRecord:
    monkeypatch.chdir(tmp_path)
    record = write_experiment(tmp_path / "runs" / "two words", [("fcos", 1), ("retinanet", 1)])
    for run, value in zip(record.runs, (0.2, 0.3), strict=True):
        finish(train(begin(run), [value]), value)
    return record


def lines(record: ExperimentRecord) -> list[str]:
    return closing_lines(record, make_leaderboard(record))


def test_they_say_who_is_ahead_where_it_is_and_what_to_do(record: ExperimentRecord) -> None:
    told = lines(record)
    assert told[0] == "retinanet has the highest coco/ap of 2 models: 0.300 [0.250, 0.350]"
    assert told[1] == f"record: {record.folder}"
    assert told[-1].startswith("next: detkit ")
    assert told[-1].endswith("detkit predict 'runs/two words/retinanet-seed1' IMAGE")
    assert all(part.split()[1] in COMMANDS for part in told[-1].removeprefix("next: ").split("; "))


def test_four_lines_at_most(record: ExperimentRecord) -> None:
    page = record.folder / "report" / "index.html"
    page.parent.mkdir()
    page.touch()
    write_json(record.files.leaderboard, {"comparison": {"sentence": "retinanet beats fcos by 10.0 AP"}})
    told = lines(record)
    assert len(told) == 4
    assert told[0] == "retinanet beats fcos by 10.0 AP"
    assert told[2] == f"report: {page}"


def test_where_everything_failed_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    record = write_experiment(tmp_path / "two", [("fcos", 1)])
    fail(begin(record.runs[0]), "no")
    assert lines(record) == [f"record: {record.folder}"]


def test_a_path_is_shown_as_it_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert shown_path(tmp_path / "here" / "runs" / "x") == "runs/x"
    assert shown_path(tmp_path / "there") == str(tmp_path / "there")
