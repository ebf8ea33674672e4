"""Selective search (Uijlings et al. 2013), OpenCV's: what the first Fast R-CNN took its proposals from."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from detkit_torchvision.proposals.grid import thinned


class SelectiveSearch(nn.Module):
    """Groups of similar regions of an image, as boxes.

    OpenCV orders them by random numbers; here they are sorted by their corners, so that the same image gives the same
    boxes in the same order.

    Args:
        size: the shorter side of the image it works on, pixels; larger images are made smaller, never larger.
        quality: OpenCV's mode. limit: most boxes; more are thinned out evenly.
    """

    def __init__(self, size: int, quality: Literal["fast", "quality"], limit: int) -> None:
        super().__init__()
        self._size, self._quality, self._limit = size, quality, limit

    @property
    def key(self) -> str:
        """Names what it proposes: the options and OpenCV's version."""
        import cv2

        return f"selective_search-{cv2.__version__}-{self._quality}-{self._size}-{self._limit}"

    def forward(self, image: Tensor) -> Tensor:
        import cv2

        pixels = (image.clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(1, 2, 0).numpy()
        height, width = pixels.shape[:2]
        scale = min(1.0, self._size / min(height, width))
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        blue_green_red = np.ascontiguousarray(cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)[:, :, ::-1])
        search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
        search.setBaseImage(blue_green_red)
        if self._quality == "fast":
            search.switchToSelectiveSearchFast()
        else:
            search.switchToSelectiveSearchQuality()
        found = np.unique(np.asarray(search.process(), dtype=np.float32).reshape(-1, 4), axis=0)
        found[:, 2:] += found[:, :2]
        found *= np.array([width / small[0], height / small[1]] * 2, dtype=np.float32)
        return thinned(torch.from_numpy(found), self._limit).to(image.device)
