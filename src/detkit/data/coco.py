"""Ground truth in COCO's files, for plugins: read with everything that is wrong told at once, and written."""

from __future__ import annotations

from pathlib import Path

from detkit.data.coco_files import CocoTruth, parse_truth
from detkit.data.coco_form import ground_truth_json
from detkit.data.coco_json import read_coco_json as read_json
from detkit.data.coco_masks import as_rle

__all__ = ["CocoTruth", "as_rle", "ground_truth_json", "read_json", "read_truth"]


def read_truth(file: Path, *, masks: bool = True) -> CocoTruth:
    """The ground truth in a JSON file of COCO's form, gzipped or not.

    Args:
        masks: make masks of segmentations.

    Raises:
        DataError: it is missing, cut, or not of that form; up to 20 faults, each with its entry.
    """
    return parse_truth(read_json(file), file, masks=masks)
