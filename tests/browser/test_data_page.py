"""The page of `detkit data show`: every control, names that are hostile, dark, and as wide as a phone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from detkit.cli.main import run
from plugins.format_files import coco_json

OpenPage = Callable[..., Any]
HOSTILE = '</script><img src=x onerror="window.hit=1"><b>%{x}'
#: A file name has no slash.
HOSTILE_FILE = "<img src=x onerror='window.hit=1'>.png"
#: Of the little markup that plotly reads in texts.
MARKED = "<b>emu</b>"
CLASSES = {1: "cat", 2: HOSTILE, 3: MARKED}
SPEC = """
[dataset]
use = "coco"
train = "train.json"
validation = "validation.json"
images = "images"
[augment.flip]
horizontal = 1.0
[augment.scale_jitter]
probability = 1.0
scale = [0.5, 2.0]
[models.fcos]
backbone = "tiny_fpn"
"""


def square(image: int, category: int, x: int, y: int, side: int = 12, **more: Any) -> dict[str, Any]:
    corners = [x, y, x + side, y, x + side, y + side, x, y + side]
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [x, y, side, side],
        "segmentation": [corners],
        "area": side * side,
        **more,
    }


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images: three train (names a, b and a hostile one), two validate."""
    folder = tmp_path_factory.mktemp("page")
    pictures = folder / "images"
    train = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}, {"id": 3, "file_name": HOSTILE_FILE}]
    objects = [square(1, 1, 2, 3), square(1, 2, 20, 10), square(2, 2, 5, 5), square(3, 3, 9, 9)]
    coco_json(folder / "train.json", train, objects, CLASSES, pictures=pictures)
    others = [{"id": 4, "file_name": "c.png"}, {"id": 5, "file_name": "d.png", "width": 60, "height": 20}]
    crowd = square(5, 1, 30, 2, iscrowd=1)
    crowd["segmentation"] = {"size": [20, 60], "counts": [100, 200, 900]}
    coco_json(folder / "validation.json", others, [square(4, 1, 1, 1), crowd], CLASSES, pictures=pictures)
    (folder / "spec.toml").write_text(SPEC)
    html = folder / "page.html"
    assert run(["data", "show", str(folder / "spec.toml"), "--html", str(html), "--draws", "2"]) == 0
    return html


@pytest.fixture(scope="module")
def shared(page_file: Path, open_shared_page: OpenPage) -> Any:
    return open_shared_page(page_file)


@pytest.fixture
def page(shared: Any) -> Any:
    """The page as it was when it was opened."""
    shared.evaluate(
        """() => {
          document.getElementById("viewer").close();
          document.getElementById("search").value = "";
          document.getElementById("line").value = 2;
          State.set({ splits: new Set(), classes: new Set(), search: "", epoch: 0 });
          State.set({ masks: true, names: false, line: 2 });
        }"""
    )
    settle(shared)
    return shared


def settle(page: Any) -> None:
    """Until every card is drawn, which are all in view at the end of the page."""
    page.set_default_timeout(5000)
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    page.wait_for_function(
        "() => [...document.querySelectorAll('#gallery canvas')].every(({ dataset }) => dataset.drawn !== undefined)"
    )


def drawn(page: Any) -> None:
    """Bring each plot into view, upon which it is drawn."""
    for plot in page.locator("#plot-grid .plot").all():
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()


def names(page: Any) -> list[str]:
    return list(page.locator("#gallery .name").all_inner_texts())


def pixels(page: Any, selector: str) -> list[int]:
    """A sum over each canvas: another picture has another sum."""
    settle(page)
    return list(
        page.evaluate(
            """(selector) => [...document.querySelectorAll(selector)].map((canvas) => {
              const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
              return data.reduce((sum, value, place) => (sum + value * (1 + place % 4099)) % 1000000007, 0);
            })""",
            selector,
        )
    )


def changed(page: Any, act: Callable[[], object], selector: str = "#gallery canvas") -> bool:
    """Whether what is drawn is another than before, once it is drawn."""
    before = pixels(page, selector)
    act()
    page.wait_for_timeout(150)
    return pixels(page, selector) != before


def press(page: Any, key: str) -> Callable[[], object]:
    return lambda: page.keyboard.press(key)


def test_numbers_and_plots(page: Any) -> None:
    assert page.title() == "spec.toml: coco"
    tiles = dict(reversed(text.split("\n", 1)) for text in page.locator("#tiles .card").all_inner_texts())
    assert tiles["images"] == "5"
    assert tiles["objects"] == "6"
    assert tiles["objects with masks"] == "6"
    assert tiles["crowds"] == "1"
    rows = [row.split("\t") for row in page.locator("#splits tbody tr").all_inner_texts()]
    assert rows == [["train", "3", "0", "4", "1.3"], ["validation", "2", "0", "2", "1"], ["all", "5", "0", "6", "1.2"]]
    assert page.locator("#classes tbody tr").nth(1).inner_text().split("\t") == [HOSTILE, "2", "2", "2", "0"]
    drawn(page)
    titles = page.locator("#plot-grid h3").all_inner_texts()
    assert titles == [
        "Objects of each class",
        "Objects in an image",
        "Sizes of images",
        "Sizes of boxes",
        "Small, medium, large",
        "Shapes of boxes",
        "Where boxes are",
    ]
    assert page.locator("#plot-grid .plot .main-svg").count() >= 2 * len(titles)
    assert page.evaluate("[...document.querySelectorAll('.plot')].map((plot) => plot.data[0].x?.length > 0)") == [
        True
    ] * len(titles)
    inside = page.evaluate(
        """[...document.querySelectorAll(".plot")].every(
          (plot) => plot.querySelector(".main-svg").clientWidth <= plot.clientWidth)"""
    )
    assert inside


def test_hostile_names_are_text(page: Any) -> None:
    assert HOSTILE_FILE in names(page)
    assert page.locator("#class-chips").inner_text().count(HOSTILE) == 1
    drawn(page)
    ticks = page.locator("#plot-grid .plot").first.locator(".ytick text").all_text_contents()
    assert sorted(ticks) == sorted([HOSTILE[:23] + "\u2026", MARKED, "cat"])
    names_in_legend = page.locator("#plot-grid .legendtext").all_text_contents()
    assert MARKED in names_in_legend
    page.locator(".open", has=page.locator("canvas")).first.click()
    assert page.evaluate("window.hit") is None
    assert page.locator("img").count() == 0
    assert page.locator("#gallery b, #classes b").count() == 0


def test_split_chips_choose_images(page: Any) -> None:
    assert len(names(page)) == 5
    chips = page.locator("#split-chips .chip")
    assert chips.all_text_contents() == ["train3", "validation2"]
    chips.nth(1).click()
    assert chips.nth(1).get_attribute("aria-pressed") == "true"
    assert sorted(names(page)) == ["c.png", "d.png"]
    assert page.inner_text("#found") == "2 of 5 images"
    chips.nth(0).click()
    assert len(names(page)) == 5
    chips.nth(1).click()
    assert sorted(names(page)) == sorted(["a.png", "b.png", HOSTILE_FILE])
    chips.nth(0).click()
    assert page.inner_text("#found") == "5 images"


def test_class_chips_choose_images_and_objects(page: Any) -> None:
    chips = page.locator("#class-chips .chip")
    assert [text.rstrip("0123456789") for text in chips.all_text_contents()] == ["cat", HOSTILE, MARKED]
    canvas = page.locator("figure.shot", has_text="a.png").locator("canvas").first
    assert canvas.get_attribute("data-drawn") == "2"
    chips.nth(1).click()
    settle(page)
    assert sorted(names(page)) == ["a.png", "b.png"]
    assert page.locator("figure.shot", has_text="a.png").locator("canvas").first.get_attribute("data-drawn") == "1"
    chips.nth(2).click()
    assert sorted(names(page)) == sorted(["a.png", "b.png", HOSTILE_FILE])


def test_search_by_file_name(page: Any) -> None:
    page.fill("#search", "B.P")
    assert names(page) == ["b.png"]
    page.fill("#search", "nowhere")
    assert names(page) == []
    assert page.inner_text("#found") == "0 of 5 images"
    page.fill("#search", "")
    assert len(names(page)) == 5


@pytest.mark.parametrize("control", ["masks", "names"])
def test_masks_and_names_can_be_switched(page: Any, control: str) -> None:
    button = page.locator(f"#{control}")
    before = button.get_attribute("aria-pressed")
    assert changed(page, button.click)
    assert button.get_attribute("aria-pressed") != before
    assert page.locator(f"#viewer-{control}").get_attribute("aria-pressed") != before
    first = pixels(page, "#gallery canvas")
    assert changed(page, button.click)
    assert changed(page, button.click)
    assert pixels(page, "#gallery canvas") == first


def test_the_line_can_be_changed(page: Any) -> None:
    slider = page.locator("#line")
    slider.focus()
    assert changed(page, press(page, "ArrowRight"))
    assert slider.input_value() == "3"
    assert changed(page, press(page, "Home"))
    assert page.evaluate("State.values.line") == 0


def test_each_epoch_is_drawn_again(page: Any) -> None:
    buttons = page.locator("#epochs button")
    assert buttons.all_inner_texts() == ["epoch 1", "epoch 2", "all"]
    trained = "figure.shot[data-pictures='2'] canvas:nth-child(1)"
    assert page.locator("figure.shot[data-pictures='2']").count() == 3
    assert changed(page, buttons.nth(1).click, trained)
    assert set(page.locator("#gallery .tag").all_inner_texts()) == {"before", "epoch 2"}
    buttons.nth(2).click()
    settle(page)
    assert page.locator("figure.shot[data-pictures='3']").count() == 3
    assert set(page.locator("#gallery .tag").all_inner_texts()) == {"before", "epoch 1", "epoch 2"}
    # The images that validate are never augmented.
    assert page.locator("figure.shot[data-pictures='1'] .name").all_inner_texts() == names(page)[3:]


def test_the_viewer_goes_through_the_images_by_keys(page: Any) -> None:
    page.locator("#split-chips .chip").nth(0).click()
    order = names(page)
    page.locator(".open").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#viewer").evaluate("(dialog) => dialog.open")
    assert page.inner_text("#viewer-name") == order[0]
    assert page.inner_text("#viewer-place") == "1 of 3"
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#viewer-name") == order[1]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#viewer-name") == order[2]
    page.click("#viewer-next")
    page.click("#viewer-previous")
    assert page.inner_text("#viewer-name") == order[2]
    assert changed(page, press(page, "ArrowDown"), "#viewer canvas")
    assert page.locator("#viewer-epochs button").nth(1).get_attribute("aria-pressed") == "true"
    assert changed(page, press(page, "m"), "#viewer canvas")
    assert changed(page, press(page, "N"), "#viewer canvas")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("State.values.epoch") == 0
    page.click("#viewer-epochs button:last-child")
    assert page.locator("#viewer canvas").count() == 3
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").evaluate("(dialog) => dialog.open")
    # Where the viewer has gone, although the cards were made anew.
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == f"Enlarge {order[2]}"


def test_the_viewer_says_what_is_under_the_mouse(page: Any) -> None:
    page.locator("figure.shot", has_text="c.png").locator(".open").click()
    canvas = page.locator("#viewer canvas")
    assert canvas.get_attribute("aria-label") == "1 cat"
    place = canvas.bounding_box()
    scale = min(place["width"] / 40, place["height"] / 30)
    left, top = place["x"] + (place["width"] - 40 * scale) / 2, place["y"] + (place["height"] - 30 * scale) / 2
    page.mouse.move(left + 7 * scale, top + 7 * scale)
    assert page.inner_text("#viewer-object") == "cat · 12 \u00d7 12 pixels, with a mask"
    page.mouse.move(left + 30 * scale, top + 25 * scale)
    assert page.inner_text("#viewer-object") == ""
    page.click("#viewer-close")
    assert not page.locator("#viewer").evaluate("(dialog) => dialog.open")


def test_crowds_are_told(page: Any) -> None:
    page.locator("figure.shot", has_text="d.png").locator(".open").click()
    assert page.locator("#viewer figcaption").inner_text() == "60 \u00d7 20 · 1 cat (crowd)"
    assert "Crowds are dashed" in page.inner_text("#about-images")


def test_the_page_says_what_it_shows(page: Any, page_file: Path) -> None:
    about = page.inner_text("#about-images")
    assert "before and after flip, scale_jitter, exactly as fcos with seed 1 trains on them" in about
    foot = page.inner_text("footer")
    assert foot.startswith("spec.toml, read on ")
    assert "detkit" in foot
    assert str(page_file.parent) not in page_file.read_text(encoding="utf-8")


@pytest.mark.parametrize(("width", "height", "dark"), [(390, 844, False), (390, 844, True), (820, 1000, True)])
def test_nothing_is_wider_than_the_window(
    page_file: Path, open_page: OpenPage, width: int, height: int, dark: bool
) -> None:
    page = open_page(page_file, width=width, height=height, dark=dark, touch=width < 500)
    settle(page)
    drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator(".open").first.click()
    assert page.evaluate("document.getElementById('viewer').scrollWidth <= innerWidth")
    ink = page.evaluate("document.querySelector('.plot .xtick text')?.style.fill")
    red = int(ink.removeprefix("rgb(").split(",")[0])
    assert (red > 128) == dark


def test_many_classes_have_a_row_to_themselves(tmp_path: Path, open_page: OpenPage) -> None:
    classes = {number: f"class {number}" for number in range(1, 71)}
    objects = [square(number % 5, number, 2, 3) for number in classes for _ in range(number)]
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(5)]
    coco_json(tmp_path / "all.json", images, objects, classes, pictures=tmp_path)
    page = open_page(shown(tmp_path, '[dataset]\nuse = "coco"\nannotations = "all.json"\nimages = "."\n'))
    drawn(page)
    first = page.locator("#plot-grid figure").first
    assert first.locator("figcaption").inner_text() == "the 60 most frequent of 70; the table has all"
    assert page.evaluate("document.querySelector('.plot').data[0].customdata.at(0)") == "class 70"
    assert first.bounding_box()["width"] == page.locator("#plot-grid").bounding_box()["width"]
    assert page.locator("#classes tbody tr").count() == 70
    assert page.locator("#class-chips .chip").count() == 70


def test_plots_follow_a_change_to_dark(page: Any) -> None:
    drawn(page)
    page.locator("#plots").scroll_into_view_if_needed()
    fill = "document.querySelector('.plot .xtick text')?.style.fill"
    light = page.evaluate(fill)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"(light) => {fill} !== light", arg=light)
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"(light) => {fill} === light", arg=light)


# --- other specs -----------------------------------------------------------------------------------------------------


def shown(folder: Path, text: str, arguments: Sequence[str] = ()) -> Path:
    (folder / "spec.toml").write_text(text)
    assert run(["data", "show", str(folder / "spec.toml"), "--html", str(folder / "page.html"), *arguments]) == 0
    return folder / "page.html"


SYNTHETIC = '[dataset]\nuse = "synthetic"\nimages = 6\nwidth = 64\nheight = 64\n'


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ("", "The spec has no model"),
        ('[models.fcos]\nbackbone = "tiny_fpn"\n', "The spec augments no images of fcos"),
    ],
)
def test_without_augmentation_images_are_as_they_are(
    tmp_path: Path, open_page: OpenPage, models: str, told: str
) -> None:
    page = open_page(shown(tmp_path, SYNTHETIC + models))
    settle(page)
    assert told in page.inner_text("#about-images")
    assert page.locator("#epochs button").count() == 0
    assert {one.get_attribute("data-pictures") for one in page.locator("figure.shot").all()} == {"1"}
    page.locator(".open").first.click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#viewer-place") == "2 of 6"


def test_without_images_there_is_no_gallery(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(shown(tmp_path, SYNTHETIC, ["--images", "0"]))
    assert not page.is_visible("#images")
    assert not page.is_visible("#to-images")
    assert page.locator("#plot-grid h3").count() == 6


def test_what_is_wrong_is_said_on_the_page(tmp_path: Path, open_page: OpenPage) -> None:
    coco_json(tmp_path / "all.json", [{"id": n, "file_name": f"{n}.png"} for n in range(6)], [], pictures=tmp_path)
    (tmp_path / "3.png").write_bytes(b"")
    page = open_page(shown(tmp_path, '[dataset]\nuse = "coco"\nannotations = "all.json"\nimages = "."\n'))
    notes = page.locator("#notes li").all_inner_texts()
    assert notes == ["1 image could not be read (3.png); detkit data check spec.toml says why"]
    assert page.locator("#notes code").inner_text() == "detkit data check spec.toml"
    assert json.loads(page.locator("#survey").text_content())["counts"]["box_width"] is None
    assert page.locator("#plot-grid h3").all_inner_texts() == ["Objects in an image"]
