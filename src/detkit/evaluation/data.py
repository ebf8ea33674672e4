"""The images that a recorded run is evaluated on: its own, or those of another dataset, under the model's labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from detkit.compare.leaderboard import SAME_IMAGES
from detkit.components import BuildContext, Dataset
from detkit.data.coco_form import read_ground_truth
from detkit.data.digests import digest_images
from detkit.data.fingerprint import objects_digest
from detkit.data.splits import Splits, divide
from detkit.data.types import ImageInfo
from detkit.engine.prepare import check_dataset
from detkit.errors import DataError, UserError
from detkit.evaluation.notes import Notes
from detkit.record.digests import read_digests
from detkit.record.files import read_json
from detkit.record.layout import ExperimentLayout
from detkit.record.splits import SPLIT_NAMES, SplitName, read_split_rows
from detkit.spec.model import ExperimentSpec
from detkit.spec.resolve import plain

Part = Literal["train", "validation", "test", "all"]


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
    fold: int | None,
    selected: bool,
) -> EvaluatedData:
    """Images of the data that the run was made with, by its recorded splits.

    Args:
        fold: of the run, whose splits they are; None in an experiment without folds.
        part: which of them; None: those that gave the final figures.
        class_names: of the model. selected: whether the validation images selected its weights.

    Raises:
        DataError: the data is gone, faulty, or lacks these images. UserError: there are no images of that split.
    """
    dataset, infos = check_dataset(spec, notes)
    recorded = {name: [row["image_id"] for row in rows] for name, rows in read_split_rows(layout, fold).items()}
    chosen: Part = part or ("test" if recorded["test"] else "validation")
    splits = _splits_now(recorded, chosen, infos)
    indices = _part(splits, chosen, len(infos))
    _tell_changes(layout, dataset, infos, indices, notes)
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
    dataset, infos = check_dataset(spec, notes)
    if _is_same(spec, own):
        notes.warning("this is the dataset that the run was made with: it may have been trained on these images")
    if part in (None, "all"):
        return _data(spec, dataset, infos, range(len(infos)), "all", class_names, notes)
    division = divide(infos, spec.split, dataset.splits)
    if division.folded and part != "test":
        raise UserError(
            f"{spec.path} has {len(division.folds)} folds, in each of which other images are {part} images; there are:"
            f" {'test, ' * bool(division.test)}all ({len(infos)})"
        )
    assert part is not None
    return _data(spec, dataset, infos, _part(division.of(None), part, len(infos)), part, class_names, notes)


def _part(splits: Splits, part: Part, images: int) -> Sequence[int]:
    if part == "all":
        return range(images)
    indices: Sequence[int] = getattr(splits, part)
    if not indices:
        there = ", ".join(f"{name} ({len(getattr(splits, name))})" for name in SPLIT_NAMES if getattr(splits, name))
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


def _splits_now(recorded: Mapping[SplitName, Sequence[int]], part: Part, infos: Sequence[ImageInfo]) -> Splits:
    """The run's splits over the dataset as it is now, in which all images of the part must be: they are known by id."""
    places = {info.image_id: index for index, info in enumerate(infos)}
    wanted = [image_id for name in SPLIT_NAMES if part in (name, "all") for image_id in recorded[name]]
    gone = [image_id for image_id in wanted if image_id not in places]
    if gone:
        which = "images" if part == "all" else f"{part} images"
        raise DataError(
            f"{len(gone)} of the {len(wanted)} {which} of the run are gone from its dataset (id {gone[0]} is one):"
            " bring them back, or name the data with --dataset"
        )
    return Splits(*(tuple(sorted(places[one] for one in recorded[name] if one in places)) for name in SPLIT_NAMES))


def _tell_changes(
    layout: ExperimentLayout, dataset: Dataset, infos: Sequence[ImageInfo], indices: Sequence[int], notes: Notes
) -> None:
    """Say where images that are evaluated are not what the record knows of them: their objects, or their bytes."""
    recorded, class_names = read_ground_truth(read_json(layout.ground_truth))
    before = {info.image_id: objects_digest(info, class_names) for info in recorded}
    of_image = read_digests(layout)
    cache = BuildContext().cache_folder
    digests = digest_images(dataset, infos, cache_folder=cache, messages=notes, only=indices) if of_image else {}
    other_objects, other_content = 0, 0
    for index in indices:
        info = infos[index]
        known = of_image.get(info.image_id)
        other_objects += before.get(info.image_id) != objects_digest(info, dataset.class_names)
        other_content += known is not None and known.kind != "none" and known != digests[index]
    if other_objects or other_content:
        said = [f"{other_objects} with other objects" * bool(other_objects)]
        said += [f"{other_content} with other bytes" * bool(other_content)]
        notes.warning(
            f"the data has changed since the run was made: of {len(indices)} images {', '.join(filter(None, said))};"
            " figures may differ from those of its record"
        )


def _is_same(spec: ExperimentSpec, own: Mapping[str, Any]) -> bool:
    options = {key: value for key, value in own.items() if key not in ("use", "split", "degenerate", "skip_checks")}
    return bool(own["use"] == spec.dataset.offered.component.name and plain(spec.dataset.options) == options)
