"""The view Debugging: every control of the image panel and of the data panel, used, with its effect on the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browser.report_pages import CLASSES, SMALL, counts, image_name, painted, settled, show, slide, until, written
from detkit.record.reader import ExperimentRecord

OpenPage = Callable[..., Any]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExperimentRecord, Path]:
    return written(tmp_path_factory.mktemp("record"))


@pytest.fixture
def page(report: tuple[ExperimentRecord, Path], open_page: OpenPage) -> Iterator[Any]:
    opened = open_page(report[1])
    show(opened, "debugging")
    opened.wait_for_selector("#rows tbody tr")
    yield opened
    assert opened.evaluate("window.hit") is None


def rows(report: tuple[ExperimentRecord, Path], run: str, epoch: int) -> dict[int, dict[str, Any]]:
    """The record's own table of images: image id to column to value."""
    ((_, _, table),) = [found for found in report[0].run(run).tables("coco/per_image") if found[0] == epoch]
    return {row[1]: dict(zip(table.columns, row, strict=True)) for row in map(list, table.rows)}  # type: ignore[misc]


def test_the_counts_are_those_of_the_record(report: tuple[ExperimentRecord, Path], page: Any) -> None:
    """Of every image and epoch, at the confidence and IoU of the metric."""
    for at, epoch in enumerate(range(1, SMALL.epochs + 1)):
        slide(page, "#step", at)
        until(page, f"document.querySelector('.slider output').textContent === 'epoch {epoch}'")
        own = [rows(report, run, epoch) for run in ("faster_rcnn", "fcos", "retinanet")]
        seen = set()
        for _ in range(SMALL.images):
            image = int(page.evaluate("State.get('image')"))
            until(
                page,
                f"document.querySelector('.imagename strong').innerText === Evaluations.images().names[{image - 1000}]",
            )
            settled(page)
            assert counts(page) == [[table[image][kind] for kind in ("tp", "fp", "fn")] for table in own]
            seen.add(image)
            page.click("[aria-label='Next image']")
            until(page, f"State.get('image') !== '{image}'")
        assert len(seen) == SMALL.images


def test_the_epoch_slider_changes_what_is_drawn(page: Any) -> None:
    final = painted(page)
    slide(page, "#step", 0)
    until(page, "State.get('step') === 'epoch-001'")
    settled(page)
    assert painted(page) != final
    until(page, "location.hash.includes('step=epoch-001')")
    page.keyboard.press("]")
    until(page, "State.get('step') === 'epoch-002'")
    assert page.inner_text(".slider output >> nth=0") == "epoch 2"
    page.keyboard.press("[")
    until(page, "State.get('step') === 'epoch-001'")


def test_a_run_that_failed_shows_its_latest_epoch_at_the_final_step(page: Any) -> None:
    caption = page.inner_text("figure.view >> nth=2")
    assert "retinanet" in caption
    assert "epoch 3, its latest" in caption


def test_the_confidence_slider_leaves_the_sure_ones(page: Any) -> None:
    slide(page, "#confidence", 0)
    settled(page)
    low = counts(page)
    slide(page, "#confidence", 1)
    settled(page)
    high = counts(page)
    assert all(right == wrong == 0 for right, wrong, _ in high)
    assert sum(right + wrong for right, wrong, _ in low) > 0
    objects = [right + missed for right, _, missed in low]
    assert objects == [missed for *_, missed in high]  # what is missed is what is not found


def test_the_iou_slider_matches_anew(page: Any) -> None:
    go_to(page, 1003)
    slide(page, "#confidence", 0)
    slide(page, "#iou", 0.1)
    settled(page)
    loose = counts(page)
    slide(page, "#iou", 0.95)
    settled(page)
    strict = counts(page)
    assert sum(right for right, *_ in loose) > sum(right for right, *_ in strict)
    assert [right + wrong for right, wrong, _ in loose] == [right + wrong for right, wrong, _ in strict]


def go_to(page: Any, image: int) -> None:
    page.evaluate(f"Images.go({image})")
    until(page, f"State.get('image') === '{image}'")
    settled(page)


@pytest.mark.parametrize("label", ["Ground truth", "Masks", "Names"])
def test_a_switch_changes_what_is_drawn_and_back(page: Any, label: str) -> None:
    go_to(page, 1003)
    before = painted(page)
    box = page.get_by_label(label, exact=True)
    assert box.is_checked()
    box.click()
    settled(page)
    assert painted(page) != before
    box.click()
    settled(page)
    assert painted(page) == before


def test_grayscale_and_smoothing_change_the_picture_alone(page: Any) -> None:
    go_to(page, 1003)
    before = painted(page)
    style = "(name) => getComputedStyle(document.querySelector('.stage img'))[name]"
    assert page.evaluate(style, "filter") == "none"
    page.get_by_label("Grayscale").click()
    settled(page)
    assert page.evaluate(style, "filter") == "grayscale(1)"
    assert page.evaluate(style, "imageRendering") == "auto"
    page.get_by_label("Smooth pixels").click()
    settled(page)
    assert page.evaluate(style, "imageRendering") == "pixelated"
    assert painted(page) == before


def test_colours_by_verdict_or_by_class(page: Any) -> None:
    go_to(page, 1003)
    assert "FP wrong" in page.inner_text(".legend")
    before = painted(page)
    page.get_by_label("Colour").select_option("class")
    settled(page)
    assert painted(page) != before
    assert page.inner_text(".legend") == ""


def test_chips_of_classes_hide_theirs(page: Any) -> None:
    go_to(page, 1003)
    slide(page, "#confidence", 0)
    settled(page)
    every = counts(page)
    parts = []
    for name in CLASSES:
        page.locator(".imagecontrols .chip", has_text=name).first.click(modifiers=["Shift"])
        settled(page)
        parts.append(counts(page))
    summed = [[sum(part[run][kind] for part in parts) for kind in range(3)] for run in range(3)]
    assert summed == every


def test_chips_of_runs_choose_the_views(page: Any) -> None:
    chip = page.locator(".imagecontrols .chip", has_text="fcos")
    assert page.locator("figure.view").count() == 3
    chip.click()
    until(page, "document.querySelectorAll('figure.view').length === 2")
    assert chip.get_attribute("aria-pressed") == "false"
    assert "fcos" not in page.inner_text(".views")
    chip.click()
    until(page, "document.querySelectorAll('figure.view').length === 3")


def test_orders_and_search(page: Any) -> None:
    page.get_by_label("Order").select_option("data")
    until(page, "State.get('order') === 'data'")
    until(page, "State.get('image') === '1000'")
    assert "1 of 10" in page.inner_text(".imagename")
    page.get_by_label("Order").select_option("errors")
    until(page, "State.get('order') === 'errors'")
    settled(page)
    numbers = []
    for _ in range(SMALL.images):
        numbers.append(sum(wrong + missed for _, wrong, missed in counts(page)))
        page.keyboard.press("n")
        settled(page)
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] > numbers[-1]
    page.get_by_label("Order").select_option("name")
    settled(page)
    page.get_by_label("Find an image by its name").fill("0005")
    until(page, "document.querySelector('.imagename strong')?.textContent === 'street/0005.jpg'")
    assert "1 of 1" in page.inner_text(".imagename")
    page.get_by_label("Find an image by its name").fill("no such name")
    until(page, "document.querySelector('.views').textContent.includes('No image fits')")


def test_the_lowest_ap_is_that_of_the_record(report: tuple[ExperimentRecord, Path], page: Any) -> None:
    for chip in ("fcos", "retinanet"):
        page.locator(".imagecontrols .chip", has_text=chip).click()
        settled(page)
    slide(page, "#step", 1)
    until(page, "State.get('step') === 'epoch-002'")
    page.get_by_label("Order").select_option("ap")
    settled(page)
    own = {image: row["ap"] for image, row in rows(report, "faster_rcnn", 2).items() if row["ap"] >= 0}
    assert own[int(page.evaluate("State.get('image')"))] == min(own.values())


def test_the_keyboard_flips_images(page: Any) -> None:
    first = image_name(page)
    page.keyboard.press("ArrowRight")
    until(page, f"document.querySelector('.imagename strong').textContent !== {first!r}")
    second = image_name(page)
    page.keyboard.press("p")
    until(page, f"document.querySelector('.imagename strong').textContent !== {second!r}")
    assert image_name(page) == first
    page.keyboard.press("b")
    assert page.get_by_label("Grayscale").is_checked()


def test_help_lists_the_keys(page: Any) -> None:
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    assert "next and previous image" in page.inner_text("dialog")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    page.click("#help")
    page.wait_for_selector("dialog[open]")
    page.click("dialog button")
    assert page.locator("dialog[open]").count() == 0


def test_zoom_and_pan_move_all_models_together(page: Any) -> None:
    widths = "() => [...document.querySelectorAll('.stage img')].map((image) => image.style.width)"
    whole = page.evaluate(widths)
    page.get_by_label("Zoom in").click()
    page.keyboard.press("+")
    near = page.evaluate(widths)
    assert len(set(near)) == 1
    assert float(near[0][:-2]) == pytest.approx(float(whole[0][:-2]) * 1.43**2, rel=1e-3)
    places = "() => [...document.querySelectorAll('.stage img')].map((image) => image.style.transform)"
    before = page.evaluate(places)
    stage = page.locator(".stage").first.bounding_box()
    page.mouse.move(stage["x"] + 100, stage["y"] + 100)
    page.mouse.down()
    page.mouse.move(stage["x"] + 60, stage["y"] + 80)
    page.mouse.up()
    moved = page.evaluate(places)
    assert moved != before
    assert len(set(moved)) == 1
    page.keyboard.press("0")
    assert page.evaluate(widths) == whole


def test_the_pointer_tells_confidence_and_iou(page: Any) -> None:
    image, x, y, score, overlap = page.evaluate(
        """async () => { const one = await Evaluations.get(Runs.all()[0], "validation");
             const images = Evaluations.images().ids;
             const found = images.map((_, image) => one.matches(0.5, image))[0];
             const d = found.verdict.findIndex((verdict, d) => verdict === 1 && one.scores[d] > 0.5);
             const image = one.offsets.findLastIndex((begin) => begin <= d), box = one.boxes.slice(4 * d, 4 * d + 4);
             return [image, box[0] + box[2] / 2, box[1] + box[3] / 2, one.scores[d], found.overlap[d]]; }"""
    )
    go_to(page, 1000 + image)
    stage = page.locator(".stage").first.bounding_box()
    scale = stage["width"] / SMALL.size[0]
    page.mouse.move(stage["x"] + scale * x, stage["y"] + scale * y)
    told = page.inner_text(".tip >> nth=0")
    assert f"with confidence {score:.3f}: right, IoU {overlap:.3f} with its object" in told
    page.mouse.move(5, 5)
    assert page.inner_text(".tip >> nth=0") == ""


def test_what_is_drawn_can_be_read_as_a_list(page: Any) -> None:
    go_to(page, 1003)
    page.click("figure.view summary >> nth=0")
    until(page, "document.querySelectorAll('figure.view li').length > 0")
    lines = page.locator("figure.view >> nth=0").locator("li").all_inner_texts()
    assert any("right, IoU" in line for line in lines)
    assert any("ground truth" in line for line in lines)


# --- the data panel --------------------------------------------------------------------------------------------------


def first_column(page: Any) -> list[str]:
    return [str(text) for text in page.locator("#rows tbody tr td:first-child").all_inner_texts()]


def test_a_row_opens_its_image(page: Any) -> None:
    page.locator("#rows tbody tr", has_text="street/0004.jpg").click()
    until(page, "document.querySelector('.imagename strong').textContent === 'street/0004.jpg'")
    assert "street/0004.jpg" in page.inner_text("#rows tr.picked")
    row = page.locator("#rows tbody tr", has_text="street/0005.jpg")
    row.focus()
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.imagename strong').textContent === 'street/0005.jpg'")


def test_rows_sort_and_filter(report: tuple[ExperimentRecord, Path], page: Any) -> None:
    own = rows(report, "faster_rcnn", 3)
    page.locator("#rows .dt-scroll-head th", has_text="objects").first.click()
    settled(page)
    shown = [int(text) for text in page.locator("#rows tbody tr td:nth-child(3)").all_inner_texts()]
    assert shown == sorted(row["objects"] for row in own.values())[:10]
    field = page.get_by_label("Filter the rows")
    field.fill("objects >= 3 and fp = 0")
    settled(page)
    fitting = [row["image"] for row in own.values() if row["objects"] >= 3 and row["fp"] == 0]
    assert sorted(first_column(page)) == sorted(fitting)
    assert f"{len(fitting)} row" in page.inner_text("#rows [role=status]")
    field.fill("no_such > 3")
    settled(page)
    assert "There is no column “no_such”; there are image, image_id" in page.inner_text("#rows [role=status]")
    assert field.get_attribute("aria-invalid") == "true"
    field.fill("0007")
    settled(page)
    assert first_column(page) == ["street/0007.jpg"]


def drag(page: Any, column: str, onto: str) -> None:
    heads = [page.locator("#rows .dt-scroll-head th", has_text=name).first for name in (column, onto)]
    heads[0].scroll_into_view_if_needed()
    one, other = (head.bounding_box() for head in heads)
    page.mouse.move(one["x"] + 8, one["y"] + 8)
    page.mouse.down()
    page.mouse.move(other["x"] + other["width"] - 4, other["y"] + 8, steps=8)
    page.mouse.up()


def test_columns_are_hidden_and_moved(page: Any) -> None:
    heads = "() => [...document.querySelectorAll('#rows .dt-scroll-head th')].map((head) => head.textContent.trim())"
    page.get_by_role("button", name="Columns").click()
    page.locator(".dt-button-collection button", has_text="image_id").click()
    page.keyboard.press("Escape")
    page.wait_for_selector(".dt-button-background", state="detached")  # it fades, and takes clicks meanwhile
    assert "image_id" not in page.evaluate(heads)
    drag(page, "tp", "fn")
    order = page.evaluate(heads)
    assert order.index("tp") > order.index("fp")


def test_the_table_is_that_of_the_chosen_run_and_epoch(report: tuple[ExperimentRecord, Path], page: Any) -> None:
    page.locator("#rows select").first.select_option("fcos-seed1")
    slide(page, "#step", 0)
    until(page, "State.get('step') === 'epoch-001'")
    settled(page)
    own = rows(report, "fcos", 1)
    shown = page.locator("#rows tbody tr td:nth-child(4)").all_inner_texts()
    assert [int(text) for text in shown] == [row["tp"] for row in own.values()][:10]
