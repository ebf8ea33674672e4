"""Files of predictions and ground truth in COCO's form, of anybody's model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detkit.components import BOXES, BOXES_AND_MASKS, BuildContext, Messages
from detkit.data.coco_files import CocoTruth, holds_masks, parse_results, parse_truth, without_boxes
from detkit.data.coco_json import read_coco_json
from detkit.data.seeds import derive_seed
from detkit.data.types import Prediction
from detkit.engine.prepare import refuse_unmet_needs
from detkit.evaluation.measure import Metrics, build_metrics, measure_all
from detkit.evaluation.notes import Notes
from detkit.evaluation.report import EvaluationReport, count_objects
from detkit.evaluation.settings import as_texts, by_table, refuse_idle_metrics
from detkit.resampling import RESAMPLES
from detkit.spec.model import Use
from detkit.spec.parts import load_metrics

#: What evaluates where nobody names a metric.
DEFAULT_METRICS = ("coco",)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesRequest:
    """Which files, and what is asked of them; see `detkit.evaluate`."""

    predictions: Path
    ground_truth: Path
    metrics: Sequence[str] = ()
    metrics_from: Path | None = None
    resamples: int = RESAMPLES
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FilesEvaluation:
    """What the files hold, and metrics.

    Attributes:
        predictions: one for each image of the ground truth, in its order.
    """

    request: FilesRequest
    truth: CocoTruth
    predictions: Sequence[Prediction]
    metrics: Metrics
    notes: Notes

    @property
    def name(self) -> str:
        return f"evaluation-{stem(self.request.predictions)}"

    def evaluate(self) -> EvaluationReport:
        """Let the metrics compare.

        Raises:
            ComponentError: a metric failed or broke its contract.
        """
        began = time.perf_counter()
        measured = measure_all(
            self.metrics,
            self.predictions,
            self.truth.infos,
            resamples=self.request.resamples,
            messages=self.notes,
        )
        counts = {**count_objects(self.truth.infos), "detections": sum(map(len, self.predictions))}
        return EvaluationReport(
            title=f"{self.request.predictions} on {self.request.ground_truth}; "
            + ", ".join(f"{what}: {counts[what]}" for what in ("images", "objects", "detections")),
            subject={
                "predictions": str(self.request.predictions),
                "ground_truth": str(self.request.ground_truth),
                **counts,
                "class_names": list(self.truth.class_names),
                "set": as_texts(self.request.settings),
            },
            measured=measured,
            warnings=tuple(self.notes.warnings),
            seconds=time.perf_counter() - began,
        )


def prepare_files(request: FilesRequest, messages: Messages) -> FilesEvaluation:
    """Read the files and build the metrics.

    Raises:
        DataError: a file is not of COCO's form; up to 20 faults, each with its entry.
        UserError: a metric is not there, or cannot work here. ComponentError: one cannot be built.
    """
    notes = Notes(messages)
    changes = by_table(request.settings, ("metrics",))
    names = request.metrics or (() if request.metrics_from else DEFAULT_METRICS)
    uses = load_metrics(request.metrics_from, names=names, set=changes["metrics"])
    refuse_idle_metrics(changes["metrics"], uses)
    truth_json, results_json = read_coco_json(request.ground_truth), read_coco_json(request.predictions)
    masked = holds_masks(results_json)
    all_masks = masked and any(_evaluates_masks(use) for use in uses.values())
    truth = parse_truth(truth_json, request.ground_truth, masks=masked, all_masks=all_masks)
    for remark in truth.remarks:
        notes.warning(f"{request.ground_truth}: {remark}")
    predictions = parse_results(results_json, request.predictions, truth)
    _tell_missing(predictions, truth, notes)
    if boxless := without_boxes(results_json):
        told = f"{boxless} of {len(results_json)} detections state no 'bbox'"
        notes.warning(f"{request.predictions}: {told}: their boxes are those around their masks")
    objects = [annotation for info in truth.infos for annotation in info.annotations]
    both = masked and any(annotation.mask for annotation in objects)
    if masked and objects and not both:
        notes.warning(f"{request.ground_truth}: the ground truth has no masks: boxes only")
    refuse_unmet_needs(uses.values(), BOXES_AND_MASKS if both else BOXES, "the pair of files")

    def context(use: Use) -> BuildContext:
        return BuildContext(
            class_names=truth.class_names,
            spec_folder=Path.cwd(),
            seed=derive_seed(0, use.kind, use.key),
            messages=notes,
        )

    return FilesEvaluation(request, truth, predictions, build_metrics(uses, context), notes)


def _evaluates_masks(use: Use) -> bool:
    """Whether a metric has an option `masks`, as bundled ones that evaluate masks have, and it is not "off"."""
    return getattr(use.options, "masks", "off") != "off"


def _tell_missing(predictions: Sequence[Prediction], truth: CocoTruth, notes: Notes) -> None:
    """Images that have objects, crowds left out, and no detection."""
    empty = sum(
        not len(found) and not all(annotation.iscrowd for annotation in info.annotations)
        for found, info in zip(predictions, truth.infos, strict=True)
    )
    if empty:
        notes.warning(f"{empty} of {len(predictions)} images have objects and no detection: nothing was found there")


def stem(file: Path) -> str:
    """A file's name without the endings of its form."""
    return file.name.removesuffix(".gz").removesuffix(".json")
