"""What a run leaves, what runs again, what is refused."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path

import pytest

import detkit
from detkit.cli.main import run as command_line
from detkit.compare.figure import draw_figure, find_figure
from detkit.compare.leaderboard import SAME_IMAGES, make_leaderboard
from detkit.components import Silent
from detkit.engine.checkpoint import load_checkpoint
from detkit.engine.display import SilentDisplay
from detkit.errors import RecordError
from detkit.record.lock import exclusive
from detkit.record.reader import ExperimentRecord
from detkit.spec.loader import load_spec
from integration.experiments import EVERY_HOOK, RecordingDisplay, squares_spec, write_spec


def test_the_record_holds_what_its_layout_promises(small: ExperimentRecord) -> None:
    run = small.run("centre_point-seed1")
    files = run.files
    for file in (files.run, files.metrics, files.steps, files.system, files.last, files.best, files.summary):
        assert file.is_file(), file
    assert [row["epoch"] for row in run.epochs()] == [1, 2]
    steps = list(run.steps())
    assert [row["step"] for row in steps] == list(range(1, 13))
    assert set(steps[0]["losses"]) == {"loss_heat", "loss_sides"}
    assert steps[0]["loss"] == pytest.approx(sum(steps[0]["losses"].values()))
    assert json.loads(files.summary.read_text())["format_version"] == 1
    predictions = json.loads(gzip.decompress(files.predictions(1).read_bytes()))
    assert set(predictions[0]) == {"image_id", "category_id", "bbox", "score"}
    truth = json.loads(small.files.ground_truth.read_text())
    assert len(truth["images"]) == 16
    assert truth["categories"] == [{"id": 1, "name": "square"}]
    assert {"versions", "hardware", "plugins", "seed", "compute", "weights_origin"} <= set(run.facts)
    measured = run.epochs()[0]["measured"]
    assert set(measured) == {"images_per_s", "train_s", "evaluation_s", "memory_bytes", "peak_memory_bytes"}
    assert min(measured.values()) > 0
    system = [json.loads(line) for line in files.system.read_text().splitlines()]
    assert system[0]["memory_bytes"] > 0


def test_loggers_get_the_values_of_the_record(small: ExperimentRecord) -> None:
    run = small.run("centre_point-seed1")
    journal = [json.loads(line) for line in (run.files.folder / "journal.jsonl").read_text().splitlines()]
    steps = {entry["step"]: entry["values"] for entry in journal if "train/lr" in entry.get("values", {})}
    epochs = {entry["epoch"]: entry["values"] for entry in journal if "train/epoch_loss" in entry.get("values", {})}
    assert {step: values["train/loss"] for step, values in steps.items()} == {r["step"]: r["loss"] for r in run.steps()}
    for row in run.epochs():
        there = {name: value for name, value in row["values"].items() if value is not None}
        assert there.items() <= epochs[row["epoch"]].items()


def test_without_a_test_split_every_table_says_so(small: ExperimentRecord) -> None:
    board = make_leaderboard(small)
    assert (board.split, board.images, board.note) == ("validation", 4, SAME_IMAGES)
    assert board.primary == "count_error/mean"
    assert board.higher_is_better is False
    assert board.best is not None
    assert "centre_point" in board._repr_html_()


def test_final_figures_come_from_the_test_split_and_the_selected_epoch(tmp_path: Path) -> None:
    spec = squares_spec(tmp_path / "runs", dataset={"split": {"validation": 4, "test": 6}})
    record = detkit.run(write_spec(tmp_path / "spec.toml", spec), display=SilentDisplay())
    summary = record.run("centre_point").summary
    assert summary is not None
    assert (summary["scored"]["split"], summary["scored"]["images"]) == ("test", 6)
    assert summary["selected"]["split"] == "validation"
    splits = json.loads(record.files.splits.read_text())
    ids = [row["image_id"] for name in ("train", "validation", "test") for row in splits[name]]
    assert sorted(ids) == list(range(16))
    scored = json.loads(gzip.decompress(record.run("centre_point").files.predictions("test").read_bytes()))
    assert {row["image_id"] for row in scored} == {row["image_id"] for row in splits["test"]}
    assert make_leaderboard(record).note == ""
    epochs = record.run("centre_point").epochs()
    best = min(epochs, key=lambda row: row["values"]["count_error/mean"])
    assert summary["selected"]["epoch"] == best["epoch"]


def test_a_test_split_says_what_the_chosen_thresholds_are_worth(tmp_path: Path) -> None:
    spec = squares_spec(
        tmp_path / "runs",
        dataset={"images": 24, "split": {"validation": 6, "test": 8}},
        metrics={"coco": {"match_iou": 0.1}},  # three epochs do not make a good detector
        train={"best_by": "coco/ap50", "epochs": 3},
    )
    record = detkit.run(write_spec(tmp_path / "spec.toml", spec), display=SilentDisplay())
    run = record.run("centre_point")
    assert run.summary is not None
    scored = run.summary["scored"]
    best, last = load_checkpoint(run.files.best), load_checkpoint(run.files.last)
    rows = {row["epoch"]: row["values"] for row in run.epochs()}
    assert run.summary["selected"]["epoch"] == 2, "the two checkpoints are of different epochs"
    for values in rows.values():
        assert "coco/best_f1" in values
        assert not any("chosen" in name for name in values)
    assert best["thresholds"] == scored["thresholds"]
    for checkpoint, epoch in ((best, run.summary["selected"]["epoch"]), (last, 3)):
        assert checkpoint["thresholds"]["coco"][""] == rows[epoch]["coco/best_f1_confidence"]
        assert type(checkpoint["thresholds"]["coco"][""]) is float
    threshold = best["thresholds"]["coco"]["square"]
    assert f"{last['thresholds']['coco']['square']:.3g} (chosen by coco)" == str(
        detkit.load_detector(run, checkpoint="last").thresholds
    )

    # By hand: an image has one square at most, so that one of the detections on it is right.
    sure: dict[int, list[list[float]]] = {}
    for row in json.loads(gzip.decompress(run.files.predictions("test").read_bytes())):
        if row["score"] >= threshold:
            sure.setdefault(row["image_id"], []).append(row["bbox"])
    squares = {row["image_id"]: row["bbox"] for row in json.loads(record.files.ground_truth.read_text())["annotations"]}
    tested = {row["image_id"] for row in json.loads(record.files.splits.read_text())["test"]}
    objects = len(tested & set(squares))
    right = sum(
        any(iou(box, squares[image]) >= 0.1 for box in boxes) for image, boxes in sure.items() if image in squares
    )
    f1 = 2 * right / (sum(map(len, sure.values())) + objects)
    assert 0 < f1 != scored["values"]["coco/f1"], "a chosen threshold and a half are told apart"
    assert scored["values"]["coco/chosen_f1"] == f1
    assert scored["values"]["coco/chosen_recall"] == right / objects
    assert scored["intervals"]["coco/chosen_f1"] is not None
    assert "coco/best_f1" not in scored["values"]
    figure = find_figure(run, "coco/chosen_f1")  # the record alone reproduces it
    assert draw_figure(figure, resamples=3, seed=1, messages=Silent(), advance=lambda: None).shape == (3,)


def iou(one: list[float], other: list[float]) -> float:
    """Of boxes as x, y, width, height."""
    sides = [min(one[k] + one[k + 2], other[k] + other[k + 2]) - max(one[k], other[k]) for k in (0, 1)]
    shared = max(sides[0], 0) * max(sides[1], 0)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


class TestRunningAgain:
    """One experiment, run again and again with changes."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("again")
        detkit.run(write_spec(folder / "spec.toml", squares_spec(folder / "runs")), display=SilentDisplay())
        return folder

    def test_a_finished_run_does_nothing(self, folder: Path) -> None:
        checkpoint = folder / "runs" / "small" / "centre_point-seed1" / "checkpoints" / "last.pt"
        before = checkpoint.stat().st_mtime_ns
        detkit.run(folder / "spec.toml", display=SilentDisplay())
        assert checkpoint.stat().st_mtime_ns == before

    def test_a_change_that_would_alter_numbers_is_refused_by_name(self, folder: Path) -> None:
        with pytest.raises(RecordError) as caught:
            detkit.run(folder / "spec.toml", set={"train.lr": 0.5, "dataset.images": 20}, display=SilentDisplay())
        assert "models.centre_point.train.lr: 0.01 before, 0.5 now" in str(caught.value)
        assert "dataset.images: 16 before, 20 now" in str(caught.value)
        assert "--name NEW" in str(caught.value)

    def test_more_epochs_are_refused_without_extend(self, folder: Path) -> None:
        with pytest.raises(
            RecordError, match=r"train\.epochs: 2 before, 3 now(.|\n)*--extend gives finished runs more epochs"
        ):
            detkit.run(folder / "spec.toml", set={"train.epochs": 3}, display=SilentDisplay())

    def test_another_detkit_on_the_same_folder_is_refused(self, folder: Path) -> None:
        with (
            exclusive(folder / "runs" / "small" / "lock", "the experiment"),
            pytest.raises(RecordError, match="in use by another detkit process"),
        ):
            detkit.run(folder / "spec.toml", display=SilentDisplay())

    def test_a_new_seed_is_added_and_a_new_logger_gets_the_finished_run(self, folder: Path) -> None:
        spec = squares_spec(folder / "runs", experiment={"seeds": [1, 2]}, loggers={"journal": {}})
        display = RecordingDisplay()
        record = detkit.run(write_spec(folder / "spec.toml", spec), display=display)
        assert [run.run_id for run in record.runs] == ["centre_point-seed1", "centre_point-seed2"]
        assert "centre_point-seed1: sending the record to journal" in display.infos
        replayed, live = (
            [json.loads(line) for line in (run.files.folder / "journal.jsonl").read_text().splitlines()]
            for run in record.runs
        )
        # A replay makes the calls that the run itself makes, in the same order.
        assert [(e["event"], e.get("step"), list(e.get("values", {}))) for e in replayed] == [
            (e["event"], e.get("step"), list(e.get("values", {}))) for e in live
        ]
        board = make_leaderboard(record)
        assert board.rows[0].values["count_error/mean"].count == 2
        assert board.rows[0].values["count_error/mean"].deviation is not None

    def test_fresh_takes_a_numbered_folder(self, folder: Path) -> None:
        record = detkit.run(folder / "spec.toml", set={"experiment.seeds": [1]}, fresh=True, display=SilentDisplay())
        assert record.folder.name == "small-2"
        assert record.name == "small-2"

    def test_extend_goes_on_from_the_last_epoch(self, folder: Path) -> None:
        before = list(detkit.open_record(folder / "runs" / "small").run("centre_point-seed1").steps())
        record = detkit.run(folder / "spec.toml", set={"train.epochs": 3}, extend=True, display=SilentDisplay())
        run = record.run("centre_point-seed1")
        assert run.state == "finished"
        steps = list(run.steps())
        assert steps[: len(before)] == before
        assert [row["epoch"] for row in run.epochs()] == [1, 2, 3]
        assert run.facts["extended"] == [2]
        # The schedule is planned anew from there: the rate rises again.
        assert steps[len(before)]["lr"] < steps[len(before) + 1]["lr"]
        assert (run.files.folder / "summary-2-epochs.json").is_file()


def test_extending_a_run_that_was_stopped_early_plans_from_where_it_stopped(tmp_path: Path) -> None:
    """The rates must be those of a schedule that begins there; planned from the epochs once asked for, they were
    negative."""
    spec = squares_spec(tmp_path / "runs", train={"epochs": 6}, callbacks={"stop_after": {"epochs": 2}})
    file = write_spec(tmp_path / "spec.toml", spec)
    run = detkit.run(file, display=SilentDisplay()).runs[0]
    assert (run.summary or {})["epochs"] == 2
    detkit.run(file, set={"train.epochs": 8}, extend=True, display=SilentDisplay())
    run = detkit.open_record(run.experiment).runs[0]
    added = [row["lr"] for row in run.steps() if row["epoch"] > 2]
    assert run.facts["schedule_from_epoch"] == 3
    # `stop_after` stops it again after one epoch, the first of six: the rate rises, and is never below 0.
    assert len(added) == 6
    assert min(added) > 0
    assert max(added) <= 0.01


def test_a_failed_run_starts_over_under_a_changed_spec_and_its_folder_is_kept(tmp_path: Path) -> None:
    spec = squares_spec(tmp_path / "runs", train={"lr": 1e30, "optimizer": "sgd", "clip_norm": float("inf")})
    file = write_spec(tmp_path / "spec.toml", spec)
    run = detkit.run(file, display=SilentDisplay()).runs[0]
    assert run.state == "failed"
    assert (run.failure or {})["kind"] == "NonFiniteLoss"
    record = detkit.run(file, set={"train.lr": 0.01, "train.optimizer": "adamw"}, display=SilentDisplay())
    assert record.runs[0].state == "finished"
    aside = record.folder / "centre_point-seed1.failed-1"
    assert json.loads((aside / "failure.json").read_text())["kind"] == "NonFiniteLoss"


def test_nothing_that_selects_means_the_last_epoch(tmp_path: Path) -> None:
    spec = squares_spec(tmp_path / "runs", train={"validation_loss": False})
    spec["metrics"] = {}
    record = detkit.run(write_spec(tmp_path / "spec.toml", spec), display=SilentDisplay())
    summary = record.runs[0].summary or {}
    assert summary["selected"]["epoch"] == 2
    assert summary["scored"]["values"] == {}
    assert make_leaderboard(record).best is None


def test_upload_sends_the_record_again_and_says_so_by_its_exit_code(
    tmp_path: Path, small: ExperimentRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "small"
    shutil.copytree(small.folder, copy)
    run = detkit.open_record(copy).runs[0]
    journal = run.files.folder / "journal.jsonl"
    live = journal.read_text()
    journal.unlink()
    assert command_line(["upload", str(copy)]) == 0
    assert "nothing to send" in capsys.readouterr().err
    assert command_line(["upload", str(copy), "--logger", "journal", "--all"]) == 0
    assert journal.read_text() == live.replace(str(small.folder), str(copy))
    journal.unlink()
    journal.mkdir()  # the logger cannot write there
    assert command_line(["upload", str(copy), "--all"]) == 1
    assert "IsADirectoryError" in capsys.readouterr().err
    assert command_line(["upload", str(copy), "--logger", "jurnal"]) == 2
    assert "did you mean 'journal'" in capsys.readouterr().err


def test_show_prints_the_table_and_json(small: ExperimentRecord, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["show", str(small.folder)]) == 0
    said = capsys.readouterr().out
    assert "count_error/mean" in said
    assert SAME_IMAGES in said
    assert command_line(["show", str(small.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["primary"] == "count_error/mean"
    assert command_line(["show", str(small.files.ground_truth)]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_show_writes_a_page_that_names_no_folder_of_the_machine(
    small: ExperimentRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["show", str(small.folder), "--markdown"]) == 0
    page = capsys.readouterr().out
    assert re.findall(r"^##? (.*)", page, re.MULTILINE) == [
        "small",
        "Accuracy",
        "Costs",
        "`count_error/mean` by epoch",
        "Recipes",
        "Again",
    ]
    assert "The best epoch is that of the lowest `count_error/mean`." in page
    assert "| `centre_point` |" in page
    assert not re.search(r"/(tmp|home|root|Users)\b", page)
    assert str(small.folder.parents[1].name) not in page
    # What the page calls the spec can be run where the plugin's file lies beside it.
    (spec,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "small.toml").write_text(spec)
    shutil.copy(EVERY_HOOK, tmp_path)
    assert load_spec(tmp_path / "small.toml").models["centre_point"].train.epochs == 2


def test_a_run_is_found_by_a_unique_beginning(small: ExperimentRecord) -> None:
    assert small.run("centre").run_id == "centre_point-seed1"
    with pytest.raises(RecordError, match="has no run 'fcos'"):
        small.run("fcos")


def test_open_record_says_what_a_folder_holds(small: ExperimentRecord, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="it holds the experiments small: name one"):
        detkit.open_record(small.folder.parent)
    with pytest.raises(RecordError, match="there is no folder"):
        detkit.open_record(tmp_path / "nothing")
    assert detkit.open_record(small.folder / "centre_point-seed1").name == "small"
    assert "<table>" in small._repr_html_()
