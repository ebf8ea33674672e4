"""Options of the detectors that no other test sets: what each changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import box_iou

from detkit import BuildContext
from detkit_torchvision.options import FastRCNNOptions
from detkit_torchvision.proposals import make_source
from plugins.test_torchvision import build, detect, losses, scene

FAMILIES = ("fast_rcnn", "faster_rcnn", "mask_rcnn", "retinanet", "fcos")


def overlaps(family: str, nms_threshold: float) -> Tensor:
    """IoU of each two detections of one class."""
    torch.manual_seed(0)
    model = build(family, score_threshold=0.0, max_detections=300, nms_threshold=nms_threshold)
    (output,) = detect(model, torch.rand(3, 96, 96))
    found = []
    for label in set(output["labels"].tolist()):
        boxes = output["boxes"][output["labels"] == label]
        rows, columns = torch.triu_indices(len(boxes), len(boxes), offset=1)
        found.append(box_iou(boxes, boxes)[rows, columns])
    return torch.cat(found)


@pytest.mark.parametrize("family", FAMILIES)
def test_detections_of_a_class_overlap_no_more_than_the_threshold(family: str) -> None:
    few, many = overlaps(family, 0.1), overlaps(family, 0.9)
    assert float(few.max()) <= 0.1 + 1e-4
    assert 0.1 + 1e-4 < float(many.max()) <= 0.9 + 1e-4


def proposals(image: Tensor, folder: Path, **options: Any) -> Tensor:
    source = make_source(
        FastRCNNOptions(backbone="tiny_fpn", **options), BuildContext(("a",), cache_folder=folder, offline=True)
    )
    found: Tensor = source(image)
    return found


def test_a_wider_step_leaves_fewer_boxes_in_the_grid(tmp_path: Path) -> None:
    image = torch.zeros(3, 90, 120)
    near = proposals(image, tmp_path, max_proposals=100_000, grid_step=0.2)
    far = proposals(image, tmp_path, max_proposals=100_000, grid_step=1.0)
    assert 0 < len(far) < len(near) / 4


def test_selective_search_of_quality_has_more_boxes(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    image[0, 20:50, 10:40] = 0.9
    counts = [
        len(proposals(image, tmp_path, proposals="selective_search", search_size=64, search_quality=quality))
        for quality in ("fast", "quality")
    ]
    assert counts[0] < counts[1]


@pytest.mark.parametrize("family", ["fast_rcnn", "faster_rcnn", "mask_rcnn"])
def test_so_many_regions_of_an_image_are_trained_on(family: str) -> None:
    rows = {}
    for samples in (8, 40):
        model = build(family, region_samples=samples)
        seen: list[int] = []
        (heads,) = (module for module in model.modules() if isinstance(module, RoIHeads))
        heads.box_head.register_forward_hook(lambda _module, _given, output, seen=seen: seen.append(len(output)))
        losses(model, scene(96, 96, labels=(1, 2)))
        (rows[samples],) = seen
    assert rows[8] == 8
    assert 8 < rows[40] <= 40
