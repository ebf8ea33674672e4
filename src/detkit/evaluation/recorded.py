"""A recorded run, evaluated again: on its own images, or on those of another dataset."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from detkit.components import BuildContext, Messages
from detkit.data.targets import prediction_from_output
from detkit.data.types import Prediction
from detkit.engine.evaluation import load_batch
from detkit.engine.prepare import build_context, refuse_unmet_needs
from detkit.errors import OutOfMemory, UserError
from detkit.evaluation.data import EvaluatedData, Part, other_data, own_data
from detkit.evaluation.measure import Metrics, build_metrics, measure_all
from detkit.evaluation.notes import Notes
from detkit.evaluation.report import EvaluationReport, count_objects
from detkit.evaluation.settings import as_texts, by_table, refuse_idle_metrics, refuse_other_models, refuse_split
from detkit.predict.finding import Checkpoint, find_run
from detkit.predict.loading import load_trained
from detkit.predict.trained import TrainedModel
from detkit.record.layout import ExperimentLayout
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.spec.loader import load_spec
from detkit.spec.model import ExperimentSpec, Use
from detkit.spec.parts import load_metrics, with_dataset_of
from detkit.spec.recorded import recorded_spec


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """What is asked of a recorded run; see `detkit.evaluate`."""

    checkpoint: Checkpoint = "best"
    dataset: Path | None = None
    split: Part | None = None
    metrics: Sequence[str] = ()
    metrics_from: Path | None = None
    resamples: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    batch_size: int | None = None


@dataclass(frozen=True, slots=True)
class RecordedEvaluation:
    """A run's model, images and metrics, ready to be brought together.

    Attributes:
        request: what was asked. trained: the model. data: the images. metrics: built.
        batch_size: images that the model takes together. threads: of torch on a CPU; None leaves them.
        resamples: draws of the images for intervals. origin: where the run lies.
    """

    request: RecordedRequest
    trained: TrainedModel
    data: EvaluatedData
    metrics: Metrics
    notes: Notes
    batch_size: int
    threads: int | None
    resamples: int
    origin: ExperimentLayout

    @property
    def name(self) -> str:
        return f"evaluation-{self.trained.run_id}"

    def evaluate(self) -> EvaluationReport:
        """Run the model over the images, and let the metrics compare.

        Raises:
            DataError: an image cannot be read. ComponentError: the model or a metric failed or broke its contract.
            OutOfMemory. NonFiniteLoss: it found boxes or scores that are not finite.
        """
        began = time.perf_counter()
        with _threads(self.threads):
            predictions = self._predictions()
        truths = {info.image_id: info for info in self.data.infos}
        measured = measure_all(
            self.metrics,
            predictions,
            [truths[found.image_id] for found in predictions],
            resamples=self.resamples,
            messages=self.notes,
            thresholds={} if self._chosen_here else self.trained.chosen,
        )
        return EvaluationReport(
            title=self._title(),
            subject=self._subject(),
            measured=measured,
            warnings=tuple(self.notes.warnings),
            predictions=predictions,
            seconds=time.perf_counter() - began,
        )

    @property
    def _chosen_here(self) -> bool:
        """Whether these are the images that the thresholds were chosen on."""
        return self.request.dataset is None and self.data.part == "validation"

    def _predictions(self) -> list[Prediction]:
        """Ordered by image id; batches are those of the run, so that the numbers are."""
        found: list[Prediction] = []
        places = range(len(self.data.indices))
        with self.notes.progress("evaluating", len(places), "images") as progress:
            for start in range(0, len(places), self.batch_size):
                batch = places[start : start + self.batch_size]
                found += self._batch(batch)
                progress.advance(len(batch))
        return sorted(found, key=lambda prediction: prediction.image_id)

    def _batch(self, places: Sequence[int]) -> list[Prediction]:
        infos = [self.data.infos[place] for place in places]
        indices = [self.data.indices[place] for place in places]
        names = ", ".join(info.label for info in infos)
        try:
            batch = load_batch(self.data.dataset, indices, self.trained.seed, torch.device(self.trained.device))
            outputs = self.trained.outputs(batch.images, names)
        except OutOfMemory as error:
            lower = f"lower --batch-size (now {len(indices)}), or " if len(indices) > 1 else ""
            raise OutOfMemory(
                f"memory ran out while evaluating {names}; {lower}use a machine with more memory"
                " (--device cpu, where the GPU's ran out)"
            ) from error
        return [prediction_from_output(info.image_id, output) for info, output in zip(infos, outputs, strict=True)]

    def _title(self) -> str:
        trained, data, counts = self.trained, self.data, count_objects(self.data.infos)
        epoch = f", epoch {trained.epoch}" if trained.epoch else ""
        return (
            f"{trained.run_id} ({trained.checkpoint}{epoch}) on {data.part} images of {data.name};"
            f" images: {counts['images']}, objects: {counts['objects']}"
        )

    def _subject(self) -> dict[str, Any]:
        trained, request = self.trained, self.request
        return {
            "run": trained.run_id,
            "experiment": str(self.origin.folder),
            "model": trained.use.key,
            "checkpoint": trained.checkpoint,
            "epoch": trained.epoch,
            "dataset": self.data.name,
            "dataset_from": str(request.dataset) if request.dataset else None,
            "split": self.data.part,
            **count_objects(self.data.infos),
            "class_names": list(trained.class_names),
            "device": trained.device,
            "precision": trained.precision,
            "batch_size": self.batch_size,
            "set": as_texts(request.settings),
        }


def prepare_recorded(
    run: str | Path | RunRecord | ExperimentRecord, request: RecordedRequest, messages: Messages
) -> RecordedEvaluation:
    """Load the model, look at the data, build the metrics.

    Raises:
        UserError: what is asked cannot be done. ComponentError: the model, the dataset or a metric failed.
    """
    if request.batch_size is not None and request.batch_size < 1:
        raise UserError(f"a batch has at least one image, not {request.batch_size}")
    notes = Notes(messages)
    record = find_run(run, notes)
    recorded = recorded_spec(record)
    spec, uses = _changed(recorded, record, request)
    trained = load_trained(record, spec, checkpoint=request.checkpoint, device=request.device, messages=notes)
    layout = ExperimentLayout(record.experiment)
    if request.dataset is None:
        selected = request.checkpoint == "best"
        data = own_data(spec, layout, request.split, trained.class_names, notes, fold=record.fold, selected=selected)
    else:
        data = other_data(spec, recorded.resolved["dataset"], request.split, trained.class_names, notes)
    refuse_unmet_needs(uses.values(), data.dataset.provides, spec.dataset.title)

    def context(use: Use) -> BuildContext:
        return build_context(
            spec,
            use,
            messages=notes,
            class_names=trained.class_names,
            input_size=trained.use.input,
            device=trained.device,
            seed=record.seed,
            run_id=record.run_id,
            run_folder=record.files.folder,
        )

    return RecordedEvaluation(
        request=request,
        trained=trained,
        data=data,
        metrics=build_metrics(uses, context),
        notes=notes,
        batch_size=request.batch_size or trained.use.train.eval_batch_size,
        threads=_recorded_threads(record) if trained.device == "cpu" else None,
        resamples=spec.experiment.resamples if request.resamples is None else request.resamples,
        origin=layout,
    )


def _changed(
    recorded: ExperimentSpec, record: RunRecord, request: RecordedRequest
) -> tuple[ExperimentSpec, Mapping[str, Use]]:
    """The run's spec with what was asked to be otherwise, and the metrics."""
    changes = by_table(request.settings, ("dataset", "metrics", "models"))
    refuse_other_models(changes["models"], record.model)
    if request.dataset is None:
        refuse_split(changes["dataset"], "the images are divided as the record has them; --split chooses among them")
    elif request.split in (None, "all"):
        refuse_split(changes["dataset"], "all images of the dataset are evaluated; --split chooses some of them")
    spec = recorded
    own = changes["models"] | (changes["dataset"] if request.dataset is None else {})
    if own:
        spec = load_spec(recorded.path, set=own, blocked=recorded.blocked)
    if request.dataset is not None:
        spec = with_dataset_of(spec, request.dataset, set=changes["dataset"])
    metrics_from = request.metrics_from or recorded.path
    uses = load_metrics(metrics_from, names=request.metrics, set=changes["metrics"], blocked=recorded.blocked)
    refuse_idle_metrics(changes["metrics"], uses)
    return spec, uses


def _recorded_threads(record: RunRecord) -> int | None:
    """How many the run had: sums depend on it in the last bit. Never more than this machine has cores."""
    threads = record.facts.get("hardware", {}).get("threads")
    return min(int(threads), os.cpu_count() or 1) if threads else None


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
