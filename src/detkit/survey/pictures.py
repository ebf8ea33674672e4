"""Images of a page: as they are, and as a run trains on them."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from detkit.components import Messages
from detkit.data.loading import Sample, fetch
from detkit.data.sampling import Item, plan_epoch
from detkit.data.seeds import derive_seed, seeded
from detkit.data.splits import Splits
from detkit.data.targets import encode_masks
from detkit.engine.augmenting import augmented_sample
from detkit.engine.copies import shrunk
from detkit.errors import DataError
from detkit.page.document import json_text
from detkit.spec.model import ExperimentSpec, ModelUse
from detkit.survey.collect import Collected, PartName

if TYPE_CHECKING:
    from PIL.Image import Image

#: Of WebP, and of JPEG where Pillow cannot write WebP. Objects are drawn over the pictures: finer ones show no more.
QUALITY = 80
#: Corners of boxes are written to a hundredth of a pixel.
DIGITS = 2


@dataclass(frozen=True, slots=True)
class Training:
    """The run whose training images are shown.

    Attributes:
        seed: of the run. splits: of its fold. epochs: that are shown, in order.
    """

    spec: ExperimentSpec
    model: ModelUse
    seed: int
    splits: Splits
    epochs: Sequence[int]
    messages: Messages
    _plans: dict[int, dict[int, Item]] = field(default_factory=dict)

    def item(self, epoch: int, index: int) -> Item:
        """Where a training image is in an epoch; batches and processes do not change that."""
        if epoch not in self._plans:
            steps = plan_epoch(
                self.splits.train, batch_size=1, accumulate=1, processes=1, seed=self.seed, epoch=epoch
            )  # fmt: skip
            self._plans[epoch] = {item.sample: item for step in steps for batch in step for item in batch}
        return self._plans[epoch][index]


@dataclass(frozen=True, slots=True)
class Shown:
    """One image: plain values for the page.

    Attributes:
        name: what people call it. before, after: pictures, see `picture`; one in `after` for each epoch, none where
            nothing changes the image.
    """

    name: str
    split: PartName | None
    before: dict[str, Any]
    after: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"name": self.name, "split": self.split, "before": self.before, "after": list(self.after)}

    @property
    def bytes(self) -> int:
        """How many the page spends on it, with the comma."""
        return len(json_text(self.to_dict()).encode("utf-8")) + 1


def shown_images(
    data: Collected, order: Iterator[int], *, fold: int | None, size: int, training: Training | None
) -> Iterator[Shown | DataError]:
    """Each image in this order, or why it cannot be shown.

    Args:
        size: the longest side of a picture, pixels. training: None: images are shown as they are only.

    Raises:
        ComponentError: a transform failed.
    """
    part_of = data.part_of(fold)
    for index in order:
        info = data.infos[index]
        split = part_of.get(index)
        try:
            before, *after = _samples(data, index, training if split == "train" else None)
            yield Shown(
                info.label if info else str(index),
                split,
                picture(before, size),
                tuple(picture(sample, size) for sample in after),
            )
        except DataError as error:
            yield error


def _samples(data: Collected, index: int, training: Training | None) -> Iterator[Sample]:
    """The image as it is, and in each epoch."""
    if training is None:
        with seeded(derive_seed(0, "shown image", index)):  # a dataset may draw its images
            yield fetch(data.dataset, index)
        return
    for number, epoch in enumerate(training.epochs):
        before, after = augmented_sample(
            training.spec,
            training.model.key,
            data.dataset,
            training.splits.train,
            training.item(epoch, index),
            seed=training.seed,
            messages=training.messages,
        )
        if number == 0:
            yield before
        yield after


def picture(sample: Sample, size: int) -> dict[str, Any]:
    """A sample for the page: a data URI, and its objects in the pixels of the picture.

    Raises:
        DataError: the image has no pixels.
    """
    from torchvision.transforms.v2.functional import to_pil_image

    image, target = sample
    if 0 in image.shape:
        raise DataError(f"image {target['image_id']} has no pixels: it is {image.shape[-1]} x {image.shape[-2]}")
    full: Image = to_pil_image(image)
    small = shrunk(full, size)
    scale = (small.width / full.width, small.height / full.height)
    return {
        "source": data_uri(small),
        "width": small.width,
        "height": small.height,
        "fullWidth": full.width,
        "fullHeight": full.height,
        "objects": list(_objects(sample, scale, (small.height, small.width))),
    }


def data_uri(image: Image) -> str:
    """The picture as WebP, or as JPEG where Pillow cannot write that."""
    from PIL import features

    kind = "webp" if features.check("webp") and max(image.size) <= 16_383 else "jpeg"  # WebP's longest side
    content = BytesIO()
    image.save(content, kind.upper(), quality=QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode('ascii')}"


def _objects(sample: Sample, scale: tuple[float, float], size: tuple[int, int]) -> Iterator[dict[str, Any]]:
    import torch

    target = sample[1]
    masks: list[Any] = [None] * len(target["labels"])
    if "masks" in target:
        plain = target["masks"].as_subclass(torch.Tensor)
        if len(plain) and tuple(plain.shape[-2:]) != size:
            plain = torch.nn.functional.interpolate(plain[None], size=size, mode="nearest-exact")[0]
        masks = list(encode_masks(plain.numpy()))
    rows = zip(target["boxes"].tolist(), target["labels"].tolist(), target["iscrowd"].tolist(), masks, strict=True)
    for box, label, crowd, mask in rows:
        placed = [round(value * scale[number % 2], DIGITS) for number, value in enumerate(box)]
        yield {
            "box": placed,
            "label": label,
            "crowd": bool(crowd),
            "mask": mask,
            "size": [round(box[2] - box[0], 1), round(box[3] - box[1], 1)],
        }
