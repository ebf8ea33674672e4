"""The transforms of a model's training images, built; and what they make of one image, to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from detkit.components import Dataset, Messages
from detkit.data.augment import Augmentation, Stage
from detkit.data.loading import Sample, SeededItems
from detkit.data.sampling import Item
from detkit.engine.attribution import attributed
from detkit.engine.prepare import build_context
from detkit.errors import ComponentError, DetkitError
from detkit.spec.model import ExperimentSpec, ModelUse, Use


def build_augmentation(
    use: ModelUse, dataset: Dataset, pool: Sequence[int], build: Callable[[Use], Any]
) -> Augmentation | None:
    """The chain of a model's enabled transforms; None where it has none.

    Args:
        pool: indices of the training images. build: builds one component.

    Raises:
        ComponentError: a transform cannot be built.
    """
    stages = []
    for key, transform in use.augment.items():
        if not transform.enabled:
            continue
        built = build(transform)
        if not callable(built):
            raise ComponentError(f"{transform.title} built a {type(built).__name__}; it must be callable")
        stages.append(Stage(key, transform.title, built))
    return Augmentation(stages, dataset, pool) if stages else None


def augmented_sample(
    spec: ExperimentSpec,
    model: str,
    dataset: Dataset,
    pool: Sequence[int],
    item: Item,
    *,
    seed: int,
    messages: Messages,
) -> tuple[Sample, Sample]:
    """One training image before and after the transforms, bit for bit as the run of that seed trains on it.

    Args:
        model: a key of the spec's models. dataset: as `build_dataset` gives it. pool: the training images' indices.
        item: epoch, position in it, and index; `plan_epoch` gives those of a run.

    Raises:
        DetkitError: an image cannot be read, or a transform failed.
    """
    use = spec.models[model]

    def build(transform: Use) -> Any:
        context = build_context(
            spec, transform, messages=messages, class_names=dataset.class_names, input_size=use.input, seed=seed
        )
        with attributed(transform, "being built"):
            return transform.offered.component.build(transform.options, context)

    before = SeededItems(dataset, seed)[item]
    after = SeededItems(dataset, seed, build_augmentation(use, dataset, pool, build))[item]
    for sample in (before, after):
        if isinstance(sample, DetkitError):
            raise sample
    return before, after  # type: ignore[return-value]  # errors are raised above
