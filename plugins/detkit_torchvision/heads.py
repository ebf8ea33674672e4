"""Sizes of the heads: TorchVision's own, and small ones for the small backbone."""

from __future__ import annotations

from dataclasses import dataclass

#: The side to which RoIs are pooled for their masks.
MASK_CELLS = 14


@dataclass(frozen=True, slots=True)
class Heads:
    """Sizes of the heads.

    Attributes:
        box: width of the two layers after pooling. cells: side to which RoIs are pooled for them.
        mask: widths of the mask head.
        convs: layers of the one-stage heads.
        candidates: boxes of each map that enter the RPN's suppression, in training and in evaluation.
        proposals: RoIs that the RPN hands on, in training and in evaluation.
        samples: RoIs an image on which the box head is trained.
    """

    box: int
    cells: int
    mask: tuple[int, ...]
    convs: int
    candidates: tuple[int, int]
    proposals: tuple[int, int]
    samples: int


#: TorchVision's own sizes.
STANDARD = Heads(
    box=1024, cells=7, mask=(256, 256, 256, 256), convs=4, candidates=(2000, 1000), proposals=(2000, 1000), samples=512
)
#: Of tiny_fpn: on a CPU, suppression and pooling would otherwise take most of a step.
SMALL = Heads(box=256, cells=5, mask=(64, 64), convs=2, candidates=(300, 150), proposals=(150, 100), samples=64)
