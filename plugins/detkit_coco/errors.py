"""What goes wrong: AP lost by kinds of errors, and labels that may be wrong themselves. Both are hotcoco's."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from detkit import Table
from detkit_coco.columns import Columns
from detkit_coco.evaluators import hotcoco_evaluation

#: TIDE's kinds (Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors, 2020), in its order.
KINDS = {
    "Cls": ("classification", "a detection at the right place, with another class"),
    "Loc": ("localisation", "a detection of the right class, too far off"),
    "Both": ("both", "a detection with another class, and too far off"),
    "Dupe": ("duplicate", "a detection of an object that a surer one has matched"),
    "Bkg": ("background", "a detection where there is nothing"),
    "Miss": ("missed", "an object that no detection comes near"),
}
#: Below this IoU a detection lies on the background; TIDE's own.
BACKGROUND_IOU = 0.1
#: So many suspicious labels are kept, the surest first.
SUSPECT_LIMIT = 200

SUSPECTS = {"wrong_label": "wrong class", "missing_annotation": "missing object"}


def available() -> bool:
    """Whether hotcoco is installed."""
    return find_spec("hotcoco") is not None


class Errors:
    """hotcoco's analysis of the detections.

    Args:
        iou: from which a detection matches. confidence: from which a detection makes a label suspicious.
        max_detections: of a class in an image; those with the highest scores count.
    """

    def __init__(
        self, columns: Columns, class_names: Sequence[str], *, iou: float, confidence: float, max_detections: int
    ) -> None:
        self._columns = columns
        self._class_names = tuple(class_names)
        self._iou, self._confidence = iou, confidence
        self._evaluation = hotcoco_evaluation(columns)
        self._evaluation.params.iou_thrs = [iou]
        self._evaluation.params.max_dets = [max_detections]
        self._evaluation.evaluate()

    def kinds(self) -> Table:
        """The AP at this IoU that each kind of error costs: how far AP rises where that kind alone is repaired."""
        found: Any = self._evaluation.tide_errors(pos_thr=self._iou, bg_thr=min(BACKGROUND_IOU, self._iou))
        rows = tuple((name, found["delta_ap"][key], found["counts"][key], what) for key, (name, what) in KINDS.items())
        title = f"What errors cost, in AP at IoU {self._iou:.2f}"
        return Table(("error", "ap_lost", "count", "what it is"), rows, title=title, printed=True)

    def suspects(self) -> Table:
        """Labels that may be wrong: a sure detection of another class on an object, or where no object is marked."""
        found: Any = self._evaluation.image_diagnostics(iou_thr=self._iou, score_thr=self._confidence)
        images = [image.truth for image in self._columns.images]
        boxes = self._columns.detections.boxes
        rows = []
        for row in sorted(found["label_errors"], key=lambda row: -row["dt_score"])[:SUSPECT_LIMIT]:
            image = images[row["image_id"] - 1]
            x, y, width, height = boxes[row["dt_id"] - 1].tolist()
            labelled = row["gt_category_id"]
            rows.append(
                (
                    image.label,
                    image.image_id,
                    SUSPECTS.get(row["type"], row["type"]),
                    self._class_names[labelled - 1] if labelled else "",
                    self._class_names[row["dt_category_id"] - 1],
                    row["dt_score"],
                    row["iou"],
                    x,
                    y,
                    width,
                    height,
                )
            )
        columns = ("image", "image_id", "suspicion", "labelled", "found", "score", "iou", "x", "y", "width", "height")
        return Table(columns, tuple(rows), title="Labels that may be wrong")
