"""What a spec for some data on some machine says, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from detkit.errors import UserError, did_you_mean
from detkit.plugins import Registry
from detkit.scaffold.facts import DataFacts, Machine

#: To which shorter side images are resized at most, pixels: what detectors were designed for, and what a CPU bears.
LARGEST_PX = {"cpu": 320, "mps": 480, "cuda": 800}
#: Models meet sides in these steps, pixels: their coarsest stride is 32 for most.
STEP_PX = 32
#: Objects of fewer pixels are hardly found: two cells of a detector's finest stride.
SMALL_OBJECT_PX = 16
#: Optimizer steps that a training is to have: fine-tuning on a few hundred images takes about so many.
STEPS = {"cpu": 1000, "mps": 2000, "cuda": 4000}
FEWEST_EPOCHS, MOST_EPOCHS = 4, 50
#: Images of 800 px that a GPU bears in a batch, for each GB of its memory.
IMAGES_A_GB = 0.5
LARGEST_BATCH = 16
#: From so many images on some are kept for the final figures.
ENOUGH_FOR_TEST = 200
BACKBONES = {
    "cpu": ("mobilenet_v2_fpn", "imagenet"),
    "mps": ("mobilenet_v2_fpn", "imagenet"),
    "cuda": ("resnet50_fpn", "coco"),
}


@dataclass(frozen=True, slots=True)
class Model:
    """Attributes: name: of the component. options: what the spec says of it."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """Attributes: each value with why it was chosen, for people, in the `why` of its name; "" where it goes without."""

    min_size: int
    max_size: int
    epochs: int
    batch_size: int
    validation: float | None
    test: float | None
    degenerate: str | None
    models: Sequence[Model]
    device: str
    why: Mapping[str, str]


def plan(facts: DataFacts, machine: Machine, models: Sequence[str], registry: Registry) -> Plan:
    """Decide.

    Raises:
        UserError: a model is not there, or needs masks that the data has not.
    """
    why: dict[str, str] = {}
    min_size, max_size = _size(facts, machine, why)
    validation, test = _split(facts, why)
    kept = 1 - (validation or 0) - (test or 0)
    train = facts.splits.get("train", round(facts.images * kept)) if facts.splits else round(facts.images * kept)
    batch = _batch(machine, min_size, train, why)
    return Plan(
        min_size=min_size,
        max_size=max_size,
        epochs=_epochs(machine, batch, train, why),
        batch_size=batch,
        validation=validation,
        test=test,
        degenerate=_degenerate(facts, why),
        models=[_model(name, facts, machine, registry) for name in models or default_models(facts)],
        device=machine.device,
        why=why,
    )


def default_models(facts: DataFacts) -> list[str]:
    """A detector in two stages and one in one; and one that finds masks, where there are masks."""
    return ["faster_rcnn", "fcos", *(["mask_rcnn"] if facts.masks else [])]


def _size(facts: DataFacts, machine: Machine, why: dict[str, str]) -> tuple[int, int]:
    largest = LARGEST_PX[machine.device]
    size = min(largest, _up(facts.short))
    told = f"images have sides of {facts.long} and {facts.short} pixels (medians)"
    if facts.short > largest:
        told += f", and {largest} is what {machine.words} bears"
    if facts.object_side is not None:
        small = facts.object_side * size / facts.short
        if small < SMALL_OBJECT_PX:
            size = min(2 * size, _up(size * SMALL_OBJECT_PX / small))
            small = facts.object_side * size / facts.short
            told += "; larger than else, since objects are small"
        told += f"; the median object is then {small:.0f} pixels wide and high"
    size = max(64, size)
    why["input"] = told
    return size, max(size, _up(size * min(facts.aspect, 3.0)))


def _up(pixels: float) -> int:
    return math.ceil(pixels / STEP_PX) * STEP_PX


def _split(facts: DataFacts, why: dict[str, str]) -> tuple[float | None, float | None]:
    brought = ", ".join(f"{name} {count}" for name, count in facts.splits.items())
    if "train" in facts.splits and "validation" in facts.splits:
        why["split"] = f"the data brings its own: {brought}"
        return None, None
    if "test" in facts.splits:
        why["split"] = f"of the data's own splits, {brought}, there is none to select on: a fifth is taken"
        return 0.2, None
    if facts.images >= ENOUGH_FOR_TEST:
        why["split"] = "a fifth to select the best epoch on, a tenth for the final figures, which nothing was chosen by"
        return 0.2, 0.1
    why["split"] = f"a fifth to select on; {facts.images} images are too few to keep some for the final figures"
    return 0.2, None


def _batch(machine: Machine, min_size: int, train: int, why: dict[str, str]) -> int:
    if machine.device == "cuda":
        fits = machine.memory_gb * IMAGES_A_GB * (800 / min_size) ** 2
        batch = max(2, min(LARGEST_BATCH, 1 << int(math.log2(max(fits, 2)))))
    else:
        batch = 2 if min_size > 192 else 4
    batch = max(1, min(batch, train // 4 or 1))
    why["batch_size"] = f"for {machine.words} at {min_size} pixels; where memory runs out, lower it"
    return batch


def _epochs(machine: Machine, batch: int, train: int, why: dict[str, str]) -> int:
    wanted = STEPS[machine.device]
    epochs = max(FEWEST_EPOCHS, min(MOST_EPOCHS, round(wanted * batch / max(train, 1))))
    steps = epochs * math.ceil(train / batch)
    why["epochs"] = f"{train} training images make {steps} steps of it; more is better, and takes longer"
    return epochs


def _degenerate(facts: DataFacts, why: dict[str, str]) -> str | None:
    if not facts.without_area:
        return None
    boxes = "1 box has" if facts.without_area == 1 else f"{facts.without_area} boxes have"
    why["degenerate"] = f"{boxes} no area ({facts.first_without_area}): left out"
    return "drop"


def _model(name: str, facts: DataFacts, machine: Machine, registry: Registry) -> Model:
    offered = registry.components["model"].get(name)
    if offered is None:
        raise UserError(f"--models: {registry.missing('model', name)}")
    component = offered.component
    backbone, weights = BACKBONES[machine.device]
    for options in ({"backbone": backbone, "weights": weights}, {"backbone": backbone}, {}):
        if not set(options) <= set(component.options.model_fields):
            continue
        try:
            built = component.options.model_validate(options)
        except ValidationError:
            continue
        needs: frozenset[str] = getattr(component, "needs", lambda _options: frozenset())(built)
        if "masks" in needs and not facts.masks:
            raise UserError(f"--models: {name} learns from masks, and the data has boxes only; leave it out")
        return Model(name, options)
    return Model(name, {})


def check_logger(name: str, registry: Registry) -> str:
    """Look whether there is such a logger; gives what else it needs, or nothing.

    Raises:
        UserError: there is none.
    """
    if name in registry.components["logger"]:
        return ""
    known = ["none", *registry.components["logger"]]
    raise UserError(f"--logger: no logger named {name!r}{did_you_mean(name, known)}")
