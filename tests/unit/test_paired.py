"""The difference of two runs from their records alone: a mean over images, in records that are written by hand."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

import detkit
from detkit.compare.leaderboard import SAME_IMAGES
from detkit.compare.paired import PairedDifference
from detkit.data.coco_form import ground_truth_json, predictions_json
from detkit.data.types import Annotation, ImageInfo, Prediction
from detkit.errors import ComponentError, RecordError, UserError
from detkit.record.files import read_json, write_json, write_json_gz
from detkit.record.layout import ExperimentLayout
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.record.scored import read_scored
from detkit.resampling import RESAMPLES, SEED, Difference, Interval, draws

CONFIDENT = Path(__file__).parents[1] / "confident.py"

# --- records ---------------------------------------------------------------------------------------------------------


def write_experiment(
    folder: Path, images: int, *, split: str = "test", options: Mapping[str, Any] | None = None
) -> ExperimentRecord:
    """An experiment without runs, whose images have the ids 10, 20, ... and one object each."""
    layout = ExperimentLayout(folder)
    write_json(layout.experiment, {"name": folder.name, "blocked": [], "runs": []})
    spec = {
        "plugins": [str(CONFIDENT)],
        "experiment": {"name": folder.name, "output": str(folder.parent), "resamples": 400},
        "dataset": {"use": "synthetic"},
        "models": {"fcos": {"backbone": "tiny_fpn"}},
        "metrics": {"confident": dict(options or {})},
    }
    layout.spec.write_text(tomli_w.dumps(spec))
    ids = [10 * (n + 1) for n in range(images)]
    infos = [ImageInfo(i, None, 64, 48, (Annotation(1, (1.0, 2.0, 9.0, 8.0), 48.0),), f"{i}.png") for i in ids]
    write_json(layout.ground_truth, ground_truth_json(infos, ("cat", "dog")))
    splits: dict[str, list[dict[str, int]]] = {"train": [], "validation": [], "test": []}
    # In the order of a dataset, which is not that of the ids.
    splits[split] = [{"index": n, "image_id": i} for n, i in enumerate(reversed(ids))]
    write_json(layout.splits, splits)
    return ExperimentRecord(folder)


def add_run(record: ExperimentRecord, run_id: str, scores: Sequence[float | None], **changes: Any) -> RunRecord:
    """A finished run that found one object of that score in each image; None: nothing."""
    splits = read_json(record.files.splits)
    split = "test" if splits["test"] else "validation"
    ids = sorted(row["image_id"] for row in splits[split])
    seed = int(run_id.rpartition("seed")[2])
    row = {"run_id": run_id, "model": "fcos", "seed": seed}
    content = read_json(record.files.experiment)
    write_json(record.files.experiment, {**content, "runs": [*content["runs"], row]})
    run = RunRecord(record.folder, run_id, "fcos", seed)
    spec = tomllib.loads(record.files.spec.read_text())
    write_json(run.files.run, {**row, "spec": {"metrics": spec["metrics"]}})
    predictions = [found(image_id, score) for image_id, score in zip(ids, scores, strict=True)]
    write_json_gz(run.files.predictions(split), predictions_json(predictions))
    options = spec["metrics"]["confident"]
    highest = [options.get("gain", 1.0) * float(np.float32(score or 0.0)) for score in scores]
    summary: dict[str, Any] = {
        **row,
        "selected": {"epoch": 3},
        "scored": {
            "split": split,
            "images": len(ids),
            "same_images": split == "validation",
            "values": {"confident/mean": sum(highest) / len(highest), "confident/images": len(ids), "loss/loss": 1.0},
        },
        "primary": "confident/mean",
        "higher_is_better": {"confident/mean": not options.get("lower_is_better", False), "loss/loss": False},
        "parameters": 1,
        "measured": {"train_s": 1.0, "peak_memory_bytes": 1},
    }
    write_json(run.files.summary, {**summary, **changes})
    return run


def found(image_id: int, score: float | None) -> Prediction:
    boxes = np.array([[1, 2, 9, 8]] if score is not None else [], dtype=np.float32).reshape(-1, 4)
    scores = np.array([] if score is None else [score], dtype=np.float32)
    return Prediction(image_id, boxes, np.ones(len(scores), dtype=np.int64), scores)


EASY = np.random.default_rng(1).uniform(0.3, 0.9, 60)
NOISE = np.random.default_rng(2).normal(0, 0.05, 60)


@pytest.fixture
def two(tmp_path: Path) -> ExperimentRecord:
    """The first run is better in nearly every image, by less than the images differ from each other."""
    record = write_experiment(tmp_path / "two", 60)
    add_run(record, "fcos-seed1", (EASY + 0.05 + NOISE).tolist())
    add_run(record, "fcos-seed2", EASY.tolist())
    return record


# --- the difference --------------------------------------------------------------------------------------------------


def test_the_difference_is_that_of_the_same_draws(two: ExperimentRecord) -> None:
    pair = detkit.paired_difference(two.runs[0], two.runs[1])
    differences = (EASY + 0.05 + NOISE).astype(np.float32).astype(float) - EASY.astype(np.float32).astype(float)
    weights = np.array([list(w.values()) for w in draws(range(60), resamples=400)])
    # Student's t with 59 degrees of freedom, and as many images as a mean over 60 has degrees.
    reach = 2.0009954 * np.std(weights @ differences / 60, ddof=1) * np.sqrt(60 / 59)
    wanted = (differences.mean() - reach, differences.mean() + reach)
    assert pair.difference.estimate == pytest.approx(differences.mean())
    assert pair.difference.interval is not None
    assert (pair.difference.interval.lower, pair.difference.interval.upper) == pytest.approx(tuple(wanted))
    assert pair.difference.interval.resamples == 400  # as the spec says
    assert pair.difference.is_clear
    assert (pair.quantity, pair.images, pair.warnings) == ("confident/mean", 60, ())
    assert str(pair).startswith("fcos-seed1 beats fcos-seed2 by 0.0")
    turned = detkit.paired_difference(two.runs[1], two.runs[0])
    assert str(turned) == str(pair)
    assert turned.difference.estimate == -pair.difference.estimate


def test_paths_mean_runs_and_the_draws_can_be_chosen(two: ExperimentRecord) -> None:
    by_path = detkit.paired_difference(two.folder / "fcos-seed1", str(two.folder / "fcos-seed2"))
    assert by_path == detkit.paired_difference(two.runs[0], two.runs[1])
    more = detkit.paired_difference(two.runs[0], two.runs[1], resamples=500, seed=SEED + 1)
    assert more.difference.interval != by_path.difference.interval
    assert more.difference.estimate == by_path.difference.estimate


def test_a_run_and_itself_cannot_be_told_apart(two: ExperimentRecord) -> None:
    pair = detkit.paired_difference(two.runs[0], two.runs[0])
    assert pair.difference == Difference(0.0, Interval(0.0, 0.0, 0.95, 400), 0.5, p_value=1.0)
    assert str(pair) == (
        "fcos-seed1 and fcos-seed1 cannot be told apart on 60 images: they differ by 0.000 confident/mean"
        " (95 % interval 0.000 to 0.000)"
    )


def test_images_are_measured_again_in_the_order_of_the_run(two: ExperimentRecord) -> None:
    """By rising id: the last bit of a sum depends on it."""
    scored = read_scored(two.runs[0])
    assert scored.image_ids == [10 * (n + 1) for n in range(60)]
    assert [prediction.image_id for prediction in scored.predictions] == scored.image_ids


def test_images_in_which_nothing_was_found_count(tmp_path: Path) -> None:
    record = write_experiment(tmp_path / "some", 40)
    a = add_run(record, "fcos-seed1", [0.5, None] * 20)
    b = add_run(record, "fcos-seed2", [None] * 40)
    assert detkit.paired_difference(a, b).difference.estimate == 0.25


def test_where_lower_is_better_the_lower_one_wins(tmp_path: Path) -> None:
    record = write_experiment(tmp_path / "low", 60, options={"lower_is_better": True})
    a = add_run(record, "fcos-seed1", (EASY + 0.05 + NOISE).tolist())
    b = add_run(record, "fcos-seed2", EASY.tolist())
    assert str(detkit.paired_difference(a, b)).startswith("fcos-seed2 beats fcos-seed1 by 0.0")
    compared = detkit.compare(record, by_run=True)
    assert (compared.pairs[0].a, compared.pairs[0].b) == ("fcos-seed2", "fcos-seed1")
    assert str(compared.pairs[0]).startswith("fcos-seed2 beats fcos-seed1 by 0.0")
    assert compared.sentence == str(compared.pairs[0])


PAIR = PairedDifference(
    run_a="a",
    run_b="b",
    quantity="coco/ap",
    higher_is_better=True,
    value_a=0.6,
    value_b=0.569,
    difference=Difference(0.031, Interval(0.008, 0.054), 0.99),
    images=50,
)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "a beats b by 0.031 coco/ap (95 % interval 0.008 to 0.054)"),
        ({"higher_is_better": False}, "b beats a by 0.031 coco/ap (95 % interval 0.008 to 0.054)"),
        ({"higher_is_better": None}, "a is above b by 0.031 coco/ap (95 % interval 0.008 to 0.054)"),
        (
            {"difference": Difference(-0.031, Interval(-0.054, -0.008), 0.01)},
            "b beats a by 0.031 coco/ap (95 % interval 0.008 to 0.054)",
        ),
        (
            {"difference": Difference(-0.031, Interval(-0.054, -0.008), 0.01), "higher_is_better": None},
            "b is above a by 0.031 coco/ap (95 % interval 0.008 to 0.054)",
        ),
        (
            {"difference": Difference(0.01, Interval(-0.008, 0.054), 0.8)},
            "a and b cannot be told apart on 50 images: they differ by 0.010 coco/ap (95 % interval -0.008 to 0.054)",
        ),
        (
            {"difference": Difference(0.01, None, None), "images": 1},
            "a and b differ by 0.010 coco/ap; the images (1) allow no interval",
        ),
    ],
)
def test_the_sentence_says_who_wins(changes: dict[str, Any], sentence: str) -> None:
    assert str(replace(PAIR, **changes)) == sentence


def test_what_must_be_said_is_said(tmp_path: Path) -> None:
    record = write_experiment(tmp_path / "few", 20, split="validation")
    add_run(record, "fcos-seed1", EASY[:20].tolist())
    add_run(record, "fcos-seed2", EASY[20:40].tolist())
    pair = detkit.paired_difference(*record.runs)
    assert pair.warnings == (SAME_IMAGES, "an interval from 20 images is rough")


# --- two experiments -------------------------------------------------------------------------------------------------


def test_runs_of_two_experiments_are_compared_where_their_images_are_the_same(tmp_path: Path) -> None:
    a, b = (write_experiment(tmp_path / name, 60) for name in ("one", "other"))
    pair = detkit.paired_difference(
        add_run(a, "fcos-seed1", (EASY + 0.05).tolist()), add_run(b, "fcos-seed1", EASY.tolist())
    )
    assert (pair.run_a, pair.run_b) == ("one/fcos-seed1", "other/fcos-seed1")
    assert pair.difference.is_clear


def test_experiments_of_one_name_are_told_by_their_paths(tmp_path: Path) -> None:
    a, b = (write_experiment(tmp_path / name / "same", 5) for name in ("one", "other"))
    pair = detkit.paired_difference(add_run(a, "fcos-seed1", [0.1] * 5), add_run(b, "fcos-seed1", [0.2] * 5))
    assert pair.run_a == str(tmp_path / "one/same/fcos-seed1")
    assert pair.run_b == str(tmp_path / "other/same/fcos-seed1")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda truth, splits: truth["categories"].reverse(), ""),  # the order of the rows is none of the classes
        (lambda truth, splits: truth["categories"][0].update(name="cow"), "classes are cat, dog and cow, dog"),
        (lambda truth, splits: splits["test"].pop(), "1 images are of the first alone, 0 of the second"),
        (lambda truth, splits: truth["annotations"][2].update(area=47.0), "the objects of 30.png .* are not the same"),
        (lambda truth, splits: truth["annotations"].pop(), "the objects of 50.png"),
        (lambda truth, splits: truth["images"][1].update(file_name="b.png"), r"id 20 is 20.png .* and b.png"),
    ],
)
def test_other_images_are_refused_by_name(tmp_path: Path, change: Any, says: str) -> None:
    a, b = (write_experiment(tmp_path / name, 5) for name in ("one", "other"))
    truth, splits = read_json(b.files.ground_truth), read_json(b.files.splits)
    change(truth, splits)
    write_json(b.files.ground_truth, truth)
    write_json(b.files.splits, splits)
    run_a, run_b = add_run(a, "fcos-seed1", [0.5] * 5), add_run(b, "fcos-seed1", [0.5] * len(splits["test"]))
    if says:
        with pytest.raises(RecordError, match=f"not scored on the same images: .*{says}"):
            detkit.paired_difference(run_a, run_b)
    else:
        detkit.paired_difference(run_a, run_b)


def test_metrics_with_other_options_are_refused(tmp_path: Path) -> None:
    a, b = write_experiment(tmp_path / "one", 5), write_experiment(tmp_path / "other", 5, options={"gain": 2.0})
    with pytest.raises(RecordError, match=r"not scored by the same metric: .*'gain': 1.0.* and .*'gain': 2.0"):
        detkit.paired_difference(add_run(a, "fcos-seed1", [0.5] * 5), add_run(b, "fcos-seed1", [0.5] * 5))


# --- what cannot be compared -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "same"), [(1 + 1e-15, True), (1 - 5e-10, True), (1 + 1e-8, False), (2, False)])
def test_a_record_that_does_not_reproduce_is_refused_but_not_for_a_last_bit(
    two: ExperimentRecord, factor: float, same: bool
) -> None:
    summary = read_json(two.runs[1].files.summary)
    summary["scored"]["values"]["confident/mean"] *= factor
    write_json(two.runs[1].files.summary, summary)
    if same:
        assert detkit.paired_difference(two.runs[0], two.runs[1]).difference.interval is not None
    else:
        with pytest.raises(RecordError, match=r"fcos-seed2 .* does not reproduce: .* has changed since"):
            detkit.paired_difference(two.runs[0], two.runs[1])


@pytest.mark.parametrize("resamples", [-3, 0, 5, 99])
def test_too_few_draws_are_refused(two: ExperimentRecord, resamples: int) -> None:
    with pytest.raises(UserError, match=f"at least 100 resamples, not {resamples}"):
        detkit.paired_difference(two.runs[0], two.runs[1], resamples=resamples)


def test_where_the_spec_wants_no_intervals_a_difference_has_the_usual_draws(two: ExperimentRecord) -> None:
    spec = tomllib.loads(two.files.spec.read_text())
    spec["experiment"]["resamples"] = 0
    two.files.spec.write_text(tomli_w.dumps(spec))
    found = detkit.paired_difference(two.runs[0], two.runs[1]).difference.interval
    assert found is not None
    assert found.resamples == RESAMPLES


@pytest.mark.parametrize(
    ("quantity", "says"),
    [
        ("confident/maen", "no figure 'confident/maen'; did you mean 'confident/mean'"),
        ("loss/loss", "loss/loss of fcos-seed1 is no number of a metric"),
        ("confident/images", "does not resample images"),
    ],
)
def test_a_quantity_that_cannot_be_resampled_is_refused(two: ExperimentRecord, quantity: str, says: str) -> None:
    with pytest.raises(RecordError, match=says):
        detkit.paired_difference(two.runs[0], two.runs[1], quantity=quantity)


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("no resampler", RecordError, "metric 'confident' .*confident.py.* gives no resampler"),
        (
            "raises",
            ComponentError,
            "metric 'confident' .* failed while being resampled: ZeroDivisionError: a",
        ),
        ("nan", ComponentError, "metric 'confident' .* gives nan for mean"),
    ],
)
def test_a_metric_that_fails_is_named(tmp_path: Path, fault: str, error: type[Exception], says: str) -> None:
    record = write_experiment(tmp_path / "broken", 5, options={"fault": fault})
    a, b = (add_run(record, f"fcos-seed{seed}", [0.5] * 5) for seed in (1, 2))
    with pytest.raises(error, match=says):
        detkit.paired_difference(a, b)


def test_only_finished_whole_records_are_compared(two: ExperimentRecord) -> None:
    a, b = two.runs
    b.files.predictions("test").unlink()
    with pytest.raises(RecordError, match=r"test\.json\.gz is missing"):
        detkit.paired_difference(a, b)
    write_json_gz(b.files.predictions("test"), predictions_json([found(11, 0.5)]))
    with pytest.raises(RecordError, match="do not fit each other: KeyError: 11"):
        detkit.paired_difference(a, b)
    b.files.summary.unlink()
    for first, second in ((a, b), (b, a)):
        with pytest.raises(RecordError, match=r"fcos-seed2 \(interrupted\): only a finished run has figures"):
            detkit.paired_difference(first, second)


def test_a_figure_without_a_value_is_no_difference(two: ExperimentRecord) -> None:
    summary = read_json(two.runs[1].files.summary)
    summary["scored"]["values"]["confident/mean"] = None
    write_json(two.runs[1].files.summary, summary)
    with pytest.raises(RecordError, match="confident/mean of fcos-seed2 has no value"):
        detkit.paired_difference(two.runs[0], two.runs[1])
