"""The final figures of a run with their intervals, as its summary has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detkit.resampling import LEVEL, METHOD, SEED, Interval


def intervals_content(found: Mapping[str, Interval | None], resamples: int) -> dict[str, Any]:
    """Plain values: `intervals`, by quantity, and `resampling`, how they came about."""
    return {
        "intervals": {
            name: None if ends is None else {"lower": ends.lower, "upper": ends.upper} for name, ends in found.items()
        },
        "resampling": {"method": METHOD, "level": LEVEL, "resamples": resamples, "seed": SEED},
    }


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
