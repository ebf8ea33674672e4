"""What others do with a mouse or see in a plot: the report by the keyboard alone, and in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from browser.report_pages import HOSTILE, SMALL, show, until, written
from detkit.record.reader import ExperimentRecord

OpenPage = Callable[..., Any]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExperimentRecord, Path]:
    return written(tmp_path_factory.mktemp("keys"), replace(SMALL, images=5))


def heads(page: Any) -> list[str]:
    return [str(text) for text in page.locator("#rows .dt-scroll-head th .dt-column-title").all_inner_texts()]


def test_a_column_is_moved_by_keys(report: tuple[ExperimentRecord, Path], open_page: OpenPage) -> None:
    page = open_page(report[1])
    show(page, "debugging")
    page.wait_for_selector("#rows tbody tr")
    before = heads(page)
    page.focus("#rows .dt-scroll-head th:nth-child(3) [tabindex]")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")  # the focus goes with the column
    assert heads(page) == [before[2], *before[:2], *before[3:]]
    assert f"The column {before[2]} is number 1 now" in page.inner_text("#rows [role=status]")
    page.keyboard.press("Shift+ArrowLeft")  # it is the first one
    page.keyboard.press("Shift+ArrowRight")
    assert heads(page) == [before[0], before[2], before[1], *before[3:]]
    cells = page.locator("#rows tbody tr >> nth=0 >> td")
    assert cells.nth(0).inner_text() == "a & b's.jpg"
    assert cells.nth(2).inner_text() == "1000"
    page.fill("#rows .expression", "image_id = 1000")
    until(page, "document.querySelectorAll('#rows tbody tr').length === 1")


def test_a_plot_is_told_in_words(report: tuple[ExperimentRecord, Path], open_page: OpenPage) -> None:
    page = open_page(report[1])
    show(page, "metrics")
    until(page, "document.querySelector('.plot[aria-label]') !== null")
    told = str(page.get_attribute(".plot >> nth=0", "aria-label"))
    rows = report[0].run("fcos").epochs()
    first, last = (float(f"{rows[i]['values']['coco/ap']:.3g}") for i in (0, -1))
    assert told.startswith("coco/ap; faster_rcnn: ")
    assert f"fcos: {first:g} to {last:g}" in told


def test_names_in_the_words_of_a_plot_are_text(report: tuple[ExperimentRecord, Path], open_page: OpenPage) -> None:
    page = open_page(report[1])
    show(page, "errors")
    page.locator("label", has_text="All runs together").click()
    page.locator("label", has_text="All runs together").scroll_into_view_if_needed()
    until(page, "[...document.querySelectorAll('.plot[aria-label]')].some((p) => p.ariaLabel.includes('<img'))")
    labels = page.eval_on_selector_all(".plot[aria-label]", "(plots) => plots.map((p) => p.ariaLabel)")
    assert any(f"; {HOSTILE}: " in label for label in labels)
    assert page.evaluate("window.hit") is None


def test_the_values_of_the_curves_are_a_table(report: tuple[ExperimentRecord, Path], open_page: OpenPage) -> None:
    page = open_page(report[1])
    show(page, "metrics")
    page.click("#values summary")
    table = page.locator("[aria-label='Values by epoch'] table")
    table.wait_for()  # the page fills it when it has been told of the opening
    titles = table.locator("th").all_inner_texts()
    assert titles[:3] == ["run", "epoch", "coco/ap"]
    assert {"loss (validation)", "loss (training)"} <= set(titles)
    rows = [row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()]
    assert len(rows) == 9
    for run in report[0].runs:
        own = [row for row in rows if row[0] == run.model]
        assert [row[2] for row in own] == [f"{epoch['values']['coco/ap']:.3f}" for epoch in run.epochs()]
    assert any("★" in row[1] for row in rows)
    page.click(".chip:has-text('retinanet')")
    until(page, "document.querySelectorAll('[aria-label=\"Values by epoch\"] tbody tr').length === 6")
    page.fill("[aria-label='Find a quantity']", "ap50")
    page.click("#values summary")
    until(page, "document.querySelectorAll('[aria-label=\"Values by epoch\"] th').length === 3")
