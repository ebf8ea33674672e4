"""The report's files: what is written and when, values to the last bit, and what a report must not tell."""

from __future__ import annotations

import gzip
import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detkit.cli.main import run as command_line
from detkit.components import Silent
from detkit.engine.display import SilentDisplay
from detkit.record.files import read_json_gz, write_json_gz
from detkit.record.reader import ExperimentRecord, RunRecord, open_record
from detkit.record.streams import StreamWriter
from detkit.report.arrays import packed, packed_exactly, unpacked
from detkit.report.evaluations import evaluations, read_detections
from detkit.report.folder import data_script, write_report
from detkit.report.refresh import final_report, refreshed
from detkit.report.single import spread_first, write_single_file
from detkit.report.thinning import MOST_POINTS, thinned
from made_record import Wanted, make_record

SMALL = Wanted(models=("faster_rcnn", "fcos"), images=4, epochs=2, figures=False, failed="fcos")


@pytest.fixture
def record(tmp_path: Path) -> ExperimentRecord:
    return make_record(tmp_path / "streets", SMALL)


def taken(file: Path) -> Any:
    """What a data file hands to the page."""
    text = file.read_text(encoding="utf-8")
    assert text.startswith("Report.take(")
    return json.loads(text[text.index("'") + 1 : text.rindex("'")].replace("\\'", "'").replace("\\\\", "\\"))


# --- what is written -------------------------------------------------------------------------------------------------


def test_a_refresh_writes_only_what_is_new(record: ExperimentRecord) -> None:
    first = write_report(record)
    assert {"index.html", "lib/plotly.js", "data/images.js", "data/fcos-seed1/epoch-002.js"} <= set(first.written)
    assert write_report(record).written == ["data/experiment.js"]
    run = record.run("fcos")
    write_json_gz(run.files.predictions(3), read_json_gz(run.files.predictions(2)))
    assert write_report(record).written == ["data/fcos-seed1/epoch-003.js", "data/experiment.js"]
    rows = read_json_gz(run.files.predictions(1))
    write_json_gz(run.files.predictions(1), rows[1:])  # a run that went back writes an epoch again
    assert write_report(record).written == ["data/fcos-seed1/epoch-001.js", "data/experiment.js"]


def test_what_left_the_record_leaves_the_report(record: ExperimentRecord) -> None:
    folder = write_report(record).page.parent
    record.run("fcos").files.predictions(1).unlink()  # keep_predictions = "best"
    write_report(record)
    assert not (folder / "data/fcos-seed1/epoch-001.js").exists()
    assert (folder / "data/fcos-seed1/epoch-002.js").exists()
    listed = taken(folder / "data/experiment.js")["runs"][1]["evaluations"]
    assert [one["key"] for one in listed] == ["epoch-002"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"format": 999, "files": {}}'])
def test_a_damaged_manifest_means_everything_anew(record: ExperimentRecord, content: bytes) -> None:
    first = write_report(record)
    (first.page.parent / "data/manifest.json").write_bytes(content)
    assert set(write_report(record).written) == set(first.written)


def test_files_that_were_deleted_come_back(record: ExperimentRecord) -> None:
    folder = write_report(record).page.parent
    for name in ("index.html", "data/faster_rcnn-seed1/epoch-001.js", "images/001000.jpg", "lib/tables.js"):
        (folder / name).unlink()
    again = set(write_report(record).written)
    assert again == {"index.html", "data/faster_rcnn-seed1/epoch-001.js", "images/001000.jpg", "lib/tables.js"} | {
        "data/experiment.js"
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no gzip", "is damaged"),
        (gzip.compress(b'[{"image_id": 77, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}]'), "KeyError: 77"),
        (gzip.compress(b'[{"image_id": 1000}]'), "KeyError: 'bbox'"),
        (gzip.compress(b"[1]"), "TypeError"),
    ],
    ids=("no-gzip", "unknown-image", "no-box", "no-row"),  # gzip's bytes hold the time
)
def test_a_damaged_file_of_the_record_is_left_out_and_named(
    record: ExperimentRecord, content: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record.run("fcos").files.predictions(2).write_bytes(content)
    report = write_report(record)
    (trouble,) = report.troubles
    assert "epoch-002.json.gz is damaged" in trouble
    assert words in trouble
    run = taken(report.page.parent / "data/experiment.js")["runs"][1]
    assert [one["key"] for one in run["evaluations"] if one["predictions"]] == ["epoch-001"]
    assert words in run["damaged"][0]
    assert str(record.folder) not in run["damaged"][0]
    assert command_line(["report", str(record.folder)]) == 0
    assert "warning: left out: " in capsys.readouterr().err
    single = write_single_file(record, record.folder / "one.html", limit_bytes=9_000_000)
    assert words in single.troubles[0]
    assert single.left_out == ""


def test_a_record_of_an_older_detkit_without_copies_of_images(record: ExperimentRecord) -> None:
    record.files.images.unlink()
    shutil.rmtree(record.files.copies)
    folder = write_report(record).page.parent
    assert not (folder / "images").exists()
    assert taken(folder / "data/images.js")["copies"] == [None] * len(record.images())


def test_images_lie_in_the_folder_once(record: ExperimentRecord) -> None:
    folder = write_report(record).page.parent
    for copy in record.files.copies.iterdir():
        assert (folder / "images" / copy.name).read_bytes() == copy.read_bytes()
        assert (folder / "images" / copy.name).samefile(copy)  # where the disk has hard links, as here


def test_no_report_names_a_folder_of_the_machine(tmp_path: Path) -> None:
    cause = f"ValueError in {tmp_path}/streets/model.py and /home/jane/secret/data.py"
    record = make_record(tmp_path / "streets", replace(SMALL, cause=cause))
    folder = write_report(record).page.parent
    for file in [folder / "index.html", *(folder / "data").rglob("*.js")]:
        text = file.read_text(encoding="utf-8")
        assert str(tmp_path) not in text
        assert "/home/jane" not in text
    assert "data.py" in taken(folder / "data/experiment.js")["runs"][1]["cause"]


def test_the_manifest_names_no_folder_either(record: ExperimentRecord) -> None:
    text = (write_report(record).page.parent / "data/manifest.json").read_text()
    assert str(record.folder) not in text


# --- values ----------------------------------------------------------------------------------------------------------


def test_boxes_and_scores_are_the_records_to_the_last_bit(record: ExperimentRecord) -> None:
    file = record.run("faster_rcnn").files.predictions(2)
    positions = {1000 + place: place for place in range(SMALL.images)}
    content, masks = read_detections(file, positions)
    assert (content["form"], masks) == ("corners", None)
    rows = sorted(read_json_gz(file), key=lambda row: (row["image_id"], -row["score"]))
    corners = unpacked(content["boxes"]).reshape(-1, 4).astype(np.float64)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    assert boxes.tolist() == [row["bbox"] for row in rows]
    assert unpacked(content["scores"]).astype(np.float64).tolist() == [row["score"] for row in rows]
    assert unpacked(content["labels"]).tolist() == [row["category_id"] for row in rows]
    offsets = unpacked(content["offsets"]).tolist()
    assert [row["image_id"] - 1000 for row in rows] == [i for i in range(4) for _ in range(offsets[i + 1] - offsets[i])]


def test_boxes_that_are_no_float32_are_kept_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "epoch-001.json.gz"
    rows = [{"image_id": 5, "category_id": 1, "bbox": [0.1, 0.2, 0.3, 1 / 3], "score": 0.1}]
    write_json_gz(file, rows)
    content, _ = read_detections(file, {5: 0})
    assert content["form"] == "sizes"
    assert unpacked(content["boxes"]).tolist() == rows[0]["bbox"]
    assert unpacked(content["scores"]).tolist() == [0.1]


def test_an_evaluation_without_detections(tmp_path: Path) -> None:
    write_json_gz(tmp_path / "epoch-001.json.gz", [])
    content, masks = read_detections(tmp_path / "epoch-001.json.gz", {5: 0, 6: 1})
    assert masks is None
    assert unpacked(content["offsets"]).tolist() == [0, 0, 0]


@pytest.mark.parametrize("values", [[0.5, 1.25], [0.1, 1e300], []])
def test_numbers_are_short_only_where_that_loses_nothing(values: list[float]) -> None:
    content = packed_exactly(np.array(values))
    assert content["type"] == ("f8" if 0.1 in values else "f4")
    assert unpacked(content).astype(np.float64).tolist() == values


def test_arrays_come_back() -> None:
    for kind, values in (("<i4", [-3, 70000]), ("<u2", [0, 65535]), ("|u1", [0, 255]), ("<f4", [0.5])):
        assert unpacked(packed(np.array(values), kind)).tolist() == values


def test_data_scripts_survive_any_text() -> None:
    content = {"a": "it's </script> \\ \u2028 \n \"", "__proto__": 1}
    script = data_script("a/b", content)
    assert "</script" not in script
    text = script[script.index("'") + 1 : script.rindex("'")]
    assert json.loads(text.replace("\\'", "'").replace("\\\\", "\\")) == content


def test_evaluations_in_their_order(record: ExperimentRecord) -> None:
    files = record.run("faster_rcnn").files
    write_json_gz(files.predictions(10), [])
    write_json_gz(files.predictions("test"), [])
    (files.folder / "predictions" / "notes.json.gz").write_bytes(b"")
    keys = [one.key for one in evaluations(files)]
    assert keys == ["epoch-001", "epoch-002", "epoch-010", "validation", "test"]


def test_long_streams_become_means_of_their_parts() -> None:
    rows = [{"step": n, "loss": float(n), "lr": None} for n in range(10 * MOST_POINTS)]
    found = thinned(rows, "step")
    assert (len(found["x"]), found["rows"]) == (MOST_POINTS, len(rows))
    assert found["series"]["loss"][0] == pytest.approx(4.5)
    assert "lr" not in found["series"]
    assert found["x"][-1] == rows[-1]["step"]
    short = thinned(rows[:3], "step")
    assert short["series"]["loss"] == [0.0, 1.0, 2.0]
    assert thinned([], "step") == {"x": [], "series": {}, "rows": 0}


def test_images_for_one_file_are_spread() -> None:
    order = list(spread_first(list(range(10))))
    assert sorted(order) == list(range(10))
    assert order[:3] == [0, 8, 4]
    assert list(spread_first([])) == []


# --- runs that go on -------------------------------------------------------------------------------------------------


class Told(SilentDisplay):
    """Keeps warnings and calls."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.calls: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def run_started(self, run: RunRecord, number: int, total: int, resumed: bool) -> None:
        self.calls.append(f"started {run.run_id} {number}/{total} {resumed}")

    def run_progress(self, run: RunRecord, progress: Any) -> None:
        self.calls.append("progress")

    def run_epochs(self, run: RunRecord, epochs: Any) -> None:
        self.calls.append(f"epochs {len(epochs)}")

    def run_line(self, run: RunRecord, line: str) -> None:
        self.calls.append(line)

    def run_ended(self, run: RunRecord) -> None:
        self.calls.append("ended")


@pytest.fixture
def written_reports(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each report that a refresh has written was one after the end."""
    import detkit.report.refresh as module

    ends: list[bool] = []

    def note(record: ExperimentRecord, *, ended: bool = True, messages: Any = None) -> Any:
        ends.append(ended)
        return write_report(record, ended=ended, messages=messages)

    monkeypatch.setattr(module, "write_report", note)
    return ends


def test_a_report_follows_a_run(record: ExperimentRecord, written_reports: list[bool]) -> None:
    display, run = Told(), record.run("fcos")
    page = record.folder / "report/data/experiment.js"
    with refreshed(display) as watched:
        watched.run_started(run, 1, 2, resumed=False)
        stream = StreamWriter(run.files.metrics)
        stream.append({"epoch": 3, "step": 30, "values": {"coco/ap": 0.5}, "measured": {}})
        stream.close()
        watched.run_progress(run, {})
        watched.run_epochs(run, run.epochs())
        watched.run_line(run, "passed on")
        watched.run_ended(run)
    assert display.calls == ["started fcos-seed1 1/2 False", "progress", "epochs 3", "passed on", "ended"]
    assert display.warnings == []
    assert 1 <= len(written_reports) <= 4  # begun, an epoch, ended, the last look: fewer where they come at once
    assert not any(written_reports)  # pairs are compared at the end alone
    assert taken(page)["runs"][1]["epochs"][-1]["epoch"] == 3


def test_a_report_that_cannot_be_written_is_one_warning(record: ExperimentRecord) -> None:
    (record.folder / "report").write_text("a file where the folder should be")
    display, run = Told(), record.run("fcos")
    with refreshed(display) as watched:
        for number in (1, 2, 3):
            watched.run_started(run, number, 3, resumed=False)
            watched.run_ended(run)
    assert len(display.warnings) == 1
    assert "the report could not be written" in display.warnings[0]
    assert f"detkit report {record.folder}" in display.warnings[0]
    messages = Told()
    assert final_report(record, messages) is None
    assert len(messages.warnings) == 1


def test_an_experiment_that_is_stopped_has_a_report(record: ExperimentRecord) -> None:
    def stopped() -> None:
        with refreshed(Told()) as watched:
            watched.run_started(record.run("fcos"), 1, 1, resumed=False)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert (record.folder / "report/index.html").is_file()


def test_what_is_asked_for_while_a_report_is_written_is_not_forgotten(
    record: ExperimentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    import detkit.report.refresh as module

    begun, go_on, states = threading.Event(), threading.Event(), []

    def slow(found: ExperimentRecord, *, ended: bool = True, messages: Any = None) -> Any:
        states.append(found.run("fcos").state)
        begun.set()
        assert go_on.wait(10)

    monkeypatch.setattr(module, "write_report", slow)
    run = record.run("fcos")
    with refreshed(Told()) as watched:
        watched.run_started(run, 1, 1, resumed=False)
        assert begun.wait(10)
        run.files.failure.unlink()  # the run ends otherwise while the first report is being written
        watched.run_ended(run)
        threading.Timer(0.05, go_on.set).start()
    assert states == ["failed", "interrupted"]


def test_without_a_run_nothing_is_written_meanwhile(record: ExperimentRecord) -> None:
    with refreshed(Told()):
        pass
    assert not (record.folder / "report").exists()


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_writes_and_tells(record: ExperimentRecord, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["report", str(record.folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["page"] == str(record.folder / "report/index.html")
    assert told["bytes"] > 5_000_000
    assert "index.html" in told["written"]
    assert command_line(["report", str(record.folder)]) == 0
    assert "1 file" in capsys.readouterr().out


def test_the_newest_experiment_is_taken_and_named(
    record: ExperimentRecord, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    shutil.move(record.folder, tmp_path / "runs/newest")
    monkeypatch.chdir(tmp_path)
    assert command_line(["report", "--output", "elsewhere"]) == 0
    assert "newest" in capsys.readouterr().err
    assert (tmp_path / "elsewhere/index.html").is_file()
    assert not (tmp_path / "runs/newest/report").exists()


def test_one_file_by_the_command(record: ExperimentRecord, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    assert command_line(["report", str(record.folder), "--single-file", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == file.stat().st_size
    assert command_line(["report", str(record.folder), "--single-file", str(file), "--output", "x"]) == 2
    assert "choose one" in capsys.readouterr().err


def test_what_cannot_be_reported_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: ExperimentRecord
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command_line(["report"]) == 2
    assert "name the folder of one" in capsys.readouterr().err
    assert command_line(["report", "nowhere"]) == 2
    assert "there is no folder nowhere" in capsys.readouterr().err
    (tmp_path / "taken").write_text("")
    assert command_line(["report", str(record.folder), "--output", str(tmp_path / "taken")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_a_limit_that_is_too_low_for_all(record: ExperimentRecord, tmp_path: Path) -> None:
    single = write_single_file(
        open_record(record.folder), tmp_path / "a.html", limit_bytes=8_000_000, messages=Silent()
    )
    assert single.left_out == ""
    assert single.bytes < 8_000_000


def test_pairs_are_compared_at_the_end_alone(tmp_path: Path) -> None:
    record = make_record(tmp_path / "streets", replace(SMALL, failed="", figures=True))
    page = write_report(record, ended=False).page.parent / "data/experiment.js"
    during = taken(page)["standing"]
    write_report(record)
    after = taken(page)["standing"]
    assert [row["name"] for row in during["rows"]] == [row["name"] for row in after["rows"]]
    assert len(after["sentences"]) == len(during["sentences"]) + 1
    assert "fcos" in after["sentences"][-1]
