"""The images to evaluate: each prediction beside its ground truth, verified, in an order that no caller can change.

Evaluators take a NaN box for a miss, a label they do not know for a warning, and break ties by the order of the images.
Here bad values are errors that name the image, and the order is that of the image ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detkit.data.coco_form import coco_boxes
from detkit.data.types import RLE, ImageInfo, Prediction

#: float64 of any shape.
Floats = NDArray[np.float64]
#: int64 of any shape.
Integers = NDArray[np.int64]
#: bool of any shape; numpy's type of a reduction along an axis.
Flags = NDArray[np.bool_] | np.bool_


@dataclass(frozen=True, slots=True)
class EvaluatedImage:
    """One image as evaluators want it: float64 columns, so that nothing is rounded twice.

    Attributes:
        truth: the image and its G objects.
        truth_boxes, found_boxes: float64 [G, 4] and [N, 4], (x0, y0, x1, y1) in pixels.
        truth_bboxes, found_bboxes: the same as COCO has them, (x, y, width, height), as read where they were read so.
        truth_labels, found_labels: int64 [G] and [N], in 1..K.
        found_scores: float64 [N].
        found_masks: N run-length masks, or None where the model gives none.
    """

    truth: ImageInfo
    truth_boxes: Floats
    truth_bboxes: Floats
    truth_labels: Integers
    found_boxes: Floats
    found_bboxes: Floats
    found_labels: Integers
    found_scores: Floats
    found_masks: Sequence[RLE] | None


class EvaluatedImages:
    """Collects images, in any order and number of parts, for one evaluation.

    Args:
        class_names: the K foreground classes in order.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self._images: dict[int, EvaluatedImage] = {}

    def clear(self) -> None:
        """Forget all images."""
        self._images.clear()

    def add(self, predictions: Sequence[Prediction], truths: Sequence[ImageInfo]) -> None:
        """Add images; either all of the two sequences is taken, or nothing.

        Raises:
            ValueError: the sequences are not of the same images, an image was given before, or a value cannot be
                evaluated: names the image, the object and the value.
        """
        if len(predictions) != len(truths):
            raise ValueError(
                f"{len(predictions)} predictions came with {len(truths)} images: there must be one for each image,"
                " empty where nothing was found"
            )
        new: dict[int, EvaluatedImage] = {}
        for prediction, truth in zip(predictions, truths, strict=True):
            if prediction.image_id != truth.image_id:
                raise ValueError(
                    f"the prediction of image id {prediction.image_id} came with the ground truth of {truth.label}"
                    f" (image id {truth.image_id}): both sequences must hold the same images in the same order"
                )
            if truth.image_id in self._images or truth.image_id in new:
                raise ValueError(
                    f"{truth.label} (image id {truth.image_id}) was given twice: ids must be unique,"
                    " and an image is evaluated once"
                )
            new[truth.image_id] = _columns(prediction, truth)
        if not self._are_sound(list(new.values())):
            for image in new.values():
                self._verify_detections(image)
                self._verify_objects(image)
        self._images.update(new)

    def ordered(self) -> list[EvaluatedImage]:
        """All images, by image id."""
        return [self._images[image_id] for image_id in sorted(self._images)]

    def have_masks(self) -> bool:
        """Whether masks can be evaluated: the model gives them, and the objects, where there are any, have them.

        Raises:
            ValueError: some have masks and some do not.
        """
        images = self.ordered()
        if all(image.found_masks is None for image in images):
            return False
        objects = [(image, annotation) for image in images for annotation in image.truth.annotations]
        without = [(image, annotation) for image, annotation in objects if annotation.mask is None]
        if objects and len(without) == len(objects):
            return False
        if without:
            image, annotation = without[0]
            raise ValueError(
                f"{image.truth.label}, {annotation.source or 'an object'}: it has no mask, like {len(without)} of"
                f" {len(objects)} objects: give every object a mask, or evaluate boxes only (masks = 'off')"
            )
        for image in images:
            if image.found_masks is None and len(image.found_scores):
                raise ValueError(
                    f"{image.truth.label}: its detections have no masks, those of other images have;"
                    " a model gives masks for all images or for none"
                )
        return True

    def _are_sound(self, images: Sequence[EvaluatedImage]) -> bool:
        """All at once, for speed. What is not sound is looked at image by image, to name it; so are masks."""
        if any(image.found_masks for image in images) or not images:
            return False
        boxes = np.concatenate([part for image in images for part in (image.truth_boxes, image.found_boxes)])
        stated = np.concatenate([part for image in images for part in (image.truth_bboxes, image.found_bboxes)])
        labels = np.concatenate([part for image in images for part in (image.truth_labels, image.found_labels)])
        scores = np.concatenate([image.found_scores for image in images])
        annotations = [annotation for image in images for annotation in image.truth.annotations]
        areas = np.array([annotation.area for annotation in annotations], dtype=np.float64)
        wrong = [~np.isfinite(boxes), _reversed(boxes), _too_large(stated)]
        wrong += [self._unknown(labels), ~_in_unit(scores), ~_is_area(areas)]
        return not any(flags.any() for flags in wrong) and not any(annotation.mask for annotation in annotations)

    def _verify_detections(self, image: EvaluatedImage) -> None:
        boxes, place = image.found_boxes, f"{image.truth.label}, detection"
        _refuse(
            ~np.isfinite(image.found_scores),
            lambda index: f"{place} {index}: its score is {image.found_scores[index]}{_DIVERGED}",
        )
        _refuse(
            ~_in_unit(image.found_scores),
            lambda index: f"{place} {index}: its score is {image.found_scores[index]}; scores lie in 0..1",
        )
        _refuse(
            ~np.isfinite(boxes).all(axis=1),
            lambda index: f"{place} {index}: its box {_plain(boxes[index])} is not finite{_DIVERGED}",
        )
        _refuse(
            _reversed(boxes),
            lambda index: f"{place} {index}: its box {_plain(boxes[index])} ends before it begins{_CORNERS}",
        )
        _refuse(_too_large(image.found_bboxes), lambda index: f"{place} {index}: its box {_plain(boxes[index])}{_HUGE}")
        self._verify_labels(image.found_labels, place)
        _verify_sizes(image.found_masks or (), image.truth, "detection")

    def _verify_objects(self, image: EvaluatedImage) -> None:
        boxes, place = image.truth_boxes, f"{image.truth.label}, object"
        areas = np.array([annotation.area for annotation in image.truth.annotations], dtype=np.float64)
        _refuse(
            ~np.isfinite(boxes).all(axis=1),
            lambda index: f"{place} {index}: its box {_plain(boxes[index])} is not finite",
        )
        _refuse(
            _reversed(boxes),
            lambda index: f"{place} {index}: its box {_plain(boxes[index])} ends before it begins{_CORNERS}",
        )
        _refuse(_too_large(image.truth_bboxes), lambda index: f"{place} {index}: its box {_plain(boxes[index])}{_HUGE}")
        _refuse(
            ~_is_area(areas),
            lambda index: f"{place} {index}: its area is {areas[index]}; it must be finite and not negative",
        )
        self._verify_labels(image.truth_labels, place)
        _verify_sizes([annotation.mask for annotation in image.truth.annotations], image.truth, "object")

    def _unknown(self, labels: Integers) -> Flags:
        return (labels < 1) | (labels > len(self.class_names))

    def _verify_labels(self, labels: Integers, place: str) -> None:
        known = len(self.class_names)
        _refuse(
            self._unknown(labels),
            lambda index: (
                f"{place} {index}: the label {labels[index]} stands for no class; labels are 1 to {known}"
                f" ({_shortened(self.class_names)}), 0 is the background"
            ),
        )


_DIVERGED = "; has the training diverged? lower the learning rate, or go back to an earlier checkpoint"
_CORNERS = "; boxes are (x0, y0, x1, y1), not (x, y, width, height)"

_HUGE = " is too large: its area is not finite"


def _refuse(bad: Flags, message: Callable[[int], str]) -> None:
    """Raise a ValueError for the first true value, with the message for its index."""
    if bad.any():
        raise ValueError(message(int(bad.argmax())))


def _columns(prediction: Prediction, truth: ImageInfo) -> EvaluatedImage:
    boxes, labels, scores = prediction.boxes, prediction.labels, prediction.scores
    count = len(scores)
    if boxes.shape != (count, 4) or labels.shape != (count,) or scores.shape != (count,):
        raise ValueError(
            f"{truth.label}: boxes of shape {boxes.shape}, labels of {labels.shape}, scores of {scores.shape};"
            " they must be [N, 4], [N] and [N]"
        )
    if prediction.bboxes is not None and prediction.bboxes.shape != boxes.shape:
        raise ValueError(
            f"{truth.label}: boxes of shape {boxes.shape} came with bboxes of {prediction.bboxes.shape}; they are"
            " the same boxes, as (x0, y0, x1, y1) and as (x, y, width, height)"
        )
    if prediction.masks is not None and len(prediction.masks) != count:
        raise ValueError(f"{truth.label}: {len(prediction.masks)} masks came with {count} detections")
    return EvaluatedImage(
        truth=truth,
        truth_boxes=np.array([a.box for a in truth.annotations], dtype=np.float64).reshape(-1, 4),
        truth_bboxes=np.array([a.coco_box for a in truth.annotations], dtype=np.float64).reshape(-1, 4),
        truth_labels=np.array([a.label for a in truth.annotations], dtype=np.int64),
        found_boxes=boxes.astype(np.float64),
        found_bboxes=coco_boxes(prediction),
        found_labels=labels.astype(np.int64),
        found_scores=scores.astype(np.float64),
        found_masks=prediction.masks,
    )


def _in_unit(scores: Floats) -> Flags:
    return (scores >= 0) & (scores <= 1)


def _is_area(areas: Floats) -> Flags:
    return np.isfinite(areas) & (areas >= 0)


def _reversed(boxes: Floats) -> Flags:
    return (boxes[:, 2:] < boxes[:, :2]).any(axis=1)


def _too_large(bboxes: Floats) -> Flags:
    """Boxes whose area overflows: evaluators do not agree on them."""
    with np.errstate(over="ignore", invalid="ignore"):
        return ~np.isfinite(bboxes[:, 2] * bboxes[:, 3])


def _plain(box: Floats) -> tuple[float, ...]:
    return tuple(box.tolist())


def _shortened(names: Sequence[str], limit: int = 10) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def _verify_sizes(masks: Sequence[RLE | None], truth: ImageInfo, what: str) -> None:
    for index, mask in enumerate(masks):
        if mask is not None and tuple(mask["size"]) != (truth.height, truth.width):
            raise ValueError(
                f"{truth.label}, {what} {index}: its mask is {mask['size'][0]} x {mask['size'][1]} (height x width),"
                f" the image {truth.height} x {truth.width}"
            )
