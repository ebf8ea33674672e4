"""The network: the image is divided into cells, and each cell may find one object.

A cell says for each class how likely the middle of an object lies in it, and how far the object's four sides are away,
as FCOS does (arXiv 1904.01355). It is small, and yet whole: replace its parts one by one, or all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detkit import Part
from torch import Tensor, nn
from torchvision.ops import batched_nms, clip_boxes_to_image, generalized_box_iou_loss, sigmoid_focal_loss


class GridDetector(nn.Module):
    """Args: class_count: how many classes. width: channels. min_size, max_size: to which images are resized, pixels."""

    stride = 8  # a cell's side, pixels

    def __init__(self, class_count: int, width: int, most: int, min_size: int, max_size: int) -> None:
        super().__init__()
        self.most, self.min_size, self.max_size = most, min_size, max_size
        # YOUR MODEL HERE: anything that makes [B, C, H / 8, W / 8] of [B, 3, H, W].
        self.backbone = nn.Sequential(block(3, width, 2), block(width, width, 2), block(width, 2 * width, 2))
        self.neck = nn.Sequential(block(2 * width, 2 * width, 1), block(2 * width, 2 * width, 1))
        self.classes = nn.Conv2d(2 * width, class_count, 1)
        self.sides = nn.Conv2d(2 * width, 4, 1)
        nn.init.zeros_(self.sides.weight)
        with torch.no_grad():  # at first nothing is likely to be an object, and each is about a cell wide
            for layer, bias in ((self.classes, -4.0), (self.sides, 0.5)):
                layer.bias.fill_(bias)  # type: ignore[union-attr]  # a convolution has one unless told otherwise
        # Which parts there are: [train] strategy freezes them by name, and the table before training lists them.
        self.parts = (
            Part("backbone", (self.backbone,), backbone=True),
            Part("head", (self.neck, self.classes, self.sides)),
        )

    def forward(self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Any]] | None = None) -> Any:
        """What detkit calls, as it calls TorchVision's detectors.

        Args:
            images: float32 [3, H, W] in 0..1, of any size.
            targets: in training one for each image: `boxes` float32 [N, 4] in pixels, `labels` int64 [N] in 1..K.

        Returns:
            In training the losses by name; in evaluation, for each image, `boxes`, `labels` and `scores`.
        """
        resized = [self.resize(image) for image in images]
        features = self.neck(self.backbone(self.stacked(resized)))
        scores = self.classes(features).float().permute(0, 2, 3, 1)  # [B, rows, columns, K]
        sides = nn.functional.softplus(self.sides(features).float()).permute(0, 2, 3, 1)  # left, top, right, bottom
        middles = self.middles(features)
        boxes = torch.cat([middles - sides[..., :2] * self.stride, middles + sides[..., 2:] * self.stride], dim=-1)
        if not self.training:
            pairs = zip(images, resized, strict=True)
            return [self.found(*pair, scores[index], boxes[index]) for index, pair in enumerate(pairs)]
        assert targets is not None, "in training a model gets targets"
        return self.losses(
            scores,
            boxes,
            middles,
            [
                (target["boxes"] * (small.shape[-1] / image.shape[-1]), target["labels"])
                for image, small, target in zip(images, resized, targets, strict=True)
            ],
        )

    # --- from images to a batch ---

    def resize(self, image: Tensor) -> Tensor:
        """The shorter side becomes min_size, unless the longer one would exceed max_size."""
        height, width = image.shape[-2:]
        factor = min(self.min_size / min(height, width), self.max_size / max(height, width))
        size = (max(1, round(height * factor)), max(1, round(width * factor)))
        if size == (height, width):
            return image
        return nn.functional.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]

    def stacked(self, images: Sequence[Tensor]) -> Tensor:
        """One tensor [B, 3, H, W], with room below and at the right, in whole cells."""
        height, width = (
            -(-max(image.shape[side] for image in images) // self.stride) * self.stride for side in (-2, -1)
        )
        batch = images[0].new_zeros(len(images), 3, height, width)
        for place, image in zip(batch, images, strict=True):
            place[:, : image.shape[-2], : image.shape[-1]] = image * 2 - 1
        return batch

    def middles(self, features: Tensor) -> Tensor:
        """float32 [rows, columns, 2]: x and y of the middle of each cell, pixels."""
        rows, columns = (torch.arange(count, device=features.device) for count in features.shape[-2:])
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        return (torch.stack([x, y], dim=-1).float() + 0.5) * self.stride

    # --- training ---

    # YOUR LOSSES HERE: named scalars, means over the images of the batch. detkit adds them up and goes backward.
    def losses(
        self, scores: Tensor, boxes: Tensor, middles: Tensor, truths: Sequence[tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        wanted = torch.zeros_like(scores)
        box_losses = [boxes.sum() * 0]  # where no image has an object, too, the loss has a gradient
        for index, (truth, labels) in enumerate(truths):
            # An object belongs to the cells in its inner half, and to the one in which its middle lies.
            centre, reach = (truth[:, :2] + truth[:, 2:]) / 2, (truth[:, 2:] - truth[:, :2]) / 4
            away = (middles[None] - centre[:, None, None]).abs()  # [N, rows, columns, 2]
            inside = (away <= reach.clamp(min=self.stride / 2)[:, None, None]).all(dim=-1)
            for number, row, column in inside.nonzero().tolist():
                wanted[index, row, column, labels[number] - 1] = 1
            number, row, column = inside.nonzero(as_tuple=True)
            box_losses.append(generalized_box_iou_loss(boxes[index, row, column], truth[number], reduction="sum"))
        positive = wanted.sum().clamp(min=1)
        return {
            "loss_classes": sigmoid_focal_loss(scores, wanted, reduction="sum") / positive,
            "loss_boxes": torch.stack(box_losses).sum() / positive,
        }

    # --- prediction ---

    def found(self, image: Tensor, resized: Tensor, scores: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """The objects of one image, in its own pixels, the likeliest first."""
        likely, order = scores.sigmoid().flatten().topk(min(20 * self.most, scores.numel()))
        cell, label = order // scores.shape[-1], order % scores.shape[-1] + 1  # labels begin at 1
        factor = image.shape[-1] / resized.shape[-1]
        own = clip_boxes_to_image(boxes.flatten(0, 1)[cell] * factor, (image.shape[-2], image.shape[-1]))
        kept = batched_nms(own, likely, label, iou_threshold=0.5)[: self.most]
        return {"boxes": own[kept], "labels": label[kept], "scores": likely[kept]}


def block(inputs: int, outputs: int, stride: int) -> nn.Module:
    """A convolution with a norm that does not depend on the batch."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.GroupNorm(8, outputs), nn.ReLU())
