"""The report that runs leave, and that it never keeps them from ending well."""

from __future__ import annotations

from pathlib import Path

import detkit
from detkit.record.reader import ExperimentRecord
from integration.experiments import RecordingDisplay, squares_spec, write_spec


def test_a_run_leaves_a_report_of_every_epoch(small: ExperimentRecord) -> None:
    folder = small.folder / "report"
    assert (folder / "index.html").is_file()
    data = {file.name for file in (folder / "data/centre_point-seed1").iterdir()}
    assert {"epoch-001.js", "epoch-002.js", "validation.js"} <= data
    assert len(list((folder / "images").iterdir())) == 4
    assert "finished" in (folder / "data/experiment.js").read_text(encoding="utf-8")


def test_without_a_report_and_where_none_can_be_written(tmp_path: Path) -> None:
    spec = write_spec(tmp_path / "spec.toml", squares_spec(tmp_path / "runs", train={"epochs": 1}))
    record = detkit.run(spec, report=False, display=RecordingDisplay())
    page = record.folder / "report"
    assert not page.exists()
    page.write_text("a file where the folder should be")
    display = RecordingDisplay()
    again = detkit.run(spec, display=display)
    assert [run.state for run in again.runs] == ["finished"]
    (warning,) = [text for text in display.warnings if "report" in text]
    assert warning.startswith("the report could not be written: cannot write")
    assert f"detkit report {again.folder}" in warning
    page.unlink()
    detkit.run(spec, display=RecordingDisplay())
    assert (page / "index.html").is_file()
