"""The report of many runs and classes; keys and fingers on an enlarged image; pictures that are gone; colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from browser.report_pages import SMALL, image_name, painted, settled, show, until, written
from detkit.record.files import read_json, read_json_gz, write_json, write_json_gz
from detkit.record.reader import ExperimentRecord
from detkit.report.folder import write_report
from made_record import Wanted

OpenPage = Callable[..., Any]
MANY = Wanted(
    models=tuple(f"model_{number:02d}" for number in range(10)),
    classes=tuple(f"kind {number}" for number in range(40)),
    images=6,
    epochs=1,
    objects=9,
    noise=9,
)
#: Turns the text around it; the page shows a mark in its place.
TURN = "\u202e"
MARK = "\ufffd"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("many"), MANY)[1]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExperimentRecord, Path]:
    return written(tmp_path_factory.mktemp("small"), replace(SMALL, images=4, name=f"a{TURN}b", classes=("x", "y")))


def zoomed(page: Any) -> dict[str, float]:
    found: dict[str, float] = page.evaluate("({ ...Images.zoom })")
    return found


def test_of_many_runs_the_best_are_shown_side_by_side_until_all_are_asked_for(many: Path, open_page: OpenPage) -> None:
    page = open_page(many)
    show(page, "debugging")
    page.wait_for_selector(".view")
    assert page.locator(".view").count() == 8
    assert "The best 8 of the 10 runs" in page.inner_text("#images")
    board = page.evaluate("Runs.experiment().standing.rows.map(({ name }) => name)")
    assert set(page.locator(".view figcaption strong").all_inner_texts()) == set(board[:8])
    page.click("text=Show all")
    until(page, "document.querySelectorAll('.view').length === 10")
    page.click("text=Show 8")
    until(page, "document.querySelectorAll('.view').length === 8")
    page.click(f".chip:has-text('{board[0]}')")
    until(page, f"![...document.querySelectorAll('.view strong')].some((name) => name.textContent === {board[0]!r})")
    assert page.locator(".view").count() == 8
    assert "8 of the 9 runs" in page.inner_text("#images")


@pytest.mark.parametrize("width", [390, 1280])
def test_many_classes_have_a_box_of_their_own_and_are_found_by_name(
    many: Path, open_page: OpenPage, width: int
) -> None:
    page = open_page(many, width=width)
    show(page, "debugging")
    page.wait_for_selector(".view")
    box = page.locator("[aria-label=Classes] .many")
    assert box.locator(".chip").count() == 40
    assert box.bounding_box()["height"] < 140
    page.fill("[aria-label='Classes: find by name']", "KIND 3")
    shown = box.locator(".chip:visible").all_inner_texts()
    assert shown == ["kind 3", *(f"kind {n}" for n in range(30, 40))]
    page.click("text=all / none >> nth=-1")
    assert page.locator("[aria-label=Classes] .many [aria-pressed=true]").count() == 0
    page.click("[aria-label=Classes] .many >> text=kind 31")
    until(page, "Images.look().labels.size === 1 && Images.look().labels.has(32)")


def test_the_confusion_of_many_classes_begins_with_those_that_are_mistaken_most(
    many: Path, open_page: OpenPage
) -> None:
    page = open_page(many)
    show(page, "errors")
    page.wait_for_selector("table.confusion")
    names = page.locator("table.confusion tbody th").all_inner_texts()
    assert len(names) == 31
    assert names[-1] == "background"
    assert "The 30 classes with the most mistakes of 40" in page.inner_text("#content")
    heights = page.eval_on_selector_all("table.confusion tbody tr", "(rows) => rows.map((row) => row.offsetHeight)")
    assert max(heights) < 50  # names are not broken into letters
    matrix = page.evaluate(
        "Evaluations.figures(Runs.all()[0], 'validation').then(({ matrices }) => Object.values(matrices)[0])"
    )
    counts = matrix["counts"]
    mistakes = {
        name: sum(counts[i]) + sum(row[i] for row in counts) - 2 * counts[i][i]
        for i, name in enumerate(matrix["labels"][:-1])
    }
    left_out = set(mistakes) - set(names)
    assert max(mistakes[name] for name in left_out) <= min(mistakes[name] for name in names[:-1])
    page.click("text=All 40 classes")
    assert page.locator("table.confusion tbody th").count() == 41
    cell = page.locator("table.confusion .cell button[aria-label*='in 2 images']").first
    why = str(cell.get_attribute("aria-label")).split(":")[0]
    cell.click()
    page.wait_for_selector(".imagename strong")
    assert f"Only images with {why} (2)." in page.inner_text("#images")


# --- an enlarged image -----------------------------------------------------------------------------------------------


def test_keys_move_an_enlarged_image(small: tuple[ExperimentRecord, Path], open_page: OpenPage) -> None:
    page = open_page(small[1])
    show(page, "debugging")
    page.wait_for_selector(".stage img")
    page.keyboard.press("Shift+ArrowRight")
    assert zoomed(page) == {"scale": 1, "x": 0.5, "y": 0.5}  # the whole image cannot move
    for _ in range(3):
        page.keyboard.press("+")
    before, name = painted(page), image_name(page)
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    moved = zoomed(page)
    assert moved["x"] > 0.5 > moved["y"]
    assert painted(page) != before
    assert image_name(page) == name
    for _ in range(9):
        page.keyboard.press("Shift+ArrowRight")
    edge = zoomed(page)["x"]
    assert edge == pytest.approx(1 - 0.5 / zoomed(page)["scale"])
    page.keyboard.press("Shift+ArrowLeft")
    assert zoomed(page)["x"] < edge  # at once: nothing to be undone beyond the edge


FINGERS = """([kind, points]) => {
  const stage = document.querySelector(".stage"), { left, top } = stage.getBoundingClientRect();
  stage.setPointerCapture = () => {};
  for (const [pointerId, x, y] of points) stage.dispatchEvent(new PointerEvent(kind,
    { pointerId, pointerType: "touch", clientX: left + x, clientY: top + y, bubbles: true }));
}"""


def test_fingers_enlarge_and_move_an_image(small: tuple[ExperimentRecord, Path], open_page: OpenPage) -> None:
    page = open_page(small[1], width=390, height=844, touch=True)
    show(page, "debugging")
    page.wait_for_selector(".stage img")
    action = "document.querySelector('.stage').style.touchAction"
    assert page.evaluate(action) == "pan-y"  # a finger scrolls the page
    page.evaluate(FINGERS, ["pointerdown", [[1, 100, 100], [2, 150, 100]]])
    page.evaluate(FINGERS, ["pointermove", [[2, 200, 100]]])
    assert zoomed(page)["scale"] == pytest.approx(2)
    page.evaluate(FINGERS, ["pointerup", [[1, 100, 100], [2, 200, 100]]])
    assert page.evaluate(action) == "none"  # a finger moves the image, up and down too
    page.evaluate(FINGERS, ["pointerdown", [[3, 100, 100]]])
    page.evaluate(FINGERS, ["pointermove", [[3, 100, 60]]])
    page.evaluate(FINGERS, ["pointerup", [[3, 100, 60]]])
    assert zoomed(page)["y"] > 0.5
    assert zoomed(page)["x"] == 0.5
    page.click("[aria-label='Whole image']")
    assert page.evaluate(action) == "pan-y"


def test_a_picture_that_is_gone_is_said_and_its_objects_stay(tmp_path: Path, browser: Any) -> None:
    folder = written(tmp_path, replace(SMALL, images=2, models=("fcos",), failed=""))[1].parent
    for picture in (folder / "images").iterdir():
        picture.unlink()
    context = browser.new_context()  # the browser itself logs the missing file as an error
    page = context.new_page()
    page.goto((folder / "index.html").as_uri())
    show(page, "debugging")
    until(page, "document.querySelector('.absent')?.textContent.includes('not in the report')")
    assert not page.is_visible(".stage img")
    assert page.evaluate("document.querySelector('.stage canvas').toDataURL().length") > 2000
    context.close()


# --- names that turn the text, and colours ---------------------------------------------------------------------------


def test_names_cannot_turn_the_text_around_them(tmp_path: Path, open_page: OpenPage) -> None:
    wanted = Wanted(
        models=("fcos",),
        classes=(f"{TURN}rac", "שלום"),
        names=(f"{TURN}gpj.exe",),
        images=1,
        epochs=1,
        name=f"x{TURN}y",
    )
    page = open_page(written(tmp_path, wanted)[1])
    assert page.title().startswith(f"x{MARK}y")
    show(page, "debugging")
    page.wait_for_selector(".imagename strong")
    assert image_name(page) == f"{MARK}gpj.exe"
    assert page.locator("[aria-label=Classes] .chip").all_inner_texts() == [f"{MARK}rac", "שלום"]
    page.wait_for_selector("#rows tbody tr")
    for view in ("overview", "metrics", "debugging", "errors", "tradeoff"):
        show(page, view)
        settled(page)
        assert TURN not in page.content().split("<script")[0]


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  canvas.canvas.width = canvas.canvas.height = 1;
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const back = rgba(getComputedStyle(document.documentElement).getPropertyValue("--back"));
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const not_read = "svg, script, style, noscript, [disabled], .disabled, option";
  while (walk.nextNode()) {
    const text = walk.currentNode.textContent.trim(), element = walk.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest(not_read)) continue;
    let opacity = 1;
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      opacity *= Number(style.opacity);
      layers.push(rgba(style.backgroundColor));
    }
    const under = layers.reverse().reduce((below, layer) => over(layer, below), back);
    const ink = rgba(getComputedStyle(element).color);
    ink[3] *= opacity;
    const contrast = ratio(over(ink, under), under);
    if (contrast < 4.5) found.push(`${contrast.toFixed(2)}: ${text.slice(0, 40)} (${element.tagName})`);
  }
  return [...new Set(found)];
}"""


@pytest.mark.parametrize("dark", [False, True], ids=("light", "dark"))
@pytest.mark.parametrize("view", ["overview", "metrics", "debugging", "errors", "tradeoff"])
def test_text_has_the_contrast_that_wcag_asks_for(
    small: tuple[ExperimentRecord, Path], open_page: OpenPage, view: str, dark: bool
) -> None:
    page = open_page(small[1], dark=dark)
    more = {"debugging": "&classes=1", "tradeoff": "&limit_coco/ap=0.99", "errors": "&shares=1"}.get(view, "")
    page.evaluate("(hash) => { location.hash = hash; }", f"{view}{more}")
    page.wait_for_selector(f"#content[data-view={view}] .viewpage > *")
    settled(page)
    assert page.evaluate(CONTRAST) == []


def test_of_many_models_the_front_is_named_and_the_table_sorts(many: Path, open_page: OpenPage) -> None:
    page = open_page(many)
    page.evaluate("""() => {
      const { standing } = Runs.experiment(), row = standing.rows.at(-1);
      for (let i = 0; i < 10; i++) standing.rows.push({ ...row, name: `also ${i}` });
    }""")
    show(page, "tradeoff")
    until(page, "document.querySelector('.plot')?.data?.length > 19")
    data = page.evaluate("document.querySelector('.plot').data")
    modes = {trace["marker"]["symbol"]: trace["mode"] for trace in data if "marker" in trace}
    assert modes["diamond"] == "markers+text"
    assert modes["circle"] == "markers"
    names = page.locator("#content tbody tr td:first-child")
    page.locator("#content button.head", has_text="model").click()
    assert names.all_inner_texts()[:2] == ["also 0", "also 1"]
    page.locator("#content button.head", has_text="latency").click()
    assert page.get_attribute("#content th:nth-child(3)", "aria-sort") == "ascending"
    page.focus("#limit-latency_ms")
    page.keyboard.press("ArrowLeft")  # what a limit leaves is sorted as before
    assert page.get_attribute("#content th:nth-child(3)", "aria-sort") == "ascending"


def test_without_objects_no_model_is_said_to_miss_a_limit(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(written(tmp_path, Wanted(objects=0, images=3, epochs=1))[1])
    show(page, "tradeoff")
    assert "No model has a value of AP on these images" in page.inner_text(".verdict")
    assert "AP at least" not in page.inner_text(".limits")
    assert "latency at most" in page.inner_text(".limits")


def test_masks_of_some_models_alone_can_be_switched(tmp_path: Path, open_page: OpenPage) -> None:
    record, _ = written(tmp_path, Wanted(models=("mask_rcnn", "fcos"), images=2, epochs=1, masks=True))
    for file in (record.folder / "fcos-seed1" / "predictions").iterdir():
        rows = [{key: value for key, value in row.items() if key != "segmentation"} for row in read_json_gz(file)]
        write_json_gz(file, rows)
    truth = read_json(record.files.ground_truth)
    for row in truth["annotations"]:
        row.pop("segmentation", None)
    write_json(record.files.ground_truth, truth)
    page = open_page(write_report(record).page)
    assert page.evaluate("Report.peek('images').masks") is False
    show(page, "debugging")
    page.wait_for_selector(".view")
    until(page, "document.querySelectorAll('.view .count.right').length === 2")
    page.keyboard.press("ArrowRight")
    with_masks, without = painted(page, 0), painted(page, 1)
    page.get_by_label("Masks").click()
    until(page, "!Images.look().masks")
    settled(page)
    assert painted(page, 0) != with_masks
    assert painted(page, 1) == without
    page.click(".chip:has-text('mask_rcnn')")
    until(page, "document.querySelectorAll('.view').length === 1")
    assert not page.get_by_label("Masks").is_visible()
