"""digests.json: what each image's content is known by, beside the fingerprint of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detkit.data.digests import ImageDigest
from detkit.data.types import ImageInfo
from detkit.errors import RecordError
from detkit.record.files import read_json
from detkit.record.layout import ExperimentLayout


def digests_content(infos: Sequence[ImageInfo], digests: Sequence[ImageDigest]) -> dict[str, Any]:
    """Plain values of digests.json."""
    rows = zip(infos, digests, strict=True)
    return {
        "images": [
            {"image_id": info.image_id, "kind": digest.kind, "sha256": digest.sha256, "bytes": digest.size}
            for info, digest in rows
        ]
    }


def read_digests(layout: ExperimentLayout) -> Mapping[int, ImageDigest]:
    """By image id; empty in records of an older detkit.

    Raises:
        RecordError: the file is damaged.
    """
    if not layout.digests.exists():
        return {}
    try:
        return {
            row["image_id"]: ImageDigest(row["kind"], row["sha256"], row["bytes"])
            for row in read_json(layout.digests)["images"]
        }
    except (KeyError, TypeError) as error:
        raise RecordError(f"{layout.digests} is damaged: {type(error).__name__}: {error}") from error
