"""Make the pictures of the documentation: the report, the console, the diagrams.

    python docs/pictures/make.py [--record runs/quickstart] [--only NAME]

Without --record the quickstart runs first, for about two minutes. Pictures of the report need Chromium, which is
$DETKIT_CHROMIUM, else Debian's. Diagrams need nothing and are the same each time.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from diagrams import DIAGRAMS

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
#: The largest file: pages are to open quickly, also from a repository.
LARGEST = 300_000
#: Of the window, pixels; the site shows pictures about 700 wide, and letters are still to be read then.
WIDTH, SCALE = 1120, 1.5
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
#: View of the report to its picture and the window's height.
VIEWS = {
    "overview": ("report-overview", 640),
    "debugging": ("report-images", 990),
    "metrics": ("report-metrics", 820),
    "tradeoff": ("report-tradeoff", 960),
}
COLUMNS = 104


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the pictures of the documentation.")
    parser.add_argument("--record", type=Path, help="a finished quickstart; by default it runs first")
    parser.add_argument("--only", choices=("diagrams", "report", "console"), help="make only these")
    given = parser.parse_args()
    wanted = [given.only] if given.only else ["diagrams", "report", "console"]
    if "diagrams" in wanted:
        for name, content in DIAGRAMS.items():
            save(FOLDER / f"{name}.svg", content().encode())
    if wanted == ["diagrams"]:
        return
    with record_folder(given.record) as folder:
        if "report" in wanted:
            picture_report(folder)
        if "console" in wanted:
            picture_console(folder)


@contextmanager
def record_folder(given: Path | None) -> Iterator[Path]:
    """A copy of the record under the name that is shown, so that pictures tell no folder of this machine."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "runs" / "quickstart"
        if given is None:
            spec = ROOT / "examples/quickstart.toml"
            setting = f"experiment.output={folder.parent}"
            subprocess.run([sys.executable, "-m", "detkit", "run", spec, "--set", setting, "--no-report"], check=True)
        else:
            shutil.copytree(given, folder, ignore=shutil.ignore_patterns("report", "lock"))
        yield folder


def save(file: Path, content: bytes) -> None:
    if len(content) > LARGEST:
        raise SystemExit(f"{file.name} has {len(content):,} bytes; at most {LARGEST:,} are wanted")
    file.write_bytes(content)
    sys.stdout.write(f"{file.relative_to(ROOT)}  {len(content) / 1000:.0f} kB\n")


# --- the report ------------------------------------------------------------------------------------------------------


def picture_report(folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    from detkit.record.reader import open_record
    from detkit.report.folder import write_report

    page_file = write_report(open_record(folder)).page
    found = os.environ.get("DETKIT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        context = browser.new_context(device_scale_factor=SCALE, color_scheme="light")
        page = context.new_page()
        page.goto(page_file.as_uri())
        for view, (name, height) in VIEWS.items():
            page.set_viewport_size({"width": WIDTH, "height": height})
            page.click(f"#tab-{view}")
            page.wait_for_selector(f"#content[data-view={view}] .viewpage > *")
            if view == "debugging":
                page.select_option("select:has(option[value=worst])", "errors")
            page.wait_for_timeout(1500)  # plots and images are drawn
            save(FOLDER / f"{name}.webp", as_webp(page.screenshot()))
        browser.close()


def as_webp(png: bytes) -> bytes:
    from PIL import Image

    held = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(held, "WEBP", quality=80, method=6)
    return held.getvalue()


# --- the console -----------------------------------------------------------------------------------------------------


def picture_console(folder: Path) -> None:
    save(FOLDER / "console-run.svg", as_svg(live_lines(folder), "detkit run examples/quickstart.toml"))
    command = ["compare", "runs/quickstart", "--columns", "ap,ap50,f1,latency_ms,memory_mb"]
    said = subprocess.run(
        [sys.executable, "-m", "detkit", *command],
        cwd=folder.parents[1],
        env={**os.environ, "COLUMNS": str(COLUMNS)},
        capture_output=True,
        text=True,
        check=True,
    )
    save(FOLDER / "console-compare.svg", as_svg(said.stdout.rstrip().splitlines(), "detkit compare runs/quickstart"))


def live_lines(folder: Path) -> Sequence[Any]:
    """The table of `detkit run` as it stood in the fifth epoch of the second model: the record, cut there."""
    from detkit.cli.live.course import ExperimentCourse
    from detkit.cli.live.sparkline import UNICODE
    from detkit.cli.live.table import frame
    from detkit.record.reader import open_record

    record = open_record(folder)
    now = time.monotonic()
    course = ExperimentCourse.of(record, record.runs, now - 71)
    first, second = list(course.runs.values())[:2]
    first.began, first.ended = now - 71, now - 24
    second.state, second.rows = "running", second.rows[:4]
    second.began, second.trained_from, second.last_epoch = now - 24, now - 20, now - 3
    second.progress = {"phase": "training", "epoch": 5, "epochs": 9, "done": 22, "total": 40}
    second.progress |= {"loss": 1.31, "lr": 0.0019, "images_per_s": 61.7}
    second.first_progress, second.latest_progress = (now - 3, 0), (now, 22)
    return frame(course, width=COLUMNS, height=20, now=now, glyphs=UNICODE)


def as_svg(lines: Sequence[Any], title: str) -> bytes:
    """What a terminal shows, with rich's own picture of one; its letters are those of the reader's machine."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(line if isinstance(line, Text) else Text(line), soft_wrap=False)
    svg = console.export_svg(title=title, unique_id=re.sub(r"\W", "", title))
    # rich names a font on a server: a page that opens without a network must not ask for it.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!-- Generated.*?-->\s*", "", svg)
    return svg.replace("font-family: Fira Code, monospace", "font-family: monospace").encode()


if __name__ == "__main__":
    main()
