"""The table of an experiment: which quantities it has room for, and what older records show."""

from __future__ import annotations

from typing import Any

import pytest

from detkit.cli.leaderboard import WIDTH, print_leaderboard, shown_quantities
from detkit.cli.words import three_digits
from detkit.compare.leaderboard import Leaderboard, Row, Value, _costs

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
