"""What exactly was trained on: a digest over images, objects, classes and splits."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from detkit.data.splits import Splits
from detkit.data.types import ImageInfo


def fingerprint(infos: Sequence[ImageInfo], class_names: Sequence[str], splits: Splits) -> dict[str, Any]:
    """A digest of names, sizes and objects (not of pixels; file sizes stand for them), and the counts behind it."""
    digest = hashlib.sha256(json.dumps(list(class_names)).encode())
    for info in infos:
        size = info.path.stat().st_size if info.path is not None else None
        objects = [[item.label, *item.box, item.area, item.iscrowd, item.mask] for item in info.annotations]
        digest.update(json.dumps([info.image_id, info.label, size, info.width, info.height, objects]).encode())
    ids = [[infos[index].image_id for index in part] for part in (splits.train, splits.validation, splits.test)]
    digest.update(json.dumps(ids).encode())
    objects_by_class = Counter(class_names[item.label - 1] for info in infos for item in info.annotations)
    return {
        "sha256": digest.hexdigest(),
        "images": len(infos),
        "objects": sum(objects_by_class.values()),
        "objects_by_class": {name: objects_by_class[name] for name in class_names},
        "images_without_objects": sum(not info.annotations for info in infos),
        "class_names": list(class_names),
        "split_sizes": {"train": len(splits.train), "validation": len(splits.validation), "test": len(splits.test)},
    }
