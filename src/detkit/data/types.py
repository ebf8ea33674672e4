"""What flows between datasets, models and metrics.

Training speaks TorchVision's own detection convention (`Target`, `ModelOutput`); evaluation speaks plain arrays
(`Prediction`, `ImageInfo`), so that metrics, records and processes exchange them without a device or a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from torchvision.tv_tensors import BoundingBoxes, Mask


class Target(TypedDict):
    """The objects of one image, for training. N = 0 is normal.

    boxes: `tv_tensors.BoundingBoxes`, float32 [N, 4], (x0, y0, x1, y1) in pixels.
    labels: int64 [N], in 1..K.
    image_id: unique in the dataset.
    area: float32 [N], in square pixels; of the mask where there is one, else of the box.
    iscrowd: bool [N].
    masks: `tv_tensors.Mask`, uint8 [N, H, W], where the dataset provides them.
    """

    boxes: BoundingBoxes
    labels: Tensor
    image_id: int
    area: Tensor
    iscrowd: Tensor
    masks: NotRequired[Mask]


class RLE(TypedDict):
    """A mask in COCO's compressed run-length form: size [height, width] in pixels, counts as ASCII text."""

    size: list[int]
    counts: str


class ModelOutput(TypedDict):
    """What a model in evaluation mode returns for one image, in the pixels of the tensor it was given.

    boxes: float32 [N, 4], (x0, y0, x1, y1). labels: int64 [N], in 1..K. scores: float32 [N], in 0..1.
    masks: float [N, 1, H, W], probabilities in 0..1, for models that give masks.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: NotRequired[Tensor]


@dataclass(frozen=True, slots=True)
class Batch:
    """Images and their targets, on the run's device.

    Attributes:
        images: float32 [3, H, W] in 0..1; sizes may differ. targets: as many, in the same order.
    """

    images: list[Tensor]
    targets: list[Target]


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object as the dataset's files state it (float64, before any conversion to tensors).

    Attributes:
        label: in 1..K.
        box: (x0, y0, x1, y1) in pixels.
        area: square pixels; of the mask where there is one, else of the box.
        iscrowd: COCO's crowd flag.
        mask: the instance mask, where the dataset provides masks.
        source: names the object in its file for messages, as "object 3".
        bbox: the same box as a file in COCO's form states it, (x, y, width, height); None where it was read otherwise.
            Evaluators take it as it is: (x + width) - x is not always the width to the last bit.
    """

    label: int
    box: tuple[float, float, float, float]
    area: float
    iscrowd: bool = False
    mask: RLE | None = None
    source: str = ""
    bbox: tuple[float, float, float, float] | None = None

    @property
    def coco_box(self) -> tuple[float, float, float, float]:
        """(x, y, width, height) in pixels: as read, else from the corners."""
        x0, y0, x1, y1 = self.box
        return self.bbox or (x0, y0, x1 - x0, y1 - y0)


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """One image and its objects as read, without decoding its pixels: the ground truth of evaluation.

    Attributes:
        image_id: unique in the dataset.
        path: the image file; None for images that are not files.
        width, height: pixels.
        annotations: the objects; may be empty.
        name: what people call the image; the file's name by default.
    """

    image_id: int
    path: Path | None
    width: int
    height: int
    annotations: tuple[Annotation, ...] = ()
    name: str = ""

    @property
    def label(self) -> str:
        """The name for messages: the given one, else the file's, else the id."""
        return self.name or (self.path.name if self.path else f"image {self.image_id}")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model found in one image, on the CPU.

    Attributes:
        image_id: the image.
        boxes: float32 [N, 4], (x0, y0, x1, y1) in pixels of the image; float64 where they were read from a file.
        labels: int64 [N], in 1..K.
        scores: float32 [N], in 0..1; float64 where they were read from a file.
        masks: N run-length masks of the image's size, or None where the model gives none.
        bboxes: float64 [N, 4], the boxes as a file in COCO's form states them, (x, y, width, height); see `Annotation`.
    """

    image_id: int
    boxes: NDArray[np.floating[Any]]
    labels: NDArray[np.int64]
    scores: NDArray[np.floating[Any]]
    masks: Sequence[RLE] | None = None
    bboxes: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.scores)
