"""A page that is open while its experiment goes on, and one that is opened where something is missing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from browser.report_pages import show, until
from detkit.record.files import read_json, write_json
from detkit.record.lock import exclusive
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.record.streams import StreamWriter
from detkit.report.folder import write_report
from made_record import Wanted, make_record

OpenPage = Callable[..., Any]
GOING = Wanted(models=("faster_rcnn", "fcos"), running="fcos", images=4, epochs=2)


@pytest.fixture
def going(tmp_path: Path) -> Iterator[ExperimentRecord]:
    """An experiment whose second run goes on, as far as its locks say."""
    record = make_record(tmp_path / "going", GOING)
    with ExitStack() as stack:
        stack.enter_context(exclusive(record.files.lock, "the experiment"))
        stack.enter_context(exclusive(record.run("fcos").files.lock, "the run"))
        yield record


def one_more_epoch(run: RunRecord, epoch: int) -> None:
    stream = StreamWriter(run.files.metrics)
    stream.append({"epoch": epoch, "step": 10 * epoch, "values": {"coco/ap": 0.9}, "measured": {"train_s": 1.0}})
    stream.close()
    run.files.predictions(epoch).write_bytes(run.files.predictions(1).read_bytes())


def opened(open_page: OpenPage, record: ExperimentRecord) -> Any:
    return open_page(write_report(record, ended=False).page)


def refresh(page: Any, record: ExperimentRecord) -> None:
    write_report(record, ended=False)
    page.evaluate("Report.refresh()")


RUNS = "document.querySelector('[aria-label=Runs]').textContent"


def test_the_overview_brings_itself_up_to_date_and_stays_as_it_was_arranged(
    going: ExperimentRecord, open_page: OpenPage
) -> None:
    page = opened(open_page, going)
    assert "fcos-seed1 running" in page.inner_text("#subtitle")
    assert "2 of 2" in page.inner_text("[aria-label=Runs]")
    page.locator("button.head", has_text="model").click()
    page.click("#parameters summary")
    page.evaluate("document.activeElement.blur()")
    one_more_epoch(going.run("fcos"), 3)
    refresh(page, going)
    until(page, f"{RUNS}.includes('3 of 2')")
    assert page.get_attribute("[aria-label=Leaderboard] th:first-child", "aria-sort") == "ascending"
    assert page.eval_on_selector("#parameters", "(details) => details.open")


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_a_view_that_was_opened_by_its_tab_is_drawn_anew(
    going: ExperimentRecord, open_page: OpenPage, way: str
) -> None:
    page = opened(open_page, going)
    if way == "mouse":
        show(page, "metrics")
    else:
        page.focus("#tab-overview")
        page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('.plot .trace') !== null")
    points = "Math.max(...document.querySelector('.plot.js-plotly-plot').data.map(({x}) => x.length))"
    assert page.evaluate(points) == 2
    for epoch in (3, 4, 5):
        one_more_epoch(going.run("fcos"), epoch)
        refresh(page, going)
        until(page, f"document.querySelector('.plot.js-plotly-plot')?.data && {points} === {epoch}")
    assert page.evaluate("Plots.held") == page.locator(".js-plotly-plot").count()  # nothing is kept of the plots before


def test_who_uses_a_control_is_not_disturbed_but_told(going: ExperimentRecord, open_page: OpenPage) -> None:
    page = opened(open_page, going)
    page.click("#parameters summary")
    page.fill("[aria-label='Find a parameter']", "root")
    one_more_epoch(going.run("fcos"), 3)
    refresh(page, going)
    page.wait_for_selector("#more")
    assert "2 of 2" in page.inner_text("[aria-label=Runs]")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Find a parameter"
    page.click("#more")
    until(page, f"{RUNS}.includes('3 of 2')")
    assert not page.is_visible("#more")
    assert page.input_value("[aria-label='Find a parameter']") == "root"
    assert "1 of 6 keys" in page.inner_text("#parameters caption")


def test_the_image_panel_gets_the_new_epoch_and_its_table_stays_arranged(
    going: ExperimentRecord, open_page: OpenPage
) -> None:
    page = opened(open_page, going)
    show(page, "debugging")
    page.click(".chip:has-text('faster_rcnn')")  # leaves the run that goes on
    page.wait_for_selector("#rows tbody tr")
    page.locator("#rows th", has_text="objects").first.click()
    assert page.get_attribute("#step", "max") == "1"
    page.focus("#step")
    one_more_epoch(going.run("fcos"), 3)
    refresh(page, going)
    until(page, "document.querySelector('#step').max === '2'")
    until(page, "document.querySelector('.slider output').textContent === 'epoch 3'")
    assert page.evaluate("document.activeElement.id") == "step"
    assert not page.is_visible("#more")


def test_images_that_come_after_the_page_was_opened_are_shown(tmp_path: Path, open_page: OpenPage) -> None:
    record = make_record(tmp_path / "new", GOING)
    files = (record.files.ground_truth, record.files.splits)
    with exclusive(record.files.lock, "the experiment"):
        for file in files:
            file.rename(file.with_suffix(".later"))
        folders = [run.files.folder for run in record.runs]
        for folder in folders:
            folder.rename(record.folder / f"later-{folder.name}")
        page = opened(open_page, record)
        show(page, "debugging")
        assert "no images yet" in page.inner_text("#content")
        for file in files:
            file.with_suffix(".later").rename(file)
        for folder in folders:
            (record.folder / f"later-{folder.name}").rename(folder)
        refresh(page, record)
        page.wait_for_selector(".imagename strong")
        assert len(page.query_selector_all(".view")) == 2


def test_a_page_asks_while_its_experiment_is_held_and_not_when_it_was_stopped(
    tmp_path: Path, open_page: OpenPage
) -> None:
    record = make_record(tmp_path / "going", GOING)
    facts = read_json(record.files.experiment)
    pending = {"run_id": "ssd-seed1", "model": "ssd", "seed": 1}
    write_json(record.files.experiment, {**facts, "runs": [*facts["runs"], pending]})
    asked: list[str] = []
    with exclusive(record.files.lock, "the experiment"):
        page = opened(open_page, ExperimentRecord(record.folder))
        page.on("request", lambda request: asked.append(request.url))
        page.evaluate("Report.refresh()")
        assert len(asked) == 1
    refresh(page, ExperimentRecord(record.folder))  # the last report, when nobody holds the record any more
    until(page, "!Runs.experiment().live")
    assert "interrupted" in page.inner_text("[aria-label=Runs]")
    assert "pending" in page.inner_text("[aria-label=Runs]")
    asked.clear()
    page.evaluate("Report.refresh()")
    assert asked == []


# --- where something is missing --------------------------------------------------------------------------------------


def test_the_page_alone_says_that_its_folder_is_missing(tmp_path: Path, browser: Any) -> None:
    record = make_record(tmp_path / "streets", Wanted(models=("fcos",), images=2, epochs=1, figures=False))
    alone = tmp_path / "mail" / "index.html"
    alone.parent.mkdir()
    folder = write_report(record).page.parent
    shutil.copy(folder / "index.html", alone)
    context = browser.new_context()
    page = context.new_page()
    page.goto(alone.as_uri())
    assert "copy or send the whole folder" in page.inner_text("main")
    shutil.copytree(folder / "lib", alone.parent / "lib")
    page.reload()
    assert "copy or send the whole folder" in page.inner_text("main")
    context.close()


@pytest.mark.parametrize("name", ["constructor", "__proto__", "nowhere", "%00%ff", "overview&runs=~~&x=%"])
def test_an_address_that_names_no_view_opens_the_first(tmp_path: Path, open_page: OpenPage, name: str) -> None:
    record = make_record(tmp_path / "streets", Wanted(models=("fcos",), images=2, epochs=1, figures=False))
    page = open_page(write_report(record).page)
    page.evaluate("(name) => { location.hash = name; }", name)
    page.wait_for_timeout(50)
    assert page.get_attribute("#content", "data-view") == "overview"
    assert page.is_visible("text=Leaderboard")


def test_a_view_that_cannot_be_drawn_says_so(tmp_path: Path, browser: Any) -> None:
    record = make_record(tmp_path / "streets", Wanted(models=("fcos",), images=2, epochs=1, figures=False))
    context = browser.new_context()
    page = context.new_page()
    page.goto(write_report(record).page.as_uri())
    page.evaluate("Runs.experiment().standing = null")
    show(page, "tradeoff")
    assert "The view Trade-off could not be drawn" in page.inner_text("[role=alert]")
    show(page, "metrics")
    assert page.locator("[role=alert]").count() == 0
    context.close()


def test_the_skip_link_goes_to_the_content_of_the_same_view(tmp_path: Path, open_page: OpenPage) -> None:
    record = make_record(tmp_path / "streets", Wanted(models=("fcos",), images=2, epochs=1, figures=False))
    page = open_page(write_report(record).page)
    show(page, "metrics")
    page.focus("#skip")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    assert page.get_attribute("#content", "data-view") == "metrics"
    page.focus("#tab-metrics")
    page.keyboard.press("End")
    assert page.get_attribute("#content", "data-view") == "tradeoff"
    page.keyboard.press("Home")
    assert page.get_attribute("#content", "data-view") == "overview"
