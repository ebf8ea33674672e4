"""How large anchors are; without torch, so that a spec's data can be checked against them."""

from __future__ import annotations

from collections.abc import Sequence

from detkit_torchvision.options import (
    DetectorOptions,
    FasterRCNNOptions,
    FastRCNNOptions,
    RetinaNetOptions,
    map_strides,
)

#: The input size of the papers, at which their anchors span 32 to 512 px (Lin et al. 2017, FPN, section 4.1).
PAPER_MIN_SIZE = 800
PAPER_LARGEST_ANCHOR = 512
#: RetinaNet's smallest anchor, 32 px, lies on stride 8 (Lin et al. 2017, Focal Loss, section 4).
DENSE_ANCHOR_STRIDES = 4
RATIOS = (0.5, 1.0, 2.0)
OCTAVE = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
#: Distinct strides from which on each map has one size; with fewer, this many sizes lie on all maps.
SHORTEST_PYRAMID = 3
SIZES_WITHOUT_PYRAMID = 5
#: Levels of the papers' pyramids.
WHOLE_PYRAMID = 5


def anchor_sizes(strides: Sequence[int], min_size: int, given: tuple[float, ...] | None) -> list[list[float]]:
    """Sides of an R-CNN's anchors of each map, in resized pixels.

    They halve from the coarsest map on, whose anchors have the papers' share of the input size. Where there are fewer
    strides than make a pyramid, all sizes lie on every map.
    """
    is_pyramid = len(set(strides)) >= SHORTEST_PYRAMID
    count = len(strides) if is_pyramid else SIZES_WITHOUT_PYRAMID
    largest = PAPER_LARGEST_ANCHOR * min_size / PAPER_MIN_SIZE
    sizes = list(given) if given else [largest / 2 ** (count - 1 - level) for level in range(count)]
    return [[size] for size in sizes] if is_pyramid else [sizes] * len(strides)


def dense_anchor_sizes(strides: Sequence[int], min_size: int, given: tuple[float, ...] | None) -> list[list[float]]:
    """Sides of RetinaNet's anchors of each map, in resized pixels.

    On a whole pyramid they are so many strides, whatever the input size. No second stage mends what anchors miss: with
    sizes that shrink with the input and strides that do not, anchors come to lie further apart than objects are wide,
    and few objects overlap with any. (Measured on Penn-Fudan at 320 px: AP after two epochs 0.23, against 0.11.)
    The small pyramid of tiny_fpn is for small images with small objects, whose anchors do shrink.
    """
    if given or len(set(strides)) < WHOLE_PYRAMID:
        return anchor_sizes(strides, min_size, given)
    return [[DENSE_ANCHOR_STRIDES * stride] for stride in strides]


def smallest_anchor(options: DetectorOptions, min_size: int) -> float | None:
    """See `detkit.ModelComponent`: of the anchors of R-CNNs and RetinaNet, FCOS's stride, Fast R-CNN's grid.

    None where only a file of weights, or a picture, knows.
    """
    if isinstance(options, FastRCNNOptions):
        # As `proposals.grid` makes them; where max_size keeps the shorter side below min_size, they are smaller yet.
        return min_size * 2 ** (-(options.grid_scales - 1) / 2) if options.proposals == "grid" else None
    dense = options.family in ("retinanet", "fcos")
    strides = map_strides(options.backbone, dense=dense)
    if not isinstance(options, FasterRCNNOptions | RetinaNetOptions):
        return float(strides[0])  # of FCOS, which has a point in each cell, and no anchors
    if options.weights == "coco":
        return float(min(map(min, anchor_sizes(strides, PAPER_MIN_SIZE, None))))
    if options.anchor_sizes is None and not isinstance(options.weights, str):
        return None
    derive = dense_anchor_sizes if isinstance(options, RetinaNetOptions) else anchor_sizes
    return float(min(map(min, derive(strides, min_size, options.anchor_sizes))))
