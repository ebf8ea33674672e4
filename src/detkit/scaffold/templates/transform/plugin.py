"""A transform for detkit: part of a training image is painted over, so that models learn to do with less.

After random erasing (Zhong et al. 2017, arXiv 1708.04896). An object that is all but hidden is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detkit import BuildContext, Draw, Options, TransformComponent, hookimpl
from pydantic import Field

if TYPE_CHECKING:  # for type checkers only: importing torch takes seconds
    from detkit.data.types import Target
    from torchvision.tv_tensors import Image

requires_detkit = ">=0.1"  # another detkit says that the plugin does not fit, before it imports it
detkit_api = 1  # and so does one whose hooks are no longer those that it was written for


class EraseOptions(Options):
    """What a spec may say in [augment.KEY]. `detkit plugins show` prints the descriptions."""

    probability: float = Field(0.5, ge=0, le=1, description="the share of the images that are changed")
    largest: float = Field(0.4, gt=0, le=1, description="the longest sides of the painted part, of the image's sides")
    hidden: float = Field(0.8, gt=0, le=1, description="objects of which a larger share is hidden are left out")


class Erase:
    """Keeps no state: what it draws comes from `draw`, so that each run of a seed sees the same images."""

    def __init__(self, options: EraseOptions) -> None:
        self._options = options

    def __call__(self, image: Image, target: Target, draw: Draw, /) -> tuple[Image, Target]:
        """Change an image with its objects, and write to neither: others may hold them.

        Args:
            image: uint8 [3, H, W].
            target: `boxes` float32 [N, 4], (x0, y0, x1, y1) in pixels; `labels` int64 [N]; `masks` uint8 [N, H, W]
                where the dataset has them; and more with an entry for each object. N = 0 is normal.
        """
        if not draw.chance(self._options.probability):
            return image, target
        height, width = image.shape[-2:]
        rows = max(1, round(height * draw.uniform(0, self._options.largest)))
        columns = max(1, round(width * draw.uniform(0, self._options.largest)))
        y, x = draw.integer(height - rows + 1), draw.integer(width - columns + 1)
        # YOUR CHANGE HERE: of the pixels, and of the boxes and masks where objects move with them.
        painted = image.clone()
        painted[:, y : y + rows, x : x + columns] = draw.integer(256)
        return painted, without_hidden(target, (x, y, x + columns, y + rows), self._options.hidden)


def without_hidden(target: Target, part: tuple[int, int, int, int], most: float) -> Target:
    """The objects of which no larger share of the box than `most` lies in the painted part, in all fields alike."""
    import torch
    from torchvision import tv_tensors

    boxes = target["boxes"].as_subclass(torch.Tensor)
    cover = torch.tensor([part], dtype=boxes.dtype)
    common = (torch.minimum(boxes, cover)[:, 2:] - torch.maximum(boxes, cover)[:, :2]).clamp(min=0).prod(dim=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    keep = common <= most * areas
    if bool(keep.all()):
        return target
    kept: dict[str, Any] = {}
    for name, value in target.items():
        if isinstance(value, torch.Tensor) and value.ndim and len(value) == len(keep):
            chosen = value[keep]
            value = tv_tensors.wrap(chosen, like=value) if isinstance(value, tv_tensors.TVTensor) else chosen
        kept[name] = value
    return kept  # type: ignore[return-value]  # the same keys, with the same types


def build(options: EraseOptions, context: BuildContext) -> Erase:
    """What a run calls."""
    context.messages.info(f"{COMPONENT.name}: paints over part of {options.probability:.0%} of the training images")
    return Erase(options)


COMPONENT = TransformComponent(
    name="my_plugin",  # what a spec writes in `use`, or as the key in [augment.KEY]
    options=EraseOptions,
    build=build,
    summary="paints over a part of the image",
)


@hookimpl
def detkit_transforms() -> list[TransformComponent[Any]]:
    return [COMPONENT]
