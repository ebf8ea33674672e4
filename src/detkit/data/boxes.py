"""Boxes in the four forms in which files and libraries keep them, and from each to each.

| format           | the four numbers        | unit                                     |
|------------------|-------------------------|------------------------------------------|
| "pascal_voc"     | x0, y0, x1, y1          | pixels                                   |
| "coco"           | x, y, width, height     | pixels; x and y of the upper left corner |
| "albumentations" | x0, y0, x1, y1          | shares of the image's width and height   |
| "yolo"           | cx, cy, width, height   | shares; cx and cy of the centre          |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.ops import box_convert

from detkit.errors import did_you_mean

#: How the four numbers of a box are meant; the module's docstring has a table.
BoxFormat = Literal["pascal_voc", "coco", "albumentations", "yolo"]

#: Every box format.
BOX_FORMATS: tuple[BoxFormat, ...] = get_args(BoxFormat)

#: One box or many, as plain values.
BoxValues = NDArray[Any] | Sequence[float] | Sequence[Sequence[float]]


class _Form(NamedTuple):
    """What the four numbers are, in TorchVision's words, and whether they are shares of the image."""

    layout: str
    normalised: bool


_FORMS: dict[str, _Form] = {
    "pascal_voc": _Form("xyxy", normalised=False),
    "coco": _Form("xywh", normalised=False),
    "albumentations": _Form("xyxy", normalised=True),
    "yolo": _Form("cxcywh", normalised=True),
}


@overload
def convert_boxes(
    boxes: Tensor, *, to: BoxFormat, from_: BoxFormat | None = None, size: tuple[int, int] | None = None
) -> Tensor: ...
@overload
def convert_boxes(
    boxes: BoxValues, *, to: BoxFormat, from_: BoxFormat | None = None, size: tuple[int, int] | None = None
) -> NDArray[np.float64]: ...
def convert_boxes(
    boxes: Tensor | BoxValues, *, to: BoxFormat, from_: BoxFormat | None = None, size: tuple[int, int] | None = None
) -> Tensor | NDArray[np.float64]:
    """The same boxes in another format, in memory of their own.

    Pure arithmetic: nothing is clipped, sorted or rounded to whole pixels. Boxes outside the image, without area, or
    with their corners reversed (a negative width) are converted as they are, and come back as they were. It is done
    in float64 and rounded once, to the dtype of the result: between the pixel formats, whatever that dtype can hold is
    exact. A division by the image's size may round, so a way there and back may move a coordinate by a few units in
    the last place of the image's longer side.

    Args:
        boxes: [4], [N, 4] or [..., 4]; N = 0 is normal, and an empty sequence is no boxes.
        to: the format wanted.
        from_: the format given; `tv_tensors.BoundingBoxes` know theirs (XYXY, XYWH or CXCYWH, in pixels).
        size: (height, width) of the image in pixels; needed between pixels and shares, in either direction.
            `BoundingBoxes` know theirs.

    Returns:
        Of a tensor: a tensor of its shape and device, and of its dtype, or float64 where that holds integers.
        Of `BoundingBoxes`: `BoundingBoxes` in pixels of the same canvas; a plain tensor where `to` is in shares, for
        which TorchVision has no format.
        Of arrays and sequences: a float64 array of their shape.

    Raises:
        ValueError: an unknown format, or none; not four numbers a box; a number that is not finite (names the box);
            no size where it is needed, or one that is not two positive numbers; a format or size that is not what
            `BoundingBoxes` say of themselves; rotated boxes.
    """
    new = _form(to, "to")
    if isinstance(boxes, tv_tensors.BoundingBoxes):
        old = _own_form(boxes, from_)
        converted = _of_tensor(boxes.as_subclass(Tensor), old, new, _own_size(boxes, size))
        return converted if new.normalised else tv_tensors.wrap(converted, like=boxes, format=new.layout.upper())
    if from_ is None:
        raise ValueError(f"from_ is missing: only BoundingBoxes know their format; there are: {', '.join(BOX_FORMATS)}")
    old = _form(from_, "from_")
    if isinstance(boxes, Tensor):
        return _of_tensor(boxes, old, new, size)
    # A copy: torch takes neither read-only arrays nor such with negative strides.
    return _converted(torch.from_numpy(np.array(boxes, dtype=np.float64)), old, new, size).numpy()


def _form(name: str, argument: str) -> _Form:
    if name not in _FORMS:
        raise ValueError(f"{argument}: no box format named {name!r}{did_you_mean(name, BOX_FORMATS)}")
    return _FORMS[name]


def _own_form(boxes: tv_tensors.BoundingBoxes, from_: BoxFormat | None) -> _Form:
    """The form that TorchVision's boxes state."""
    own = _Form(boxes.format.value.lower(), normalised=False)
    if own.layout not in ("xyxy", "xywh", "cxcywh"):
        raise ValueError(f"the boxes are rotated ({boxes.format.value}); no other format can say that")
    if from_ is not None and _form(from_, "from_") != own:
        raise ValueError(f"from_ is {from_!r}, but the boxes are {boxes.format.value} in pixels; leave it out")
    return own


def _own_size(boxes: tv_tensors.BoundingBoxes, size: tuple[int, int] | None) -> tuple[int, int]:
    own: tuple[int, int] = boxes.canvas_size
    if size is not None and tuple(size) != tuple(own):
        raise ValueError(f"size is {tuple(size)}, but the boxes' canvas is {tuple(own)} (height, width); leave it out")
    return own


def _of_tensor(boxes: Tensor, old: _Form, new: _Form, size: tuple[int, int] | None) -> Tensor:
    # Apple's GPUs have no float64.
    wide = torch.float32 if boxes.device.type == "mps" else torch.float64
    return _converted(boxes.to(wide), old, new, size).to(boxes.dtype if boxes.is_floating_point() else wide)


def _converted(boxes: Tensor, old: _Form, new: _Form, size: tuple[int, int] | None) -> Tensor:
    boxes = _verified(boxes)
    factors = None if size is None else _factors(size).to(boxes)
    if old.normalised == new.normalised:
        return _relaid(boxes, old.layout, new.layout)
    if factors is None:
        raise ValueError("size is missing: between pixels and shares of an image, give its size=(height, width)")
    if old.normalised:
        return _relaid(boxes * factors, old.layout, new.layout)
    return _relaid(boxes, old.layout, new.layout) / factors


def _verified(boxes: Tensor) -> Tensor:
    if boxes.shape == (0,):
        return boxes.reshape(0, 4)
    if not boxes.ndim or boxes.shape[-1] != 4:
        raise ValueError(f"boxes of shape {tuple(boxes.shape)}; they must be [4], [N, 4] or [..., 4]")
    rows = boxes.detach().reshape(-1, 4)
    bad = ~rows.isfinite().all(dim=1)
    if bad.any():
        index = int(bad.int().argmax())
        raise ValueError(f"box {index}, {tuple(rows[index].tolist())}, is not finite")
    return boxes


def _factors(size: tuple[int, int]) -> Tensor:
    if len(size) != 2 or not all(math.isfinite(side) and side > 0 for side in size):
        raise ValueError(f"size is {tuple(size)}; it must be (height, width) in pixels, both positive")
    height, width = size
    return torch.tensor([width, height, width, height], dtype=torch.float64)


def _relaid(boxes: Tensor, old: str, new: str) -> Tensor:
    """Other numbers for the same boxes, in the same unit."""
    if {old, new} == {"xywh", "cxcywh"}:
        # Not by way of the corners, as box_convert goes: (x + width) - x is not always the width to the last bit.
        origin, extent = boxes[..., :2], boxes[..., 2:]
        return torch.cat([origin + extent / 2 if new == "cxcywh" else origin - extent / 2, extent], dim=-1)
    # Floating at this point: of integers box_convert makes float32, or lets them overflow (uint8: 200 + 100 = 44).
    converted: Tensor = box_convert(boxes, old, new)
    return converted
