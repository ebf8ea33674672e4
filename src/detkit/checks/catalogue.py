"""Every check there is."""

from __future__ import annotations

from detkit.checks import classes, duplicates, images, objects, reading, sight, similar, splits
from detkit.checks.finding import Check

#: In the order in which findings are told.
CHECKS: tuple[Check, ...] = (
    *reading.CHECKS,
    *images.CHECKS,
    *objects.CHECKS,
    *classes.CHECKS,
    *sight.CHECKS,
    *splits.CHECKS,
    *duplicates.CHECKS,
    *similar.CHECKS,
)
