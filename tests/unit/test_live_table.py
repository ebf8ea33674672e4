"""The live table: what stands in it, at every width and height; curves and bars; what characters an encoding has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from rich.cells import cell_len

from detkit.cli.live.course import ExperimentCourse, RunCourse
from detkit.cli.live.sparkline import ASCII, UNICODE, Glyphs, bar, glyphs_of, sparkline
from detkit.cli.live.table import frame
from detkit.record.course import Quantity

AP = Quantity("coco/ap", higher=True)
NOW = 2010.0


def epoch(number: int, value: float | None, *, name: str = "coco/ap") -> dict[str, Any]:
    values = {name: value, "train/epoch_loss": 2 / number}
    return {"epoch": number, "step": number, "values": values, "measured": {"train_s": 60.0, "evaluation_s": 8.0}}


def run(
    run_id: str, state: str, values: list[float | None], *, epochs: int = 12, quantity: Quantity = AP, **more: Any
) -> RunCourse:
    rows = [epoch(number, value, name=quantity.name) for number, value in enumerate(values, 1)]
    return RunCourse(run_id, run_id.split("-")[0], state, epochs, rows, quantity=quantity if rows else None, **more)


def training(done: int = 24, **changes: Any) -> Mapping[str, Any]:
    there = {"phase": "training", "epoch": 5, "epochs": 12, "done": done, "total": 60}
    return {**there, "loss": 0.5512, "lr": 0.0183, "images_per_s": 25.3, **changes}


def curve(length: int, top: float) -> list[float | None]:
    return [top * (1 - math.exp(-number / 4)) for number in range(1, length + 1)]


def experiment(*extra: RunCourse) -> ExperimentCourse:
    course = ExperimentCourse("penn-fudan", 0.0, {})
    runs = [
        run("faster_rcnn-seed1", "finished", curve(12, 0.6), began=0.0, ended=900.0),
        run("faster_rcnn-seed2", "finished", curve(9, 0.55), began=900.0, ended=1600.0),
        run("fcos-seed1", "failed", curve(2, 0.2), cause="out of memory while computing the losses; lower batch_size"),
        run("retinanet-seed1", "running", curve(4, 0.62), began=1700.0, progress=training(), trained_from=1710.0),
        run("retinanet-seed2", "waiting", curve(3, 0.4)),
        run("mask_rcnn-seed1", "interrupted", curve(1, 0.1)),
        *extra,
    ]
    course.runs = {one.run_id: one for one in runs}
    return course


def text(course: ExperimentCourse, width: int = 100, height: int = 30, glyphs: Glyphs = UNICODE) -> list[str]:
    return [line.plain.rstrip() for line in frame(course, width=width, height=height, now=NOW, glyphs=glyphs)]


def row(lines: list[str], name: str) -> str:
    (found,) = [line for line in lines if line.startswith(name)]
    return found


# --- what stands in it -----------------------------------------------------------------------------------------------


def test_every_state_is_told() -> None:
    lines = text(experiment())
    assert lines[0].startswith("penn-fudan  2 of 6 runs done, 1 failed, 1 interrupted ")
    assert "33 min 30 s, about " in lines[0]
    assert lines[0].endswith(" left")
    assert lines[1].split() == ["run", "progress", "ap", "by", "epoch", "best", "(epoch)", "loss", "time"]
    cells = row(lines, "faster_rcnn-seed1").split()
    assert cells[:3] == ["faster_rcnn-seed1", "finished", "12/12"]
    assert set(cells[3]) <= set(UNICODE.levels)
    assert cells[4:] == ["0.570", "(12)", "0.167", "15", "min", "00", "s"]
    assert "finished 9/12" in row(lines, "faster_rcnn-seed2")
    assert row(lines, "fcos-seed1").endswith("failed: out of memory while computing the losses; lower batch_size")
    assert "waiting at 3/12" in row(lines, "retinanet-seed2")
    assert "interrupted at 1/12" in row(lines, "mask_rcnn-seed1")


def test_a_run_that_goes_on_has_two_bars() -> None:
    lines = text(experiment())
    (number,) = [number for number, line in enumerate(lines) if line.startswith("retinanet-seed1")]
    first, second = lines[number : number + 2]
    assert "epoch 5/12" in first
    assert "0.392 (4)" in first
    assert "0.551" in first  # the loss of the latest step, not of the latest epoch
    assert first.endswith(" left")
    assert second.split()[0] == "training"
    assert "24/60  lr 0.018  25.3 img/s" in second
    # 4.4 of 12 epochs, and 24 of 60 steps: 37 and 40 %.
    for line, share in ((first, 4.4 / 12), (second, 0.4)):
        length = line.count("━") + line.count("╸") + line.count("─")
        assert abs(line.count("━") + 0.5 * line.count("╸") - share * length) <= 0.5


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        ({}, "loading"),
        ({"phase": "checking", "epoch": 0, "epochs": 12, "done": 1, "total": 2}, "checking"),
        ({"phase": "validation", "epoch": 5, "epochs": 12, "done": 5, "total": 50}, "evaluating"),
        ({"phase": "measuring", "epoch": 12, "epochs": 12, "done": 5, "total": 50}, "measuring"),
    ],
)
def test_other_phases(progress: Mapping[str, Any], words: str) -> None:
    course = experiment()
    course.runs["retinanet-seed1"].progress = progress
    lines = text(course)
    assert words in "\n".join(lines)
    if words in ("loading", "checking"):
        assert "starting" in row(lines, "retinanet-seed1")


def test_the_best_run_so_far_stands_out() -> None:
    def bold(course: ExperimentCourse) -> list[str]:
        lines = frame(course, width=100, height=30, now=NOW, glyphs=UNICODE)
        return [line.plain.split()[0] for line in lines if any(span.style == "bold green" for span in line.spans)]

    assert bold(experiment()) == ["faster_rcnn-seed1"]
    lower = Quantity("validation/loss", higher=False)
    course = ExperimentCourse("x", 0.0, {})
    values: dict[str, list[float | None]] = {"a-seed1": [3.0, 1.0], "b-seed1": [2.0, 4.0]}
    course.runs = {name: run(name, "finished", of, quantity=lower) for name, of in values.items()}
    assert bold(course) == ["a-seed1"]
    course.runs["b-seed1"] = run("b-seed1", "finished", [9.0], quantity=AP)  # not to be compared
    assert bold(course) == []


def test_values_that_do_not_apply_are_left_out() -> None:
    course = ExperimentCourse("x", 0.0, {})
    course.runs = {"a-seed1": run("a-seed1", "finished", [None, 0.2, None])}
    assert "0.200 (2)" in row(text(course), "a-seed1")
    course.runs = {"a-seed1": run("a-seed1", "finished", [None, None])}
    assert "(" not in row(text(course), "a-seed1")


def test_nothing_is_estimated_before_there_is_data() -> None:
    course = ExperimentCourse("new", NOW - 5, {})
    course.runs = {name: run(name, "waiting", []) for name in ("a-seed1", "b-seed1")}
    assert text(course)[0] == "new  0 of 2 runs done".ljust(97) + "5 s"


def test_warnings_are_counted() -> None:
    course = experiment()
    course.warnings = 2
    assert "2 warnings" in text(course)[0]


def test_trials_that_were_pruned_are_done() -> None:
    course = ExperimentCourse("search", 0.0, {})
    for number, state in enumerate(("finished", "pruned", "failed", "running"), 1):
        name = f"fcos-trial{number:03d}-seed1"
        course.runs[name] = RunCourse(name, "fcos", state, epochs=3)
    assert "2 of 4 runs done (1 pruned), 1 failed" in text(course)[0]


def test_where_names_do_not_fit_a_seed_that_all_share_is_left_out() -> None:
    course = ExperimentCourse("search", 0.0, {})
    for number in (1, 2):
        name = f"a_detector_with_a_long_name-trial{number:03d}-seed1"
        course.runs[name] = RunCourse(name, "fcos", "waiting", epochs=3)
    for width in (40, 60, 80):
        assert [line.split()[0][-3:] for line in text(course, width=width)[-2:]] == ["001", "002"], width
    assert "seed1" in text(course, width=200)[-1]
    other = "a_detector_with_a_long_name-trial002-seed2"
    course.runs[other] = RunCourse(other, "fcos", "waiting", epochs=3)
    assert "seed2" in text(course, width=80)[-1]


def test_trials_are_rows_like_others() -> None:
    lines = text(experiment(run("fcos-trial007-seed1", "pruned", curve(2, 0.1))))
    assert "pruned at 2/12" in row(lines, "fcos-trial007-seed1")


# --- any width and height --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("height", [1, 4, 5, 6, 8, 10, 24])
@pytest.mark.parametrize("width", [10, 20, 40, 60, 80, 100, 160, 300])
def test_it_fits(width: int, height: int, glyphs: Glyphs) -> None:
    many = [run(f"a_model_with_a_very_long_name_indeed-seed{seed}", "waiting", []) for seed in range(40)]
    for course in (experiment(), experiment(*many), ExperimentCourse("nothing", 0.0, {})):
        lines = frame(course, width=width, height=height, now=NOW, glyphs=glyphs)
        assert len(lines) <= height
        assert all(line.cell_len <= width for line in lines)
        if glyphs is ASCII:
            assert all(line.plain.isascii() for line in lines)


def test_60_columns_show_what_matters_most() -> None:
    lines = text(experiment(), width=60)
    assert "loss" not in lines[2]
    assert "time" not in lines[2]
    assert lines[1].startswith("33 min 30 s, about ")
    assert "0.570 (12)" in row(lines, "faster_rcnn-seed1")
    assert "epoch 5/12  ━" in row(lines, "retinanet-seed1")


def test_of_more_runs_than_lines_the_running_one_and_its_neighbours_are_shown() -> None:
    many = [run(f"mask_rcnn-seed{seed}", "waiting", []) for seed in range(2, 40)]
    lines = text(experiment(*many), height=10)
    assert len(lines) <= 10 - 3  # what stands above keeps some lines
    assert any(line.startswith("retinanet-seed1") for line in lines)
    assert lines[2] == "… above: 2 finished"
    assert lines[-1] == "… below: 1 interrupted, 38 waiting"
    assert len(lines) == 7
    assert lines[3].startswith("fcos-seed1")


def test_a_name_that_is_cut_keeps_its_end() -> None:
    lines = text(experiment(run("mask_rcnn_resnet50_fpn_v2_of_mine-seed12", "waiting", [])), width=60)
    (name,) = [line.split()[0] for line in lines if line.startswith("mask_rcn") and "mask_rcnn-seed1" not in line]
    assert "…" in name
    assert name.endswith("-seed12")


def test_wide_characters_take_two_cells() -> None:
    course = ExperimentCourse("実験", 0.0, {})
    course.runs = {"a-seed1": run("a-seed1", "failed", [], cause="画像がありません" * 20)}
    for line in frame(course, width=60, height=10, now=NOW, glyphs=UNICODE):
        assert line.cell_len <= 60
        assert cell_len(line.plain) <= 60


# --- curves and bars -------------------------------------------------------------------------------------------------


def test_a_sparkline() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8, 0, 7) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 7], 8, 0, 7) == "▁█"
    assert sparkline([0, 7], 8, 0, 7, ASCII) == "_@"
    assert sparkline([3, 3], 8, 3, 3) == "▄▄"
    assert sparkline([-1, 9], 8, 0, 7) == "▁█"
    assert sparkline([], 8, 0, 0) == ""
    assert sparkline([1], 0, 0, 1) == ""


def test_a_long_curve_keeps_its_end() -> None:
    assert sparkline([0] * 99 + [7], 4, 0, 7) == "▁▁▁█"
    assert sparkline([0, 7, 0, 7, 0, 7], 3, 0, 7) == "███"  # the last value of each share


def test_a_bar() -> None:
    assert bar(4, 0.5) == ("━━", "──")
    assert bar(4, 0.375) == ("━╸", "──")
    assert bar(4, 0) == ("", "────")
    assert bar(4, 7) == ("━━━━", "")
    assert bar(4, 0.375, ASCII) == ("#", "...")


@pytest.mark.parametrize(
    ("encoding", "glyphs"),
    [
        ("utf-8", UNICODE),
        ("UTF8", UNICODE),
        ("utf_16", UNICODE),
        ("ascii", ASCII),
        ("latin-1", ASCII),
        ("cp437", ASCII),
    ],
)
def test_the_characters_of_an_encoding(encoding: str, glyphs: Glyphs) -> None:
    assert glyphs_of(encoding) is glyphs
    for characters in (glyphs.levels, glyphs.full, glyphs.half, glyphs.empty, glyphs.ellipsis):
        characters.encode(encoding if glyphs is UNICODE else "ascii")
