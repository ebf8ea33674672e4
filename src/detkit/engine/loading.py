"""How a run gets its images: from where, with how many processes, in which company. None of it changes a number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_fabric import Fabric

from detkit.components import Dataset, Messages, Silent
from detkit.data.cache import CachedDataset, cached
from detkit.data.splits import Splits
from detkit.data.workers import WorkerChoice, obstacle
from detkit.engine.prepare import build_context
from detkit.spec.model import ExperimentSpec, ModelUse


def prepare_loading(
    spec: ExperimentSpec, use: ModelUse, dataset: Dataset, splits: Splits, fabric: Fabric, messages: Messages
) -> tuple[Dataset, WorkerChoice]:
    """The dataset with `[compute] cache`, and the choice of `[compute] workers`; the first process tells of both."""
    told = messages if fabric.is_global_zero else Silent()
    compute = spec.compute
    once = use.train.epochs == 1 and compute.cache == "auto"  # no image is read again
    context = build_context(spec, spec.dataset, messages=told)
    kept = cached(
        dataset,
        (*splits.train, *splits.validation),
        mode="none" if once else compute.cache,
        bound=compute.cache_bytes,
        folder=context.cache_folder / "samples",
        identity=_identity(spec),
        processes=fabric.world_size,
        messages=told,
    )
    # The first epoch fills the cache; a second measurement sees what the others are like.
    measurements = 2 if isinstance(kept, CachedDataset) else 1
    choice = WorkerChoice(
        compute.workers, told.info, obstacle=obstacle(), processes=fabric.world_size, measurements=measurements
    )
    return kept, choice


def _identity(spec: ExperimentSpec) -> str:
    """All that decides what a dataset makes of an image file, beside the file."""
    plugin = spec.dataset.offered.plugin
    options: Mapping[str, Any] = spec.resolved["dataset"]
    table = {key: value for key, value in options.items() if key != "split"}
    return json.dumps([plugin.title, table], sort_keys=True, default=str)


def training_aspects(dataset: Dataset, indices: Sequence[int]) -> dict[int, float]:
    """Width over height of each image, from what the dataset knows without decoding."""
    infos = ((index, dataset.info(index)) for index in indices)
    return {index: info.width / max(1, info.height) for index, info in infos}
