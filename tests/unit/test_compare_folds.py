"""Folds in the comparison: means over folds with their deviation, pairs over folds, and never one fold with another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from detkit.cli.leaderboard import print_leaderboard
from detkit.compare.leaderboard import make_leaderboard
from detkit.compare.paired import paired_difference
from detkit.components import Silent
from detkit.data.coco_form import predictions_json
from detkit.errors import RecordError
from detkit.predict.finding import find_run
from detkit.record.files import read_json, write_json, write_json_gz
from detkit.record.layout import run_id
from detkit.record.reader import ExperimentRecord, RunRecord, open_run
from detkit.record.scored import read_scored
from unit.test_paired import found, write_experiment

IMAGES = 60


def folded(folder: Path, folds: int = 3) -> ExperimentRecord:
    """An experiment of 60 images in folds: image i validates in fold i % folds + 1."""
    record = write_experiment(folder, IMAGES)
    rows = read_json(record.files.splits)["test"]
    parts = [{"validation": rows[number::folds]} for number in range(folds)]
    write_json(record.files.splits, {"test": [], "folds": parts})
    return record


def add(record: ExperimentRecord, model: str, fold: int, scores: Mapping[int, float], *, seed: int = 1) -> RunRecord:
    """A finished run of a fold, which found one object of that score in each of its images.

    Args:
        scores: by image id, of all images.
    """
    name = run_id(model, seed, fold)
    row = {"run_id": name, "model": model, "seed": seed, "fold": fold}
    content = read_json(record.files.experiment)
    write_json(record.files.experiment, {**content, "runs": [*content["runs"], row]})
    run = RunRecord(record.folder, name, model, seed, fold)
    write_json(run.files.run, {**row, "spec": {"metrics": {"confident": {"use": "confident"}}}})
    ids = [row["image_id"] for row in read_json(record.files.splits)["folds"][fold - 1]["validation"]]
    predictions = [found(image_id, scores[image_id]) for image_id in ids]
    write_json_gz(run.files.predictions("validation"), predictions_json(predictions))
    values = [float(np.float32(scores[image_id])) for image_id in ids]
    summary = {
        **row,
        "selected": {"epoch": fold, "value": sum(values) / len(values), "by": "confident/mean"},
        "scored": {
            "split": "validation",
            "images": len(ids),
            "same_images": True,
            "values": {"confident/mean": sum(values) / len(values), "confident/images": len(ids)},
        },
        "primary": "confident/mean",
        "higher_is_better": {"confident/mean": True},
        "parameters": 1,
        "measured": {"train_s": 1.0, "peak_memory_bytes": 1},
    }
    write_json(run.files.summary, summary)
    return run


def scores(level: float, *, noise: int = 0) -> dict[int, float]:
    """By image id; images differ much more from each other than models do."""
    easy = np.random.default_rng(1).uniform(0.3, 0.9, IMAGES)
    moved = np.random.default_rng(noise).normal(0, 0.01, IMAGES) if noise else np.zeros(IMAGES)
    return {10 * (n + 1): float(value) for n, value in enumerate(easy + level + moved)}


@pytest.fixture
def record(tmp_path: Path) -> ExperimentRecord:
    """Two models in three folds; the second is a little better in nearly every image."""
    made = folded(tmp_path / "folds")
    for fold in (1, 2, 3):
        add(made, "fcos", fold, scores(0.0))
        add(made, "retina", fold, scores(0.03, noise=2))
    return made


def fold_means(level: Mapping[int, float]) -> list[float]:
    """The mean score of each fold's images."""
    ids = [10 * (n + 1) for n in reversed(range(IMAGES))]
    return [float(np.mean([float(np.float32(level[i])) for i in ids[number::3]])) for number in range(3)]


# --- the table -------------------------------------------------------------------------------------------------------


def test_the_mean_over_folds_and_their_deviation(record: ExperimentRecord, capsys: pytest.CaptureFixture[str]) -> None:
    board = make_leaderboard(record)
    assert [row.model for row in board.rows] == ["retina", "fcos"]
    value = board.rows[1].values["confident/mean"]
    expected = fold_means(scores(0.0))
    assert value.mean == pytest.approx(np.mean(expected))
    assert value.deviation == pytest.approx(np.std(expected, ddof=1))
    assert value.count == 3
    assert board.rows[1].folds == [1, 2, 3]
    print_leaderboard(board)
    said = capsys.readouterr().out
    assert "validation images: 60 in 3 folds; selected and scored on the same images; means over folds ±" in said


def test_a_fold_counts_once_whatever_its_seeds(record: ExperimentRecord) -> None:
    for seed in (2, 3):
        add(record, "fcos", 1, scores(0.3), seed=seed)
    value = (
        make_leaderboard(record)
        .rows[0 if make_leaderboard(record).rows[0].model == "fcos" else 1]
        .values["confident/mean"]
    )
    first, second, third = fold_means(scores(0.0))
    means = [float(np.mean([first, *[fold_means(scores(0.3))[0]] * 2])), second, third]
    assert value.mean == pytest.approx(np.mean(means))
    assert value.deviation == pytest.approx(np.std(means, ddof=1))
    assert value.count == 5


def test_models_that_finished_other_folds_are_not_ranked_in_silence(record: ExperimentRecord) -> None:
    (record.folder / "fcos-fold2-seed1" / "summary.json").unlink()
    board = make_leaderboard(record)
    assert not board.is_comparable
    assert "NOT COMPARABLE: the models have not finished the same folds" in board.note
    assert "(fcos: 1, 3; retina: 1, 2, 3)" in board.note
    with pytest.raises(RecordError, match="it has no clear winner"):
        find_run(record, Silent())


def test_the_winner_stands_in_with_its_first_fold(record: ExperimentRecord) -> None:
    told: list[str] = []

    class Told(Silent):
        def info(self, text: str) -> None:
            told.append(text)

    assert find_run(record, Told()).run_id == "retina-fold1-seed1"
    assert "of fold 1, since the folds' values on different images cannot be compared" in told[0]


# --- pairs -----------------------------------------------------------------------------------------------------------


def test_two_runs_of_different_folds_are_refused(record: ExperimentRecord) -> None:
    runs = {run.run_id: run for run in record.runs}
    with pytest.raises(RecordError, match=r"not scored on the same images \(folds 1 and 2\)"):
        paired_difference(runs["fcos-fold1-seed1"], runs["retina-fold2-seed1"])
    pair = paired_difference(runs["fcos-fold1-seed1"], runs["retina-fold1-seed1"])
    assert pair.images == 20


# --- the record ------------------------------------------------------------------------------------------------------


def test_a_run_has_the_splits_of_its_fold(record: ExperimentRecord) -> None:
    run = open_run(record.folder / "fcos-fold2-seed1")
    assert run.fold == 2
    by_split: dict[str, list[int]] = {}
    for image in run.images():
        by_split.setdefault(image.split, []).append(image.truth.image_id)
    assert {name: len(ids) for name, ids in by_split.items()} == {"train": 40, "validation": 20}
    assert sorted(by_split["validation"]) == read_scored(run).image_ids
    of_experiment = record.images()
    assert {image.split for image in of_experiment} == {"validation"}
    assert sorted(image.truth.image_id for image in of_experiment if image.fold == 2) == read_scored(run).image_ids


def test_a_fold_that_the_record_does_not_have_is_refused(record: ExperimentRecord) -> None:
    beside: Sequence[RunRecord] = [RunRecord(record.folder, "x", "fcos", 1, fold) for fold in (0, 4)]
    for run in beside:
        with pytest.raises(RecordError, match="has folds 1 to 3"):
            run.images()
