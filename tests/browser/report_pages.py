"""What the tests of the report's page share: records with hostile names, and ways to use the controls."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from detkit.record.reader import ExperimentRecord
from detkit.report.folder import write_report
from made_record import Wanted, make_record

HOSTILE = '<img src=x onerror="window.hit=1">'
BREAKING = "</script><script>window.hit=1</script>"
CLASSES = ("car", HOSTILE, "__proto__")
SMALL = Wanted(
    models=("faster_rcnn", "fcos", "retinanet"),
    classes=CLASSES,
    names=("a & b's.jpg", f"{HOSTILE}.jpg", f"{BREAKING}.jpg"),
    images=10,
    masks=True,
    failed="retinanet",
    cause=f"ValueError: {BREAKING} in /home/jane/secret/model.py",
)


def written(folder: Path, wanted: Wanted = SMALL) -> tuple[ExperimentRecord, Path]:
    """A record and the page of its report."""
    record = make_record(folder / wanted.name, wanted)
    return record, write_report(record).page


def slide(page: Any, selector: str, value: float | str) -> None:
    """Move a slider."""
    page.eval_on_selector(
        selector,
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input', { bubbles: true })); }",
        value,
    )


def until(page: Any, condition: str, seconds: float = 10) -> None:
    """Wait for an expression to hold. Playwright's own waiting compiles it in the page, which the policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"never became true: {condition}"
        page.wait_for_timeout(20)


#: Until the view, the address and what is drawn over images have stayed as they are for so many pictures in a row.
SETTLED = """async (pictures) => {
  let same = 0, before = "";
  while (same < pictures) {
    await new Promise((go) => requestAnimationFrame(() => setTimeout(go, 10)));
    const now = [document.getElementById("content").innerHTML, Images.drawn, location.hash].join();
    same = now === before ? same + 1 : 0;
    before = now;
  }
}"""


def settled(page: Any, pictures: int = 8) -> None:
    """Wait until nothing moves: in pictures, not in seconds, so that a busy machine is given as long as it takes."""
    page.evaluate(SETTLED, pictures)


def show(page: Any, view: str) -> None:
    """Open a view by its tab."""
    page.click(f"#tab-{view}")
    page.wait_for_selector(f"#content[data-view={view}] .viewpage > *")


def painted(page: Any, number: int = 0) -> str:
    """What is drawn over the image of a model, as a picture."""
    return str(page.evaluate("(n) => document.querySelectorAll('.stage canvas')[n].toDataURL()", number))


def counts(page: Any) -> list[list[int]]:
    """TP, FP and FN of each model's view."""
    shown = page.eval_on_selector_all(
        "figure.view",
        "(views) => views.map((v) => [...v.querySelectorAll('.count')].map((c) => parseInt(c.textContent)))",
    )
    return [list(map(int, numbers)) for numbers in shown]


def image_name(page: Any) -> str:
    return str(page.inner_text(".imagename strong"))
