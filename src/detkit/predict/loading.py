"""From a run's folder to a detector: the model is built by its own plugin, with the weights of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import nn

from detkit.components import Messages, Silent
from detkit.data.seeds import derive_seed, seeded
from detkit.engine.attribution import attributed
from detkit.engine.checkpoint import load_checkpoint, load_weights
from detkit.engine.prepare import build_context
from detkit.errors import ComponentError, RecordError, did_you_mean
from detkit.predict.compute import resolve_device, resolve_precision
from detkit.predict.detector import Detector
from detkit.predict.finding import Checkpoint, checkpoint_file, find_run
from detkit.predict.thresholds import choose_thresholds
from detkit.predict.trained import TrainedModel
from detkit.record.reader import ExperimentRecord, RunRecord
from detkit.spec.model import ExperimentSpec, ModelUse
from detkit.spec.recorded import recorded_spec

WantedPrecision = Literal["auto", "fp32", "bf16", "fp16"]


def load_detector(
    run: str | Path | RunRecord | ExperimentRecord,
    *,
    checkpoint: Checkpoint = "best",
    device: str = "auto",
    precision: WantedPrecision = "auto",
    score_threshold: float | None = None,
    messages: Messages | None = None,
) -> Detector:
    """See `detkit.load_detector`; `messages` is where people are told what was chosen."""
    messages = messages or Silent()
    record = find_run(run, messages)
    trained = load_trained(
        record, recorded_spec(record), checkpoint=checkpoint, device=device, precision=precision, messages=messages
    )
    return Detector(trained, choose_thresholds(trained.class_names, trained.chosen, score_threshold))


def load_trained(
    record: RunRecord,
    spec: ExperimentSpec,
    *,
    checkpoint: Checkpoint,
    device: str,
    precision: WantedPrecision = "auto",
    messages: Messages,
) -> TrainedModel:
    """The model of a run, with the weights that were evaluated.

    Args:
        spec: that of the record. checkpoint, device, precision: as for `detkit.load_detector`.

    Raises:
        RecordError: there is no such checkpoint, or the spec has no such model.
        WeightsError: the checkpoint is cut, or of another format or model. ComputeError: no such device or precision.
        ComponentError: the model could not be built.
    """
    file = checkpoint_file(record, checkpoint, messages)
    facts = record.facts
    content = load_checkpoint(file, run_id=facts["run_id"])  # the folder of a run put aside has another name
    weights = (content.get("ema") or content)["model"]  # last.pt keeps both; what was evaluated is the average
    use = _model_use(record, spec)
    class_names = tuple(content.get("class_names") or facts["class_names"])  # last.pt leaves them to run.json
    where = resolve_device(device)
    how = resolve_precision(precision, facts["compute"]["precision"], where, messages)
    module = _build(record, (spec, use), class_names, weights, content["origin"], where, messages)
    load_weights(module, weights, file)
    return TrainedModel(
        module=module.to(where).eval(),
        use=use,
        run_id=record.run_id,
        seed=record.seed,
        checkpoint=checkpoint,
        epoch=content.get("selected", {}).get("epoch"),
        class_names=class_names,
        device=where,
        precision=how,
        chosen=content.get("thresholds", {}),
    )


def _model_use(record: RunRecord, spec: ExperimentSpec) -> ModelUse:
    if record.model not in spec.models:
        raise RecordError(f"{spec.path} has no model {record.model!r}{did_you_mean(record.model, spec.models)}")
    return spec.models[record.model]


def _build(
    record: RunRecord,
    found: tuple[ExperimentSpec, ModelUse],
    class_names: tuple[str, ...],
    weights: Mapping[str, Any],
    origin: Mapping[str, Any],
    device: str,
    messages: Messages,
) -> nn.Module:
    spec, use = found
    context = build_context(
        spec,
        use,
        messages=messages,
        class_names=class_names,
        input_size=use.input,
        device=device,
        seed=record.seed,
        run_id=record.run_id,
        run_folder=record.files.folder,
        weights=weights,
        weights_origin=origin["weights"],
    )
    # As the run seeds it, for what is random in a model and in no checkpoint; the caller's generators stay as they are.
    with seeded(derive_seed(record.seed, "model", use.key)), attributed(use, "being built"):
        model = use.offered.component.build(use.options, context)
    if not isinstance(model, nn.Module):
        raise ComponentError(f"{use.title} built a {type(model).__name__}; it must be a torch.nn.Module")
    return model
