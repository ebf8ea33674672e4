"""An experiment with folds: a run for each, one of them killed and resumed; evaluated again, compared, refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import detkit
from detkit.cli.main import run as command_line
from detkit.compare.leaderboard import make_leaderboard
from detkit.engine.display import SilentDisplay
from detkit.errors import RecordError, UserError
from detkit.record.files import read_json, write_json
from detkit.record.reader import ExperimentRecord, open_run
from integration.experiments import EVERY_HOOK, RecordingDisplay, merged, write_spec
from integration.test_resume import SABOTEUR

IMAGES = 14


def spec(folder: Path, **changes: Any) -> Path:
    values = {
        "plugins": [str(EVERY_HOOK), str(SABOTEUR)],
        "experiment": {"name": "folds", "output": str(folder / "runs")},
        "dataset": {"use": "squares", "images": IMAGES, "split": {"folds": 3, "test": 2}},
        "compute": {"device": "cpu", "precision": "fp32", "threads": 1},
        "train": {"epochs": 1, "batch_size": 2, "warmup_steps": 2},
        "models": {"centre_point": {}},
        "metrics": {"count_error": {}},
        "callbacks": {"saboteur": {"point": "step", "step": 2, "marker": str(folder / "struck")}},
    }
    return write_spec(folder / "folds.toml", merged(values, changes))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> ExperimentRecord:
    """The first fold was killed, the others went on; then it was resumed. Tests must not change it."""
    folder = tmp_path_factory.mktemp("folds")
    file = spec(folder)
    begun = detkit.run(file, display=SilentDisplay())
    assert [run.state for run in begun.runs] == ["failed", "finished", "finished"]
    with pytest.raises(RecordError, match=r"centre_point-fold1-seed1 \(failed\); go on with --resume"):
        detkit.run(file, display=SilentDisplay())
    return detkit.run(file, resume=True, display=SilentDisplay())


@pytest.fixture
def copied(record: ExperimentRecord, tmp_path: Path) -> Path:
    """A copy of the record in another folder, and a spec that goes on with it."""
    shutil.copytree(record.folder, tmp_path / "runs" / "folds")
    (tmp_path / "struck").touch()
    marker = {"saboteur": {"marker": str(record.folder.parents[1] / "struck")}}
    return spec(tmp_path, callbacks=marker)


def test_every_fold_has_a_run_of_its_own(record: ExperimentRecord) -> None:
    assert [run.run_id for run in record.runs] == [f"centre_point-fold{fold}-seed1" for fold in (1, 2, 3)]
    assert {run.state for run in record.runs} == {"finished"}
    splits = read_json(record.files.splits)
    tested = [row["image_id"] for row in splits["test"]]
    validated = [row["image_id"] for fold in splits["folds"] for row in fold["validation"]]
    assert len(tested) == 2
    assert sorted([*tested, *validated]) == list(range(IMAGES))
    for number, run in enumerate(record.runs, 1):
        own = {row["image_id"] for row in splits["folds"][number - 1]["validation"]}
        assert {image.truth.image_id for image in run.images() if image.split == "validation"} == own
        predicted = {row["image_id"] for row in detections(run.files.predictions(1))}
        assert predicted <= own
        assert {row["image_id"] for row in detections(run.files.predictions("test"))} <= set(tested)
        assert len(list(run.steps())) == (IMAGES - 2 - len(own)) / 2  # trained on the others, two a step
        assert (run.fold, run.facts["fold"], (run.summary or {})["fold"]) == (number, number, number)
    # The copies are of all images that are evaluated anywhere.
    assert all(image.copy for image in record.images())


def detections(file: Path) -> list[dict[str, Any]]:
    import gzip

    found: list[dict[str, Any]] = json.loads(gzip.decompress(file.read_bytes()))
    return found


def test_the_table_has_the_mean_over_folds(record: ExperimentRecord, capsys: pytest.CaptureFixture[str]) -> None:
    values = [(run.summary or {})["scored"]["values"]["count_error/mean"] for run in record.runs]
    (row,) = make_leaderboard(record).rows
    assert row.values["count_error/mean"].mean == pytest.approx(sum(values) / 3)
    assert row.values["count_error/mean"].deviation is not None
    assert row.folds == [1, 2, 3]
    assert command_line(["show", str(record.folder)]) == 0
    assert "test images: 2 in 3 folds; means over folds ± their standard deviation" in capsys.readouterr().out
    assert command_line(["show", str(record.folder), "--markdown"]) == 0
    page = capsys.readouterr().out
    assert "## Means over folds" in page
    assert "3 folds of 4, 4, 4 images, each of which validates once, 2 test" in page
    # The validation figures of different folds are not compared, the final ones, of one test split, are.
    assert "of each run's own fold, so that only runs of one fold can be compared" in page
    validated, tested = page.partition("## On the 2 test images")[::2]
    assert "**" not in validated.partition("## Accuracy")[2]
    assert "**" in tested.partition("##")[0]


def test_a_finished_experiment_is_left_alone(copied: Path) -> None:
    display = RecordingDisplay()
    again = detkit.run(copied, display=display)
    assert display.lines == []
    assert len(again.runs) == 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"folds": 4}, "dataset.split.folds: 3 before, 4 now"),
        ({"folds": 3, "stratify": False}, "dataset.split.stratify: None before, False now"),
        ({"folds": 3, "group": "(.)"}, "dataset.split.group: None before, '(.)' now"),
    ],
)
def test_changed_splits_are_refused_by_name(copied: Path, change: dict[str, Any], named: str) -> None:
    changes = {f"dataset.split.{key}": value for key, value in change.items()}
    with pytest.raises(RecordError) as refused:
        detkit.run(copied, set=changes, display=SilentDisplay())
    assert named in str(refused.value)


def test_one_division_in_place_of_folds_is_refused_by_name(copied: Path) -> None:
    """Its run has another name than those that are there."""
    file = copied.with_name("single.toml")
    file.write_text(copied.read_text().replace("folds = 3", "validation = 4"))
    with pytest.raises(RecordError, match=r"dataset\.split\.folds: 3 before, None now"):
        detkit.run(file, set={"experiment.name": "folds"}, display=SilentDisplay())


def test_a_run_is_evaluated_on_its_own_fold(record: ExperimentRecord) -> None:
    for number, run in enumerate(record.runs[:2], 1):
        report = detkit.evaluate(run, split="validation", resamples=0)
        own = [row["image_id"] for row in read_json(record.files.splits)["folds"][number - 1]["validation"]]
        assert [found.image_id for found in report.predictions] == sorted(own)
        recorded = run.epochs()[-1]["values"]["count_error/mean"]
        assert report.results["count_error"].scalars["mean"].value == recorded


def test_other_data_with_folds_has_no_one_validation_split(record: ExperimentRecord, copied: Path) -> None:
    with pytest.raises(UserError, match="has 3 folds, in each of which other images are validation images"):
        detkit.evaluate(record.runs[0], dataset=copied, split="validation", resamples=0)
    assert detkit.evaluate(record.runs[0], dataset=copied, split="test", resamples=0).subject["images"] == 2


def test_changed_data_is_refused_with_what_changed(copied: Path) -> None:
    with pytest.raises(RecordError, match=r"dataset\.images: 14 before, 15 now"):
        detkit.run(copied, set={"dataset.images": 15}, display=SilentDisplay())
    experiment = copied.parent / "runs" / "folds"
    digests = read_json(experiment / "data" / "digests.json")
    digests["images"][3]["sha256"] = "0" * 64
    write_json(experiment / "data" / "digests.json", digests)
    prints = read_json(experiment / "data" / "fingerprint.json")
    write_json(experiment / "data" / "fingerprint.json", {**prints, "sha256": "0" * 64})
    with pytest.raises(RecordError, match=r"the data has changed .*\(1 image with other bytes \(image 3\)\)"):
        detkit.run(copied, set={"experiment.seeds": [1, 2]}, display=SilentDisplay())


def test_the_difference_of_two_states_of_the_data(
    record: ExperimentRecord, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["data", "diff", str(record.folder), str(copied)]) == 0
    assert "the data is the same" in capsys.readouterr().out

    runs = [str(record.folder / f"centre_point-fold{fold}-seed1") for fold in (1, 2)]
    assert command_line(["data", "diff", *runs, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["same"], told["added"], told["removed"]) == (False, [], [])
    assert len(told["changed"]) == 8  # those that validate in one of the two folds
    assert told["changed"][0]["split"] in (["train", "validation"], ["validation", "train"])

    file = copied.with_name("more.toml")
    file.write_text(copied.read_text().replace("images = 14", "images = 16").replace("size = 64", "size = 72"))
    assert command_line(["data", "diff", str(record.folder), str(file), "--limit", "1"]) == 1
    out = capsys.readouterr().out
    assert "images added" in out
    assert "and 1 more; --limit 2 or --json lists them all" in out


def test_records_of_an_older_detkit_go_on(copied: Path) -> None:
    """A fingerprint of the first form is compared in that form, and then written in the new one."""
    from detkit.data.fingerprint import first_form_sha256
    from detkit.engine.prepare import prepare_data
    from detkit.spec.loader import load_spec

    file = copied.with_name("old.toml")
    file.write_text(copied.read_text().replace("folds = 3", "validation = 4"))
    single = load_spec(file, set={"experiment.name": "old"})
    detkit.run(file, set={"experiment.name": "old"}, display=SilentDisplay())
    data = prepare_data(single, SilentDisplay())
    folder = copied.parent / "runs" / "old" / "data"
    now = read_json(folder / "fingerprint.json")
    before = first_form_sha256(data.infos, data.dataset.class_names, data.division.of(None))
    (folder / "digests.json").unlink()
    kept = ("images", "objects", "class_names", "split_sizes")
    write_json(folder / "fingerprint.json", {"sha256": before, **{key: now[key] for key in kept}})
    added = {"experiment.name": "old", "experiment.seeds": [1, 2]}
    assert len(detkit.run(file, set=added, display=SilentDisplay()).runs) == 2
    assert read_json(folder / "fingerprint.json") == now
    write_json(folder / "fingerprint.json", {"sha256": "0" * 64, **{key: now[key] for key in kept}})
    with pytest.raises(RecordError, match="the data has changed"):
        detkit.run(file, set=added | {"experiment.seeds": [1, 2, 3]}, display=SilentDisplay())


def test_a_rehearsal_is_of_one_fold_and_counts_all(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["check", str(copied)]) == 0
    assert "1 model, 3 runs on squares" in capsys.readouterr().out
    assert command_line(["run", str(copied), "--smoke", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [estimate["model"] for estimate in told["estimates"]] == ["centre_point"]


def test_a_run_of_a_fold_is_found_by_its_name(record: ExperimentRecord) -> None:
    assert open_run(record.folder / "centre_point-fold2").fold == 2
