"""Ground truth in COCO's files, for plugins: read with everything that is wrong told at once, and written."""

from __future__ import annotations

from detkit.data.coco_files import CocoTruth, parse_truth
from detkit.data.coco_form import ground_truth_json
from detkit.data.coco_json import read_coco_json as read_json
from detkit.data.coco_masks import as_rle

__all__ = ["CocoTruth", "as_rle", "ground_truth_json", "parse_truth", "read_json"]
