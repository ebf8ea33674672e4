"""What a finished run was scored on, from its record: the images with their objects, and what it found in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from detkit.data.coco_form import read_ground_truth, read_predictions
from detkit.data.types import ImageInfo, Prediction
from detkit.errors import RecordError
from detkit.record.files import read_json, read_json_gz
from detkit.record.layout import ExperimentLayout
from detkit.record.reader import RunRecord
from detkit.record.splits import as_split, read_split_rows


@dataclass(frozen=True, slots=True)
class ScoredImages:
    """The images of the final figures, by rising id.

    Attributes:
        truths: the ground truth as read, without paths. predictions: of the same images.
    """

    class_names: tuple[str, ...]
    truths: Sequence[ImageInfo]
    predictions: Sequence[Prediction]

    @property
    def image_ids(self) -> list[int]:
        return [truth.image_id for truth in self.truths]


def read_scored(run: RunRecord) -> ScoredImages:
    """Of a finished run.

    Raises:
        RecordError: the run has not finished, or a file of the record is missing or damaged.
    """
    truths = read_scored_truths(run)
    split = _scored_split(run)
    with _fitting(run):
        predictions = read_predictions(read_json_gz(run.files.predictions(split)), truths.image_ids)
    return ScoredImages(truths.class_names, truths.truths, predictions)


def read_scored_truths(run: RunRecord) -> ScoredImages:
    """The same without what the run found, for comparing the images alone.

    Raises:
        RecordError: as `read_scored`.
    """
    experiment = ExperimentLayout(run.experiment)
    split = _scored_split(run)
    with _fitting(run):
        infos, class_names = read_ground_truth(read_json(experiment.ground_truth))
        ids = sorted(row["image_id"] for row in read_split_rows(experiment, run.fold)[as_split(split)])
        by_id = {info.image_id: info for info in infos}
        return ScoredImages(class_names, [by_id[image_id] for image_id in ids], ())


def _scored_split(run: RunRecord) -> str:
    summary = run.summary
    if summary is None:
        raise RecordError(f"{run}: only a finished run has figures")
    return str(summary["scored"]["split"])


@contextmanager
def _fitting(run: RunRecord) -> Iterator[None]:
    """Says which files do not fit each other."""
    experiment = ExperimentLayout(run.experiment)
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(
            f"{run.run_id}: its predictions, {experiment.splits} and {experiment.ground_truth} do not fit each other:"
            f" {type(error).__name__}: {error}"
        ) from error


def unlike(first: ScoredImages, second: ScoredImages) -> str:
    """What differs between the images and objects that two runs were scored on; empty where nothing does."""
    if first.class_names != second.class_names:
        return f"their classes are {', '.join(first.class_names)} and {', '.join(second.class_names)}"
    ids, others = set(first.image_ids), set(second.image_ids)
    if ids != others:
        return f"{len(ids - others)} images are of the first alone, {len(others - ids)} of the second"
    for one, other in zip(first.truths, second.truths, strict=True):
        if (one.label, one.width, one.height) != (other.label, other.width, other.height):
            return (
                f"image id {one.image_id} is {one.label} ({one.width} x {one.height}) in the first"
                f" and {other.label} ({other.width} x {other.height}) in the second"
            )
        if one.annotations != other.annotations:
            return f"the objects of {one.label} (image id {one.image_id}) are not the same"
    return ""
