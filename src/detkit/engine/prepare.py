"""Everything that is known before the first run starts: devices, data, splits, weights and keys that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit.components import BuildContext, Capabilities, Dataset, Messages
from detkit.data.checks import CleanDataset, checked_infos
from detkit.data.coco_form import ground_truth_json
from detkit.data.fingerprint import fingerprint
from detkit.data.seeds import derive_seed
from detkit.data.splits import Splits, make_splits
from detkit.data.types import ImageInfo
from detkit.engine.attribution import attributed
from detkit.engine.compute import resolve_compute
from detkit.errors import ComputeError, DataError, DetkitError, Problem
from detkit.record.files import read_json, write_json
from detkit.record.layout import ExperimentLayout
from detkit.spec.model import ExperimentSpec, InputTable, Use

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class PreparedData:
    """A dataset that has been checked.

    Attributes:
        dataset: without boxes that have no area. infos: the ground truth of every image. splits: over its indices.
    """

    dataset: Dataset
    infos: tuple[ImageInfo, ...]
    splits: Splits


def build_context(
    spec: ExperimentSpec,
    use: Use,
    *,
    messages: Messages,
    class_names: tuple[str, ...] = (),
    input_size: InputTable | None = None,
    device: str = "cpu",
    seed: int = 0,
    run_id: str = "",
    run_folder: Path | None = None,
    weights: Mapping[str, Tensor] | None = None,
    weights_origin: Mapping[str, Any] | None = None,
) -> BuildContext:
    """The context in which one component is built, with a seed of its own."""
    context = BuildContext(
        class_names=class_names,
        spec_folder=spec.folder,
        offline=spec.compute.offline,
        device=device,
        seed=derive_seed(seed, use.kind, use.key),
        run_id=run_id,
        run_folder=run_folder,
        weights=weights,
        weights_origin=weights_origin or {},
        messages=messages,
    )
    return replace(context, min_size=input_size.min_size, max_size=input_size.max_size) if input_size else context


def build_dataset(spec: ExperimentSpec, messages: Messages) -> Dataset:
    """The spec's dataset, with boxes without area treated as the spec says."""
    with attributed(spec.dataset, "building the dataset"):
        component = spec.dataset.offered.component
        dataset = component.build(spec.dataset.options, build_context(spec, spec.dataset, messages=messages))
    if not isinstance(dataset, Dataset):
        raise DataError(f"{spec.dataset.title} built a {type(dataset).__name__}; it must be a detkit.Dataset")
    return dataset if spec.degenerate == "error" else CleanDataset(dataset, spec.degenerate)


def prepare_data(spec: ExperimentSpec, messages: Messages) -> PreparedData:
    """Build the dataset, check it, and divide it.

    Raises:
        DataError: a fault in the data, or data that a model, a step or a metric cannot work with.
    """
    check_component(spec, spec.dataset, (), messages)
    dataset = build_dataset(spec, messages)
    infos = tuple(checked_infos(dataset, spec.degenerate))
    splits = make_splits(
        [info.image_id for info in infos],
        validation=spec.split.validation,
        test=spec.split.test,
        seed=spec.split.seed,
        brought=dataset.splits,
    )
    users = (*spec.models.values(), spec.training_step, *spec.metrics.values(), *spec.transforms)
    refuse_unmet_needs(users, dataset.provides, spec.dataset.title)
    if len(splits.train) < spec.compute.devices:
        raise DataError(f"{len(splits.train)} training images cannot be shared by {spec.compute.devices} devices")
    if not any(infos[index].annotations for index in splits.train):
        raise DataError("no training image has an object; there is nothing to learn")
    return PreparedData(dataset, infos, splits)


def refuse_unmet_needs(uses: Iterable[Use], provided: Capabilities, provider: str) -> None:
    """Hold what targets have against what models, steps or metrics need.

    Args:
        provider: who provides it, for the message.

    Raises:
        DataError: an enabled one needs more.
    """
    for use in uses:
        component = use.offered.component
        needed: Callable[..., Capabilities] = component.needs  # type: ignore[attr-defined]  # all of these have it
        missing = needed(use.options) - provided
        if use.enabled and missing:
            raise DataError(
                f"{use.title} needs {', '.join(sorted(missing))}, which {provider} does not provide"
                f" (it provides {', '.join(sorted(provided))})"
            )


def write_prepared(layout: ExperimentLayout, data: PreparedData) -> None:
    """Write ground truth, splits and fingerprint into the record."""
    class_names = data.dataset.class_names
    write_json(layout.ground_truth, ground_truth_json(data.infos, class_names))
    write_json(layout.splits, splits_json(data))
    write_json(layout.fingerprint, fingerprint(data.infos, class_names, data.splits))


def splits_json(data: PreparedData) -> dict[str, list[dict[str, int]]]:
    """Index and image id of every image, by split."""
    return {
        name: [{"index": index, "image_id": data.infos[index].image_id} for index in getattr(data.splits, name)]
        for name in ("train", "validation", "test")
    }


def read_splits(layout: ExperimentLayout) -> Splits:
    content = read_json(layout.splits)
    return Splits(*(tuple(row["index"] for row in content[name]) for name in ("train", "validation", "test")))


def deep_check(spec: ExperimentSpec, messages: Messages) -> list[Problem]:
    """What only looking can tell: devices, data, weight files, keys of loggers. All problems, none raised."""
    problems: list[Problem] = []

    def tried(table: str, action: Callable[[], object]) -> object:
        try:
            return action()
        except DetkitError as error:
            origin = spec.provenance.get(f"{table}.use")
            line = origin.line if origin and origin.origin in ("spec", "base file") else None
            problems.append(Problem(spec.path, line, table, "", str(error)))
            return None

    tried("compute", lambda: check_compute(spec))
    dataset = tried("dataset", lambda: prepare_data(spec, messages))
    class_names = dataset.dataset.class_names if isinstance(dataset, PreparedData) else ("object",)
    for use in checked_uses(spec):
        tables = {"training_step": "training_step", "transform": f"augment.{use.key}"}
        table = tables.get(use.kind, f"{use.kind}s.{use.key}")
        tried(table, lambda use=use: check_component(spec, use, class_names, messages))  # type: ignore[misc]  # bound per pass
    return problems


def check_compute(spec: ExperimentSpec) -> None:
    """Devices and precision, and batches that every device gets a share of."""
    compute = resolve_compute(spec.compute)
    for model in spec.models.values():
        if model.enabled and model.train.batch_size < compute.processes:
            raise ComputeError(
                f"[models.{model.key}] batch_size = {model.train.batch_size} is over all devices together and cannot be"
                f" shared by {compute.processes}; raise it, or lower [compute] devices"
            )


def checked_uses(spec: ExperimentSpec) -> list[Use]:
    """Every enabled component beside the dataset, whose check comes before it is built."""
    groups = (spec.models, spec.metrics, spec.loggers, spec.callbacks)
    return [spec.training_step, *spec.transforms, *(use for group in groups for use in group.values() if use.enabled)]


def check_component(spec: ExperimentSpec, use: Use, class_names: tuple[str, ...], messages: Messages) -> None:
    """Ask the component itself whether its build can work."""
    component = use.offered.component
    if component.check is None:
        return
    size = getattr(use, "input", None)
    with attributed(use, "checking its options"):
        component.check(
            use.options, build_context(spec, use, messages=messages, class_names=class_names, input_size=size)
        )
