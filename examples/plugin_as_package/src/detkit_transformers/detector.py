"""A model of transformers that speaks detkit's convention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from detkit import DataError
from detkit.data.types import ModelOutput, Target
from torch import Tensor, nn
from transformers import PreTrainedModel

from detkit_transformers.canvas import Canvas, fitted, make_canvas
from detkit_transformers.losses import grouped, losses_of

#: ImageNet's, which DETR's ResNets were trained with; those of RT-DETR were trained with 0..1.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class SetDetector(nn.Module):
    """In training `detector(images, targets)` gives losses, in evaluation `detector(images)` detections.

    Attributes:
        network: the model of transformers. predicts_a_set: whereby the training step knows its terms.
    """

    predicts_a_set = True

    def __init__(
        self,
        network: PreTrainedModel,
        *,
        min_size: int,
        max_size: int,
        square: bool,
        max_detections: int,
        score_threshold: float,
    ) -> None:
        super().__init__()
        self.network = network
        self.min_size, self.max_size, self.square = min_size, max_size, square
        self.max_detections, self.score_threshold = max_detections, score_threshold
        self.is_detr = network.config.model_type == "detr"

    def train(self, mode: bool = True) -> SetDetector:
        """Norms with statistics keep them: two images would ruin what a million have shown."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None, *, every_term: bool = False
    ) -> dict[str, Tensor] | list[ModelOutput]:
        """Losses in training, detections in evaluation.

        Args:
            images: float [3, H, W] in 0..1, of any sizes. targets: with boxes in their pixels, labels from 1.
            every_term: give the terms one by one, as `losses.grouped` reads them, for a training step that weighs them.
        """
        canvas = self._canvas(images)
        if not self.training:
            outputs = self.network(pixel_values=canvas.pixels, pixel_mask=canvas.mask)
            shares = outputs.pred_boxes.float()
            return [self._detections(canvas, index, shares[index], of) for index, of in enumerate(outputs.logits)]
        if targets is None:
            raise ValueError("in training mode the detector wants targets")
        labels = [self._labels(canvas, index, target) for index, target in enumerate(targets)]
        with self._without_dropout():
            outputs = self.network(pixel_values=canvas.pixels, pixel_mask=canvas.mask, labels=labels)
        terms = losses_of(outputs, self.network.config)
        return terms if every_term else grouped(terms)

    # --- images and boxes --------------------------------------------------------------------------------------------

    def _canvas(self, images: Sequence[Tensor]) -> Canvas:
        if self.is_detr:
            # Its position encoding follows the mask, so that boxes are shares of the image without the padding.
            sizes = [fitted((image.shape[-2], image.shape[-1]), self.min_size, self.max_size) for image in images]
            return make_canvas(images, sizes, mean=MEAN, deviation=DEVIATION, shares_of_canvas=False)
        # RT-DETR sees no mask: padding is image to it, and boxes are shares of the whole.
        side = 32 * max(1, round(self.min_size / 32))
        sizes = [
            (side, side) if self.square else fitted((image.shape[-2], image.shape[-1]), self.min_size, self.max_size)
            for image in images
        ]
        # Its queries are the best cells of three maps; 16 + 4 + 1 of them are in 32 x 32 pixels.
        queries: int = self.network.config.num_queries
        return make_canvas(images, sizes, multiple=32, least_cells=-(-queries // 21), shares_of_canvas=True)

    def _labels(self, canvas: Canvas, index: int, target: Target) -> dict[str, Tensor]:
        """The objects as transformers wants them: labels from 0, shares, and no crowds, as it leaves them out too."""
        single = ~target["iscrowd"]
        boxes = canvas.to_shares(index, target["boxes"].as_subclass(Tensor)[single])
        return {"class_labels": target["labels"][single] - 1, "boxes": boxes}

    def _detections(self, canvas: Canvas, index: int, shares: Tensor, logits: Tensor) -> ModelOutput:
        """The best detections, best first.

        Args:
            shares: [queries, 4]. logits: [queries, classes], with "no object" as the last one of DETR.
        """
        if self.is_detr:
            scores, classes = logits.float().softmax(-1)[:, :-1].max(-1)
            queries = torch.arange(len(scores), device=scores.device)
        else:  # every class of a query is a detection of its own
            flat = logits.float().sigmoid().flatten()
            scores, best = flat.topk(min(self.max_detections, len(flat)))
            queries, classes = best // logits.shape[1], best % logits.shape[1]
        boxes = canvas.to_pixels(index, shares[queries])
        kept = (scores >= self.score_threshold) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        order = scores[kept].argsort(descending=True, stable=True)[: self.max_detections]
        return {"boxes": boxes[kept][order], "labels": classes[kept][order] + 1, "scores": scores[kept][order]}

    # --- losses ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _without_dropout(self) -> Iterator[None]:
        """A validation loss has no dropout. detkit quiets modules of torch; here dropout is a function."""
        if torch.is_grad_enabled() or not self.is_detr:
            yield
            return
        modes = [(module, module.training) for module in self.network.modules()]
        self.network.eval()
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode


def refuse_no_classes(family: str, class_names: Sequence[str]) -> None:
    """Raises: DataError: there are none."""
    if not class_names:
        raise DataError(f"{family}: the dataset names no classes, so there is nothing to detect")
