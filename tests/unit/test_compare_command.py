"""`detkit compare`: the table that fits, what is said below it, and the other forms."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from detkit.cli.main import run as command_line
from detkit.record.reader import ExperimentRecord
from unit.compared_record import add, experiment, level


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentRecord:
    """Three models in runs/mine, the only experiment; the best one is slow."""
    made = experiment(tmp_path / "runs" / "mine")
    classes = {"cat": 0.31, "dog | <b>": 0.9}
    slow, fast = ({"measured": {"latency_ms_median": ms}} for ms in (60.0, 20.0))
    add(made, "faster_rcnn", level(0.063, noise=1), costs=slow, per_class=classes)
    add(made, "fcos", level(0.05, noise=2), costs=fast, per_class=classes)
    add(made, "retinanet", level(-0.2, noise=3), costs=slow, per_class={"cat": 0.1})
    monkeypatch.chdir(tmp_path)
    return made


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What the command prints."""
    capsys.readouterr()
    assert command_line(["compare", *arguments]) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def test_it_says_what_was_compared_who_won_and_how_sure_that_is(
    record: ExperimentRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys).splitlines()
    assert lines[0] == "runs/mine: scored on 60 test images"
    assert [line.split()[0] for line in lines[1:5]] == ["model", "faster_rcnn", "fcos", "retinanet"]
    pairs = lines.index("pairs, by paired bootstrap over images; together they hold with 95 %, corrected for 3 pairs:")
    assert lines[pairs + 1].startswith("  faster_rcnn and fcos cannot be told apart on 60 images: they differ by 0.00")
    assert lines[pairs + 2].startswith("  faster_rcnn beats retinanet by 0.2")
    assert lines[-1] == (
        "faster_rcnn has the best mean (0.626) of 3 models; fcos cannot be told apart from it and is 3.0 times as fast"
    )
    assert "Pareto: no other model is better both in mean and latency (speed); mean and memory (memory)" in lines


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_the_table_fits_and_what_it_leaves_out_is_named(
    record: ExperimentRecord, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = said(capsys, "--no-pairs").splitlines()
    assert max(map(len, lines[1:5])) <= max(width, 80)
    left_out = [line for line in lines if line.startswith("left out for want of room: ")]
    shown = lines[1]
    assert "mean" in shown
    assert "latency ms" in shown
    assert "Pareto" in shown
    if width <= 80:
        assert "weights" in left_out[0]
        assert "--columns all shows every column" in left_out[0]
        assert "weights" not in shown
    if width == 140:
        assert left_out == []
        assert "weights" in shown


def test_columns_are_chosen(record: ExperimentRecord, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "--no-pairs", "--columns", "latency_ms, mean,weights,memory_gb").splitlines()
    assert lines[1].split() == ["model", "latency", "ms", "mean", "weights", "memory", "MB"]
    assert lines[2].split() == ["faster_rcnn", "60", "0.626", "coco", "300"]
    everything = said(capsys, "--no-pairs", "--columns", "all").splitlines()[1]
    for title in ("latency 95 % ms", "GFLOPs", "train memory MB", "device", "precision", "loss", "runs"):
        assert title in everything
    assert "did you mean 'latency_ms'" in said(capsys, "--columns", "latncy_ms", code=2)
    assert "--columns names no column" in said(capsys, "--columns", " , ", code=2)


def test_rules_filters_and_orders(record: ExperimentRecord, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "--best", "mean where latency_ms < 50", "--sort", "latency_ms").splitlines()
    assert lines[2].startswith("fcos")
    assert "  faster_rcnn misses latency_ms < 50 by 10 ms: it has 60 ms" in lines
    assert lines[-1].startswith("fcos is the only one of 3 models that meets latency_ms < 50, with 0.6")
    filtered = said(capsys, "--filter", "mean > 0.5", "--no-pairs").splitlines()
    assert "note: left out by mean > 0.5: retinanet" in filtered
    assert not any(line.startswith("retinanet") for line in filtered)
    error = said(capsys, "--best", "mean where latency_ms <", code=2)
    assert error.splitlines()[2:] == ["  mean where latency_ms <", " " * 25 + "^"]
    assert error.splitlines()[:2] == [
        "comparing the newest experiment, runs/mine",
        "error: expected the name of a quantity, a number, or words in quotes",
    ]


def test_classes_are_shown_where_asked_for(record: ExperimentRecord, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cat" not in said(capsys, "--no-pairs")
    lines = said(capsys, "--no-pairs", "--per-class").splitlines()
    begin = lines.index("mean by class")
    assert [line.split() for line in lines[begin + 1 : begin + 4]] == [
        ["class", "faster_rcnn", "fcos", "retinanet"],
        ["cat", "0.310", "0.310", "0.100"],
        ["dog", "|", "<b>", "0.900", "0.900", "-"],
    ]


def test_one_more_front(record: ExperimentRecord, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "--no-pairs", "--pareto", "latency_ms,parameters_m", "--columns", "pareto").splitlines()
    assert lines[3].split() == ["fcos", "speed", "latency_ms,", "parameters_m"]
    assert "--pareto wants two quantities, as f1,memory_mb, and not 'f1'" in said(capsys, "--pareto", "f1", code=2)


def test_comma_separated_values(record: ExperimentRecord, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(said(capsys, "--csv", "--per-class"))))
    assert [row["name"] for row in rows] == ["faster_rcnn", "fcos", "retinanet"]
    assert float(rows[0]["confident/mean"]) == pytest.approx(0.626, abs=1e-3)
    assert (rows[0]["latency_ms"], rows[1]["pareto"], rows[0]["weights"]) == ("60.0", "speed", "coco")
    assert rows[0]["confident/mean[cat]"] == "0.31"
    assert rows[2]["confident/mean[dog | <b>]"] == ""
    few = next(csv.reader(io.StringIO(said(capsys, "--csv", "--columns", "latency_ms", "--no-pairs"))))
    assert "latency_ms" in few
    assert "memory_mb" not in few


def test_json_has_everything(record: ExperimentRecord, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(said(capsys, "--json", "--best", "mean where latency_ms < 50"))
    assert report["format_version"] == 1
    assert len(report["pairs"]) == 3
    assert report["choice"]["winner"] == "fcos"
    assert report["choice"]["missed"]["faster_rcnn"] == ["misses latency_ms < 50 by 10 ms: it has 60 ms"]
    assert report["sentence"] == report["choice"]["sentence"]


def test_markdown_is_escaped_and_written_to_a_file(
    record: ExperimentRecord, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = said(capsys, "--markdown", "--per-class")
    assert r"| dog \| \<b\> | 0.900 |" in page
    assert "| `faster_rcnn` |" in page
    assert str(tmp_path) not in page
    assert "- faster\\_rcnn beats retinanet by 0.2" in page
    for name, begin in (("a.md", "**"), ("a.csv", "name,runs"), ("a.json", "{"), ("a.txt", "runs/mine")):
        assert said(capsys, "--no-pairs", "--output", name) == ""
        assert (tmp_path / name).read_text().startswith(begin)
    assert "none/a.md cannot be written: No such file" in said(capsys, "--output", "none/a.md", code=2)
    assert "--csv, --markdown: choose one of them" in said(capsys, "--csv", "--markdown", code=2)


def test_other_data_are_refused_unless_the_user_wants_them(
    record: ExperimentRecord, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = experiment(tmp_path / "runs" / "other", 30)
    add(other, "detr", level(0.3, images=30))
    error = said(capsys, "mine", "other", code=2)
    assert "faster_rcnn and detr were not scored on the same images: 30 images are of the first alone" in error
    lines = said(capsys, "mine", "other", "--anyway").splitlines()
    assert lines[0].endswith("scored on other images each")
    assert any(line.startswith("note: NOT COMPARABLE: ") for line in lines)
    assert lines[-1].endswith("but the models were scored differently, and these numbers are not comparable")


def test_what_people_have_named_is_words_in_every_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a formula, nor a new line, nor a terminal's command, nor Markdown."""
    monkeypatch.chdir(tmp_path)
    names = ['=cmd|"x"', "@two\nlines\x1b[31m"]
    for number, name in enumerate(names):
        made = experiment(tmp_path / name)
        classes_of = {"=a\n|\x1b[2J": 0.3}
        scores = level(0.1 * number, noise=number + 1)
        add(made, "a", scores, per_class=classes_of, weights_origin={"source": "=1+1"})
    text = said(capsys, *names, "--per-class", "--columns", "mean,experiment,weights")
    assert "\x1b" not in text
    classes = [line.split() for line in text.splitlines() if line.startswith("=a")]
    assert classes == [["=a", r"|\x1b[2J", "0.300", "0.300"]]
    assert r"@two lines\x1b[31m/a beats =cmd|" in text.splitlines()[-1]
    rows = list(csv.reader(io.StringIO(said(capsys, *names, "--csv", "--per-class"))))
    assert [row[0] for row in rows[1:]] == ["'@two\nlines/a", '\'=cmd|"x"/a']
    assert all(cell[:1] not in {"=", "@", "+"} for row in rows for cell in row)
    assert rows[1][rows[0].index("weights")] == "'=1+1"
    page = said(capsys, *names, "--markdown", "--per-class")
    assert "\x1b" not in page
    assert r'| `=cmd\|"x"/a` |' in page
    assert all(line[:1] in "|-*SmP" for line in page.splitlines())
    plain = json.loads(said(capsys, *names, "--json"))
    assert [row["name"] for row in plain["rows"]] == [f"{names[1]}/a", f"{names[0]}/a"]  # data, as they are


def test_markdown_says_what_its_intervals_are(record: ExperimentRecord, capsys: pytest.CaptureFixture[str]) -> None:
    page = said(capsys, "--markdown")
    assert (
        "\nPairs, by paired bootstrap over images; together they hold with 95 %, corrected for 3 pairs:\n\n- fast"
        in page
    )
    assert r"- 1\. faster\_rcnn: 0.626 mean" in page
    alone = said(capsys, "mine/fcos", "--markdown")
    assert "- no pairs: fewer than two models have finished" in alone


def test_the_correction_is_told_of_all_pairs_that_it_allows_for(
    record: ExperimentRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "corrected for 3 pairs:" in said(capsys, "--filter", "mean > 0.5")


def test_that_nothing_has_finished_is_said(record: ExperimentRecord, capsys: pytest.CaptureFixture[str]) -> None:
    for run in record.runs:
        run.files.summary.unlink()
    assert said(capsys).splitlines()[-1] == "no run has finished yet"
    assert "there is no quantity 'ap': no run has finished yet" in said(capsys, "--columns", "ap", code=2)


def test_a_row_for_every_run(record: ExperimentRecord, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "--runs", "--no-pairs").splitlines()
    assert lines[2].startswith("faster_rcnn-seed1")


def test_very_many_pairs_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = experiment(tmp_path / "many")
    for number in range(7):
        add(made, f"model{number}", level(0.05 * number - 0.15, noise=number + 1))
    lines = said(capsys, str(made.folder)).splitlines()
    assert "  and 15 pairs without model6: --json has them" in lines
    assert sum(" beats " in line or "cannot be told" in line for line in lines if line.startswith("  model")) >= 6
