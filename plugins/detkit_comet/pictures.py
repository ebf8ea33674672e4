"""The evaluated images, every epoch under the same names, with what is there and what was found drawn on them.

Their bytes are encoded once, when the record copies them: the client gets the files' paths.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit import Messages, RecordedImage, RecordError, RunInfo, open_run
from detkit.data.images import UnreadableImage, read_header
from detkit_comet import CometOptions
from detkit_comet.annotations import DrawnTruth, Row, drawn_truth, layers, surest
from detkit_comet.sent import SentBook

if TYPE_CHECKING:
    from comet_ml import CometExperiment

#: So many images Comet takes in one experiment (its documentation, "Limits").
MOST_IMAGES = 100_000
#: What browsers show. Of other kinds of files the record's JPEG copy is sent.
SHOWN = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp"})
#: What stands between the objects of a JSON list.
BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class Picture:
    """An image of the validation split that can be sent.

    Attributes:
        name: in Comet, the same every epoch, of no other image of the split.
        file: what is sent.
        scale: its width and height as shares of the original's, in whose pixels objects and detections are.
    """

    image: RecordedImage
    name: str
    file: Path
    scale: tuple[float, float]

    @property
    def image_id(self) -> int:
        return self.image.truth.image_id


class Pictures:
    """Sends the images of one run, epoch by epoch.

    Reads the run's experiment for its images; where it has none to send, or only some, says so once.
    """

    def __init__(self, options: CometOptions, run: RunInfo, messages: Messages, sent: SentBook | None = None) -> None:
        """Args: sent: what the experiment in Comet holds; by default what the run's folder says of it."""
        self._sent = sent
        self._options = options
        self._run = run
        self._messages = messages
        self._pictures = self._found()
        self._truths: dict[int, DrawnTruth] = {}
        self._assets: dict[int, str] = {}
        self._epoch = 0
        self._waiting: tuple[Path, int, int] | None = None
        self._told: set[str] = set()

    @property
    def assets(self) -> Mapping[int, str]:
        """Image id to Comet's id of the picture, of the latest epoch whose pictures were sent."""
        return self._assets

    @property
    def epoch(self) -> int:
        """The epoch of `assets`; 0 before the first."""
        return self._epoch

    @cached_property
    def names(self) -> Mapping[int, str]:
        """Image id to the picture's name in Comet, of all pictures that are sent."""
        return {picture.image_id: picture.name for picture in self._pictures}

    def log(self, experiment: CometExperiment, file: Path, *, step: int, epoch: int) -> None:
        """Send the pictures of an evaluated epoch, or nothing where it is not the turn of this one.

        Args:
            file: the predictions, a gzipped JSON list in COCO's results form.
        """
        self._waiting = None
        if self._is_due(epoch):
            self._log(experiment, file, step, epoch)
        else:
            self._waiting = (file, step, epoch)

    def finish(self, experiment: CometExperiment) -> None:
        """Send the last evaluated epoch of a run that stopped early, where it was not the turn of that one."""
        if self._waiting is not None and self._waiting[0].is_file():
            self._log(experiment, *self._waiting)
        self._waiting = None

    def _log(self, experiment: CometExperiment, file: Path, step: int, epoch: int) -> None:
        if not self._pictures or not experiment.alive:
            return
        pictures = self._within_the_limit(experiment)
        rows = _drawn_rows(file, {picture.image_id for picture in pictures}, self._options)
        assets: dict[int, str] = {}
        refused: list[str] = []
        for picture in pictures:
            sent = self._send(experiment, picture, rows.get(picture.image_id, ()), step, epoch)
            if sent is None:
                refused.append(picture.name)
            else:
                assets[picture.image_id] = str(sent["imageId"])
        self._assets, self._epoch = assets, epoch
        self._book(experiment).add_images(len(assets))
        if refused and experiment.alive:
            self._tell(
                "refused",
                f"comet: the client did not take {len(refused)} of {len(pictures)} images of epoch {epoch}"
                f" ({_some(refused)})",
            )

    def _send(
        self, experiment: CometExperiment, picture: Picture, rows: Sequence[Row], step: int, epoch: int
    ) -> Mapping[str, Any] | None:
        drawn = layers(self._truth(picture), rows)
        metadata: dict[str, Any] = {"image_id": picture.image_id, "epoch": epoch, **drawn.facts}
        arguments: dict[str, Any] = {"metadata": metadata}
        if drawn.annotations:
            by = arguments if self._options.annotations_in == "annotations" else metadata
            by["annotations"] = drawn.annotations
        sent: Mapping[str, Any] | None = experiment.log_image(
            str(picture.file), name=picture.name, step=step, **arguments
        )
        return sent

    def _truth(self, picture: Picture) -> DrawnTruth:
        if picture.image_id not in self._truths:
            self._truths[picture.image_id] = drawn_truth(
                picture.image.truth,
                self._run.class_names,
                scale=picture.scale,
                tolerance=self._options.polygon_tolerance,
            )
        return self._truths[picture.image_id]

    def _tell(self, what: str, text: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._messages.warning(text)

    # --- which images ------------------------------------------------------------------------------------------------

    def _found(self) -> list[Picture]:
        try:
            images = [image for image in open_run(self._run.folder).images() if image.split == "validation"]
        except RecordError as error:
            self._messages.warning(f"comet: no images are sent: {error}")
            return []
        names = unique_names(images)
        pictures: list[Picture] = []
        instead: Counter[str] = Counter()
        for image in images:
            why_not = _why_not_original(image) if self._options.original_images else "not wanted"
            own = (image.truth.path, (1.0, 1.0)) if image.truth.path and not why_not else None
            picture = own or _copied(image)
            if picture is not None:
                pictures.append(Picture(image, names[image.truth.image_id], *picture))
            if own is None:
                instead[why_not] += 1
        has_files = any(image.truth.path and image.truth.path.is_file() for image in images)
        self._tell_missing(len(images), len(pictures), instead, has_files=has_files)
        return self._affordable(spread(pictures, self._options.max_images or len(pictures)))

    def _tell_missing(self, images: int, sent: int, instead: Mapping[str, int], *, has_files: bool) -> None:
        own = self._options.original_images
        if own and instead:
            reasons = "; ".join(f"{count} of {images} image files {reason}" for reason, count in instead.items())
            self._messages.warning(f"comet: {reasons}; the record's copies are sent where it keeps them")
        if sent < images:
            more = "" if own or not has_files else "; or set `original_images = true` to send the dataset's own files"
            self._messages.warning(
                f"comet: {images - sent} of {images} validation images are not sent: the record keeps no copy of them;"
                f" raise `keep_images` in [experiment]{more}"
            )

    def _affordable(self, pictures: list[Picture]) -> list[Picture]:
        """No more than Comet takes over all epochs."""
        epochs = self._run.epochs
        times = sum(self._is_due(epoch) for epoch in range(1, epochs + 1) if self._is_evaluated(epoch))
        most = max(1, MOST_IMAGES // max(1, times))
        if len(pictures) <= most:
            return pictures
        self._messages.warning(
            f"comet: {most} of {len(pictures)} images are sent, spread over the split: an experiment takes"
            f" {MOST_IMAGES:,}, and {times} epochs send images; raise `image_every_epochs` for more"
        )
        return spread(pictures, most)

    # --- which epochs ------------------------------------------------------------------------------------------------

    @cached_property
    def _every(self) -> int:
        """Every so many epochs are evaluated."""
        place: Any = self._run.parameters
        for key in ("spec", "model", "train", "eval_every_epochs"):
            place = place.get(key) if isinstance(place, Mapping) else None
        return place if isinstance(place, int) and place > 0 else 1

    def _is_evaluated(self, epoch: int) -> bool:
        return epoch % self._every == 0 or epoch == self._run.epochs

    def _is_due(self, epoch: int) -> bool:
        """By the epoch's number alone, so that a resumed run goes on as it would have."""
        evaluation = -(-epoch // self._every)
        return evaluation % self._options.image_every_epochs == 0 or epoch >= self._run.epochs

    # --- how many ----------------------------------------------------------------------------------------------------

    def _within_the_limit(self, experiment: CometExperiment) -> list[Picture]:
        """Fewer where epochs came again, or were added: the plan of `_affordable` knows only this process's."""
        left = MOST_IMAGES - self._book(experiment).images
        if left < len(self._pictures):
            self._tell("limit", f"comet: the experiment is full: it takes {MOST_IMAGES:,} images; the rest is not sent")
        return self._pictures[: max(0, left)]

    def _book(self, experiment: CometExperiment) -> SentBook:
        if self._sent is None:
            self._sent = SentBook(self._run.folder, str(experiment.get_key()))
        return self._sent


def _why_not_original(image: RecordedImage) -> str:
    """Why the dataset's own file is not sent; empty where it is."""
    path = image.truth.path
    if path is None:
        return "were none when the experiment was prepared"
    if not path.is_file():
        return "are gone"
    if path.suffix.lower() not in SHOWN:
        return "are of a kind that browsers do not show"
    try:
        # Boxes are of the picture as the dataset takes it, turned or as stored; browsers always show it turned.
        return "are turned by their EXIF data" if read_header(path, rotate=False).orientation != 1 else ""
    except UnreadableImage:
        return "cannot be read"


def _copied(image: RecordedImage) -> tuple[Path, tuple[float, float]] | None:
    if image.copy is None or not image.copy.is_file():
        return None
    return image.copy, (image.copy_width / image.truth.width, image.copy_height / image.truth.height)


def unique_names(images: Iterable[RecordedImage]) -> dict[int, str]:
    """Image id to a name of its own: the image's label, with the id behind it where several have the same."""
    labels = {image.truth.image_id: image.truth.label for image in images}
    often = Counter(labels.values())
    return {image_id: label if often[label] == 1 else f"{label} (id {image_id})" for image_id, label in labels.items()}


def spread(pictures: Sequence[Picture], count: int) -> list[Picture]:
    """At most so many, as evenly spread over their order as can be."""
    if len(pictures) <= count:
        return list(pictures)
    return [pictures[index * len(pictures) // count] for index in range(count)]


def _drawn_rows(file: Path, image_ids: Container[int], options: CometOptions) -> dict[int, list[Row]]:
    """The detections that are drawn, by image."""
    found: dict[int, list[Row]] = defaultdict(list)
    for row in read_rows(gzip.decompress(file.read_bytes()).decode()):
        if row["image_id"] in image_ids and row["score"] >= options.min_score:
            found[row["image_id"]].append(row)
    return {image_id: surest(rows, options.max_boxes) for image_id, rows in found.items()}


def read_rows(text: str) -> Iterator[Row]:
    """The objects of a JSON list, one after the other.

    The parser keeps the interpreter to itself until it is done: with a whole file of many masks training would stand
    still for a second and more.
    """
    decode = json.JSONDecoder().raw_decode
    position = BETWEEN.match(text, 1).end()  # type: ignore[union-attr] # it also matches nothing
    while position < len(text) and text[position] != "]":
        row, position = decode(text, position)
        yield row
        position = BETWEEN.match(text, position).end()  # type: ignore[union-attr] # it also matches nothing


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
