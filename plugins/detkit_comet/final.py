"""The final figures of a run and what its model costs, from its summary: what the accuracy-speed dashboard plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: Of a summary's costs, beside those under `measured`.
COSTS = ("parameters", "trained_parameters", "flops", "weights_bytes")
MEASURED_COSTS = ("latency_ms_median", "latency_ms_p95", "inference_memory_bytes", "train_ms_per_image")


def final_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """`final/coco/ap`, and `final/coco/ap_lower` and `_upper` where it has an interval; `cost/flops`; and their likes.

    What has no value is left out. The names do not tell the split, so that one panel serves experiments with and
    without a test split; `scored_on` tells it.

    Args:
        summary: summary.json of a finished run.
    """
    return {name: float(value) for name, value in (*_figures(summary), *_costs(summary)) if value is not None}


def _figures(summary: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    scored = summary["scored"]
    for name, value in scored["values"].items():
        yield f"final/{name}", value
    for name, ends in scored.get("intervals", {}).items():
        if ends is not None:
            yield f"final/{name}_lower", ends["lower"]
            yield f"final/{name}_upper", ends["upper"]


def _costs(summary: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    costs = summary.get("costs", {})
    measured = costs.get("measured", {})
    for name in COSTS:
        yield f"cost/{name}", costs.get(name)
    for name in MEASURED_COSTS:
        yield f"cost/{name}", measured.get(name)
    latency = measured.get("latency_ms_median")
    yield "cost/images_per_s", 1000 / latency if latency else None
    yield "cost/peak_memory_bytes", summary["measured"].get("peak_memory_bytes")
    yield "cost/train_images_per_s", summary["measured"].get("images_per_s")
