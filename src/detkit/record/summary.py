"""The final figures of a run with their intervals, as its summary has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detkit.resampling import Interval


def scored_intervals(summary: Mapping[str, Any]) -> dict[str, Interval]:
    """By quantity, as `coco/ap`, for those that have one; empty in records of an older detkit and without resamples."""
    scored = summary["scored"]
    return {
        name: Interval(ends["lower"], ends["upper"], scored["resampling"]["level"], scored["resampling"]["resamples"])
        for name, ends in scored.get("intervals", {}).items()
        if ends is not None
    }


def primary_figure(summary: Mapping[str, Any]) -> str:
    """As "coco/ap 0.601 [0.553, 0.644]"."""
    name = summary["primary"]
    value = summary["scored"]["values"].get(name)
    found = scored_intervals(summary).get(name)
    return " ".join([name, "-" if value is None else f"{value:.3f}", *([str(found)] if found else [])])
