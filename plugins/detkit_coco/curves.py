"""The curves: precision over recall, and what a confidence gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detkit import Curve
from detkit.data.evaluated import Floats
from detkit_coco.evaluators import Accumulated
from detkit_coco.operating import GRID, Operating, calibration
from detkit_coco.settings import Settings

#: Of how many classes curves are kept: those with the most objects.
CURVE_LIMIT = 20


def precision_recall_curves(
    result: Accumulated, settings: Settings, class_names: Sequence[str], by_class: Sequence[Operating]
) -> dict[str, Curve]:
    """`pr50`, `pr75` and `pr`, the mean over all IoU thresholds: of all classes, and of each as `pr50/<class>`."""
    precision = result.precision[..., 0, -1]
    parts = {name.replace("ap", "pr"): precision[place] for name, place in settings.named_ious().items()}
    parts["pr"] = precision.mean(axis=0)
    known = [k for k in range(len(class_names)) if by_class[k].objects]
    x = tuple(settings.recalls.tolist())
    curves = {}
    for name, values in parts.items():
        if known:
            curves[name] = _curve(x, values[:, known].mean(axis=1), "recall", "precision")
        for k in _shown(by_class) if len(class_names) > 1 else []:
            curves[f"{name}/{class_names[k]}"] = _curve(x, values[:, k], "recall", "precision")
    return curves


def confidence_curves(
    together: Operating, by_class: Sequence[Operating], class_names: Sequence[str]
) -> dict[str, Curve]:
    """`f1_confidence`, `precision_confidence`, `recall_confidence`, of all classes and of each; and `calibration`."""
    x = tuple(GRID.tolist())
    parts = {"": together} if together.objects else {}
    if len(class_names) > 1:
        parts |= {f"/{class_names[k]}": by_class[k] for k in _shown(by_class)}
    curves = {
        f"{quantity}_confidence{suffix}": _curve(x, values, "confidence", quantity)
        for suffix, of in parts.items()
        for quantity, values in of.curves().items()
    }
    calibrated = calibration(together)
    if calibrated is not None:
        curves["calibration"] = _curve(
            tuple(calibrated.confidence.tolist()), calibrated.accuracy, "confidence", "share of right detections"
        )
    return curves


def _shown(by_class: Sequence[Operating]) -> list[int]:
    """The classes with the most objects, in their own order; none without objects."""
    most = sorted(range(len(by_class)), key=lambda k: -by_class[k].objects)[:CURVE_LIMIT]
    return [k for k in sorted(most) if by_class[k].objects]


def _curve(x: tuple[float, ...], y: Floats, x_name: str, y_name: str) -> Curve:
    return Curve(x, tuple(np.asarray(y).tolist()), x_name, y_name)
