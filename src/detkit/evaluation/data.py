"""The images that a recorded run is evaluated on: its own, or those of another dataset, under the model's labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from detkit.compare.leaderboard import SAME_IMAGES
from detkit.components import Dataset
from detkit.data.checks import checked_infos
from detkit.data.fingerprint import fingerprint
from detkit.data.splits import Splits, make_splits
from detkit.data.types import ImageInfo
from detkit.engine.prepare import build_dataset, check_component
from detkit.errors import DataError, UserError
from detkit.evaluation.notes import Notes
from detkit.record.files import read_json
from detkit.record.layout import ExperimentLayout
from detkit.spec.model import ExperimentSpec
from detkit.spec.resolve import plain

Part = Literal["train", "validation", "test", "all"]
SPLITS: tuple[Literal["train", "validation", "test"], ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class EvaluatedData:
    """Images of a dataset.

    Attributes:
        indices: into the dataset, rising. infos: the ground truth of each; labels are the model's.
        name: of the dataset's component. part: "test", "validation", "train" or "all".
    """

    dataset: Dataset
    indices: Sequence[int]
    infos: Sequence[ImageInfo]
    name: str
    part: Part


def own_data(
    spec: ExperimentSpec,
    layout: ExperimentLayout,
    part: Part | None,
    class_names: Sequence[str],
    notes: Notes,
    *,
    selected: bool,
) -> EvaluatedData:
    """Images of the data that the run was made with, by its recorded splits.

    Args:
        part: which of them; None: those that gave the final figures.
        class_names: of the model. selected: whether the validation images selected its weights.

    Raises:
        DataError: the data is gone, faulty, or lacks these images. UserError: there are no images of that split.
    """
    dataset, infos = _checked(spec, notes)
    recorded = _recorded_ids(layout)
    chosen: Part = part or ("test" if recorded["test"] else "validation")
    splits = _splits_now(recorded, chosen, infos)
    _tell_changes(layout, infos, dataset.class_names, splits, notes)
    indices = _part(splits, chosen, len(infos))
    trained = len(set(indices) & set(splits.train))
    if trained:
        notes.warning(f"the run was trained on {trained} of these {len(indices)} images: the figures flatter it")
    if selected and set(indices) & set(splits.validation):
        notes.warning(SAME_IMAGES)
    return _data(spec, dataset, infos, indices, chosen, class_names, notes)


def other_data(
    spec: ExperimentSpec, own: Mapping[str, Any], part: Part | None, class_names: Sequence[str], notes: Notes
) -> EvaluatedData:
    """Images of the spec's dataset, which is another one than the run's.

    Args:
        own: the run's own [dataset], resolved. part: by the dataset's own splits; None: all.

    Raises:
        DataError: the data is faulty, or its classes are not the model's. UserError: there are no such images.
    """
    dataset, infos = _checked(spec, notes)
    if _is_same(spec, own):
        notes.warning("this is the dataset that the run was made with: it may have been trained on these images")
    if part in (None, "all"):
        return _data(spec, dataset, infos, range(len(infos)), "all", class_names, notes)
    splits = make_splits(
        [info.image_id for info in infos],
        validation=spec.split.validation,
        test=spec.split.test,
        seed=spec.split.seed,
        brought=dataset.splits,
    )
    assert part is not None
    return _data(spec, dataset, infos, _part(splits, part, len(infos)), part, class_names, notes)


def _checked(spec: ExperimentSpec, notes: Notes) -> tuple[Dataset, list[ImageInfo]]:
    check_component(spec, spec.dataset, (), notes)
    dataset = build_dataset(spec, notes)
    return dataset, checked_infos(dataset, spec.degenerate)


def _part(splits: Splits, part: Part, images: int) -> Sequence[int]:
    if part == "all":
        return range(images)
    indices: Sequence[int] = getattr(splits, part)
    if not indices:
        there = ", ".join(f"{name} ({len(getattr(splits, name))})" for name in SPLITS if getattr(splits, name))
        raise UserError(f"there are no {part} images; there are: {there}, all ({images})")
    return indices


def _data(
    spec: ExperimentSpec,
    dataset: Dataset,
    infos: Sequence[ImageInfo],
    indices: Sequence[int],
    part: Part,
    class_names: Sequence[str],
    notes: Notes,
) -> EvaluatedData:
    chosen = relabelled([infos[index] for index in indices], dataset.class_names, class_names, notes)
    return EvaluatedData(dataset, indices, chosen, spec.dataset.key, part)


# --- classes ---------------------------------------------------------------------------------------------------------


def relabelled(
    infos: Sequence[ImageInfo], theirs: Sequence[str], models: Sequence[str], notes: Notes
) -> Sequence[ImageInfo]:
    """The same objects under the labels of the model, which may have the classes in another order.

    Args:
        theirs: the dataset's class names. models: the model's.

    Raises:
        DataError: they are not the same names; shows both.
    """
    if tuple(theirs) == tuple(models):
        return infos
    if set(theirs) != set(models):
        raise DataError(
            "the dataset's classes are not the model's:\n"
            f"  the dataset: {_listed(theirs, models)}\n  the model:   {_listed(models, theirs)}\n"
            "classes are matched by name: name them alike, and leave out images of others"
        )
    notes.info(f"the dataset has the model's classes in another order ({', '.join(theirs)}): they are matched by name")
    labels = {number: list(models).index(name) + 1 for number, name in enumerate(theirs, 1)}
    return [
        replace(info, annotations=tuple(replace(item, label=labels[item.label]) for item in info.annotations))
        for info in infos
    ]


def _listed(names: Sequence[str], others: Sequence[str]) -> str:
    return ", ".join(name if name in others else f"{name} (not the other's)" for name in names)


# --- what is known of the data ---------------------------------------------------------------------------------------


def _recorded_ids(layout: ExperimentLayout) -> Mapping[str, Sequence[int]]:
    """The ids of the run's images, by split."""
    recorded = read_json(layout.splits)
    return {name: [row["image_id"] for row in recorded[name]] for name in SPLITS}


def _splits_now(recorded: Mapping[str, Sequence[int]], part: Part, infos: Sequence[ImageInfo]) -> Splits:
    """The run's splits over the dataset as it is now, in which all images of the part must be: they are known by id."""
    places = {info.image_id: index for index, info in enumerate(infos)}
    wanted = [image_id for name in SPLITS if part in (name, "all") for image_id in recorded[name]]
    gone = [image_id for image_id in wanted if image_id not in places]
    if gone:
        which = "images" if part == "all" else f"{part} images"
        raise DataError(
            f"{len(gone)} of the {len(wanted)} {which} of the run are gone from its dataset (id {gone[0]} is one):"
            " bring them back, or name the data with --dataset"
        )
    return Splits(*(tuple(sorted(places[one] for one in recorded[name] if one in places)) for name in SPLITS))


def _tell_changes(
    layout: ExperimentLayout, infos: Sequence[ImageInfo], class_names: Sequence[str], splits: Splits, notes: Notes
) -> None:
    if fingerprint(infos, class_names, splits)["sha256"] != read_json(layout.fingerprint)["sha256"]:
        notes.warning("the data has changed since the run was made: figures may differ from those of its record")


def _is_same(spec: ExperimentSpec, own: Mapping[str, Any]) -> bool:
    options = {key: value for key, value in own.items() if key not in ("use", "split", "degenerate")}
    return bool(own["use"] == spec.dataset.offered.component.name and plain(spec.dataset.options) == options)
