"""A hash of what a picture looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 8
BITS = SIDE * SIDE


def difference_hash(image: Tensor) -> int:
    """64 bits: of a picture of 9 x 8 grey pixels, whether each is darker than its right neighbour.

    Source: Neal Krawetz, "Kind of Like That", hackerfactor.com, 2013 (dHash).

    Args:
        image: uint8 [3, H, W].
    """
    import torch

    grey = image.as_subclass(torch.Tensor).float().mean(dim=0)[None, None]
    small = torch.nn.functional.interpolate(grey, (SIDE, SIDE + 1), mode="bilinear", antialias=True)[0, 0]
    # Differences below half a step of grey are noise of the conversion.
    bits = (small[:, 1:] - small[:, :-1] > 0.5).flatten().tolist()
    return sum(1 << place for place, bit in enumerate(bits) if bit)
