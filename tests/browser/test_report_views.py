"""The report's other views: their controls, hostile names, phone and dark, one file, runs that go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from browser.report_pages import BREAKING, HOSTILE, SMALL, counts, settled, show, slide, until, written
from detkit.record.figures import read_matrix
from detkit.record.files import read_json, write_json
from detkit.record.reader import ExperimentRecord
from detkit.report.folder import write_report
from detkit.report.single import write_single_file
from made_record import Wanted, make_record

OpenPage = Callable[..., Any]
VIEWS = ("overview", "metrics", "debugging", "errors", "tradeoff")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExperimentRecord, Path]:
    return written(tmp_path_factory.mktemp("record"))


@pytest.fixture
def page(report: tuple[ExperimentRecord, Path], open_page: OpenPage) -> Iterator[Any]:
    opened = open_page(report[1])
    yield opened
    assert opened.evaluate("window.hit") is None


# --- overview --------------------------------------------------------------------------------------------------------


def test_the_overview_says_who_is_ahead_and_how_runs_ended(page: Any) -> None:
    text = page.inner_text("#content")
    assert "2 of 3" in page.inner_text(".tiles")
    assert "faster_rcnn has the best AP" in text
    assert "selected and scored on the same images" in text
    assert "failed" in page.locator("tr", has_text="retinanet-seed1").inner_text()
    cause = page.inner_text(".failure")
    assert BREAKING in cause
    assert "/home/jane" not in page.content()
    differs = page.locator("section", has_text="What differs").inner_text()
    assert "model.train.lr" in differs
    assert "0.01" in differs


def test_the_leaderboard_sorts_and_shows_more(page: Any) -> None:
    def models() -> list[str]:
        return [str(name) for name in page.locator("[aria-label=Leaderboard] tbody td:first-child").all_inner_texts()]

    def heads() -> list[str]:
        return [str(name) for name in page.locator("[aria-label=Leaderboard] thead th").all_inner_texts()]

    assert models() == ["faster_rcnn", "fcos", "retinanet"]
    page.locator("[aria-label=Leaderboard] button.head", has_text="latency").click()
    assert models() == ["fcos", "faster_rcnn", "retinanet"]  # the lowest first, what is unknown last
    assert page.locator("[aria-label=Leaderboard] th[aria-sort=ascending]").count() == 1
    page.locator("[aria-label=Leaderboard] button.head", has_text="latency").click()
    assert models() == ["faster_rcnn", "fcos", "retinanet"]
    before = heads()
    page.get_by_label("All columns").click()
    assert set(before) < set(heads())


def test_parameters_are_found(page: Any) -> None:
    page.click("#parameters summary")
    page.get_by_label("Find a parameter").fill("dataset.root")
    rows = page.locator("#parameters tbody tr")
    assert rows.count() == 1
    assert rows.inner_text().split() == ["dataset.root", "data"]  # without the folder that it lies in


# --- tabs ------------------------------------------------------------------------------------------------------------


def test_tabs_by_click_keys_and_address(page: Any, report: tuple[ExperimentRecord, Path], open_page: OpenPage) -> None:
    for view in VIEWS:
        show(page, view)
        assert page.get_attribute(f"#tab-{view}", "aria-selected") == "true"
        assert page.url.split("#")[1].split("&")[0] == view
    page.focus("#tab-tradeoff")
    page.keyboard.press("ArrowLeft")
    assert page.get_attribute("#tab-errors", "aria-selected") == "true"
    assert page.evaluate("document.activeElement.id") == "tab-errors"
    page.keyboard.press("2")
    assert page.get_attribute("#tab-metrics", "aria-selected") == "true"
    page.evaluate("location.hash = '#debugging&image=1004&step=epoch-002'")
    page.wait_for_selector(".imagename strong")
    assert page.inner_text(".imagename strong") == "street/0004.jpg"
    assert page.inner_text(".slider output >> nth=0") == "epoch 2"


# --- metrics ---------------------------------------------------------------------------------------------------------


def plot_of(page: Any, title: str, ready: str = "true") -> Any:
    """The data of the plot with that title, once it is drawn and the expression of its element `p` holds."""
    has = f"(p.ariaLabel === {title!r} || p.ariaLabel?.startsWith({title + '; '!r})) && p.data && {ready}"
    find = f"[...document.querySelectorAll('.plot')].find((p) => {has})"
    until(page, f"Boolean({find})")
    return page.evaluate(f"(({{ data, layout }}) => ({{ data, layout }}))({find})")


def test_curves_of_all_runs_lie_over_each_other(page: Any, report: tuple[ExperimentRecord, Path]) -> None:
    show(page, "metrics")
    drawn = plot_of(page, "coco/ap")
    assert [trace["name"] for trace in drawn["data"]] == ["faster_rcnn", "fcos", "retinanet"]
    rows = report[0].run("fcos").epochs()
    assert drawn["data"][1]["y"] == [row["values"]["coco/ap"] for row in rows]
    assert drawn["data"][1]["x"] == [1, 2, 3]
    titles = page.locator("#content h2").all_inner_texts()
    assert titles == ["Accuracy", "Losses", "Learning rate and speed", "Machine"]


def test_smoothing_log_axis_runs_and_search(page: Any) -> None:
    show(page, "metrics")
    plot_of(page, "coco/ap")
    slide(page, "#smoothing", 0.9)
    until(page, "document.querySelector('.plot').data.length === 6")
    raw, smooth = plot_of(page, "coco/ap")["data"][:2]
    assert raw["opacity"] == 0.25
    weights = [0.9 ** (2 - n) for n in range(3)]
    mean = sum(w * y for w, y in zip(weights, raw["y"], strict=True)) / sum(weights)
    assert smooth["y"][-1] == pytest.approx(mean)
    slide(page, "#smoothing", 0)
    page.get_by_label("Log axis").click()
    until(page, "document.querySelector('.plot').layout.yaxis.type === 'log'")
    page.locator(".chip", has_text="fcos").click()
    until(page, "document.querySelector('.plot').data.length === 2")
    page.get_by_label("Find a quantity").fill("learning rate")
    until(page, "document.querySelectorAll('.plot').length === 1")
    assert plot_of(page, "learning rate")["data"][0]["y"]
    page.get_by_label("Find a quantity").fill("")
    page.locator(".chip", has_text="Accuracy").click()
    assert "Accuracy" not in page.locator("#content h2").all_inner_texts()


# --- errors ----------------------------------------------------------------------------------------------------------


def test_cells_of_the_confusion_matrix_open_their_images(page: Any, report: tuple[ExperimentRecord, Path]) -> None:
    show(page, "errors")
    page.wait_for_selector(".confusion")
    _, matrix = read_matrix(report[0].run("faster_rcnn").files.matrix("coco", "confusion", "validation"))
    cells = page.eval_on_selector_all(
        ".confusion tbody tr", "(rows) => rows.map((r) => [...r.cells].map((c) => c.innerText.trim()))"
    )
    assert [row[0] for row in cells] == list(matrix.labels)
    numbers = [[int(text or 0) for text in row[1:]] for row in cells]
    assert numbers == [list(row) for row in matrix.counts]
    row, column = next((i, j) for i in range(3, -1, -1) for j in range(4) if matrix.images[i][j])
    page.locator(".confusion tbody tr").nth(row).locator("td").nth(column).locator("button").click()
    page.wait_for_selector(".imagename strong")
    seen = set()
    for _ in matrix.images[row][column]:
        seen.add(int(page.evaluate("State.get('image')")))
        page.keyboard.press("n")
        settled(page)
    assert seen == set(matrix.images[row][column])
    assert page.locator("figure.view").count() == 1
    if len(seen) > 1:
        page.get_by_role("button", name="Show all images").click()
        until(page, f"document.querySelector('.imagename').textContent.includes('of {SMALL.images}')")


def test_shares_and_mistakes_of_the_confusion_matrix(page: Any) -> None:
    show(page, "errors")
    page.wait_for_selector(".confusion")
    page.get_by_label("Shares of each row").click()
    first = page.locator(".confusion tbody tr").first.inner_text()
    assert "%" in first
    shares = [int(text) for text in first.replace("%", " ").split() if text.isdigit() and int(text) > 0]
    assert sum(shares) == pytest.approx(100, abs=2)
    page.get_by_label("Only mistakes").click()
    assert page.locator(".confusion td.right").count() == 0


def test_the_errors_of_each_epoch_and_run(page: Any, report: tuple[ExperimentRecord, Path]) -> None:
    show(page, "errors")
    page.wait_for_selector(".confusion")
    page.get_by_label("Run").first.select_option("fcos-seed1")
    until(page, "State.get('of') === 'fcos-seed1'")
    slide(page, "#errors-step", 0)
    until(page, "State.get('at') === 'epoch-001'")
    _, matrix = read_matrix(report[0].run("fcos").files.matrix("coco", "confusion", 1))
    numbers = (
        "[...document.querySelectorAll('.confusion td')].reduce((sum, c) => sum + (parseInt(c.innerText) || 0), 0)"
    )
    until(page, f"{numbers} === {sum(map(sum, matrix.counts))}")
    text = page.inner_text("#content")
    assert "Kinds of errors" in text
    assert HOSTILE in page.locator("section", has_text="By class").inner_text()


def test_curves_of_all_runs_or_of_classes(page: Any) -> None:
    show(page, "errors")
    page.wait_for_selector(".confusion")
    page.locator("h2", has_text="Curves").scroll_into_view_if_needed()
    title = "Precision and recall at IoU 0.50"
    plot_of(page, title, "p.data.length === 3")
    page.get_by_label("All runs together").click()
    drawn = plot_of(page, title, "p.data[0].name === 'all classes'")
    names = [trace["name"] for trace in drawn["data"]]
    assert HOSTILE.replace("<", "&lt;").replace(">", "&gt;") in names


# --- trade-off -------------------------------------------------------------------------------------------------------


def test_limits_grey_out_what_does_not_qualify(page: Any) -> None:
    show(page, "tradeoff")
    until(page, "document.querySelector('.plot').data?.length === 3")
    data = page.evaluate("document.querySelector('.plot').data")
    line, one, other = data
    assert line["mode"] == "lines"  # both are on the front: the more accurate one is slower
    assert {one["marker"]["symbol"], other["marker"]["symbol"]} == {"diamond"}
    assert one["error_y"]["array"][0] > 0
    assert "faster_rcnn has the best AP" in page.inner_text(".verdict")
    slide(page, "#limit-latency_ms", 16)
    until(page, "document.querySelector('.plot').data.length === 2")
    data = page.evaluate("document.querySelector('.plot').data.map((d) => [d.name, d.opacity, d.marker.symbol])")
    assert data == [["faster_rcnn", 0.3, "x"], ["fcos", 1, "diamond"]]
    assert "fcos has the best AP" in page.inner_text(".verdict")
    assert "1 of 2 that qualify" in page.inner_text(".verdict")
    assert "latency by 2" in page.locator("tr.out").inner_text()
    page.get_by_role("button", name="No limits").click()
    assert page.locator("tr.out").count() == 0


def test_axes_of_the_trade_off(page: Any) -> None:
    show(page, "tradeoff")
    until(page, "Boolean(document.querySelector('.plot').data)")
    page.locator("#content select").nth(1).select_option("memory_mb")
    until(page, "document.querySelector('.plot').layout.xaxis.title.text.startsWith('memory')")
    page.locator("#content select").nth(0).select_option("coco/f1")
    until(page, "document.querySelector('.plot').layout?.yaxis.title.text === 'F1'")
    page.get_by_label("Log axis").click()
    until(page, "document.querySelector('.plot').layout.xaxis.type === 'log'")


# --- anywhere --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_wider_than_a_phone_and_all_is_legible_in_the_dark(
    report: tuple[ExperimentRecord, Path], open_page: OpenPage, view: str
) -> None:
    page = open_page(report[1], width=390, height=844, dark=True, touch=True)
    show(page, view)
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    back, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    assert (brightness(back) < 60, brightness(ink) > 180) == (True, True)
    for colour in page.eval_on_selector_all(
        ".gtitle, .xtick text", "(texts) => texts.map((t) => getComputedStyle(t).fill)"
    ):
        assert brightness(colour) > 120
    for colour in page.eval_on_selector_all("#rows td", "(cells) => cells.map((c) => getComputedStyle(c).color)"):
        assert brightness(colour) > 120


def brightness(colour: str) -> float:
    numbers = [float(part) for part in colour[colour.index("(") + 1 : -1].replace(",", " ").split()[:3]]
    return 0.3 * numbers[0] + 0.59 * numbers[1] + 0.11 * numbers[2]


def test_colours_follow_the_system(report: tuple[ExperimentRecord, Path], page: Any) -> None:
    show(page, "metrics")
    light = plot_of(page, "coco/ap")["layout"]["font"]["color"]
    page.emulate_media(color_scheme="dark")
    until(page, f"document.querySelector('.plot').layout.font.color !== {light!r}")
    assert page.evaluate("document.documentElement.classList.contains('dark')")


def test_the_folder_can_be_moved_alone(
    report: tuple[ExperimentRecord, Path], open_page: OpenPage, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(report[1].parent, moved)
    page = open_page(moved / "index.html")
    show(page, "debugging")
    page.wait_for_selector(".stage img")
    assert (
        page.evaluate(
            "(async (i) => { await i.decode(); return i.naturalWidth; })(document.querySelector('.stage img'))"
        )
        == 320
    )


def test_one_file_holds_everything(report: tuple[ExperimentRecord, Path], open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    file = tmp_path / "alone" / "report.html"
    single = write_single_file(report[0], file, limit_bytes=25_000_000)
    assert (single.left_out, single.bytes) == ("", file.stat().st_size)
    page = open_page(file)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for view in VIEWS:
        show(page, view)
    show(page, "debugging")
    slide(page, "#step", 0)
    page.wait_for_selector("#rows tbody tr")
    assert page.evaluate("document.querySelector('.stage img').src").startswith("data:image/jpeg")
    assert sum(map(sum, counts(page))) > 0
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == []
    assert page.evaluate("window.hit") is None


def test_one_file_keeps_to_its_limit_and_says_what_is_left_out(
    report: tuple[ExperimentRecord, Path], open_page: OpenPage, tmp_path: Path
) -> None:
    whole = write_single_file(report[0], tmp_path / "whole.html", limit_bytes=25_000_000)
    limit = whole.bytes - 40_000
    less = write_single_file(report[0], tmp_path / "less.html", limit_bytes=limit)
    assert less.bytes <= limit
    assert "were left out" in less.left_out
    page = open_page(tmp_path / "less.html")
    assert less.left_out in page.inner_text("footer")
    show(page, "debugging")
    page.wait_for_selector(".stage")
    assert len(counts(page)) == 3


def test_an_experiment_without_anything_yet(open_page: OpenPage, tmp_path: Path) -> None:
    record = make_record(tmp_path / "new", replace(SMALL, epochs=0, figures=False, images=2))
    for run in record.runs:
        shutil.rmtree(run.files.folder)
    page = open_page(write_report(record).page)
    for view, words in zip(
        VIEWS, ("No run has finished", "Nothing has been measured", "", "No metric", "No run has finished"), strict=True
    ):
        show(page, view)
        assert words in page.inner_text("#content")
    assert page.locator("#content").inner_text()


def test_names_of_the_experiment_are_text(open_page: OpenPage, tmp_path: Path) -> None:
    record = make_record(tmp_path / "hostile", Wanted(models=("fcos",), images=2, epochs=1))
    write_json(record.files.experiment, {**read_json(record.files.experiment), "name": f"{HOSTILE}{BREAKING}"})
    again = ExperimentRecord(record.folder)
    page = open_page(write_report(again).page)
    assert page.inner_text("h1") == f"{HOSTILE}{BREAKING}"
    assert page.evaluate("window.hit") is None
    assert json.loads((record.folder / "report/data/manifest.json").read_text())["files"]
