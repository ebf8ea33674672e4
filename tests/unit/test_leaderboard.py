"""The table of an experiment: which quantities it has room for, its intervals, and what older records show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from detkit.cli.leaderboard import WIDTH, print_leaderboard, shown_quantities
from detkit.cli.words import three_digits
from detkit.compare.leaderboard import Leaderboard, Row, Value, _costs, _no_interval, interval_note
from detkit.resampling import Interval

MEASURED = {"train_s": 600.0, "peak_memory_bytes": 2.5e9}
COSTS = {"latency_ms_median": 1234.5, "latency_ms_p95": 1300.0, "flops": 5.43e9, "weights_bytes": 77e6}


def board(*names: str, deviation: float | None = None, costs: dict[str, float] = COSTS) -> Leaderboard:
    values = {name: Value(0.5, deviation, 1) for name in names}
    row = Row("faster_rcnn", {"faster_rcnn-seed1": "finished"}, {}, [7], values, MEASURED, costs, 19_000_000)
    return Leaderboard("x", [row], primary=names[0], split="test", images=50)


def test_quantities_that_have_no_room_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    shown = board("coco/ap", "coco/ap50", "coco/ap75", "coco/ar100", "coco/mask_ap", "tm/map_50", deviation=0.01)
    names = shown_quantities(shown)
    # The most wanted stay, in the order of the record.
    assert names == [name for name in shown.columns if name in ("coco/ap", "coco/ap50", "coco/mask_ap")][: len(names)]
    print_leaderboard(shown)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= WIDTH
    (left_out,) = [line for line in lines if line.startswith("not shown")]
    assert "coco/ar100" in left_out
    assert "tm/map_50" in left_out


def test_the_primary_quantity_is_always_shown() -> None:
    assert shown_quantities(board("a_metric_of_a_very_long_name" * 5 + "/ap")) != []


def test_costs_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    print_leaderboard(board("coco/ap"))
    header, row, *_ = capsys.readouterr().out.splitlines()
    for column, cell in (("latency", "1234 ms"), ("GFLOPs", "5.43"), ("weights", "77 MB"), ("memory", "2.5 GB")):
        end = header.index(column) + len(column)
        assert row[:end].endswith(cell)


def test_a_record_without_costs_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    print_leaderboard(board("coco/ap", costs={}))
    assert " -  " in capsys.readouterr().out


def with_intervals(*runs: str) -> Leaderboard:
    """The table where each of the runs has finished with intervals."""
    plain = board("coco/ap", "coco/ap50", deviation=0.01 if len(runs) > 1 else None)
    found = {"coco/ap": Interval(0.45, 0.56), "coco/ap50": Interval(0.4, 0.6)}
    row = replace(plain.rows[0], states=dict.fromkeys(runs, "finished"), intervals=dict.fromkeys(runs, found))
    return replace(plain, rows=[row])


def test_the_primary_figure_of_one_run_has_its_interval_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    shown = replace(with_intervals("a-seed1"), interval_note=interval_note(0.95, 50))
    assert shown.figure(shown.rows[0], "coco/ap") == "0.500 [0.450, 0.560]"
    assert shown.figure(shown.rows[0], "coco/ap50") == "0.500"
    assert shown.figure(shown.rows[0], "coco/ap75") == "-"
    print_leaderboard(shown)
    said = capsys.readouterr().out.splitlines()
    assert "0.500 [0.450, 0.560]" in said[1]
    assert said[3] == "in brackets: 95 % intervals over the images"
    assert "<td>0.500 [0.450, 0.560]</td><td>0.500</td>" in shown._repr_html_()
    assert "<p>in brackets: 95 % intervals over the images</p>" in shown._repr_html_()


def test_over_seeds_there_is_a_deviation_and_no_interval() -> None:
    shown = with_intervals("a-seed1", "a-seed2")
    assert shown.figure(shown.rows[0], "coco/ap") == "0.500 ± 0.010"
    ends = {"lower": 0.45, "upper": 0.56, "level": 0.95, "resamples": 1000}
    assert [run["coco/ap"] for run in shown.to_dict()["rows"][0]["intervals"].values()] == [ends, ends]


def test_a_failed_seed_does_not_hide_the_interval_of_the_one_that_finished() -> None:
    shown = with_intervals("a-seed1")
    row = replace(shown.rows[0], states={"a-seed1": "finished", "a-seed2": "failed"})
    assert shown.figure(row, "coco/ap") == "0.500 [0.450, 0.560]"


def test_few_images_are_noted() -> None:
    assert interval_note(0.9, 29) == "in brackets: 90 % intervals over the images; an interval from 29 images is rough"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "no interval: coco/ap has no value in more than 5 % of the draws"),
        ({"images": 1}, "no interval: one image allows none"),
        ({"intervals": {}}, "no interval: coco/ap cannot be resampled"),
        ({"intervals": {"coco/ap": {"lower": 0.4, "upper": 0.6}}}, ""),
        ({"intervals": None}, ""),  # as in a record without any
        ({"values": {"coco/ap": None}}, ""),
    ],
)
def test_a_missing_interval_is_explained(changes: dict[str, Any], says: str) -> None:
    scored = {"images": 50, "values": {"coco/ap": 0.5}, "intervals": {"coco/ap": None}, **changes}
    assert _no_interval({"scored": scored}, "coco/ap") == says


def test_costs_are_means_over_the_seeds_that_have_them() -> None:
    summaries: list[dict[str, Any]] = [
        {"costs": {"flops": 10, "measured": {"latency_ms_median": 2.0}}},
        {"costs": {"flops": None, "measured": {"latency_ms_median": 4.0}}},
        {},  # of an older detkit
    ]
    assert _costs(summaries) == {"flops": 10, "latency_ms_median": 3.0}


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123"), (8.456, "8.46"), (99.96, "100"), (1234.5, "1234"), (0, "0")]
)
def test_three_digits(value: float, text: str) -> None:
    assert three_digits(value) == text
