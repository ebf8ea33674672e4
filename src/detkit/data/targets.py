"""Between targets (tensors), annotations (plain values) and run-length masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detkit.data.types import RLE, Annotation, ImageInfo, ModelOutput, Prediction, Target

if TYPE_CHECKING:
    from torch import Tensor

#: A pixel belongs to a mask above this probability: TorchVision's and COCO's convention.
MASK_THRESHOLD = 0.5
#: pycocotools (2.0.11) counts the masks whose areas it is asked for in one byte, and raises from 256 on.
AT_ONCE = 255
#: More instances than so many, of fewer pixels than so many on average, are the noise of another picture.
MANY_INSTANCES, FEW_PIXELS = 1000, 16
#: Of masks that are decoded together.
MOST_BYTES = 1 << 27


def encode_masks(masks: NDArray[np.uint8]) -> list[RLE]:
    """Run-length encode masks.

    Args:
        masks: uint8 or bool [N, H, W], non-zero inside.
    """
    from pycocotools import mask as coco_mask

    if not len(masks):
        return []
    # pycocotools wants [H, W, N] in Fortran order: N-last of a C array, transposed, is just that without a copy.
    encoded = coco_mask.encode(np.asfortranarray((masks != 0).astype(np.uint8).transpose(1, 2, 0)))
    return [RLE(size=[int(s) for s in rle["size"]], counts=rle["counts"].decode("ascii")) for rle in encoded]


def decode_masks(masks: Sequence[RLE], height: int, width: int) -> NDArray[np.uint8]:
    """The inverse of `encode_masks`: uint8 [N, H, W] of 0 and 1; N = 0 gives an empty array of that shape.

    Args:
        height, width: H and W, pixels: those of the masks, from which N = 0 has its shape.
    """
    from pycocotools import mask as coco_mask

    if not masks:
        return np.zeros((0, height, width), dtype=np.uint8)
    rles = [{"size": rle["size"], "counts": rle["counts"].encode("ascii")} for rle in masks]
    at_once = max(1, MOST_BYTES // max(1, height * width))
    if len(rles) <= at_once:
        return np.ascontiguousarray(coco_mask.decode(rles).transpose(2, 0, 1))
    # numpy says where memory is short; pycocotools (2.0.11) does not look, and the process dies.
    decoded = np.zeros((len(rles), height, width), dtype=np.uint8)
    for begin in range(0, len(rles), at_once):
        decoded[begin : begin + at_once] = coco_mask.decode(rles[begin : begin + at_once]).transpose(2, 0, 1)
    return decoded


def mask_areas(masks: Sequence[RLE]) -> NDArray[np.float64]:
    """float64 [N], of each mask, square pixels."""
    from pycocotools import mask as coco_mask

    parts = [coco_mask.area(list(masks[begin : begin + AT_ONCE])) for begin in range(0, len(masks), AT_ONCE)]
    return np.concatenate([np.zeros(0), *parts])


def info_from_target(image: Tensor, target: Target) -> ImageInfo:
    """The ground truth that a target states, for datasets without an `info` of their own.

    Args:
        image: [..., H, W] of any dtype, as uint8; only its size is looked at. target: of that image.
    """
    height, width = image.shape[-2:]
    masks = encode_masks(target["masks"].numpy()) if "masks" in target else [None] * len(target["labels"])
    annotations = tuple(
        Annotation(
            label=int(label),
            box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
            area=float(area),
            iscrowd=bool(crowd),
            mask=mask,
            source=f"object {index}",
        )
        for index, (label, box, area, crowd, mask) in enumerate(
            zip(
                target["labels"].tolist(),
                target["boxes"].tolist(),
                target["area"].tolist(),
                target["iscrowd"].tolist(),
                masks,
                strict=True,
            )
        )
    )
    return ImageInfo(int(target["image_id"]), None, int(width), int(height), annotations)


def prediction_from_output(image_id: int, output: ModelOutput) -> Prediction:
    """What a model returned for one image, as plain arrays with run-length masks."""
    masks = output.get("masks")
    return Prediction(
        image_id=image_id,
        boxes=output["boxes"].detach().float().cpu().numpy().reshape(-1, 4),
        labels=output["labels"].detach().cpu().numpy().astype(np.int64),
        scores=output["scores"].detach().float().cpu().numpy(),
        masks=None if masks is None else encode_masks((masks.detach()[:, 0] > MASK_THRESHOLD).cpu().numpy()),
    )


def target_of(info: ImageInfo, *, masks: bool) -> Target:
    """The target that an image's ground truth makes.

    Args:
        masks: whether it holds masks; then every object must have one.

    Raises:
        ValueError: an object has none.
    """
    import torch
    from torchvision import tv_tensors

    objects = info.annotations
    size = (info.height, info.width)
    boxes = torch.tensor([item.box for item in objects], dtype=torch.float32).reshape(-1, 4)
    target = Target(
        boxes=tv_tensors.BoundingBoxes(boxes, format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=size),
        labels=torch.tensor([item.label for item in objects], dtype=torch.int64),
        image_id=info.image_id,
        area=torch.tensor([item.area for item in objects], dtype=torch.float32),
        iscrowd=torch.tensor([item.iscrowd for item in objects], dtype=torch.bool),
    )
    if masks:
        rles = [item.mask for item in objects if item.mask is not None]
        if len(rles) < len(objects):
            raise ValueError(f"{info.label}: {len(objects) - len(rles)} of {len(objects)} objects have no mask")
        target["masks"] = tv_tensors.Mask(torch.from_numpy(decode_masks(rles, *size)))
    return target


def instances(ids: NDArray[np.integer[Any]]) -> dict[int, Annotation]:
    """The objects of a picture of instance numbers, by their numbers, which ascend and may leave some out; label 1.

    Boxes include the far edges: a single pixel is one pixel wide and high.

    Args:
        ids: [H, W] of integers, as uint8 or int32; 0 for the background.

    Raises:
        ValueError: there are so many of so few pixels that it must be another picture.
    """
    numbers = [int(number) for number in np.unique(ids) if number > 0]
    if len(numbers) > MANY_INSTANCES and np.count_nonzero(ids > 0) < len(numbers) * FEW_PIXELS:
        raise ValueError(
            f"holds {len(numbers):,} different numbers, each of a few pixels: is it a photograph, and no picture of"
            " objects' numbers?"
        )
    # Some at a time: a microscope's picture may have thousands, and each takes as much memory as all of it.
    at_once = max(1, MOST_BYTES // max(1, ids.size))
    parts = [numbers[begin : begin + at_once] for begin in range(0, len(numbers), at_once)]
    return {number: item for part in parts for number, item in _some_instances(ids, part).items()}


def _some_instances(ids: NDArray[np.integer[Any]], numbers: Sequence[int]) -> dict[int, Annotation]:
    height, width = ids.shape
    masks = np.equal(ids[None], np.array(numbers, dtype=ids.dtype).reshape(-1, 1, 1))
    columns, rows = masks.any(axis=1), masks.any(axis=2)
    x0, y0 = columns.argmax(axis=1), rows.argmax(axis=1)
    x1, y1 = width - columns[:, ::-1].argmax(axis=1), height - rows[:, ::-1].argmax(axis=1)
    boxes = np.stack([x0, y0, x1, y1], axis=1).astype(np.float64).tolist()
    areas = np.count_nonzero(masks, axis=(1, 2)).tolist()
    rles = encode_masks(masks.view(np.uint8))
    return {
        number: Annotation(label=1, box=tuple(box), area=float(area), mask=rle, source=f"object {number}")
        for number, box, area, rle in zip(numbers, boxes, areas, rles, strict=True)
    }
