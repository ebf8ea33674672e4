"""The metric: images into torchmetrics' MeanAveragePrecision, and its values out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from detkit import MetricResult, Scalar, Table
from detkit.data.evaluated import EvaluatedImage, EvaluatedImages
from detkit.data.types import RLE, ImageInfo, Prediction

if TYPE_CHECKING:
    from torchmetrics.detection import MeanAveragePrecision

    from detkit_torchmetrics import TorchmetricsOptions

#: COCO's thresholds in float64. torchmetrics' own defaults are the same grids rounded to float32, and that changes AP
#: where a recall falls on a threshold: 7 objects found of 10 do not reach COCO's 0.7000000000000001, but float32's
#: 0.699999988. Source: pycocotools' Params.setDetParams.
IOU_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
REC_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.0, 1.0, 101).tolist())

#: pycocotools computes `map` at this many detections, whatever the last threshold is, and gives -1 where it is none.
COCO_MAX_DETECTIONS = 100

#: Values of torchmetrics that are not one number for all classes.
_NOT_SCALAR = ("classes", "ious", "precision", "recall", "scores")


class TorchmetricsMetric:
    """A `detkit.Metric` that asks torchmetrics.

    Args:
        class_names: the K foreground classes in order.
        options: as in the spec.
    """

    def __init__(self, class_names: Sequence[str], options: TorchmetricsOptions) -> None:
        self._class_names = tuple(class_names)
        self._options = options
        self._images = EvaluatedImages(class_names)

    def reset(self) -> None:
        """Forget all images."""
        self._images.clear()

    def update(self, predictions: Sequence[Prediction], truths: Sequence[ImageInfo]) -> None:
        """Add images, each once, in any order.

        Raises:
            ValueError: a prediction or the ground truth cannot be evaluated: names the image and what is wrong.
        """
        self._images.add(predictions, truths)

    def compute(self) -> MetricResult:
        """torchmetrics' values under its own names, `map` (primary) to `mar_large`; those of masks as `mask_map` ...

        Raises:
            ValueError: some objects or detections have masks and some do not.
        """
        masks = self._options.masks == "auto" and self._images.have_masks()
        metric = self._torchmetric(masks)
        for image in self._images.ordered():
            metric.update([_detections(image, masks)], [_objects(image, masks)])
        values = metric.compute()
        scalars: dict[str, Scalar] = {}
        tables: dict[str, Table] = {}
        for of_torchmetrics, prefix in (("bbox_", ""), ("segm_", "mask_")) if masks else (("", ""),):
            part = {
                key.removeprefix(of_torchmetrics): v for key, v in values.items() if key.startswith(of_torchmetrics)
            }
            scalars |= self._scalars(part, prefix)
            if self._options.class_metrics:
                tables[f"{prefix}per_class"] = self._per_class(part, values["classes"])
        return MetricResult(scalars=scalars, tables=tables)

    def _torchmetric(self, masks: bool) -> MeanAveragePrecision:
        from torchmetrics.detection import MeanAveragePrecision

        options = self._options
        metric = MeanAveragePrecision(
            # As COCO has them: torchmetrics then converts nothing, and takes float64 as it is.
            box_format="xywh",
            # Never "segm" alone: torchmetrics then leaves out images without objects, with all their false positives.
            iou_type=("bbox", "segm") if masks else "bbox",
            iou_thresholds=list(options.iou_thresholds or IOU_THRESHOLDS),
            rec_thresholds=list(options.rec_thresholds or REC_THRESHOLDS),
            max_detection_thresholds=list(options.max_detection_thresholds),
            # The arrays from which map, and all values of classes, follow without a second evaluation.
            extended_summary=True,
            backend=options.backend,
        )
        # That detections beyond the last threshold do not count is what the threshold is for.
        metric.warn_on_many_detections = False
        return metric

    def _scalars(self, values: dict[str, Tensor], prefix: str) -> dict[str, Scalar]:
        numbers = {
            key: _known(value.item())
            for key, value in values.items()
            if key not in _NOT_SCALAR and not key.endswith("_per_class")
        }
        # At the last threshold, as every other number, and as faster_coco_eval has it.
        if self._options.max_detection_thresholds[-1] != COCO_MAX_DETECTIONS and "precision" in values:
            numbers["map"] = _mean_of_known(values["precision"][:, :, :, 0, -1])
        return {f"{prefix}{key}": Scalar(value, primary=prefix + key == "map") for key, value in numbers.items()}

    def _per_class(self, values: dict[str, Tensor], classes: Tensor) -> Table:
        columns = ("class", "map", f"mar_{self._options.max_detection_thresholds[-1]}")
        # torchmetrics makes a scalar of one class; and of no images at all it has no arrays.
        present = classes.reshape(-1).tolist() if "precision" in values else []
        place = {label: index for index, label in enumerate(present)}
        rows = []
        for label, name in enumerate(self._class_names, start=1):
            k = place.get(label)
            precision = None if k is None else _mean_of_known(values["precision"][:, :, k, 0, -1])
            recall = None if k is None else _mean_of_known(values["recall"][:, k, 0, -1])
            rows.append((name, precision, recall))
        return Table(columns, tuple(rows))


def _detections(image: EvaluatedImage, masks: bool) -> dict[str, Tensor]:
    values = {
        "boxes": torch.from_numpy(image.found_bboxes),
        "labels": torch.from_numpy(image.found_labels),
        "scores": torch.from_numpy(image.found_scores),
    }
    return values | ({"masks": _decoded(image.found_masks or (), image)} if masks else {})


def _objects(image: EvaluatedImage, masks: bool) -> dict[str, Tensor]:
    annotations = image.truth.annotations
    values = {
        "boxes": torch.from_numpy(image.truth_bboxes),
        "labels": torch.from_numpy(image.truth_labels),
        "iscrowd": torch.tensor([int(annotation.iscrowd) for annotation in annotations]),
        "area": torch.tensor([annotation.area for annotation in annotations], dtype=torch.float64),
    }
    if masks:
        values["masks"] = _decoded([a.mask for a in annotations if a.mask is not None], image)
    return values


def _decoded(masks: Sequence[RLE], image: EvaluatedImage) -> Tensor:
    """uint8 [N, H, W], each mask column by column in memory: torchmetrics encodes that without another copy."""
    from pycocotools import mask as coco_mask

    if not masks:
        return torch.zeros((0, image.truth.height, image.truth.width), dtype=torch.uint8)
    return torch.from_numpy(coco_mask.decode(list(masks)).transpose(2, 0, 1))


def _known(value: float) -> float | None:
    return None if value == -1 else value


def _mean_of_known(values: Tensor) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.numel() else None
