"""Intervals of the final figures in runs that are run for real, and what is printed with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import detkit
from detkit.cli.main import run as command_line
from detkit.compare.leaderboard import make_leaderboard
from detkit.data.coco_form import predictions_json
from detkit.engine.display import SilentDisplay
from detkit.errors import RecordError
from detkit.record.files import read_json_gz
from detkit.record.reader import ExperimentRecord
from detkit.record.scored import read_scored
from detkit.resampling import METHOD, SEED, interval, resample
from integration.experiments import EVERY_HOOK, RecordingDisplay, squares_spec, write_spec

CONFIDENT = Path(__file__).parents[1] / "confident.py"


def confident_spec(output: Path, **changes: Any) -> dict[str, Any]:
    """Two models, one that is trained and one that is not, so to say, on twelve images for the figures."""
    spec = squares_spec(
        output,
        plugins=[str(EVERY_HOOK), str(CONFIDENT)],
        experiment={"resamples": 200},
        dataset={"images": 32, "split": {"validation": 4, "test": 12}},
        train={"epochs": 1},
        models={"other": {"use": "centre_point", "train": {"lr": 1e-9}}},
        metrics={"confident": {}},
    )
    spec["metrics"] = {"confident": {}, "count_error": {}}
    for table, values in changes.items():
        spec[table] = {**spec[table], **values}
    return spec


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExperimentRecord, RecordingDisplay]:
    """Looked at by many tests, changed by none."""
    folder = tmp_path_factory.mktemp("confident")
    display = RecordingDisplay()
    return detkit.run(write_spec(folder / "spec.toml", confident_spec(folder / "runs")), display=display), display


def test_every_quantity_that_is_resampled_has_its_interval(
    finished: tuple[ExperimentRecord, RecordingDisplay],
) -> None:
    for run in finished[0].runs:
        summary = run.summary
        assert summary is not None
        scored = summary["scored"]
        assert scored["resampling"] == {"method": METHOD, "level": 0.95, "resamples": 200, "seed": SEED}
        assert set(scored["intervals"]) == {"confident/mean", "count_error/mean"}
        ends, value = scored["intervals"]["confident/mean"], scored["values"]["confident/mean"]
        assert ends["lower"] < value < ends["upper"]
        # The same from the record: a mean over the highest scores.
        highest = {p.image_id: float(p.scores.max(initial=0.0)) for p in read_scored(run).predictions}
        again = resample(
            lambda weights, highest=highest: {  # type: ignore[misc]  # bound per pass
                "mean": sum(weights[i] * score for i, score in highest.items()) / 12
            },
            {"mean": value},
            highest,
            resamples=200,
        )
        found = interval(again["mean"], estimate=value, images=12)
        assert found is not None
        assert (found.lower, found.upper) == pytest.approx((ends["lower"], ends["upper"]))


def test_epochs_have_no_intervals(finished: tuple[ExperimentRecord, RecordingDisplay]) -> None:
    assert all(set(row) == {"epoch", "step", "values", "measured"} for row in finished[0].runs[0].epochs())


def test_what_was_scored_is_read_back_as_it_was_written(
    finished: tuple[ExperimentRecord, RecordingDisplay],
) -> None:
    run = finished[0].runs[0]
    scored = read_scored(run)
    assert len(scored.truths) == 12
    assert scored.class_names == ("square",)
    assert predictions_json(scored.predictions) == read_json_gz(run.files.predictions("test"))


def test_tables_that_are_to_be_printed_are_printed_once(
    finished: tuple[ExperimentRecord, RecordingDisplay],
) -> None:
    display = finished[1]
    assert display.titles == ["", "How confident it is"] * 2
    columns, rows = display.tables[1]
    assert columns == ["what", "mean", "images"]
    assert rows[0][0] == "confident"
    assert rows[0][1] == f"{(finished[0].runs[0].summary or {})['scored']['values']['confident/mean']:.3f}"
    assert (rows[0][2], rows[1]) == ("12", ["nothing", "-", "0"])
    tables = (finished[0].runs[0].files.folder / "tables" / "test").iterdir()
    assert {file.name for file in tables} == {"confident-all.json", "confident-not_printed.json"}


def test_tables_show_the_interval_of_the_primary_figure(
    finished: tuple[ExperimentRecord, RecordingDisplay], capsys: pytest.CaptureFixture[str]
) -> None:
    record = finished[0]
    board = make_leaderboard(record)
    best = board.best
    assert best is not None
    cell = board.figure(best, board.primary)
    assert cell == f"{best.values[board.primary].mean:.3f} {best.interval(board.primary)}"
    assert command_line(["show", str(record.folder)]) == 0
    said = capsys.readouterr().out
    assert cell in said
    assert "in brackets: 95 % intervals over the images; an interval from 12 images is rough" in said
    assert command_line(["show", str(record.folder), "--json"]) == 0
    (row, _) = json.loads(capsys.readouterr().out)["rows"]
    assert set(row["intervals"][f"{best.model}-seed1"]) == {"confident/mean", "count_error/mean"}
    assert cell in record._repr_html_()
    assert cell in board._repr_html_()
    assert command_line(["show", str(record.folder), "--markdown"]) == 0
    assert cell.partition(" ")[2].replace("[", r"\[").replace("]", r"\]") in capsys.readouterr().out


def test_two_runs_are_compared_from_their_records(
    finished: tuple[ExperimentRecord, RecordingDisplay], capsys: pytest.CaptureFixture[str]
) -> None:
    record = finished[0]
    pair = detkit.paired_difference(record.runs[0], record.runs[1], quantity="count_error/mean")
    assert pair.difference.interval is not None
    values = [(run.summary or {})["scored"]["values"] for run in record.runs]
    assert pair.difference.estimate == values[0]["count_error/mean"] - values[1]["count_error/mean"]
    assert "resampling 2 runs (400 draws)" in capsys.readouterr().err
    again = detkit.paired_difference(*_ordered(record)).difference
    capsys.readouterr()
    # The runs have left their draws: the same numbers, and nothing is computed again.
    assert command_line(["compare", str(record.folder), "--json"]) == 0
    said = capsys.readouterr()
    assert "resampling" not in said.err
    (left,) = json.loads(said.out)["pairs"]
    assert again.interval is not None
    assert (left["lower"], left["upper"]) == pytest.approx((again.interval.lower, again.interval.upper))
    assert command_line(["compare", str(record.folder), "--by", "count_error/mean", "--json"]) == 0
    (other,) = json.loads(capsys.readouterr().out)["pairs"]
    assert abs(other["difference"]) == pytest.approx(abs(pair.difference.estimate))


def test_the_record_has_the_comparison_and_a_run_ends_with_who_won(
    finished: tuple[ExperimentRecord, RecordingDisplay], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = finished[0]
    compared = (record.leaderboard or {})["comparison"]
    assert compared["sentence"] == str(detkit.compare(record))
    assert [pair["sentence"] for pair in compared["pairs"]] == [str(pair) for pair in detkit.compare(record).pairs]
    folder = tmp_path / "runs"
    shutil.copytree(record.folder.parent, folder)
    spec = write_spec(tmp_path / "spec.toml", confident_spec(folder))
    assert command_line(["run", str(spec)]) == 0  # everything has finished: it only tells
    *_, more, last = capsys.readouterr().out.splitlines()
    assert (more, last) == (f"more: detkit compare {folder / record.folder.name}", compared["sentence"])


def _ordered(record: ExperimentRecord) -> list[Any]:
    return sorted(record.runs, key=lambda run: -(run.summary or {})["scored"]["values"]["confident/mean"])


def test_intervals_can_be_left_out_and_asked_for_later_without_changing_a_finished_run(tmp_path: Path) -> None:
    spec = confident_spec(tmp_path / "runs", experiment={"resamples": 0}, models={"other": {"enabled": False}})
    spec["models"]["other"] = {"use": "centre_point", "enabled": False}
    file = write_spec(tmp_path / "spec.toml", spec)
    run = detkit.run(file, display=SilentDisplay()).runs[0]
    before = run.files.summary.read_bytes()
    scored = json.loads(before)["scored"]
    assert "intervals" not in scored
    assert "resampling" not in scored
    changes = {"experiment.resamples": 100, "experiment.seeds": [1, 2]}
    record = detkit.run(file, set=changes, display=SilentDisplay())
    assert record.runs[0].files.summary.read_bytes() == before
    added = (record.runs[1].summary or {})["scored"]
    assert added["resampling"]["resamples"] == 100
    assert added["intervals"]["confident/mean"] is not None
    row = make_leaderboard(record).rows[0]
    assert list(row.intervals) == ["centre_point-seed2"]
    assert row.interval("confident/mean") is None  # of two seeds the table shows mean and deviation


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("raises", "ZeroDivisionError: a resampler's own fault"),
        ("nan", "gives nan for mean; a value that does not apply is None"),
        ("unknown", "gives maen; known are mean, images"),
        ("other", "with every image drawn once its resampler gives 123.0 for mean, and the metric itself"),
    ],
)
def test_a_resampler_that_is_broken_stops_the_run_before_its_training(tmp_path: Path, fault: str, says: str) -> None:
    spec = confident_spec(tmp_path / "runs", metrics={"confident": {"fault": fault}})
    spec["models"] = {"centre_point": {}}
    run = detkit.run(write_spec(tmp_path / "spec.toml", spec), display=SilentDisplay()).runs[0]
    failure = run.failure
    assert failure is not None
    assert failure["kind"] == "ComponentError"
    assert failure["message"].startswith(f"metric 'confident' (plugin 'confident' ({CONFIDENT})) failed while being")
    assert says in failure["message"]
    assert list(run.steps()) == []


def test_a_damaged_prediction_is_a_record_that_does_not_reproduce(
    finished: tuple[ExperimentRecord, RecordingDisplay], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "small"
    shutil.copytree(finished[0].folder, copy)
    shutil.copy(copy / "centre_point-seed1/predictions/test.json.gz", copy / "other-seed1/predictions/test.json.gz")
    with pytest.raises(RecordError, match=r"other-seed1 .* does not reproduce"):
        detkit.paired_difference(copy / "centre_point-seed1", copy / "other-seed1")
    for run in ("centre_point", "other"):
        (copy / f"{run}-seed1" / "draws.json.gz").unlink()
    assert command_line(["compare", str(copy)]) == 2
    assert "other-seed1" in (said := capsys.readouterr().err)
    assert "does not reproduce" in said
