"""Everything that is known before the first run starts: devices, data, splits, weights and keys that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit.checks.duplicates import duplicate_findings, same_files
from detkit.checks.looking import look
from detkit.checks.reading import Unskipped
from detkit.checks.sight import Sight
from detkit.components import BuildContext, Capabilities, Dataset, Messages, ModelComponent
from detkit.data.coco_form import ground_truth_json
from detkit.data.degenerate import CleanDataset
from detkit.data.digests import ImageDigest, digest_images
from detkit.data.fingerprint import fingerprint, split_labels
from detkit.data.seeds import derive_seed
from detkit.data.splits import Division, Splits
from detkit.data.types import ImageInfo
from detkit.engine.attribution import attributed
from detkit.engine.compute import resolve_compute
from detkit.engine.gate import let_through, refuse_vital
from detkit.errors import ComputeError, DataError, DetkitError, Problem
from detkit.record.digests import digests_content
from detkit.record.files import write_json
from detkit.record.layout import ExperimentLayout
from detkit.record.splits import SPLIT_NAMES, read_split_rows, splits_content
from detkit.spec.model import ExperimentSpec, InputTable, ModelUse, Use

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class PreparedData:
    """A dataset that has been checked.

    Attributes:
        dataset: without boxes that have no area. infos: the ground truth of every image. division: over its indices.
    """

    dataset: Dataset
    infos: tuple[ImageInfo, ...]
    division: Division


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
    return _treated(spec, _built(spec, messages))


def _built(spec: ExperimentSpec, messages: Messages) -> Dataset:
    with attributed(spec.dataset, "building the dataset"):
        component = spec.dataset.offered.component
        told = Unskipped(messages, spec.skip_checks)
        dataset = component.build(spec.dataset.options, build_context(spec, spec.dataset, messages=told))
    if not isinstance(dataset, Dataset):
        raise DataError(f"{spec.dataset.title} built a {type(dataset).__name__}; it must be a detkit.Dataset")
    return dataset


def _treated(spec: ExperimentSpec, dataset: Dataset) -> Dataset:
    return dataset if spec.degenerate == "error" else CleanDataset(dataset, spec.degenerate)


def prepare_data(spec: ExperimentSpec, messages: Messages, *, training: bool = True) -> PreparedData:
    """Build the dataset, check it, and divide it.

    Args:
        training: it will be trained on: every error stops it, and warnings are told. Else only that stops it without
            which nothing can be done with the data.

    Raises:
        DataError: a fault in the data, or data that a model, a step or a metric cannot work with.
    """
    check_component(spec, spec.dataset, (), messages)
    dataset = _built(spec, messages)
    models = sights([model for model in spec.models.values() if model.enabled] if training else [])
    looked = look(dataset, spec.split, spec.degenerate, messages, pixels=False, models=models)
    if training:
        let_through(spec, looked.findings, messages)
    else:
        refuse_vital(spec, looked.findings)
    infos, division = looked.all_infos, looked.division
    assert division is not None  # that there is none would have been an error
    for note in division.notes:
        messages.info(f"[dataset.split] {note}")
    users = (*spec.models.values(), spec.training_step, *spec.metrics.values(), *spec.transforms)
    refuse_unmet_needs(users, dataset.provides, spec.dataset.title)
    for number, splits in enumerate(division.folds, 1):
        _refuse_more_devices(splits, spec.compute.devices, f" of fold {number}" * division.folded)
    return PreparedData(_treated(spec, dataset), infos, division)


def check_dataset(spec: ExperimentSpec, messages: Messages) -> tuple[Dataset, tuple[ImageInfo, ...]]:
    """The dataset with the ground truth of every image, to be evaluated on; it is not divided.

    Raises:
        DataError: there is something in it that nobody can evaluate on.
    """
    check_component(spec, spec.dataset, (), messages)
    dataset = _built(spec, messages)
    looked = look(dataset, None, spec.degenerate, messages, pixels=False)
    refuse_vital(spec, looked.findings)
    return _treated(spec, dataset), looked.all_infos


def sights(models: Iterable[ModelUse]) -> list[Sight]:
    """How small the models see at their own input sizes, as far as they say.

    Raises:
        ComponentError: a model failed to say it.
    """
    found = []
    for model in models:
        component = model.offered.component
        assert isinstance(component, ModelComponent)
        with attributed(model, "saying how large its smallest anchor is"):
            anchor = component.smallest_anchor(model.options, model.input.min_size)
        if anchor:
            found.append(Sight(model.key, anchor, model.input.min_size, model.input.max_size))
    return found


def refuse_leaks(spec: ExperimentSpec, data: PreparedData, groups: Sequence[Sequence[int]], messages: Messages) -> None:
    """Look at images that are there twice.

    Args:
        groups: indices of images that have the same content; see `detkit.checks.duplicates`.

    Raises:
        UnsoundData: two of them are in different splits.
    """
    labels = split_labels(len(data.infos), data.division)
    let_through(spec, duplicate_findings(groups, data.infos, labels), messages)


def _refuse_more_devices(splits: Splits, devices: int, of_fold: str) -> None:
    if len(splits.train) < devices:
        raise DataError(f"{len(splits.train)} training images{of_fold} cannot be shared by {devices} devices")


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


def digest_data(data: PreparedData, messages: Messages) -> list[ImageDigest]:
    """The digest of each image's content, by index.

    Raises:
        DataError: an image cannot be read.
    """
    cache = BuildContext().cache_folder
    return list(digest_images(data.dataset, data.infos, cache_folder=cache, messages=messages).values())


def write_prepared(layout: ExperimentLayout, data: PreparedData, digests: Sequence[ImageDigest]) -> None:
    """Write ground truth, splits, digests and fingerprint into the record."""
    class_names = data.dataset.class_names
    write_json(layout.ground_truth, ground_truth_json(data.infos, class_names))
    write_json(layout.splits, splits_content(data.division, data.infos))
    write_json(layout.fingerprint, fingerprint(data.infos, class_names, data.division, digests))
    write_json(layout.digests, digests_content(data.infos, digests))


def read_splits(layout: ExperimentLayout, fold: int | None) -> Splits:
    """The splits of a run; `fold` is its own, None in an experiment without folds.

    Raises:
        RecordError: as `read_split_rows`.
    """
    rows = read_split_rows(layout, fold)
    return Splits(*(tuple(row["index"] for row in rows[name]) for name in SPLIT_NAMES))


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
    if isinstance(dataset, PreparedData):
        tried("dataset", lambda: _refuse_leaks_of_files(spec, dataset, messages))
    if spec.search is not None and isinstance(dataset, PreparedData):
        from detkit.engine.search_objectives import find_objectives  # which builds on this module

        tried("search", lambda: find_objectives(spec, dataset, messages))
    class_names = dataset.dataset.class_names if isinstance(dataset, PreparedData) else ("object",)
    for use in checked_uses(spec):
        tables = {"training_step": "training_step", "searcher": "search", "transform": f"augment.{use.key}"}
        table = tables.get(use.kind, f"{use.kind}s.{use.key}")
        tried(table, lambda use=use: check_component(spec, use, class_names, messages))  # type: ignore[misc]  # bound per pass
    return problems


def _refuse_leaks_of_files(spec: ExperimentSpec, data: PreparedData, messages: Messages) -> None:
    """As before a training, without reading every file for its digest."""
    groups = same_files(data.infos, cache_folder=BuildContext().cache_folder, messages=messages)
    refuse_leaks(spec, data, groups, messages)


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
    alone = [spec.training_step, *([spec.search.use] if spec.search else [])]
    return [*alone, *spec.transforms, *(use for group in groups for use in group.values() if use.enabled)]


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
