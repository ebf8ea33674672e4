"""The folder that `detkit predict` writes: COCO's results form, the images they belong to, pictures, a summary.

predictions.json     a list of detections in COCO's results form, one a line
images.json          images and categories in COCO's form: the ids that the detections name
summary.json         which detector, how many images and objects, how fast, which files could not be read
pictures/            the images with what was found drawn in

Detections are written image by image, so that memory stays small and what is done is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detkit.data.coco_form import predictions_json
from detkit.errors import RunFailed, UserError
from detkit.predict.detections import Detections
from detkit.record.files import write_atomically
from detkit.record.folders import ResultsKind
from detkit.record.layout import FORMAT_VERSION

PREDICTIONS, IMAGES, SUMMARY, PICTURES = "predictions.json", "images.json", "summary.json", "pictures"
RESULTS = ResultsKind("predictions", (PREDICTIONS, IMAGES), (PREDICTIONS, IMAGES, SUMMARY, PICTURES))


class ResultsWriter:
    """Writes predictions.json as it goes, images.json at the end.

    Whatever stops it, the two fit each other once it is closed: an image is in both or in none.
    """

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self._folder = folder
        self._class_names = class_names
        self._images: list[dict[str, Any]] = []
        try:
            self._stream = (folder / PREDICTIONS).open("wb")
            self._stream.write(b"[")
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror}; name another with --output") from error
        self._rows = 0
        #: How much is whole: images, and bytes of the stream.
        self._done = (0, self._stream.tell())

    def add(self, file: Path, found: Detections, picture: Path | None) -> None:
        """One image, under the next id.

        Raises:
            RunFailed: the disk is full.
        """
        image_id = len(self._images) + 1
        rows = predictions_json([found.prediction(image_id)])
        image = {"id": image_id, "file_name": str(file), "width": found.width, "height": found.height}
        if picture is not None:
            image["picture"] = picture.relative_to(self._folder).as_posix()
        self._images.append(image)
        try:
            for row in rows:
                text = json.dumps(row, allow_nan=False, separators=(",", ":"))
                self._stream.write(f"{',' if self._rows else ''}\n{text}".encode())
                self._rows += 1
            self._stream.flush()
        except OSError as error:
            raise cannot_write(self._folder / PREDICTIONS, error) from error
        self._done = (len(self._images), self._stream.tell())

    def close(self) -> None:
        """Drop what is not whole, and write images.json."""
        images, length = self._done
        try:
            self._stream.truncate(length)
            self._stream.seek(length)
            self._stream.write(b"\n]\n")
            self._stream.close()
        except OSError as error:
            raise cannot_write(self._folder / PREDICTIONS, error) from error
        categories = [{"id": number, "name": name} for number, name in enumerate(self._class_names, 1)]
        content = {"images": self._images[:images], "annotations": [], "categories": categories}
        write_results_json(self._folder / IMAGES, content)


def write_results_json(file: Path, content: Mapping[str, Any]) -> None:
    """As the record writes JSON; names of files that are no Unicode come out as \\udcXX escapes."""
    text = json.dumps({"format_version": FORMAT_VERSION, **content}, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(file, lambda stream: stream.write(text.encode("utf-8", "backslashreplace") + b"\n"))


def cannot_write(file: Path, error: OSError) -> RunFailed:
    """What to tell a person whose disk refused a write in the middle."""
    return RunFailed(f"cannot write {file}: {error.strerror or error}; free space, or name another disk with --output")
