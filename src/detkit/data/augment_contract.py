"""What a transform of `[augment]` must return, and must not do to what it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision import tv_tensors

from detkit.data.types import Target

if TYPE_CHECKING:
    from torchvision.tv_tensors import Image

#: The fields that a dataset must have, too.
FIELDS = frozenset({"boxes", "labels", "image_id", "area", "iscrowd"})


class Given:
    """What a transform was given, to hold what it returned against.

    Args:
        classes: how many the dataset has.
    """

    def __init__(self, image: Image, target: Target, classes: int) -> None:
        self._tensors: dict[str, Tensor] = {
            "image": image,
            **{name: value for name, value in target.items() if isinstance(value, Tensor)},
        }
        self._versions = {name: _version(value) for name, value in self._tensors.items()}
        self._names = frozenset(target)
        self._classes = classes

    def accepted(self, returned: object) -> tuple[Image, Target]:
        """The image and target that were returned, in the types that they must have.

        Raises:
            TypeError: it is something else, fields disagree, labels are of no class, or what was given was written to.
        """
        if not isinstance(returned, tuple | list) or len(returned) != 2 or not isinstance(returned[1], dict):
            raise TypeError(f"it returned a {type(returned).__name__}; it must return the image and its target")
        self._refuse_written()
        image, fields = returned
        _refuse_image(image)
        missing = (FIELDS | (self._names & {"masks"})) - fields.keys()
        if missing:
            raise TypeError(f"the target it returned lacks {', '.join(sorted(missing))}")
        target: Target = {**fields}  # type: ignore[typeddict-item]  # looked at next
        self._refuse_labels(target["labels"])
        _refuse_shapes(image, target)
        _refuse_values(target, masks=target.get("masks") is not self._tensors.get("masks"))
        return _typed(image, target)

    def _refuse_written(self) -> None:
        """The dataset may give the same tensors again, in the next epoch, or to another transform."""
        written = [name for name, value in self._tensors.items() if _version(value) != self._versions[name]]
        if written:
            raise TypeError(f"it wrote to the {written[0]} that it was given; it must change a copy, as from clone()")

    def _refuse_labels(self, labels: object) -> None:
        if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.ndim != 1:
            what = (
                f"{labels.dtype} {list(labels.shape)}" if isinstance(labels, Tensor) else f"a {type(labels).__name__}"
            )
            raise TypeError(f"the labels it returned are {what}; they must be int64 [N]")
        if len(labels) and not 1 <= int(labels.min()) <= int(labels.max()) <= self._classes:
            wrong = int(labels.min()) if int(labels.min()) < 1 else int(labels.max())
            raise TypeError(
                f"a label it returned is {wrong}; with {self._classes} classes labels are 1 to {self._classes}"
            )


def _version(value: Tensor) -> int:
    """A number that grows whenever the tensor is written to; what numpy writes it does not notice."""
    return 0 if value.is_inference() else value._version


def _described(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _refuse_image(image: object) -> None:
    if not isinstance(image, Tensor) or image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise TypeError(f"the image it returned is {_described(image)}; it must be uint8 [3, H, W]")
    if 0 in image.shape:
        raise TypeError(f"the image it returned has no pixels: it is {list(image.shape)}")


def _refuse_shapes(image: Tensor, target: Target) -> None:
    count, (height, width) = len(target["labels"]), image.shape[-2:]
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "boxes": (target["boxes"], (count, 4)),
        "area": (target["area"], (count,)),
        "iscrowd": (target["iscrowd"], (count,)),
    }
    if "masks" in target:
        shapes["masks"] = (target["masks"], (count, height, width))
    for name, (value, shape) in shapes.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"the target it returned has {name} that are a {type(value).__name__}; they must be a tensor"
            )
        if tuple(value.shape) != shape:
            raise TypeError(
                f"the target it returned has {name} of shape {list(value.shape)}; with {count} labels and an image of"
                f" {height} x {width} it must be {list(shape)}"
            )


def _refuse_values(target: Target, *, masks: bool) -> None:
    """Args: masks: whether they are others than were given."""
    boxes = target["boxes"]
    if isinstance(boxes, tv_tensors.BoundingBoxes) and boxes.format != tv_tensors.BoundingBoxFormat.XYXY:
        raise TypeError(f"the boxes it returned are {boxes.format.value}; they must be XYXY")
    for name, value in (("box", boxes), ("area", target["area"])):
        if not bool(torch.isfinite(value).all()):
            raise TypeError(f"a{'n' * (name == 'area')} {name} that it returned is not finite")
    if masks and "masks" in target and target["masks"].dtype != torch.bool:
        found = target["masks"]
        if found.dtype != torch.uint8:
            raise TypeError(f"the masks it returned are {found.dtype}; they must be uint8, 1 inside and 0 outside")
        if found.numel() and (most := int(found.as_subclass(Tensor).numpy().max())) > 1:
            raise TypeError(f"the masks it returned hold {most}; they must be 1 inside and 0 outside")


def _typed(image: Tensor, target: Target) -> tuple[Image, Target]:
    """The same values in the types of the contract; what has them stays the tensor that it is."""
    size = (image.shape[-2], image.shape[-1])
    boxes = target["boxes"]
    if not isinstance(boxes, tv_tensors.BoundingBoxes) or boxes.dtype != torch.float32 or boxes.canvas_size != size:
        plain = boxes.detach().as_subclass(Tensor).to(torch.float32)
        boxes = tv_tensors.BoundingBoxes(plain, format="XYXY", canvas_size=size)
    typed: Target = {
        **target,
        "boxes": boxes,
        "area": target["area"].detach().to(torch.float32),
        "iscrowd": target["iscrowd"].to(torch.bool),
    }
    if "masks" in target and not (
        isinstance(target["masks"], tv_tensors.Mask) and target["masks"].dtype == torch.uint8
    ):
        typed["masks"] = tv_tensors.Mask(target["masks"].as_subclass(Tensor).to(torch.uint8))
    return image if isinstance(image, tv_tensors.Image) else tv_tensors.Image(image), typed
