"""The report of a large experiment: its size, how long it takes to write and to refresh, to open, and to move a slider.

    python benchmarks/report.py [--images 1000] [--epochs 10] [--models 5] [--noise 20] [--masks]

The record is made, not trained (tests/made_record.py), in a temporary folder. The page is opened in Chromium, from the
disk. Times of the page are from the event until the browser has painted what follows.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from detkit.record.reader import open_record
from detkit.report.folder import write_report
from detkit.report.single import write_single_file
from made_record import Wanted, make_record

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
#: From the event until two frames later: all that it changes is painted then. The page draws when its data has come.
MOVE = """async ([selector, value, step]) => {
  const input = document.querySelector(selector), begin = performance.now(), drawn = Images.drawn;
  input.value = value;
  input.dispatchEvent(new Event("input"));
  while (Images.drawn === drawn) await new Promise((go) => setTimeout(go, 1));
  await new Promise((go) => requestAnimationFrame(() => setTimeout(go, 0)));
  return performance.now() - begin;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for name, default in (("images", 1000), ("epochs", 10), ("models", 5), ("noise", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--masks", action="store_true")
    parser.add_argument("--keep", type=Path, help="keep the record in this folder, and take it where it is there")
    given = parser.parse_args()
    wanted = Wanted(
        models=[f"model{number}" for number in range(given.models)],
        images=given.images,
        epochs=given.epochs,
        objects=8,
        noise=given.noise,
        size=(640, 480),
        masks=given.masks,
    )
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        place = given.keep or Path(folder) / "record"
        record = open_record(place) if place.exists() else make_record(place, wanted)
        shutil.rmtree(record.folder / "report", ignore_errors=True)
        print(f"record: {size(record.folder) / 1e6:.0f} MB, in {time.perf_counter() - began:.0f} s")
        began = time.perf_counter()
        report = write_report(record, ended=False)
        print(
            f"written in {time.perf_counter() - began:.1f} s: {report.bytes / 1e6:.0f} MB, images and scripts included"
        )
        began = time.perf_counter()
        again = write_report(record, ended=False)
        print(
            f"a refresh without news takes {time.perf_counter() - began:.2f} s and writes {len(again.written)} file(s)"
        )
        began = time.perf_counter()
        single = write_single_file(record, Path(folder) / "one.html", limit_bytes=25_000_000)
        print(f"one file in {time.perf_counter() - began:.1f} s: {single.bytes / 1e6:.1f} MB. {single.left_out}")
        measure_page(report.page, given.epochs)
        measure_page(single.page, 1)


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def measure_page(page: Path, epochs: int) -> None:
    """Open it several times, then move the sliders."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=list(ARGUMENTS))
        for view, ready in (("overview", ".tiles"), ("debugging", ".imagename strong")):
            opened = [open_once(browser, page, view, ready) for _ in range(5)]
            print(f"{page.name}: {view} opens in {statistics.median(opened):.0f} ms (worst of 5: {max(opened):.0f})")
        shown = browser.new_page(viewport={"width": 1280, "height": 800})
        shown.goto(f"{page.as_uri()}#debugging")
        shown.wait_for_selector("#rows tbody tr")
        shown.wait_for_timeout(500)
        for label, selector, values in (
            ("epoch", "#step", [*range(epochs - 1, -1, -1), *range(epochs)]),
            ("confidence", "#confidence", [n / 20 for n in range(21)]),
            ("IoU", "#iou", [n / 20 for n in range(4, 20, 2)]),
        ):
            times = []
            for value in values:
                times.append(float(shown.evaluate(MOVE, [selector, value, ""])))
                shown.wait_for_timeout(250)
            print(f"{page.name}: {label} {statistics.median(times):.0f} ms (worst of {len(times)}: {max(times):.0f})")
        browser.close()


def open_once(browser: Any, page: Path, view: str, ready: str) -> float:
    """Milliseconds from asking for the page until its view is there, in a fresh browser context."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    tab = context.new_page()
    began = time.perf_counter()
    tab.goto(f"{page.as_uri()}#{view}", wait_until="commit")
    tab.wait_for_selector(ready)
    took = 1000 * (time.perf_counter() - began)
    context.close()
    return took


if __name__ == "__main__":
    main()
