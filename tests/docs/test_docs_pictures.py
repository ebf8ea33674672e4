"""The pictures of the documentation are small, described and used; diagrams are those of their script and numbers."""

from __future__ import annotations

import re
from pathlib import Path

import diagrams
import numpy as np
import pytest

from detkit import BuildContext
from detkit.data.types import Annotation, ImageInfo, Prediction
from detkit.plugins import collect

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/pictures"
PICTURES = sorted(file for file in FOLDER.iterdir() if file.suffix in (".svg", ".webp", ".png"))
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


@pytest.mark.parametrize("file", PICTURES, ids=lambda file: file.name)
def test_a_picture_is_small_and_asks_for_nothing(file: Path) -> None:
    assert file.stat().st_size < 300_000
    if file.suffix == ".svg":
        text = file.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://|/home/|/tmp/", text)


def test_pictures_exist_are_described_and_all_are_used() -> None:
    used = set()
    for page in (ROOT / "docs").rglob("*.md"):
        for words, path in IMAGE.findall(page.read_text(encoding="utf-8")):
            picture = (page.parent / path).resolve()
            assert picture.exists(), f"{page}: there is no picture {path}"
            assert len(words) > 20, f"{page}: {path} is not described for those who do not see it"
            used.add(picture.name)
    assert [file.name for file in PICTURES if file.name not in used] == []


@pytest.mark.parametrize("name", sorted(diagrams.DIAGRAMS))
def test_a_diagram_is_what_its_script_draws(name: str) -> None:
    """To mend it: python docs/pictures/make.py --only diagrams"""
    assert (FOLDER / f"{name}.svg").read_text(encoding="utf-8") == diagrams.DIAGRAMS[name]()


def test_the_ap_of_the_example_is_that_of_the_evaluator() -> None:
    """Six objects in one image, each detection on one of them or on nothing: by the bundled metric."""
    places = [(100.0 * number, 0.0, 100.0 * number + 50, 50.0) for number in range(diagrams.OBJECTS)]
    truth = ImageInfo(1, None, 1000, 1000, tuple(Annotation(1, box, area=2500.0) for box in places), "example")
    free = iter(places)
    boxes = [
        next(free) if right else (0.0, 500.0 + 60 * n, 50.0, 550.0 + 60 * n) for n, right in enumerate(diagrams.RIGHT)
    ]
    found = Prediction(1, np.array(boxes), np.ones(len(boxes), dtype=np.int64), np.array(diagrams.SCORES))
    component = collect().find("metric", "coco").component
    metric = component.build(component.options(), BuildContext(class_names=("thing",)))
    metric.reset()
    metric.update([found], [truth])
    computed = metric.compute().scalars["ap50"].value
    assert computed == pytest.approx(diagrams.average_precision(), abs=1e-9)
    page = (ROOT / "docs/explanation/precision-recall-ap-ar.md").read_text(encoding="utf-8")
    assert f"here {computed:.3f}" in page


def test_the_table_of_the_example_is_that_of_its_numbers() -> None:
    page = (ROOT / "docs/explanation/precision-recall-ap-ar.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (0\.\d\d) \| (yes|no) \| (\d) of (\d) = (\d\.\d\d) \|", page, re.MULTILINE)
    recalls, precisions = diagrams.curve()
    assert [(float(score), answer == "yes") for score, answer, *_ in rows] == list(
        zip(diagrams.SCORES, diagrams.RIGHT, strict=True)
    )
    for (_, _, right, of, shown), recall, precision in zip(rows, recalls, precisions, strict=True):
        assert int(right) / int(of) == pytest.approx(precision)
        assert float(shown) == pytest.approx(precision, abs=0.0051)
        assert int(right) / diagrams.OBJECTS == pytest.approx(recall)
