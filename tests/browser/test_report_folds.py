"""The report of an experiment with folds: each run has looked at images of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browser.report_pages import image_name, show, slide, until
from detkit.report.folder import write_report
from made_folds import make_folds
from made_record import Wanted

OpenPage = Callable[..., Any]
WANTED = Wanted(models=("fcos", "retinanet"), images=7, epochs=2)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(make_folds(tmp_path_factory.mktemp("folds") / "f", WANTED)).page


def views(page: Any) -> list[str]:
    return [str(name) for name in page.locator(".view figcaption strong").all_inner_texts()]


def test_an_image_is_shown_by_the_runs_of_its_fold(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    show(page, "debugging")
    page.select_option("#images .navigation select", "data")
    until(page, "document.querySelector('.imagename').textContent.includes('of 7')")
    seen = {}
    for _ in range(7):
        name = image_name(page)
        fold = 1 if int(name.removesuffix(".jpg")[-1]) % 2 == 0 else 2
        assert f"validation of fold {fold}" in page.inner_text(".imagename")
        assert views(page) == [f"fcos-fold{fold}-seed1", f"retinanet-fold{fold}-seed1"]
        assert page.locator(".view .count.right").count() == 2
        seen[name] = fold
        page.keyboard.press("ArrowRight")
        until(page, f"document.querySelector('.imagename strong').textContent !== {name!r}")
    assert sorted(seen.values()) == [1, 1, 1, 1, 2, 2, 2]


def test_of_one_fold_only_its_images_are_flipped_through(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    show(page, "debugging")
    page.wait_for_selector(".view")
    for run in ("fcos-fold1-seed1", "retinanet-fold1-seed1"):
        page.click(f".chip:has-text('{run}')")
    page.click("[aria-label='Sort anew']")
    until(page, "document.querySelector('.imagename').textContent.includes('of 3')")
    assert views(page) == ["fcos-fold2-seed1", "retinanet-fold2-seed1"]
    slide(page, "#step", 0)
    until(page, "document.querySelector('.slider output').textContent === 'epoch 1'")
    assert page.locator(".view .count.right").count() == 2
    until(page, "document.querySelectorAll('#rows tbody tr').length === 3")


def test_a_row_of_another_fold_opens_its_image(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    show(page, "debugging")
    page.wait_for_selector("#rows tbody tr")
    page.select_option("#rows select >> nth=0", "retinanet-fold2-seed1")
    page.wait_for_selector("#rows tbody tr[data-image='1003']")
    page.click("#rows tbody tr[data-image='1003'] td >> nth=0")
    until(page, "document.querySelector('.imagename strong').textContent === 'street/0003.jpg'")
    assert views(page) == ["fcos-fold2-seed1", "retinanet-fold2-seed1"]


def test_the_other_views_have_the_model_over_its_folds(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    assert "scored on 7 validation images in 2 folds" in page.inner_text("#content")
    assert "2/2" in page.inner_text("[aria-label=Leaderboard] tbody tr >> nth=0")
    show(page, "metrics")
    until(page, "document.querySelector('.plot')?.data?.length === 4")
    show(page, "errors")
    page.wait_for_selector("table.confusion")
    assert page.locator("#content select option").all_inner_texts() == [
        f"{model}-fold{fold}-seed1" for model in WANTED.models for fold in (1, 2)
    ]
    show(page, "tradeoff")
    assert page.locator("#content tbody tr").count() == 2
