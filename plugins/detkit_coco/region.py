"""All that is computed of boxes, or of masks: from the columns to a metric's result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from detkit import Curve, MetricResult, Scalar, Table
from detkit_coco import CocoOptions, Engine
from detkit_coco.columns import Columns
from detkit_coco.counts import Counts, count_by_image
from detkit_coco.cross_check import cross_check
from detkit_coco.curves import confidence_curves, precision_recall_curves
from detkit_coco.evaluators import evaluate
from detkit_coco.matching import Matches, match, near
from detkit_coco.operating import calibration, operating
from detkit_coco.per_image import numbers_by_image
from detkit_coco.resampling import Weighted
from detkit_coco.settings import Settings
from detkit_coco.summary import summarise
from detkit_coco.tables import per_class_table, per_image_table

#: The score from which a detection counts in predicting where no threshold was chosen.
UNCHOSEN = 0.5


class RegionResult:
    """Numbers are computed at once; what the table of images and resamples need, when they are asked for.

    Args:
        chosen: class name to threshold, chosen on other images; None where nothing was.

    Raises:
        ValueError: the engine and pycocotools differ (`cross_check`).
    """

    def __init__(
        self,
        columns: Columns,
        class_names: Sequence[str],
        options: CocoOptions,
        settings: Settings,
        engine: Engine,
        chosen: Mapping[str, float] | None = None,
    ) -> None:
        self.columns = columns
        self._chosen = chosen
        self._class_names, self._options, self._settings = class_names, options, settings
        self._accumulated = evaluate(engine, columns, settings)
        if options.cross_check:
            cross_check(engine, self._accumulated, columns, settings)
        lowest = min(options.match_iou, float(settings.ious.min()))
        self._near = near(columns, lowest, settings.max_detections[-1])
        self._at_one = match(self._near, np.array([options.match_iou]), settings.bounds[:1])
        self._together, self._by_class = operating(columns, self._at_one, 0)

    def result(self) -> MetricResult:
        """`ap` is the primary scalar."""
        return MetricResult(
            scalars=self._scalars(),
            tables=self._tables(),
            curves=self._curves() if self._options.curves else {},
            thresholds=self._thresholds(),
            resampler=self._resampled,
        )

    @property
    def sure(self) -> Columns:
        """The columns with the detections that count: as many of a class in an image as may, with the confidence."""
        at_one = self._at_one
        return self.columns.of(np.sort(at_one.source[at_one.score >= self._options.confidence]))

    def _scalars(self) -> dict[str, Scalar]:
        numbers = summarise(self._accumulated, self._settings)
        numbers |= self._together.counts(self._options.confidence).values()
        best, calibrated = self._together.best(), calibration(self._together)
        scalars = {name: Scalar(value, primary=name == "ap") for name, value in numbers.items()}
        if self._chosen_counts is not None:  # a confidence that is best on these images would be chosen on them
            chosen = self._chosen_counts.weighted(np.ones(len(self.columns.images))).values("chosen_")
            scalars |= {name: Scalar(value) for name, value in chosen.items()}
        else:
            scalars["best_f1"] = Scalar(best.f1 if best else None)
            scalars["best_f1_confidence"] = Scalar(best.confidence if best else None, higher_is_better=None)
        scalars["calibration_error"] = Scalar(calibrated.error if calibrated else None, higher_is_better=False)
        return scalars

    def _tables(self) -> dict[str, Table]:
        confidence = self._options.confidence
        tables = {
            "per_class": per_class_table(
                self._accumulated, self._settings, self._class_names, self._by_class, confidence
            )
        }
        if self._options.per_image:
            numbers = numbers_by_image(self.columns, self._matches, self._settings)
            tables["per_image"] = per_image_table(self.columns, self._counts, numbers)
        return tables

    def _curves(self) -> dict[str, Curve]:
        return precision_recall_curves(
            self._accumulated, self._settings, self._class_names, self._by_class
        ) | confidence_curves(self._together, self._by_class, self._class_names)

    def _thresholds(self) -> dict[str, float]:
        """The confidence with the highest F1: "" of all classes together, and of each class that has one."""
        best = {"": self._together.best()}
        best |= {name: of.best() for name, of in zip(self._class_names, self._by_class, strict=True)}
        return {name: found.confidence for name, found in best.items() if found is not None}

    @cached_property
    def _matches(self) -> Matches:
        """At all thresholds, of all areas."""
        return match(self._near, self._settings.ious, self._settings.bounds)

    @cached_property
    def _counts(self) -> Counts:
        return count_by_image(self.columns, self._at_one, self._options.confidence)

    @cached_property
    def _chosen_counts(self) -> Counts | None:
        """At the thresholds that predicting would take, which are each class's own."""
        if self._chosen is None:
            return None
        rest = self._chosen.get("", UNCHOSEN)
        by_label = np.array([0.0, *(self._chosen.get(name, rest) for name in self._class_names)])
        return count_by_image(self.columns, self._at_one, by_label[self._at_one.label])

    @cached_property
    def _weighted(self) -> Weighted:
        counts = {"": self._counts}
        if self._chosen_counts is not None:
            counts["chosen_"] = self._chosen_counts
        return Weighted(self.columns, self._matches, counts, self._settings)

    def _resampled(self, weights: Mapping[int, float]) -> Mapping[str, float | None]:
        return self._weighted(weights)
