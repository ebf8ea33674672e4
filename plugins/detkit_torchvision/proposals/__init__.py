"""Sources of proposals for Fast R-CNN: modules that turn an image into boxes, and learn nothing.

A source takes the image as it arrives at the model, float32 [3, H, W] in 0..1, and returns float32 [N, 4] boxes,
(x0, y0, x1, y1) in its pixels, N up to `max_proposals`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from torch import nn

from detkit import BuildContext, UserError
from detkit_torchvision.options import FastRCNNOptions


def make_source(options: FastRCNNOptions, context: BuildContext) -> nn.Module:
    """The source that the options name.

    Raises:
        UserError: OpenCV is not installed. WeightsError: the COCO weights of `rpn` are not to be had.
    """
    check_installed(options)
    match options.proposals:
        case "grid":
            from detkit_torchvision.proposals.grid import Grid

            return Grid(options.grid_scales, options.grid_ratios, options.grid_step, options.max_proposals)
        case "selective_search":
            from detkit_torchvision.proposals.cache import Cached
            from detkit_torchvision.proposals.selective_search import SelectiveSearch

            search = SelectiveSearch(options.search_size, options.search_quality, options.max_proposals)
            return Cached(search, context.cache_folder, context.messages)
        case "rpn":
            from detkit_torchvision.proposals.cache import Cached
            from detkit_torchvision.proposals.rpn import frozen_rpn

            network = frozen_rpn(options.max_proposals, context)
            return Cached(network, context.cache_folder, context.messages)


def source_origin(source: nn.Module) -> dict[str, Any]:
    """What a source with weights of its own says of them, for the `weights_origin` of its detector; else empty."""
    origin = next((module.origin for module in source.modules() if hasattr(module, "origin")), None)
    return {"proposal_source": origin} if origin else {}


def check_source(options: FastRCNNOptions, context: BuildContext) -> None:
    """See whether the source can be had; nothing is downloaded.

    Raises:
        UserError: OpenCV is not installed. WeightsError: the COCO weights of `rpn` are missing with no network allowed.
    """
    from detkit_torchvision.weights import files

    check_installed(options)
    if options.proposals == "rpn":
        files.find(files.coco("faster_rcnn", "resnet50_fpn"), offline=context.offline)


def check_installed(options: FastRCNNOptions) -> None:
    """Raises: UserError: selective search is asked for and OpenCV's extra modules are not installed."""
    if options.proposals != "selective_search":
        return
    has_search = False
    if find_spec("cv2") is not None:
        import cv2

        has_search = hasattr(cv2, "ximgproc")
    if not has_search:
        raise UserError(
            'proposals = "selective_search" needs OpenCV with its extra modules: pip install "detkit[selective-search]"'
            ' (which is opencv-contrib-python-headless; it replaces opencv-python), or choose "grid"'
        )
