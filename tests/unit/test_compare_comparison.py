"""Models compared from records that are written by hand: rows, pairs, fronts, rules, and what must be said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import detkit
from detkit.compare.comparison import Comparison, comparison
from detkit.compare.members import find_members, newest
from detkit.compare.pairs import Drawn, pairs_of
from detkit.compare.quantities import of_metric
from detkit.errors import RecordError, UserError
from detkit.record.files import read_json, read_json_gz, write_json, write_json_gz
from detkit.record.reader import ExperimentRecord
from detkit.resampling import Seeds, difference_over_seeds
from unit.compared_record import RESAMPLES, add, experiment, level


@pytest.fixture
def three(tmp_path: Path) -> ExperimentRecord:
    """a is best and slow, b cannot be told apart from it and is fast, c is clearly worse and smallest."""
    record = experiment(tmp_path / "runs" / "three")
    add(
        record,
        "c",
        level(-0.2, noise=3),
        costs={"measured": {"latency_ms_median": 30.0, "inference_memory_bytes": 1e8}},
    )
    add(record, "a", level(0.063, noise=1), costs={"measured": {"latency_ms_median": 60.0}})
    add(record, "b", level(0.05, noise=2), costs={"measured": {"latency_ms_median": 20.0}})
    return record


# --- rows and pairs --------------------------------------------------------------------------------------------------


def test_rows_are_ordered_and_have_every_number(three: ExperimentRecord) -> None:
    found = comparison([three])
    assert [row.name for row in found.rows] == ["a", "b", "c"]
    assert (found.by, found.split, found.images) == ("confident/mean", "test", 60)
    row = found.rows[1]
    values = {name: measured.value for name, measured in row.values.items()}
    assert {name: values[name] for name in ("latency_ms", "images_per_s", "memory_mb", "train_memory_mb")} == {
        "latency_ms": 20.0, "images_per_s": 50.0, "memory_mb": 300.0, "train_memory_mb": 2000.0,
    }  # fmt: skip
    assert {name: values[name] for name in ("parameters_m", "gflops", "file_mb", "train_min", "epoch")} == {
        "parameters_m": 19.0, "gflops": 5.0, "file_mb": 80.0, "train_min": 10.0, "epoch": 3.0,
    }  # fmt: skip
    assert row.texts == {
        "name": "b", "model": "b", "experiment": "three",
        "weights": "coco", "device": "Processor A", "precision": "fp32",
    }  # fmt: skip
    assert next(iter(found.quantities)) == "confident/mean"
    assert found.quantities["loss/loss"].higher_is_better is False


def test_pairs_say_who_beats_whom_by_how_much_and_allow_for_their_number(three: ExperimentRecord) -> None:
    found = comparison([three])
    assert [(pair.a, pair.b, pair.told_apart) for pair in found.pairs] == [
        ("a", "b", False), ("a", "c", True), ("b", "c", True),
    ]  # fmt: skip
    assert all(pair.pairs == 3 for pair in found.pairs)
    pair = found.pairs[1]
    ends, alone = pair.difference.interval, pair.alone
    assert ends is not None
    assert alone is not None
    assert ends.lower < alone.lower < pair.difference.estimate < alone.upper < ends.upper
    assert ends.level == pytest.approx(1 - 0.05 / 3)
    assert str(pair).startswith("a beats c by 0.2")
    assert str(pair).endswith(" on 60 images")
    assert "(95 % interval 0.2" in str(pair)
    assert str(found.pairs[0]).startswith("a and b cannot be told apart on 60 images: they differ by 0.00")
    assert found.notes == [
        "one seed each: this is about these trained models on these images; another training may come out otherwise"
    ]


def test_the_same_from_draws_that_were_left_and_from_predictions(tmp_path: Path) -> None:
    made = []
    for name, with_draws in (("left", True), ("again", False)):
        record = experiment(tmp_path / name)
        for model, by, noise in (("a", 0.1, 1), ("b", 0.0, 2)):
            add(record, model, level(by, noise=noise), with_draws=with_draws)
        made.append(comparison([record]).pairs[0])
    left, again = (pair.difference.interval for pair in made)
    assert left is not None
    assert again is not None
    assert (left.lower, left.upper) == pytest.approx((again.lower, again.upper))
    assert left.resamples == again.resamples == RESAMPLES


def test_more_draws_than_were_left_are_computed_and_fewer_are_their_beginning(three: ExperimentRecord) -> None:
    def ends(resamples: int) -> Any:
        return comparison([three], resamples=resamples).pairs[0].difference.interval

    assert ends(500).resamples == 500
    assert ends(100).resamples == 100
    (three.run("a").files.draws).unlink()
    again = ends(100)
    add_back = ends(100)
    assert (again.lower, again.upper) == pytest.approx((add_back.lower, add_back.upper))
    with pytest.raises(UserError, match="at least 100 resamples, not 99"):
        ends(99)


def test_draws_of_another_figure_are_not_taken(three: ExperimentRecord) -> None:
    """A run that was made longer without intervals has left those of before."""
    before = comparison([three]).pairs[0].difference.interval
    stale = read_json_gz(three.run("a").files.draws)
    stale["values"]["confident/mean"] += 1e-6
    stale["columns"]["confident/mean"] = [0.0] * RESAMPLES
    write_json_gz(three.run("a").files.draws, stale)
    again = comparison([three]).pairs[0].difference.interval
    assert before is not None
    assert again is not None
    assert (again.lower, again.upper) == pytest.approx((before.lower, before.upper))
    write_json_gz(three.run("a").files.draws, {"format_version": 1, "seed": stale["seed"]})
    with pytest.raises(RecordError, match=r"draws\.json\.gz is damaged: KeyError: 'columns'"):
        comparison([three])


def test_a_single_run_has_its_recorded_interval(tmp_path: Path) -> None:
    record = experiment(tmp_path / "one")
    run = add(record, "a", level(0.0))
    summary = read_json(run.files.summary)
    summary["scored"] |= {
        "intervals": {"confident/mean": {"lower": 0.5, "upper": 0.6}},
        "resampling": {"method": "x", "level": 0.95, "resamples": 400, "seed": 1},
    }
    write_json(run.files.summary, summary)
    found = comparison([record])
    interval = found.rows[0].values["confident/mean"].interval
    assert interval is not None
    assert (interval.lower, interval.upper) == (0.5, 0.6)
    assert (found.pairs, found.pairs_note) == ([], "fewer than two models have finished")
    assert str(found) == "a is the only model with figures: 0.565 mean"


# --- seeds -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def seeded(tmp_path: Path) -> ExperimentRecord:
    """Two models with three seeds each, which differ far more between seeds than over images."""
    record = experiment(tmp_path / "seeded")
    for seed, (a, b) in enumerate(((0.10, 0.05), (0.02, -0.04), (0.06, -0.01)), 1):
        add(record, "a", level(a, noise=seed), seed=seed)
        add(record, "b", level(b, noise=10 + seed), seed=seed)
    return record


def test_seeds_are_crossed_with_images(seeded: ExperimentRecord) -> None:
    found = comparison([seeded])
    (pair,) = found.pairs
    assert (pair.seeds_a, pair.seeds_b, found.rows[0].seeds) == (3, 3, (1, 2, 3))
    assert " over 3 seeds on 60 images" in str(pair)
    assert found.notes == []
    # By hand: the seeds' own spread, less what of it comes from these images, beside the spread over images.
    values = {
        row.name: np.array([one.summary["scored"]["values"]["confident/mean"] for one in row.finished])
        for row in found.rows
    }
    of_seeds = sum(own.var(ddof=1) / 3 for own in values.values())
    ends = pair.alone
    assert ends is not None
    half = (ends.upper - ends.lower) / 2
    assert half > 2.78 * 0.9 * np.sqrt(of_seeds)  # t with about four degrees of freedom
    assert not pair.told_apart
    one_each = comparison([seeded.run("a-seed1"), seeded.run("b-seed1")]).pairs[0]
    assert one_each.told_apart  # these two trained models are: seeds, not images, are what makes it unsure


def test_the_interval_of_a_model_over_seeds_is_wider_than_that_of_its_images(seeded: ExperimentRecord) -> None:
    found = comparison([seeded])
    over_both = found.rows[0].values["confident/mean"]
    assert over_both.interval is not None
    assert over_both.count == 3
    assert over_both.deviation == pytest.approx(0.04, abs=0.01)
    assert over_both.interval.upper - over_both.interval.lower > 0.13


def test_a_row_for_every_run(seeded: ExperimentRecord) -> None:
    found = comparison([seeded], by_run=True)
    assert {row.name for row in found.rows} == {run.run_id for run in seeded.runs}
    assert len(found.pairs) == 15
    assert found.pairs[0].difference.interval is not None
    assert found.pairs[0].difference.interval.level == pytest.approx(1 - 0.05 / 15)


def test_one_seed_beside_several_is_said(seeded: ExperimentRecord) -> None:
    found = comparison([seeded.run("a-seed1"), *(seeded.run(f"b-seed{seed}") for seed in (1, 2, 3))])
    assert " over 1 and 3 seeds on 60 images" in str(found.pairs[0])
    assert found.notes == ["of a model with one seed, pairs speak of that one training: another may come out otherwise"]


def test_more_seeds_without_spread_are_no_wider_than_the_images_say() -> None:
    """Three seeds that give the same numbers are one."""
    generator = np.random.default_rng(3)
    a, b = generator.normal(0.1, 1, 500), generator.normal(0, 1, 500)
    one = difference_over_seeds(Seeds([0.1], [a]), Seeds([0.0], [b]), images=50)
    three = difference_over_seeds(Seeds([0.1] * 3, [a] * 3), Seeds([0.0] * 3, [b] * 3), images=50)
    assert one.interval is not None
    assert three.interval is not None
    assert (three.interval.lower, three.interval.upper) == pytest.approx((one.interval.lower, one.interval.upper))


# --- quantities that cannot be resampled -----------------------------------------------------------------------------


def with_primary(record: ExperimentRecord, primary: str, *, intervals: bool) -> None:
    """Its runs' summaries, with that primary quantity, and the interval of the mean or none at all."""
    ends = {"confident/images": None, "confident/mean": {"lower": 0.1, "upper": 0.2} if intervals else None}
    resampling = {"method": "x", "level": 0.95, "resamples": 400, "seed": 1}
    for run in record.runs:
        summary = read_json(run.files.summary)
        summary["scored"] |= {"intervals": ends, "resampling": resampling}
        write_json(run.files.summary, {**summary, "primary": primary})


@pytest.mark.parametrize("primary", ["loss/loss", "confident/images"])
def test_where_the_primary_quantity_cannot_be_resampled_another_is_compared(
    three: ExperimentRecord, primary: str
) -> None:
    with_primary(three, primary, intervals=True)
    found = comparison([three])
    assert found.by == primary
    assert {pair.quantity.name for pair in found.pairs} == {"confident/mean"}
    assert found.pairs_note == f"of confident/mean: {primary} cannot be resampled"


def test_where_nothing_can_be_resampled_that_is_said(three: ExperimentRecord) -> None:
    with_primary(three, "loss/loss", intervals=False)
    found = comparison([three])
    assert found.pairs == []
    assert "loss/loss of" in found.pairs_note
    assert "is no number of a metric" in found.pairs_note
    assert len(found.rows) == 3


def test_a_run_without_a_value_is_left_out_of_pairs(three: ExperimentRecord) -> None:
    summary = read_json(three.run("b").files.summary)
    summary["scored"]["values"]["confident/mean"] = None
    write_json(three.run("b").files.summary, summary)
    found = comparison([three])
    assert [(pair.a, pair.b) for pair in found.pairs] == [("a", "c")]
    assert found.choice is not None
    assert found.choice.unknown == {"b": ("confident/mean is not known",)}


def test_where_nobody_has_a_value_that_is_the_reason(three: ExperimentRecord) -> None:
    """As where no image has an object."""
    for run in three.runs:
        summary = read_json(run.files.summary)
        summary["scored"]["values"]["confident/mean"] = None
        write_json(run.files.summary, summary)
    found = comparison([three])
    assert found.pairs_note == "fewer than two models have a value of confident/mean"
    assert found.sentence == "none of the 3 models is known to have mean"


@pytest.mark.parametrize(
    ("name", "scale", "upper"), [("coco/ap", 1.0, 1.0), ("own/loss", 1.0, 5.0), ("own/ap", 100.0, 500.0)]
)
def test_two_shares_differ_by_no_more_than_one(name: str, scale: float, upper: float) -> None:
    draws = np.random.default_rng(3).choice([0.0, 0.5, 1.0], 400)
    drawn = {
        "a": Drawn(Seeds([0.9 * scale], [scale * draws]), 2, ()),
        "b": Drawn(Seeds([0.1 * scale], [scale * (1 - draws)]), 2, ()),
    }
    (pair,) = pairs_of(drawn, of_metric(name, True), [["a", "b"]])
    ends = pair.difference.interval
    assert ends is not None
    assert (ends.upper == pair.alone.upper == upper) if upper == 1.0 else ends.upper > upper  # type: ignore[union-attr]
    assert not pair.told_apart


# --- folds -----------------------------------------------------------------------------------------------------------


def by_id(scores: list[float]) -> dict[int, float]:
    return {10 * (n + 1): score for n, score in enumerate(scores)}


@pytest.fixture
def folded(tmp_path: Path) -> ExperimentRecord:
    record = experiment(tmp_path / "folded", folds=3)
    for fold in (1, 2, 3):
        add(record, "a", by_id(level(0.1, noise=1)), fold=fold)
        add(record, "b", by_id(level(0.0, noise=2)), fold=fold)
    return record


def test_pairs_are_made_within_folds(folded: ExperimentRecord) -> None:
    found = comparison([folded])
    (pair,) = found.pairs
    assert (pair.folds, pair.images, found.scored_on) == ((1, 2, 3), 60, "60 validation images in 3 folds")
    assert pair.told_apart
    assert pair.difference.interval is not None
    # In pairs: far narrower than the images' own spread, about 0.14 / sqrt(60), would allow.
    assert pair.difference.interval.upper - pair.difference.interval.lower < 0.04
    assert str(pair).endswith(" on 60 images in 3 folds")


def test_only_folds_that_all_have_finished_count(folded: ExperimentRecord) -> None:
    (folded.folder / "b-fold2-seed1" / "summary.json").unlink()
    found = comparison([folded])
    assert found.folds == (1, 3)
    assert found.images == 40
    assert [row.values["confident/mean"].count for row in found.rows] == [2, 2]
    assert "without fold 2, which not all models have finished" in found.notes
    for fold in (1, 3):
        (folded.folder / f"a-fold{fold}-seed1" / "summary.json").unlink()
    with pytest.raises(RecordError, match=r"have not finished the same folds \(2; 1, 3\)"):
        comparison([folded])


def test_a_seed_that_lacks_a_fold_does_not_count_where_others_have_all(folded: ExperimentRecord) -> None:
    """The number of a row, its interval and its pairs are of the same runs."""
    before = comparison([folded])
    add(folded, "a", by_id(level(0.3, noise=7)), fold=1, seed=2)
    found = comparison([ExperimentRecord(folded.folder)])
    assert found.rows[0].values == before.rows[0].values
    assert found.rows[0].seeds == (1,)
    assert found.pairs == before.pairs
    assert "without a-fold1-seed2: the seed has not finished all folds, and others have" in found.notes
    for fold in (2, 3):
        add(folded, "a", by_id(level(0.3, noise=7)), fold=fold, seed=2)
    whole = comparison([ExperimentRecord(folded.folder)])
    assert whole.rows[0].seeds == (1, 2)
    assert not any(note.startswith("without") for note in whole.notes)
    assert whole.rows[0].values["confident/mean"].value == pytest.approx(whole.pairs[0].value_a)


def test_where_no_seed_has_every_fold_they_are_taken_for_one(tmp_path: Path) -> None:
    """What the seeds differ by is then what the folds differ by: it is no spread of seeds."""
    record = experiment(tmp_path / "torn", folds=2)
    for model, by, noise in (("a", 0.1, 1), ("b", 0.0, 2)):
        add(record, model, by_id(level(by, noise=noise)), fold=1, seed=1)
        add(record, model, by_id(level(by, noise=noise)), fold=2, seed=2)
    (pair,) = comparison([record]).pairs
    assert (pair.seeds_a, pair.seeds_b, pair.folds) == (1, 1, (1, 2))
    assert pair.told_apart


def test_folds_are_drawn_apart_from_each_other(tmp_path: Path) -> None:
    """Where the images of each fold are hard in the same order, drawing the same places would widen the interval."""
    scores = {10 * (n + 1): 0.1 + 0.8 * (n // 3) / 20 for n in range(60)}
    record = experiment(tmp_path / "ordered", folds=3)
    for fold in (1, 2, 3):
        add(record, "a", scores, fold=fold)
    interval = comparison([record]).rows[0].values["confident/mean"].interval
    assert interval is not None
    folds = [np.array([scores[i] for i in sorted(scores)][number::3]) for number in range(3)]
    error = np.sqrt(sum(fold.var(ddof=1) / 20 for fold in folds)) / 3
    assert (interval.upper - interval.lower) / 2 == pytest.approx(2.0025 * error, rel=0.1)  # t with 57 degrees


def test_small_folds_lose_an_image_each(tmp_path: Path) -> None:
    """Five folds of three images: the variance of stratified samples, with 15 - 5 degrees of freedom."""
    record = experiment(tmp_path / "small", 15, folds=5)
    a, b = (by_id(level(by, noise=noise, images=15, spread=0.05)) for by, noise in ((0.1, 1), (0.0, 2)))
    for fold in range(1, 6):
        add(record, "a", a, fold=fold)
        add(record, "b", b, fold=fold)
    (pair,) = comparison([record], resamples=4000).pairs
    apart = [a[i] - b[i] for i in sorted(a)]
    folds = [np.array(apart[number::5]) for number in range(5)]
    error = np.sqrt(sum(fold.var(ddof=1) / 3 for fold in folds)) / 5
    for ends in (pair.alone, pair.difference.interval):
        assert ends is not None
        assert (ends.upper - ends.lower) / 2 == pytest.approx(2.2281 * error, rel=0.05)


# --- what can be compared --------------------------------------------------------------------------------------------


def test_experiments_of_the_same_images_are_compared_under_names_that_tell_them_apart(tmp_path: Path) -> None:
    one, other = experiment(tmp_path / "one"), experiment(tmp_path / "other")
    add(one, "fcos", level(0.1, noise=1))
    add(other, "fcos", level(0.0, noise=2))
    add(other, "retina", level(0.0, noise=3))
    found = comparison([one, other])
    assert {row.name for row in found.rows} == {"one/fcos", "other/fcos", "other/retina"}
    assert found.rows[0].name == "one/fcos"
    assert len(found.pairs) == 3
    assert len(found.experiments) == 2


@pytest.fixture
def unlike(tmp_path: Path) -> tuple[ExperimentRecord, ExperimentRecord]:
    one, other = experiment(tmp_path / "one"), experiment(tmp_path / "other", 50)
    add(one, "a", level(0.1, noise=1))
    add(one, "b", level(0.0, noise=2))
    add(other, "c", level(0.2, images=50))
    return one, other


def test_other_images_are_refused_with_what_differs(unlike: tuple[ExperimentRecord, ExperimentRecord]) -> None:
    with pytest.raises(RecordError) as error:
        comparison(list(unlike))
    assert str(error.value).split("\n")[1] == (
        "  a and c were not scored on the same images: 10 images are of the first alone, 0 of the second"
    )
    assert "add --anyway" in str(error.value)


def test_anyway_compares_what_can_be_and_warns(unlike: tuple[ExperimentRecord, ExperimentRecord]) -> None:
    found = comparison(list(unlike), anyway=True)
    assert [row.name for row in found.rows] == ["c", "a", "b"]
    assert [(pair.a, pair.b) for pair in found.pairs] == [("a", "b")]
    assert found.notes[0].startswith("NOT COMPARABLE: a and c were not scored on the same images")
    assert "not comparable" in str(found)
    assert "c" in str(found)


def test_another_metric_is_refused(tmp_path: Path) -> None:
    one, other = experiment(tmp_path / "one"), experiment(tmp_path / "other")
    add(one, "a", level(0.1))
    run = add(other, "b", level(0.0))
    facts = read_json(run.files.run)
    facts["spec"]["metrics"]["confident"]["gain"] = 2.0
    write_json(run.files.run, facts)
    with pytest.raises(RecordError, match=r"a and b were not scored by the same metric: .*'gain': 2.0"):
        comparison([one, other])


def test_training_on_other_images_is_said(tmp_path: Path) -> None:
    one, other = experiment(tmp_path / "one"), experiment(tmp_path / "other")
    add(one, "a", level(0.1))
    add(other, "b", level(0.0))
    assert not any("trained on" in note for note in comparison([one, other]).notes)
    fingerprint = read_json(other.files.fingerprint)
    fingerprint |= {"sha256": "more", "split_sizes": {"train": 200}}
    write_json(other.files.fingerprint, fingerprint)
    note = "they were trained on different images: one (100 images); other (200 images)"
    assert note in comparison([one, other]).notes


def test_other_precision_and_hardware_are_said(tmp_path: Path) -> None:
    record = experiment(tmp_path / "mixed")
    add(record, "a", level(0.1, noise=1))
    add(record, "b", level(0.0, noise=2), precision="bf16", costs={"device_name": "GPU B", "threads": 1})
    notes = comparison([record]).notes
    assert "they compute in different precisions (fp32: a; bf16: b)" in notes
    assert "their costs were measured on different hardware (Processor A, 2 threads: a; GPU B, 1 thread: b)" in notes


def test_few_images_and_the_same_images_are_said(tmp_path: Path) -> None:
    record = experiment(tmp_path / "few", 20, split="validation")
    add(record, "a", level(0.1, images=20))
    add(record, "b", level(0.0, images=20))
    notes = comparison([record]).notes
    assert "selected and scored on the same images, so all numbers are a little too good" in notes
    assert any("an interval from 20 images is rough" in note for note in notes)


def test_classes_with_few_objects_are_said(tmp_path: Path) -> None:
    """Simulated: intervals of a mean over classes are too narrow then."""
    record = experiment(tmp_path / "rare")
    add(record, "a", level(0.1))
    add(record, "b", level(0.0))
    truth = read_json(record.files.ground_truth)
    for row in truth["annotations"][:4]:
        row["category_id"] = 2
    write_json(record.files.ground_truth, truth)
    (note,) = [note for note in comparison([record]).notes if "objects" in note]
    assert note.startswith("few objects of dog (4) among the scored images")


def test_what_has_not_finished_is_said(three: ExperimentRecord) -> None:
    run = three.run("a")
    run.files.summary.unlink()
    write_json(run.files.failure, {"message": "out of memory"})
    found = comparison([three])
    assert found.rows[-1].name == "a"
    assert "a-seed1 failed: out of memory" in found.notes
    assert found.choice is not None
    assert found.choice.unknown == {"a": ("no run of it has finished",)}
    for other in ("b", "c"):
        three.run(other).files.summary.unlink()
    empty = comparison([three])
    assert (empty.pairs, empty.fronts, empty.sentence, str(empty)) == ((), (), "", "no run has finished yet")
    assert json.loads(json.dumps(empty.to_dict()))["rows"][0]["values"] == {}


# --- rules -----------------------------------------------------------------------------------------------------------


def test_the_winner_the_ties_and_what_they_cost(three: ExperimentRecord) -> None:
    found = comparison([three])
    assert found.sentence == (
        "a has the best mean (0.626) of 3 models; b cannot be told apart from it and is 3.0 times as fast"
    )
    assert found.choice is not None
    assert [(place.name, place.tied) for place in found.choice.qualified] == [("a", None), ("b", True), ("c", False)]
    assert found.choice.lines()[2].endswith("behind, which is more than chance")


def test_under_a_rule_who_misses_is_said_by_how_much(three: ExperimentRecord) -> None:
    found = comparison([three], best="mean where latency_ms < 50 and memory_mb < 500").choice
    assert found is not None
    assert found.winner == "b"
    assert found.missed == {"a": ("misses latency_ms < 50 by 10 ms: it has 60 ms",)}
    assert found.sentence == (
        "b has the best mean (0.617) among the 2 that qualify; the difference to every other one is more than chance"
    )
    nobody = comparison([three], best="mean where latency_ms < 1").choice
    assert nobody is not None
    assert (nobody.winner, nobody.sentence) == (None, "none of the 3 models meets latency_ms < 1")
    one = comparison([three], best="mean where latency_ms < 25")
    assert str(one).startswith("b is the only one of 3 models that meets latency_ms < 25, with 0.")


def test_a_model_whose_quantity_is_unknown_is_said_to_be_unknown(three: ExperimentRecord) -> None:
    summary = read_json(three.run("b").files.summary)
    summary["costs"]["measured"]["latency_ms_median"] = None
    write_json(three.run("b").files.summary, summary)
    found = comparison([three], best="mean where latency_ms < 50", where="latency_ms < 70 or mean > 0")
    assert found.choice is not None
    assert found.choice.unknown == {"b": ("latency_ms is not known",)}
    assert "b may qualify or not: latency_ms is not known" in found.choice.lines()
    assert found.fronts[0].unknown == ("b",)
    filtered = comparison([three], where="latency_ms < 50")
    assert [row.name for row in filtered.rows] == ["c"]
    assert "left out by latency_ms < 50: a" in filtered.notes
    assert any("b (latency_ms is not known)" in note for note in filtered.notes)


def test_a_cost_may_be_what_is_to_be_best(three: ExperimentRecord) -> None:
    found = comparison([three], best="latency_ms where mean > 0.4")
    assert found.by == "confident/mean"
    assert found.sentence == "b has the lowest latency (20 ms) among the 2 that qualify"


def test_models_are_not_compared_in_pairs_by_a_cost(three: ExperimentRecord) -> None:
    with pytest.raises(UserError, match="latency_ms is a cost, and pairs are compared by a number of a metric"):
        comparison([three], by="latency_ms")


def test_two_models_have_one_plain_sentence(three: ExperimentRecord) -> None:
    found = comparison([three.run("a"), three.run("c")])
    assert found.sentence == str(found.pairs[0])
    assert found.sentence.startswith("a beats c by ")


def without_latency(record: ExperimentRecord, model: str) -> None:
    summary = read_json(record.run(model).files.summary)
    summary["costs"]["measured"]["latency_ms_median"] = None
    write_json(record.run(model).files.summary, summary)


def test_of_whom_something_is_unknown_nothing_is_claimed(three: ExperimentRecord) -> None:
    without_latency(three, "a")
    only = comparison([three], best="mean where latency_ms < 25").sentence
    assert only.startswith("b is the only one of 3 models that is known to meet latency_ms < 25, with 0.")
    none = comparison([three], best="mean where latency_ms < 5").sentence
    assert none == "none of the 3 models is known to meet latency_ms < 5"
    for model in ("b", "c"):
        without_latency(three, model)
    assert comparison([three], best="latency_ms").sentence == "none of the 3 models is known to have latency"


def test_nobody_qualifies(three: ExperimentRecord) -> None:
    assert comparison([three], best="mean where mean > 0.9").sentence == "none of the 3 models meets mean > 0.9"
    alone = comparison([three.run("a")], best="mean where mean > 0.9").sentence
    assert alone == "the only model does not meet mean > 0.9"
    without_latency(three, "a")
    unknown = comparison([three.run("a")], best="mean where latency_ms > 1").sentence
    assert unknown == "the only model is not known to meet latency_ms > 1"


def test_who_asks_for_the_worst_is_told_the_worst(three: ExperimentRecord) -> None:
    found = comparison([three.run("a"), three.run("c")], best="lowest mean")
    assert found.choice is not None
    assert found.choice.winner == "c"
    assert found.sentence == (
        "c has the lowest mean (0.364) of 2 models; the difference to every other one is more than chance"
    )


def test_a_tied_model_is_no_faster_on_other_hardware(tmp_path: Path) -> None:
    record = experiment(tmp_path / "threads")
    add(record, "a", level(0.063, noise=1), costs={"measured": {"latency_ms_median": 60.0}})
    add(record, "b", level(0.056, noise=2), costs={"measured": {"latency_ms_median": 20.0}, "threads": 16})
    found = comparison([record])
    assert found.sentence == "a has the best mean (0.626) of 2 models; b cannot be told apart from it"
    assert any("different hardware" in note for note in found.notes)


def test_without_pairs_nothing_is_said_of_chance(three: ExperimentRecord) -> None:
    found = comparison([three], pairs=False)
    assert found.pairs == []
    assert found.sentence.endswith("of 3 models; whether that is more than chance is not known")


def test_classes_in_rules(tmp_path: Path) -> None:
    record = experiment(tmp_path / "classes")
    add(record, "a", level(0.1, noise=1), per_class={"cat": 0.3, "a dog": 0.9})
    add(record, "b", level(0.0, noise=2), per_class={"cat": 0.5, "a dog": 0.2})
    found = comparison([record], best="mean[cat] where mean[a dog] > 0.1")
    assert found.choice is not None
    assert found.choice.winner == "b"
    assert found.rows[0].per_class("confident/mean")["cat"].value == 0.3
    assert found.to_dict()["rows"][0]["per_class"]["a dog"]["value"] == 0.9
    with pytest.raises(UserError, match=r"there is no class 'cta'; did you mean 'cat'"):
        comparison([record], best="mean[cta]")
    with pytest.raises(UserError, match="there is no class 'cow'; there are: a dog, cat"):
        comparison([record], best="mean where mean[cow] > 0.1")
    with pytest.raises(UserError, match="there are no numbers of classes of loss/loss"):
        comparison([record], best="loss/loss[cat]")


@pytest.mark.parametrize("name", ["a [b]", 'the "big" dog', "it's", "back\\slash]", "where it is", "\"'"])
def test_any_class_can_be_named(tmp_path: Path, name: str) -> None:
    record = experiment(tmp_path / "classes")
    add(record, "a", level(0.1, noise=1), per_class={name: 0.3})
    add(record, "b", level(0.0, noise=2), per_class={name: 0.5})
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    choice = comparison([record], best=f'mean["{quoted}"] where mean > 0.1').choice
    assert choice is not None
    assert choice.winner == "b"
    assert "meets mean > 0.1" not in choice.sentence
    alone = comparison([record], best=f'mean["{quoted}"] where mean > 0.6').choice
    assert alone is not None
    assert alone.sentence.startswith("a is the only one of 2 models that meets mean > 0.6, with ")


# --- what hangs on these images --------------------------------------------------------------------------------------


def test_a_limit_within_an_interval_is_said(seeded: ExperimentRecord) -> None:
    """Of several seeds, from the draws that were left; pairs or not."""
    for pairs in (True, False):
        found = comparison([seeded], best="latency_ms where mean > 0.6", pairs=pairs)
        assert found.choice is not None
        assert list(found.choice.missed) == ["b"]
        assert list(found.choice.unsure) == ["a", "b"]
        (why,) = found.choice.unsure["a"]
        assert why.startswith("mean > 0.6 lies within its interval, 0.625 [0.5")
        assert f"a may miss the rule on other images: {why}" in found.choice.lines()
        assert f"b may meet the rule on other images: {found.choice.unsure['b'][0]}" in found.choice.lines()
        assert found.to_dict()["choice"]["unsure"]["a"] == [why]
        assert found.sentence.endswith("; that it meets mean > 0.6 is no more than chance")
    assert comparison([seeded], best="latency_ms where mean > 0.2").choice.unsure == {}  # type: ignore[union-attr]


def test_it_is_said_of_one_who_would_have_won_but_for_chance(three: ExperimentRecord) -> None:
    intervals(three, "a", 0.60, 0.65)
    found = comparison([three], best="mean where mean < 0.62", pairs=False)
    assert found.choice is not None
    assert found.choice.winner == "b"
    assert found.choice.unsure == {"a": ("mean < 0.62 lies within its interval, 0.626 [0.600, 0.650]",)}
    assert found.sentence.endswith("; that a misses it is no more than chance")
    behind = comparison([three], best="lowest mean where mean < 0.62", pairs=False)
    assert "no more than chance" not in behind.sentence  # a would not have won


@pytest.mark.parametrize(
    ("rule", "unsure"),
    [
        ("mean > 0.62", True),
        ("0.62 < mean", True),
        ("mean > 0.65", False),  # an end is not within
        ("mean > 0.62 and latency_ms < 5", False),  # is missed whatever the mean is
        ("mean > 0.62 or latency_ms < 100", False),  # is met whatever the mean is
        ("mean > 0.62 and latency_ms < 100", True),
        ("not mean > 0.62", True),
        ("mean == 0.62", False),
        ("latency_ms < 61", False),
    ],
)
def test_a_verdict_is_unsure_only_where_the_limit_could_turn_it(
    three: ExperimentRecord, rule: str, unsure: bool
) -> None:
    intervals(three, "a", 0.60, 0.65)
    choice = comparison([three.run("a")], best=f"mean where {rule}", pairs=False).choice
    assert choice is not None
    assert bool(choice.unsure) is unsure


def intervals(record: ExperimentRecord, model: str, lower: float, upper: float) -> None:
    """Put an interval of the mean into a run's summary."""
    summary = read_json(record.run(model).files.summary)
    summary["scored"] |= {
        "intervals": {"confident/mean": {"lower": lower, "upper": upper}},
        "resampling": {"method": "x", "level": 0.95, "resamples": 400, "seed": 1},
    }
    write_json(record.run(model).files.summary, summary)


def test_a_filter_says_what_it_decided_by_chance_and_leaves_no_fewer_pairs(three: ExperimentRecord) -> None:
    """Whoever was left out for a poor number had its occasion to be lucky; one left out for its latency had none."""
    intervals(three, "b", 0.60, 0.65)
    both = comparison([three], where="mean > 0.605")
    assert [row.name for row in both.rows] == ["a", "b"]
    assert [(pair.a, pair.b, pair.pairs) for pair in both.pairs] == [("a", "b", 3)]
    assert any(
        note.startswith("b meets mean > 0.605 by no more than chance: mean > 0.605 lies within its")
        for note in both.notes
    )
    by_cost = comparison([three], where="latency_ms != 30")
    assert [(pair.a, pair.b, pair.pairs) for pair in by_cost.pairs] == [("a", "b", 1)]


def test_the_best_of_many_trials_on_the_scored_images_is_said(tmp_path: Path) -> None:
    for split, said in (("validation", True), ("test", False)):
        record = experiment(tmp_path / split, split=split)
        add(record, "a", level(0.1, noise=1))
        run = add(record, "fcos", level(0.0, noise=2))
        content = read_json(record.files.experiment)
        content["runs"][-1]["trial"] = 2
        write_json(record.files.experiment, content)
        write_json(record.files.search, searched(run.run_id))
        found = comparison([ExperimentRecord(record.folder)])
        note = "fcos-trial002 is one of 3 trials: chosen on the scored images, so luck is in the number"
        assert any(one.startswith(note) for one in found.notes) is said


def searched(run: str) -> dict[str, Any]:
    """search.json of three trials of fcos, the second the best one."""
    states = ("finished", "finished", "pruned")
    trials = [
        {
            "number": number, "values": {"train.lr": 0.1}, "state": state, "objectives": [0.1 * (number == 2)],
            "runs": [run if number == 2 else f"gone{number}"], "reason": "", "about": {},
        }
        for number, state in enumerate(states, 1)
    ]  # fmt: skip
    model = {"space": {"train.lr": [0.1, 0.2]}, "wanted": 3, "trials": trials}
    objective = {"metric": "confident/mean", "direction": "maximize"}
    return {"format_version": 1, "use": "grid", "options": {}, "objectives": [objective], "models": {"fcos": model}}


def test_expressions_are_read_before_anything_is_drawn(
    three: ExperimentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detkit.compare.comparison.draw", lambda *_, **__: pytest.fail("drawn"))
    wrong: list[Any] = [{"where": "maen > 1"}, {"sort": "maen"}, {"pareto": [("maen", "latency_ms")]}]
    for changes in wrong:
        with pytest.raises(UserError, match="there is no quantity 'maen'"):
            comparison([three], **changes)


def test_the_metric_of_a_rule_must_be_the_same_too(tmp_path: Path) -> None:
    one, other = experiment(tmp_path / "one"), experiment(tmp_path / "other")
    add(one, "a", level(0.1))
    run = add(other, "b", level(0.0))
    facts = read_json(run.files.run)
    facts["spec"]["metrics"] = {"confident": {"use": "confident"}, "loss": {"use": "l"}}
    write_json(run.files.run, facts)
    assert len(comparison([one, other]).rows) == 2
    wrong: list[Any] = [{"best": "loss/loss", "by": "mean"}, {"where": "loss/loss < 5"}]
    for changes in wrong:
        with pytest.raises(RecordError, match="were not scored by the same metric: a by no loss"):
            comparison([one, other], **changes)


# --- fronts ----------------------------------------------------------------------------------------------------------


def test_fronts_have_the_models_that_no_other_beats_in_both(three: ExperimentRecord) -> None:
    found = comparison([three], pareto=[("latency_ms", "memory_mb")])
    speed, memory, own = found.fronts
    assert (speed.name, speed.members) == ("speed", ("b", "a"))  # c is slower than b and worse
    assert (memory.name, memory.members) == ("memory", ("c", "a"))  # b is no better than a, and needs as much
    assert (own.x, own.y, own.members) == ("latency_ms", "memory_mb", ("b", "c"))
    assert found.fronts_of("a") == ["speed", "memory"]


def test_equal_models_are_on_a_front_together(tmp_path: Path) -> None:
    record = experiment(tmp_path / "equal")
    for model in ("a", "b"):
        add(record, model, level(0.1))
    assert comparison([record]).fronts[0].members == ("a", "b")


# --- sorting, plain values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "order"), [("latency_ms", "bca"), ("images_per_s", "bca"), ("memory_mb", "cab"), ("name", "abc")]
)
def test_rows_are_sorted_the_best_first(three: ExperimentRecord, by: str, order: str) -> None:
    assert "".join(row.name for row in comparison([three], sort=by).rows) == order


def test_plain_values_hold_all_and_are_json(three: ExperimentRecord) -> None:
    found = comparison([three])
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert set(plain) == {
        "experiments", "by", "scored_on", "quantities", "rows", "fronts",
        "pairs", "pairs_note", "choice", "sentence", "comparable", "notes",
    }  # fmt: skip
    assert plain["rows"][0]["values"]["latency_ms"]["value"] == 60.0
    assert plain["pairs"][0]["sentence"] == str(found.pairs[0])
    assert plain["choice"]["winner"] == "a"


def test_the_package_is_the_function(three: ExperimentRecord) -> None:
    found: Comparison = detkit.compare(three.folder, best="latency_ms")
    assert found == replace(found)
    assert found.choice is not None
    assert found.choice.winner == "b"
    page = found._repr_html_()
    assert page.count("<tr>") == 3
    assert "<b>b has the lowest latency" in page


# --- which experiments -----------------------------------------------------------------------------------------------


@pytest.fixture
def several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, created in (("quick-one", 2.0), ("quick-two", 3.0), ("slow", 1.0)):
        record = experiment(tmp_path / "runs" / name, 5, created=created)
        add(record, "fcos", level(0.0, images=5))
        add(record, "retina", level(0.1, images=5))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_newest_experiment_is_taken(several: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert newest().folder.name == "quick-two"
    assert {run.experiment.name for run in find_members([])} == {"quick-two"}
    monkeypatch.chdir(several / "runs" / "slow")
    assert newest().folder == several / "runs" / "slow"


@pytest.mark.parametrize(
    ("named", "runs"),
    [
        (["slow"], ["slow/fcos-seed1", "slow/retina-seed1"]),
        (["sl"], ["slow/fcos-seed1", "slow/retina-seed1"]),
        (["runs/quick-o"], ["quick-one/fcos-seed1", "quick-one/retina-seed1"]),
        (["slow/fc", "quick-two/ret"], ["slow/fcos-seed1", "quick-two/retina-seed1"]),
        (["sl/fc"], ["slow/fcos-seed1"]),
        (["slow/fcos", "slow"], ["slow/fcos-seed1", "slow/retina-seed1"]),
    ],
)
def test_paths_and_beginnings_of_names_are_found(several: Path, named: list[str], runs: list[str]) -> None:
    assert [f"{run.experiment.name}/{run.run_id}" for run in find_members(named)] == runs


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("quick", "'quick' begins several experiments in runs: quick-one, quick-two"),
        ("slwo", "there is no experiment or run slwo; did you mean 'slow'"),
        ("slow/x", "has no run 'x'; there are: fcos-seed1, retina-seed1"),
        ("runs", "it holds the experiments quick-one, quick-two, slow: name one"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(several: Path, named: str, says: str) -> None:
    with pytest.raises(RecordError, match=says):
        find_members([named])


def test_a_damaged_experiment_keeps_nobody_from_another(several: Path) -> None:
    damaged = several / "runs" / "slop"
    damaged.mkdir()
    (damaged / "experiment.json").write_text("{")
    assert newest().folder.name == "quick-two"
    assert {run.experiment.name for run in find_members(["slow/fc"])} == {"slow"}
    assert {run.experiment.name for run in find_members(["sl"])} == {"slow"}
    with pytest.raises(RecordError, match=r"slop/experiment\.json is damaged"):
        find_members(["slop"])


def test_without_any_experiment_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecordError, match="there is no experiment in runs/: name one, or run a spec first"):
        find_members([])
