"""Does the command say of a record what it should?"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import detkit
import pytest
from click.testing import CliRunner

from my_plugin import COMPONENT, command


class Run:
    """Stands for a `detkit.RunRecord`."""

    def __init__(self, run_id: str, seconds: list[float], best_epoch: int | None) -> None:
        self.run_id = run_id
        self.state = "finished" if best_epoch else "interrupted"
        self.summary = {"selected": {"epoch": best_epoch}} if best_epoch else None
        self._seconds = seconds

    def epochs(self) -> list[dict[str, Any]]:
        return [{"epoch": epoch, "measured": {"train_s": value}} for epoch, value in enumerate(self._seconds, 1)]


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of two runs, wherever one is opened."""
    runs = [Run("fcos-seed1", [2.0, 3.0], 2), Run("retinanet-seed1", [1.5], None)]
    monkeypatch.setattr(detkit, "open_record", lambda _folder: SimpleNamespace(runs=runs), raising=False)


def test_detkit_can_load_it() -> None:
    assert COMPONENT.load() is command
    assert COMPONENT.name == command.name == "my_plugin"


@pytest.mark.usefixtures("record")
def test_it_prints_a_line_for_each_run() -> None:
    result = CliRunner().invoke(command, ["runs/street"])
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "my_plugin: fcos-seed1 (finished): 5 s of training, best in epoch 2 of 2",
        "my_plugin: retinanet-seed1 (interrupted): 2 s of training, nothing evaluated",
    ]


@pytest.mark.usefixtures("record")
def test_it_prints_json() -> None:
    result = CliRunner().invoke(command, ["runs/street", "--json"])
    first = json.loads(result.output)[0]
    assert first == {"run": "fcos-seed1", "state": "finished", "epochs": 2, "best_epoch": 2, "seconds": 5.0}


def test_a_folder_that_is_no_record_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [str(tmp_path)])
    assert isinstance(result.exception, detkit.RecordError)
