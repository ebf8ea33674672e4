"""The report's view of a search: its table, plots and controls, hostile names, a phone's width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from browser.report_pages import BREAKING, HOSTILE, SMALL, settled, show, until, written
from detkit.record.files import read_json, write_json
from detkit.record.lock import exclusive
from detkit.report.folder import write_report
from made_search import AP, LATENCY, ROWS, make_search

OpenPage = Callable[..., Any]
SHARES = {"train.lr": 0.7, "train.batch_size": 0.2, "augment.flip.enabled": 0.1}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    return write_report(make_search(folder / "s", objectives=(AP, LATENCY), importances=SHARES)).page


def drawn(page: Any, heading: str, ready: str = "true") -> Any:
    """The data of the plot below that heading, once the expression of its element `p` holds."""
    own = f"[...document.querySelectorAll('section')].find((s) => s.querySelector('h2').textContent === {heading!r})"
    until(page, f"((p) => Boolean(p && p.data && {ready}))({own}?.querySelector('.plot'))")
    return page.evaluate(f"(({{ data, layout }}) => ({{ data, layout }}))({own}.querySelector('.plot'))")


def parallel(page: Any, ready: str = "true") -> dict[str, Any]:
    """The lines of the trials by their names."""
    page.get_by_role("heading", name="Which values gave what").scroll_into_view_if_needed()
    return {trace["name"]: trace for trace in drawn(page, "Which values gave what", ready)["data"]}


def numbers(page: Any) -> list[str]:
    return [str(text) for text in page.locator("#trials tbody td:first-child").all_inner_texts()]


def test_the_table_has_the_best_first_and_states_in_words(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    show(page, "search")
    assert "Trial 3 is the best for coco/ap: coco/ap 0.6, latency_ms_median 20." in page.inner_text(".verdict")
    assert "6 of 6 trials: 3 finished, 1 pruned, 1 interrupted, 1 failed" in page.inner_text(".verdict")
    assert numbers(page) == ["3", "2", "1", "4", "6", "5"]
    rows = [str(text) for text in page.locator("#trials tbody tr").all_inner_texts()]
    assert "✓ finished, none is better in both" in rows[0]
    assert "none is better" not in rows[1]
    assert "⊘ pruned" in rows[3]
    assert "0.01" in rows[0]
    assert "Trial 5 failed" in page.inner_text(".failure")
    assert "/home/jane" not in page.content()
    page.locator("#trials button.head", has_text="latency_ms_median").click()
    assert numbers(page)[:4] == ["1", "4", "3", "2"]


def test_lines_lie_on_axes_of_their_own(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    show(page, "search")
    lines = parallel(page)
    assert lines["trial 3"]["y"] == [pytest.approx(2 / 3), 0.25, 1, 1, 0.5]
    assert lines["trial 5"]["y"][3:] == [None, None]
    assert lines["trial 3"]["line"]["dash"] == "solid"
    assert lines["trial 4"]["line"]["dash"] == lines["trial 5"]["line"]["dash"] == "dash"
    assert lines["trial 4"]["opacity"] < lines["trial 3"]["opacity"]
    assert "trial 3, finished<br>coco/ap: 0.6" in lines["trial 3"]["hovertext"]
    layout = drawn(page, "Which values gave what")["layout"]
    assert layout["xaxis"]["ticktext"][0] == "train.lr"
    assert layout["xaxis"]["ticktext"][2] == "augment.flip.<br>enabled"
    ticks = [(note["y"], note["text"]) for note in layout["annotations"] if note["x"] == 0]
    assert [text for _, text in ticks] == ["0.0001", "0.001", "0.01", "0.1"]
    assert [y for y, _ in ticks] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_a_trial_is_marked_and_states_are_chosen(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    show(page, "search")
    before = parallel(page)
    page.get_by_label("Mark trial 2").click()
    assert page.get_attribute("#trial-2", "aria-pressed") == "true"
    assert page.evaluate("document.activeElement.id") == "trial-2"
    after = parallel(page, "p.data.at(-1).name === 'trial 2'")
    assert after["trial 2"]["line"]["width"] > before["trial 2"]["line"]["width"]
    assert after["trial 3"]["opacity"] < before["trial 3"]["opacity"]
    page.locator(".chip", has_text="failed").click()
    assert numbers(page) == ["3", "2", "1", "4", "6"]
    assert "trial 5" not in parallel(page, "!p.data.some((t) => t.name === 'trial 5')")
    until(page, "location.hash.includes('trial=2')")
    page.get_by_label("Mark trial 2").click()
    assert page.get_attribute("#trial-2", "aria-pressed") == "false"


def test_what_counts_how_it_came_on_and_the_front(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    show(page, "search")
    page.get_by_role("heading", name="What counts for coco/ap").scroll_into_view_if_needed()
    bars = drawn(page, "What counts for coco/ap")
    assert bars["data"][0]["x"] == [0.1, 0.2, 0.7]  # the largest on top
    assert bars["layout"]["yaxis"]["ticktext"][-1] == "train.lr"
    best, points = drawn(page, "How it came on")["data"]
    assert best["y"] == [0.2, 0.3, 0.6, 0.6]  # to the last trial
    assert (points["x"], points["y"]) == ([1, 2, 3, 4], [0.2, 0.3, 0.6, 0.1])
    page.get_by_role("heading", name="coco/ap and latency_ms_median").scroll_into_view_if_needed()
    front, trials = drawn(page, "coco/ap and latency_ms_median")["data"]
    assert (front["x"], front["y"]) == ([10, 20], [0.2, 0.6])
    assert sorted(trials["marker"]["symbol"]) == ["circle", "diamond", "diamond", "x"]
    page.get_by_label("Objective").select_option("latency_ms_median")
    assert numbers(page)[:3] == ["1", "3", "2"]
    page.get_by_role("heading", name="How it came on").scroll_into_view_if_needed()
    assert drawn(page, "How it came on", "p.data[1].y[0] === 10")["data"][0]["y"] == [10, 10, 10, 10]


def test_a_run_opens_in_the_other_views(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    show(page, "search")
    page.locator("#trials button", has_text="fcos-trial003-seed1").click()
    page.wait_for_selector("#content[data-view=metrics] .viewpage > *")
    assert "runs=fcos-trial003-seed1" in page.url
    page.locator("#content").press("6")
    page.wait_for_selector("#content[data-view=search] #trials")


def test_no_tab_without_a_search_and_words_without_importances(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(written(tmp_path, replace(SMALL, images=1, epochs=1, figures=False))[1])
    assert page.locator("[role=tab]").count() == 5
    page = open_page(write_report(make_search(tmp_path / "s")).page)
    assert page.locator("[role=tab]").count() == 6
    show(page, "search")
    assert "Not said: 3 trials have finished, and it takes 8." in page.inner_text("#content")
    assert page.get_by_label("Objective").count() == 0


def test_models_are_chosen(tmp_path: Path, open_page: OpenPage) -> None:
    record = make_search(tmp_path / "s")
    content = read_json(record.files.search)
    other = {**content["models"]["fcos"], "trials": content["models"]["fcos"]["trials"][:2]}
    write_json(record.files.search, {**content, "models": {**content["models"], HOSTILE: other}})
    page = open_page(write_report(record).page)
    show(page, "search")
    assert len(numbers(page)) == 6
    page.get_by_label("Model").select_option(HOSTILE)
    assert numbers(page) == ["2", "1"]
    assert f"Search of {HOSTILE}" in page.inner_text(".verdict")
    assert page.evaluate("window.hit") is None


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_hostile_names_are_text_and_nothing_overflows(
    tmp_path: Path, open_page: OpenPage, width: int, dark: bool
) -> None:
    space = {HOSTILE: {"low": 1, "high": 3}, "__proto__": [HOSTILE, BREAKING, "%{x}"], "train.a_very_long_key": [1, 2]}
    values = ((1, HOSTILE, 1), (2, BREAKING, 2), (3, "%{x}", 1), (2, HOSTILE, 2), (3, BREAKING, 1), (1.5, "%{x}", 1))
    rows = [
        (state, value, given, f"{reason}{BREAKING}")
        for (state, _, given, reason), value in zip(ROWS, values, strict=True)
    ]
    hostile = {"metric": f"coco/{HOSTILE}", "direction": "maximize"}
    shares = {HOSTILE: 0.6, "__proto__": 0.4}
    record = make_search(tmp_path / "s", space=space, rows=rows, objectives=(hostile, LATENCY), importances=shares)
    page = open_page(write_report(record).page, width=width, dark=dark)
    show(page, "search")
    text = page.inner_text("#content")
    assert HOSTILE in text
    assert BREAKING in text
    assert "__proto__" in text
    lines = parallel(page)
    assert lines["trial 1"]["y"][:2] == [0, 0]
    for plot in page.query_selector_all(".plot"):
        plot.scroll_into_view_if_needed()
        settled(page)
    until(page, "[...document.querySelectorAll('.plot')].every((p) => p.data)")
    assert page.locator("#content img").count() == 0
    assert page.evaluate("window.hit") is None
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_open_page_follows_a_search(tmp_path: Path, open_page: OpenPage) -> None:
    whole = make_search(tmp_path / "whole")
    record = make_search(tmp_path / "s", rows=ROWS[:3])
    content = read_json(whole.files.search)
    with exclusive(record.files.lock, "the experiment"):
        page = open_page(write_report(record, ended=False).page)
        show(page, "search")
        assert len(numbers(page)) == 3
        page.click("#trial-2")  # marked; its button has the focus
        write_json(record.files.search, content)
        write_report(record, ended=False)
        page.evaluate("Report.refresh()")
        page.wait_for_selector("#more")
        assert len(numbers(page)) == 3
        page.click("#more")
        until(page, "document.querySelectorAll('#trials tbody tr').length === 6")
        assert page.get_attribute("#trial-2", "aria-pressed") == "true"
        assert "6 of 6 trials" in page.inner_text(".verdict")
        content["models"]["fcos"]["trials"][0]["objectives"] = [0.7]  # another is the best now
        write_json(record.files.search, content)
        write_report(record, ended=False)
        page.evaluate("Report.refresh()")
        until(page, "document.querySelector('.verdict').textContent.includes('Trial 1 is the best')")


def test_a_page_stops_asking_when_a_search_was_stopped_or_has_nothing_left_to_try(
    tmp_path: Path, open_page: OpenPage
) -> None:
    record = make_search(tmp_path / "s")  # a trial is out, and nobody holds the experiment
    content = read_json(record.files.search)
    content["models"]["fcos"] |= {"wanted": 100, "exhausted": True}
    write_json(record.files.search, content)
    page = open_page(write_report(record).page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("Report.refresh()")
    assert asked == []
    show(page, "search")
    assert "6 of 100 trials" in page.inner_text(".verdict")
