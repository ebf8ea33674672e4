"""Names in Comet: of parameters, and of metrics with their contexts, from those of the record."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

from detkit import RunInfo

Context = Literal["train", "validate", ""]

#: Of a run's parameters, what is no single value and stands in run.json alone.
LISTS = ("parts", "plugins", "class_names")


def by_context(values: Mapping[str, float]) -> dict[Context, dict[str, float]]:
    """Metrics by Comet's context, under their names there; values that are not finite are left out.

    `train/loss` is `loss` in the context `train`, `validation/loss` the same in `validate`; what a metric computes on
    the validation images, as `coco/ap50`, keeps its name in `validate`; what was measured has no context.
    """
    found: dict[Context, dict[str, float]] = {}
    for name, value in values.items():
        # The client would send infinities and NaN as text, after which the curve is no longer a number's.
        if math.isfinite(value):
            context, bare = in_context(name)
            found.setdefault(context, {})[bare] = float(value)
    return found


def in_context(name: str) -> tuple[Context, str]:
    """The context of a metric of the record, and its name there."""
    table, _, quantity = name.partition("/")
    if table == "train":
        return "train", quantity
    if table == "validation":
        return "validate", quantity
    return ("" if table == "measured" else "validate"), name


def dotted_parameters(given: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """A run's parameters under dotted names: those of the spec as the spec has them, `train.lr`, `dataset.use`.

    Args:
        given: what `Logger.log_parameters` gets: the spec of the run, and facts.
    """
    facts = {key: value for key, value in given.items() if key not in ("spec", "weights_origin", *LISTS)}
    spec = dict(given.get("spec", {}))
    model = dict(spec.pop("model", {}))
    own = {key: model.pop(key) for key in ("train", "input") if key in model}
    nested = {**spec, **own, "model": model, **facts, "weights": given.get("weights_origin", {})}
    # What was asked for, and what became of it ("auto"): `compute.device` beside `compute.accelerator`.
    nested["compute"] = {**spec.get("compute", {}), **facts.get("compute", {})}
    if "class_names" in given:
        nested["classes"] = len(given["class_names"])
    return flatten(nested)


def filled(template: str, run: RunInfo) -> str:
    """A name of the options, with what stands between braces filled in."""
    return template.format(experiment=run.experiment, model=run.model, run_id=run.run_id, seed=run.seed)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    """Nested values under dotted names, as `--set` and the spec's messages name them; lists as JSON text."""
    flat: dict[str, str | int | float | bool] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{key}.")
        elif isinstance(value, str | int | float):
            flat[key] = value
        else:
            flat[key] = json.dumps(value, default=str)
    return flat
