"""COCO's numbers from the accumulated arrays, in the order and with the slices of pycocotools' `summarize`."""

from __future__ import annotations

import numpy as np

from detkit.data.evaluated import Floats
from detkit_coco.evaluators import Accumulated
from detkit_coco.settings import Settings


def summarise(result: Accumulated, settings: Settings) -> dict[str, float | None]:
    """`ap`, `ap50`, `ap75`, `ap_small` ..., `ar1`, `ar10`, `ar100`, `ar_small` ...; None without ground truth.

    `ap50` and `ap75` are left out where their thresholds are not evaluated.
    """
    precision, recall = result.precision[..., -1], result.recall
    names = list(settings.areas)
    values = {"ap": mean_of_known(precision[:, :, :, 0])}
    values |= {name: mean_of_known(precision[place, :, :, 0]) for name, place in settings.named_ious().items()}
    values |= {f"ap_{name}": mean_of_known(precision[..., area]) for area, name in enumerate(names) if area}
    values |= {f"ar{n}": mean_of_known(recall[:, :, 0, m]) for m, n in enumerate(settings.max_detections)}
    values |= {f"ar_{name}": mean_of_known(recall[:, :, area, -1]) for area, name in enumerate(names) if area}
    return values


def mean_of_known(values: Floats) -> float | None:
    """The mean of the values that are not COCO's -1; None where there are none."""
    known = values[values > -1]
    return float(np.mean(known)) if known.size else None
