"""A trained detector as a function of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, overload

import torch
from PIL import Image
from torch import Tensor

from detkit.data.targets import prediction_from_output
from detkit.data.types import ModelOutput
from detkit.errors import UserError
from detkit.predict.detections import Detections
from detkit.predict.images import ImageLike, as_model_input, to_tensor
from detkit.predict.pictures import draw, label_font, pillow
from detkit.predict.thresholds import Thresholds
from detkit.predict.trained import TrainedModel

AnImage = TypeVar("AnImage", bound=ImageLike)


class Detector:
    """Finds objects: `detector(image)` gives `Detections`, `detector([image, ...])` a list of them.

    An image is a path, a PIL image of any mode, an RGB or grey array [H, W, 3] or [H, W] (uint8, uint16, or float in
    0..1), or a tensor [3, H, W] (uint8, or float in 0..1). Sizes may differ. `detkit.load_detector` makes detectors.

    Attributes:
        run_id: the run that trained it. epoch: after which; None where the checkpoint lies within one.
        checkpoint: "best" or "last".
        class_names: the K classes; label k is `class_names[k - 1]`.
        device: as torch names it. precision: of the forward pass: fp32, bf16 or fp16.
        thresholds: from which score on a detection counts, and who chose that.
        gives_masks: whether its detections have masks.
        model: the `torch.nn.Module` itself, in evaluation mode.
    """

    def __init__(self, trained: TrainedModel, thresholds: Thresholds) -> None:
        self.model = trained.module
        self.run_id = trained.run_id
        self.checkpoint = trained.checkpoint
        self.epoch = trained.epoch
        self.class_names = trained.class_names
        self.device = trained.device
        self.precision = trained.precision
        self.thresholds = thresholds
        self.gives_masks = "masks" in trained.use.offered.component.gives(trained.use.options)  # type: ignore[attr-defined]  # models have it
        self._trained = trained
        self._lowest = torch.tensor([0.0, *(thresholds.values[name] for name in self.class_names)])

    @overload
    def __call__(self, images: ImageLike, *, batch_size: int = ...) -> Detections: ...
    @overload
    def __call__(self, images: list[AnImage] | tuple[AnImage, ...], *, batch_size: int = ...) -> list[Detections]: ...

    def __call__(
        self, images: ImageLike | list[AnImage] | tuple[AnImage, ...], *, batch_size: int = 1
    ) -> Detections | list[Detections]:
        """Look at one image, or at each of a list or tuple.

        Args:
            batch_size: images of a list that the model takes together. More is faster on a GPU; a model that pads the
                images of a batch to one size finds slightly different boxes than one by one.

        Raises:
            DataError: an image cannot be read, or is none. ComponentError: the model failed. OutOfMemory.
            NonFiniteLoss: it found boxes or scores that are not finite.
            UserError: the batch size is below 1.
        """
        if batch_size < 1:
            raise UserError(f"a batch has at least one image, not {batch_size}")
        if not isinstance(images, list | tuple):
            return self.detect([to_tensor(images)])[0]
        found: list[Detections] = []
        for start in range(0, len(images), batch_size):
            found += self.detect([to_tensor(image) for image in images[start : start + batch_size]])
        return found

    def detect(self, images: Sequence[Tensor], names: str = "an image") -> list[Detections]:
        """One batch of tensors as `detkit.predict.images.to_tensor` makes them; `names` tells people which they are."""
        inputs = [as_model_input(image.to(self.device)) for image in images]
        outputs = self._trained.outputs(inputs, names)
        return [self._detections(image, output) for image, output in zip(images, outputs, strict=True)]

    def draw(self, image: ImageLike, found: Detections) -> Image.Image:
        """The image with what was found in it, as `detkit predict` draws it. Small images are enlarged."""
        return pillow(draw(to_tensor(image).cpu(), found, label_font(self.class_names)))

    def _detections(self, image: Tensor, output: ModelOutput) -> Detections:
        labels, scores = output["labels"], output["scores"].float()
        kept = scores >= self._lowest.to(scores.device)[labels]
        selected: Any = {key: output[key][kept] for key in ("boxes", "labels", "scores", "masks") if key in output}
        found = prediction_from_output(0, selected)
        return Detections(
            boxes=found.boxes,
            labels=found.labels,
            scores=found.scores,
            names=tuple(self.class_names[label - 1] for label in found.labels.tolist()),
            width=image.shape[2],
            height=image.shape[1],
            rle=found.masks,
        )

    def __repr__(self) -> str:
        after = f" of epoch {self.epoch}" if self.epoch else ""
        return (
            f"<Detector {self.run_id} ({self.checkpoint}{after}): {', '.join(self.class_names)};"
            f" {self.precision} on {self.device}; threshold {self.thresholds}>"
        )
