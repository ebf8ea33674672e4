"""docs/how-to/coco-weights-offline.md names the very files that models look for."""

from __future__ import annotations

import re
from pathlib import Path

from detkit_torchvision.weights.files import COCO_FILES, IMAGENET_FILES

PAGE = Path(__file__).parents[2] / "docs/how-to/coco-weights-offline.md"


def test_the_files_of_weights_are_those_of_the_plugin() -> None:
    page = PAGE.read_text(encoding="utf-8")
    coco = set()
    for models, backbone, file in re.findall(
        r"^\| (`\w+`(?:, `\w+`)*) \| `(\w+)` \| `([\w.-]+)` \|$", page, re.MULTILINE
    ):
        coco |= {(model, backbone, file) for model in re.findall(r"`(\w+)`", models) if model != "fast_rcnn"}
    assert coco == {(model, backbone, file) for (model, backbone), (file, _) in COCO_FILES.items()}
    imagenet = set()
    for backbones, file in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| `([\w.-]+\.pth)` \|$", page, re.MULTILINE):
        imagenet |= {(backbone, file) for backbone in re.findall(r"`(\w+)`", backbones)}
    assert imagenet == {(backbone, file) for backbone, (file, _) in IMAGENET_FILES.items()}
