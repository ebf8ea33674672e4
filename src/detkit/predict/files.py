"""A detector over image files: batches in, pictures and results out, one by one; a broken file does not end it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from detkit.components import Messages, Progress
from detkit.errors import DataError, DetkitError, OutOfMemory, RunFailed
from detkit.predict.detections import Detections
from detkit.predict.detector import Detector
from detkit.predict.images import read_image
from detkit.predict.listing import Found
from detkit.predict.pictures import LabelFont, draw, save_picture
from detkit.predict.results import PICTURES, PREDICTIONS, SUMMARY, ResultsWriter, cannot_write, write_results_json


@dataclass(slots=True)
class Report:
    """What came of it.

    Attributes:
        folder: where the results are. detector: which one, and how it worked.
        images, objects: looked at and found. failed: file to why it could not be.
        interrupted: somebody stopped it; the results hold what was done until then.
        model_s: seconds in the model. seconds: in all.
    """

    folder: Path
    detector: dict[str, Any]
    images: int = 0
    objects: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    model_s: float = 0.0
    seconds: float = 0.0

    @property
    def images_per_s(self) -> dict[str, float | None]:
        """Of the model alone, and with reading, drawing and writing; None where there was no image."""
        alone = self.images / self.model_s if self.images and self.model_s else None
        return {"model": alone, "all": self.images / self.seconds if self.images and self.seconds else None}

    def to_dict(self) -> dict[str, Any]:
        """summary.json without its version."""
        return {
            "detector": self.detector,
            "folder": str(self.folder),
            "predictions": str(self.folder / PREDICTIONS),
            "images": self.images,
            "objects": self.objects,
            "failed": [{"file": file, "cause": cause} for file, cause in self.failed.items()],
            "interrupted": self.interrupted,
            "images_per_s": self.images_per_s,
            "seconds": self.seconds,
        }


def predict_files(
    detector: Detector,
    images: Sequence[Found],
    folder: Path,
    *,
    messages: Messages,
    batch_size: int = 1,
    font: LabelFont | None = None,
) -> Report:
    """Look at every image, and write what is found into the folder as it comes.

    Args:
        folder: empty. font: of the pictures' labels; None draws no pictures.

    Raises:
        RunFailed: the results cannot be written; what was written before is whole.
    """
    report = Report(folder, describe(detector))
    work = _Work(detector, ResultsWriter(folder, detector.class_names), report, font)
    began = time.perf_counter()
    try:
        with messages.progress("predicting", len(images), "images") as progress:
            for start in range(0, len(images), batch_size):
                work.batch(images[start : start + batch_size], progress)
    except KeyboardInterrupt:
        report.interrupted = True
    finally:
        report.seconds = time.perf_counter() - began
        work.writer.close()
        write_results_json(folder / SUMMARY, report.to_dict())
    return report


def describe(detector: Detector) -> dict[str, Any]:
    """A detector in plain values."""
    return {
        "run_id": detector.run_id,
        "checkpoint": detector.checkpoint,
        "epoch": detector.epoch,
        "class_names": list(detector.class_names),
        "device": detector.device,
        "precision": detector.precision,
        "thresholds": dict(detector.thresholds.values),
        "thresholds_from": detector.thresholds.origin,
    }


class _Work:
    def __init__(self, detector: Detector, writer: ResultsWriter, report: Report, font: LabelFont | None) -> None:
        self.writer = writer
        self._detector = detector
        self._report = report
        self._font = font
        self._taken: set[str] = set()

    def batch(self, images: Sequence[Found], progress: Progress) -> None:
        read: list[tuple[Found, Tensor]] = []
        for image in images:
            try:
                read.append((image, read_image(image.path)))
            except DataError as error:
                self._fail(image, error)
        for (image, pixels), found in zip(read, self._detect(read), strict=True):
            if found is not None:
                self._keep(image, pixels, found)
        progress.advance(len(images))

    def _detect(self, read: Sequence[tuple[Found, Tensor]]) -> list[Detections | None]:
        """What is found in each; None where the model failed on it. A batch that fails is tried one by one."""
        if not read:
            return []
        began = time.perf_counter()
        try:
            return list(self._detector.detect([pixels for _, pixels in read], ", ".join(str(i.path) for i, _ in read)))
        except RunFailed as error:
            if len(read) == 1:
                self._fail(read[0][0], _in_words(error, read[0][1]))
                return [None]
        finally:
            self._report.model_s += time.perf_counter() - began
        return [found for one in read for found in self._detect([one])]

    def _keep(self, image: Found, pixels: Tensor, found: Detections) -> None:
        picture = None
        if self._font is not None:
            target = self._picture(image)
            try:
                picture = save_picture(draw(pixels, found, self._font), target)
            except OSError as error:
                raise cannot_write(target, error) from error
        self.writer.add(image.path, found, picture)
        self._report.images += 1
        self._report.objects += len(found)

    def _picture(self, image: Found) -> Path:
        """A name of its own, without ending: files of two folders, or of two endings, may share theirs."""
        wanted = image.inside.with_suffix("")
        name, number = wanted, 1
        while str(name).casefold() in self._taken:  # casefold: many file systems do not tell A from a
            number += 1
            name = wanted.with_name(f"{wanted.name}-{number}")
        self._taken.add(str(name).casefold())
        return self._report.folder / PICTURES / name

    def _fail(self, image: Found, error: DetkitError) -> None:
        self._report.failed[str(image.path)] = str(error)


def _in_words(error: RunFailed, pixels: Tensor) -> RunFailed:
    if not isinstance(error, OutOfMemory):
        return error
    return OutOfMemory(
        f"memory ran out for an image of {pixels.shape[2]} x {pixels.shape[1]} pixels; make it smaller, cut it into"
        " tiles, or use a machine with more memory (--device cpu, where the GPU's ran out)"
    )
