"""What a detector found in one image, for people: arrays, names, masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detkit.data.targets import decode_masks
from detkit.data.types import RLE, Prediction


@dataclass(frozen=True, slots=True)
class Detections:
    """The N objects found in one image, in the model's order; N = 0 is normal.

    Attributes:
        boxes: float32 [N, 4], (x0, y0, x1, y1) in pixels of the image as it was given (a file: as EXIF turns it).
        labels: int64 [N], in 1..K.
        scores: float32 [N], in 0..1, none below the threshold.
        names: the N objects' class names.
        width, height: of the image, pixels.
        rle: N run-length masks in COCO's form, or None where the model gives none; `masks` unpacks them.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    names: tuple[str, ...]
    width: int
    height: int
    rle: Sequence[RLE] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def masks(self) -> NDArray[np.bool_] | None:
        """bool [N, height, width], or None where the model gives no masks. Unpacked at every call."""
        return None if self.rle is None else decode_masks(self.rle, self.height, self.width).astype(np.bool_)

    def prediction(self, image_id: int) -> Prediction:
        """The same under an image's id, as evaluation and COCO's form have it."""
        return Prediction(image_id, self.boxes, self.labels, self.scores, self.rle)
