"""What a search improves, and in which direction: asked of the metrics before the first trial."""

from __future__ import annotations

import numpy as np

from detkit.components import BOXES_AND_MASKS, Messages, ModelComponent
from detkit.data.types import Prediction
from detkit.engine.attribution import attributed
from detkit.engine.measuring import directions, measure, named_scalars, primary_of
from detkit.engine.prepare import PreparedData, build_context
from detkit.errors import UserError, did_you_mean
from detkit.search_space import Objective
from detkit.spec.model import ExperimentSpec
from detkit.spec.search_table import COSTS, LOSSES

#: So many images are enough for a metric to say which quantities it has.
IMAGES = 2


def find_objectives(spec: ExperimentSpec, data: PreparedData, messages: Messages) -> tuple[Objective, ...]:
    """The objectives of the spec's search, with their directions.

    Raises:
        UserError: no metric gives such a quantity, or neither more nor less of it is better; says what there is.
    """
    assert spec.search is not None
    better, primary, all_names = _quantities(spec, data, messages)
    names = spec.search.table.objectives or ((primary,) if primary else ())
    if not names:
        raise UserError("[search] objective: missing, and the first metric has no primary quantity; name one")
    return tuple(_objective(name, better, all_names) for name in names)


def _objective(name: str, better: dict[str, bool], all_names: list[str]) -> Objective:
    if name in COSTS:
        return Objective(name, "maximize" if COSTS[name] else "minimize")
    if name.partition("/")[0] == LOSSES:
        return Objective(name, "minimize")
    if name in better:
        return Objective(name, "maximize" if better[name] else "minimize")
    listed = f"; there are: {', '.join(sorted(better))}"
    if name in all_names:
        raise UserError(f"[search] objective: of {name!r} neither more nor less is better{listed}")
    near = did_you_mean(name, better)
    raise UserError(f"[search] objective: no metric gives {name!r}{near if 'did you mean' in near else ''}{listed}")


def _quantities(spec: ExperimentSpec, data: PreparedData, messages: Messages) -> tuple[dict[str, bool], str, list[str]]:
    """What the metrics say of two images on which nothing was found: directions, the primary one, and all names."""
    assert spec.search is not None
    with_masks = "masks" in data.dataset.provides and any(_gives_masks(spec, model) for model in spec.search.models)
    infos = [data.infos[index] for index in data.division.folds[0].validation[:IMAGES]]
    results = {}
    for key, use in spec.metrics.items():
        if use.enabled:
            with attributed(use, "being built"):
                context = build_context(spec, use, messages=messages, class_names=tuple(data.dataset.class_names))
                metric = use.offered.component.build(use.options, context)
            results[key] = measure(use, metric, [_nothing(info.image_id, with_masks) for info in infos], infos)
    scalars = named_scalars(results)
    return directions(scalars), primary_of(scalars), list(scalars)


def _gives_masks(spec: ExperimentSpec, model: str) -> bool:
    use = spec.models[model]
    component = use.offered.component
    assert isinstance(component, ModelComponent)
    with attributed(use, "saying what it gives"):
        return component.gives(use.options) >= BOXES_AND_MASKS


def _nothing(image_id: int, with_masks: bool) -> Prediction:
    nothing = np.zeros(0, dtype=np.float32)
    return Prediction(
        image_id=image_id,
        boxes=nothing.reshape(0, 4),
        labels=np.zeros(0, dtype=np.int64),
        scores=nothing,
        masks=() if with_masks else None,
    )
