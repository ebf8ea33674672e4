"""The page's matching against the coco plugin's, on random cases: crowds, equal scores, equal IoU, many classes."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detkit.data.evaluated import EvaluatedImages
from detkit.data.types import Annotation, ImageInfo, Prediction
from detkit.page.document import Part, document
from detkit_coco.columns import columns_of
from detkit_coco.matching import match, near

OpenPage = Callable[..., Any]
CASES, CLASSES = 60, 3

RUN = """(cases) => cases.map(({ detections, objects, options }) => {
  const typed = (of) => ({ ...of, boxes: Float64Array.from(of.boxes), labels: Uint16Array.from(of.labels),
    offsets: Int32Array.from(of.offsets), crowd: Uint8Array.from(of.crowd ?? []) });
  const found = Matching.empty(detections);
  for (let image = 0; image + 1 < detections.offsets.length; image++) {
    Matching.matchImage(typed(detections), image, typed(objects), options, found);
  }
  return { partner: [...found.partner], verdict: [...found.verdict] };
})"""


def case(rng: np.random.Generator) -> tuple[list[Prediction], list[ImageInfo]]:
    """A few images whose boxes lie on a coarse grid, so that scores and IoU are often equal."""
    found, truths = [], []
    for image in range(int(rng.integers(1, 5))):
        boxes = grid_boxes(rng, int(rng.integers(0, 8)))
        truths.append(
            ImageInfo(
                image,
                None,
                64,
                64,
                tuple(
                    Annotation(int(rng.integers(1, CLASSES + 1)), tuple(box), area(box), bool(rng.random() < 0.2))
                    for box in boxes.tolist()
                ),
            )
        )
        near_truth = rng.random() < 0.7 and len(boxes) > 0
        moved = boxes[rng.integers(0, len(boxes), 6)] + rng.integers(-2, 3, (6, 4)) if near_truth else boxes[:0]
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        corners = np.concatenate([moved, grid_boxes(rng, int(rng.integers(0, 8)))]).astype(np.float32)
        scores = (rng.integers(1, 10, len(corners)) / 10).astype(np.float32)
        found.append(Prediction(image, corners, rng.integers(1, CLASSES + 1, len(corners)), scores))
    return found, truths


def grid_boxes(rng: np.random.Generator, count: int) -> Any:
    corner = rng.integers(0, 8, (count, 2)) * 6.0
    return np.concatenate([corner, corner + rng.integers(1, 4, (count, 2)) * 6.0], axis=1)


def area(box: list[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def expected(found: list[Prediction], truths: list[ImageInfo], iou: float, most: int) -> tuple[Any, dict[str, Any]]:
    """The plugin's matches, in the page's order of detections: by image, then by falling score."""
    images = EvaluatedImages([f"class {n}" for n in range(CLASSES)])
    images.add(found, truths)
    columns = columns_of(images.ordered(), CLASSES, "bbox")
    matches = match(near(columns, iou, most), np.array([iou]), [(0.0, 1e10)])
    partner = np.full(len(matches.source), -1)
    partner[matches.candidates] = matches.partner[0, 0]
    verdict = np.where(matches.true(0, 0), 1, np.where(matches.counted(0, 0), 0, 2))
    of_source = {source: place for place, source in enumerate(matches.source.tolist())}
    detections = columns.detections
    order = np.lexsort((-detections.score, detections.image)).tolist()
    told = [
        (int(partner[of_source[one]]), int(verdict[of_source[one]])) if one in of_source else (-1, 2) for one in order
    ]
    counts = np.bincount(detections.image, minlength=len(truths))
    objects = np.bincount(columns.objects.image, minlength=len(truths))
    plain = {
        "detections": {
            "offsets": [0, *np.cumsum(counts).tolist()],
            "labels": detections.label[order].tolist(),
            "boxes": detections.boxes[order].ravel().tolist(),
        },
        "objects": {
            "offsets": [0, *np.cumsum(objects).tolist()],
            "labels": columns.objects.label.tolist(),
            "boxes": columns.objects.boxes.ravel().tolist(),
            "crowd": columns.objects.crowd.astype(int).tolist(),
        },
        "options": {"threshold": iou, "most": most},
    }
    return told, plain


@pytest.mark.parametrize("iou", [0.1, 0.5, 0.75, 1.0])
def test_the_page_matches_as_the_metric_does(tmp_path: Path, open_page: OpenPage, iou: float) -> None:
    rng = np.random.default_rng(int(iou * 100))
    cases = [expected(*case(rng), iou, most) for most in (100, 2) for _ in range(CASES)]
    script = files("detkit.report").joinpath("assets", "matching.js").read_text(encoding="utf-8")
    file = tmp_path / "page.html"
    file.write_text(document(title="matching", body="", scripts=[Part(script)]), encoding="utf-8")
    answers = open_page(file).evaluate(RUN, [plain for _, plain in cases])
    verdicts = set()
    for (told, _), answer in zip(cases, answers, strict=True):
        assert list(zip(answer["partner"], answer["verdict"], strict=True)) == told
        verdicts |= set(answer["verdict"])
    assert verdicts == {0, 1, 2}  # the cases hold right, wrong and uncounted ones
