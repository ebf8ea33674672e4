"""Records and report folders from people whom nobody knows: nothing outside the report is read, written or removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from detkit.cli.main import run as command_line
from detkit.errors import RecordError
from detkit.record.reader import ExperimentRecord, open_record
from detkit.report.folder import write_report
from detkit.report.single import write_single_file
from made_record import Wanted, make_record

SMALL = Wanted(models=("fcos",), images=3, epochs=1, figures=False)


@pytest.fixture
def record(tmp_path: Path) -> ExperimentRecord:
    return make_record(tmp_path / "streets", SMALL)


def changed(file: Path, change: Any) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("name", ["../../precious.txt", "data/../../../precious.txt", "PLACE", "notes.txt"])
def test_a_manifest_removes_only_what_a_report_writes(record: ExperimentRecord, tmp_path: Path, name: str) -> None:
    folder = write_report(record).page.parent
    for precious in (tmp_path / "precious.txt", folder / "notes.txt"):
        precious.write_text("years of work")
    name = name.replace("PLACE", str(tmp_path / "precious.txt"))
    changed(folder / "data/manifest.json", lambda content: content["files"].update({name: [1], "data/old.js": [1]}))
    (folder / "data/old.js").write_text("")
    write_report(record)
    assert (tmp_path / "precious.txt").exists()
    assert (folder / "notes.txt").exists()
    assert not (folder / "data/old.js").exists()


@pytest.mark.parametrize("files", ["[1, 2]", '"text"', "null", "7"])
def test_a_manifest_of_another_form_means_everything_anew(record: ExperimentRecord, files: str) -> None:
    first = write_report(record)
    (first.page.parent / "data/manifest.json").write_text(f'{{"format": 1, "files": {files}}}')
    assert set(write_report(record).written) == set(first.written)


@pytest.mark.parametrize("name", ["../../../elsewhere", "/tmp/elsewhere", "..", "a\\b"])
def test_a_run_whose_name_leads_elsewhere_is_refused(
    record: ExperimentRecord, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(record.files.experiment, lambda content: content["runs"][0].update(run_id=name))
    with pytest.raises(RecordError, match="leads out of the report's folder"):
        write_single_file(open_record(record.folder), tmp_path / "one.html", limit_bytes=25_000_000)
    assert command_line(["report", str(record.folder)]) == 2
    assert "experiment.json has a run named" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("way", ["up", "absolute", "link"])
def test_a_copy_that_lies_elsewhere_is_not_taken(record: ExperimentRecord, tmp_path: Path, way: str) -> None:
    secret = tmp_path / "id_rsa.jpg"
    secret.write_text("the key")
    if way == "link":
        first = sorted(record.files.copies.iterdir())[0]
        first.unlink()
        first.symlink_to(secret)
    else:
        name = str(secret) if way == "absolute" else "../../id_rsa.jpg"
        changed(record.files.images, lambda content: content["images"][0].update(copy=name))
    folder = write_report(open_record(record.folder)).page.parent
    assert len(list((folder / "images").iterdir())) == SMALL.images - 1
    assert all(file.read_bytes() != b"the key" for file in (folder / "images").iterdir())
    one = tmp_path / "one.html"
    write_single_file(open_record(record.folder), one, limit_bytes=25_000_000)
    assert "dGhlIGtleQ" not in one.read_text()  # the key, in base64


def test_a_copy_that_is_gone_is_not_promised(record: ExperimentRecord) -> None:
    folder = write_report(record).page.parent
    before = (folder / "data/images.js").read_text()
    (record.files.copies / "001001.jpg").unlink()
    assert "data/images.js" in write_report(record).written
    assert "images/001001.jpg" in before
    assert "images/001001.jpg" not in (folder / "data/images.js").read_text()
    assert not (folder / "images/001001.jpg").exists()


@pytest.mark.parametrize("limit", ["nan", "inf", "1e308", "7"])
def test_a_limit_that_is_no_size_is_refused(
    record: ExperimentRecord, limit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = record.folder / "one.html"
    assert command_line(["report", str(record.folder), "--single-file", str(file), "--limit-mb", limit]) == 2
    assert "--limit-mb" in capsys.readouterr().err
    assert not file.exists()
