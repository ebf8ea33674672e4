"""The data of a recorded experiment, to be compared with another state of it."""

from __future__ import annotations

from detkit.data.differences import DataState, ImageState
from detkit.data.names import image_names
from detkit.record.digests import read_digests
from detkit.record.files import read_json
from detkit.record.images import read_images
from detkit.record.layout import ExperimentLayout


def read_data_state(layout: ExperimentLayout, title: str, fold: int | None = None) -> DataState:
    """Args: fold: of the run whose splits are meant; None: those of the experiment.

    Raises:
        RecordError: a file of the record is missing or damaged.
    """
    images = read_images(layout, fold)
    digests = read_digests(layout)
    names = image_names([image.truth for image in images])
    folded = fold is None and any(image.fold for image in images)
    return DataState(
        title=title,
        class_names=tuple(read_json(layout.fingerprint)["class_names"]),
        images=[
            ImageState(
                name=name,
                content=digests[image.truth.image_id].content if image.truth.image_id in digests else "",
                split=f"fold {image.fold}" if folded and image.fold else image.split,
                info=image.truth,
            )
            for name, image in zip(names, images, strict=True)
        ],
        folded=folded,
    )
